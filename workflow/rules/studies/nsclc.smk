rule nsclc_survival:
    """The published feature table: lung1 develops, lung2 validates."""
    input:
        headline="results/nsclc/survival/published/headline.tsv",
        subjects=CONFIG.studies["nsclc"].subjects,
        settings="results/nsclc/settings.json",
    output:
        headline="results/nsclc_survival.tsv",
        report="results/nsclc/survival/published/report.html",
    log:
        "logs/nsclc/survival.log",
    conda:
        "../../../envs/medpipe.yaml"
    params:
        version=BLOCK_VERSIONS["report"],
    shell:
        "medpipe survival report --study-dir results/nsclc --arm published"
        " --subjects {input.subjects:q} --out {output.report:q}"
        " --out-table {output.headline:q} > {log:q} 2>&1"


rule nsclc_images:
    """The same models from our own features of the scans, beside the published values."""
    input:
        headline="results/nsclc/survival/baseline/headline.tsv",
        agreement="results/nsclc/cohort/published_agreement.tsv",
        exclusions="results/nsclc/cohort/exclusions.tsv",
        subjects=CONFIG.studies["nsclc"].subjects,
        settings="results/nsclc/settings.json",
    output:
        headline="results/nsclc_images.tsv",
        report="results/nsclc/survival/baseline/report.html",
    log:
        "logs/nsclc/images.log",
    conda:
        "../../../envs/medpipe.yaml"
    params:
        version=BLOCK_VERSIONS["report"],
    shell:
        "medpipe survival report --study-dir results/nsclc --arm baseline"
        " --subjects {input.subjects:q} --out {output.report:q}"
        " --out-table {output.headline:q} > {log:q} 2>&1"
