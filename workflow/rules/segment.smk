rule segment:
    """Spatial fuzzy C-means round the seed; a mask in the sheet wins."""
    input:
        image="results/{study}/sub-{subject}/ses-{session}/preprocess/{contrast}.nii.gz",
        mask=lambda wildcards: external_mask(wildcards),
        within=lambda wildcards: region(wildcards),
    output:
        "results/{study}/sub-{subject}/ses-{session}/segment/{contrast}.nii.gz",
    log:
        "logs/{study}/sub-{subject}/ses-{session}/segment_{contrast}.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/ses-{session}/segment_{contrast}.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        mask=lambda wildcards, input: path_flag("--mask", input.mask),
        within=lambda wildcards, input: path_flag("--within", input.within),
        seed=lambda wildcards: seed_flag(wildcards),
        options=options("segment"),
        version=BLOCK_VERSIONS["segment"],
    shell:
        "medpipe segment {input.image:q} {params.mask} {params.within} {params.seed} {params.options}"
        " --allow-empty --out {output:q} --threads {threads} > {log:q} 2>&1"


rule dce:
    """Subtraction at the phase of maximum enhancement, early enhancement map."""
    input:
        series="results/{study}/sub-{subject}/ses-{session}/preprocess/{contrast}.nii.gz",
        mask="results/{study}/sub-{subject}/ses-{session}/segment/{contrast}.nii.gz",
    output:
        subtraction="results/{study}/sub-{subject}/ses-{session}/{contrast}/subtraction.nii.gz",
        enhancement="results/{study}/sub-{subject}/ses-{session}/{contrast}/early_enhancement.nii.gz",
        phase="results/{study}/sub-{subject}/ses-{session}/{contrast}/phase.json",
    log:
        "logs/{study}/sub-{subject}/ses-{session}/dce_{contrast}.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/ses-{session}/dce_{contrast}.tsv"
    wildcard_constraints:
        contrast="dce",
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.subtraction),
        options=options("dce"),
        version=BLOCK_VERSIONS["dce"],
    shell:
        "medpipe dce {input.series:q} --mask {input.mask:q} {params.options}"
        " --out {params.out:q} > {log:q} 2>&1"
