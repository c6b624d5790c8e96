rule preprocess:
    """N4 with one bias field a session, canonical axes, common grid."""
    input:
        lambda wildcards: [str(row.image) for row in rows(wildcards)],
    output:
        "results/{study}/sub-{subject}/ses-{session}/preprocess/{contrast}.nii.gz",
    log:
        "logs/{study}/sub-{subject}/ses-{session}/preprocess_{contrast}.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/ses-{session}/preprocess_{contrast}.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        times=lambda wildcards: time_flag(wildcards),
        options=options("preprocess"),
        version=BLOCK_VERSIONS["preprocess"],
    shell:
        "medpipe preprocess {input:q} {params.times} {params.options}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"
