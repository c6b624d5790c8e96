rule crc_survival:
    """Rad-score and TNM nomogram for disease-free survival, and its page."""
    input:
        headline="results/crc/survival/baseline/headline.tsv",
        exclusions="results/crc/cohort/exclusions.tsv",
        subjects=CONFIG.studies["crc"].subjects,
        settings="results/crc/settings.json",
    output:
        headline="results/crc_survival.tsv",
        report="results/crc/survival/baseline/report.html",
    log:
        "logs/crc/survival.log",
    conda:
        "../../../envs/medpipe.yaml"
    params:
        version=BLOCK_VERSIONS["report"],
    shell:
        "medpipe survival report --study-dir results/crc --arm baseline"
        " --subjects {input.subjects:q} --out {output.report:q}"
        " --out-table {output.headline:q} > {log:q} 2>&1"
