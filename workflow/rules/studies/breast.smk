rule breast_enhancement:
    """Our early enhancement of the series as it came, against the published map."""
    input:
        series=lambda wildcards: [str(row.image) for row in breast_rows(wildcards)],
        within=lambda wildcards: [str(row.within) for row in breast_rows(wildcards)],
        published=lambda wildcards: [
            str(row.image.parent / "image_dce_pe1") for row in breast_rows(wildcards)
        ],
    output:
        enhancement="results/breast/sub-{subject}/ses-{session}/published/early_enhancement.nii.gz",
        agreement="results/breast/sub-{subject}/ses-{session}/published/agreement.json",
    log:
        "logs/breast/sub-{subject}/ses-{session}/published.log",
    conda:
        "../../../envs/medpipe.yaml"
    params:
        out=lambda wildcards, output: os.path.dirname(output.enhancement),
        version=BLOCK_VERSIONS["dce"],
    shell:
        "(medpipe dce {input.series:q} --within {input.within:q} --floor-fraction 0.6"
        " --out {params.out:q}"
        " && medpipe agreement {output.enhancement:q} {input.published:q}"
        " --out {output.agreement:q}) > {log:q} 2>&1"


rule breast_features:
    """Features of the lesion found inside the breast mask."""
    input:
        included="results/breast/cohort/included.tsv",
        settings="results/breast/settings.json",
        tables=lambda wildcards: [
            f"results/breast/sub-{subject}/ses-baseline/{name}"
            for subject in included("breast")
            for name in ("radiomics/dce.tsv", "published/agreement.json")
        ],
    output:
        features="results/breast_features.tsv",
        failures="results/breast/cohort/failures.tsv",
        dictionary="results/breast/cohort/dictionary.tsv",
    log:
        "logs/breast/features.log",
    conda:
        "../../../envs/medpipe.yaml"
    params:
        version=BLOCK_VERSIONS["cohort"],
    shell:
        "medpipe cohort results/breast --included {input.included:q} --set baseline=baseline/dce"
        " --out {output.features:q} --out-failures {output.failures:q}"
        " --out-dictionary {output.dictionary:q} > {log:q} 2>&1"
