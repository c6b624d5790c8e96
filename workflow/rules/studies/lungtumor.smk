rule lungtumor_dice:
    """Baseline, DenseHighRes3DNet v1, v2 and their mean in the columns of the report, and the page."""
    input:
        evaluations("lungtumor"),
        settings="results/lungtumor/settings.json",
        exclusions="results/lungtumor/cohort/exclusions.tsv",
    output:
        table="results/lungtumor_dice.tsv",
        report="results/lungtumor/report.html",
    log:
        "logs/lungtumor/dice.log",
    benchmark:
        "benchmarks/lungtumor/dice.tsv"
    conda:
        "../../../envs/medpipe.yaml"
    params:
        version=(BLOCK_VERSIONS["evaluate"], BLOCK_VERSIONS["report"]),
    shell:
        "medpipe networks report --study-dir results/lungtumor --out {output.report:q}"
        " --out-table {output.table:q} > {log:q} 2>&1"
