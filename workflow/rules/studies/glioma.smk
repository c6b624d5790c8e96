rule glioma_jacobian:
    """Mean Jacobian inside the baseline mask against the ratio of the mask volumes."""
    input:
        included="results/glioma/cohort/included.tsv",
        settings="results/glioma/settings.json",
        images=lambda wildcards: registered("glioma"),
    output:
        "results/glioma_jacobian.tsv",
    log:
        "logs/glioma/jacobian.log",
    conda:
        "../../../envs/medpipe.yaml"
    params:
        sessions=first_and_last("glioma"),
        contrast=CONFIG.studies["glioma"].contrast,
        version=BLOCK_VERSIONS["register"],
    shell:
        "medpipe change results/glioma --included {input.included:q}"
        " --sessions {params.sessions} --contrast {params.contrast} --out {output:q}"
        " > {log:q} 2>&1"
