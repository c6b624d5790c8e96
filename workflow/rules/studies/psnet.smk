rule psnet_dice:
    """FCN, V-Net, U-Net and PSNet in the columns of the paper, and the page."""
    input:
        evaluations("psnet"),
        settings="results/psnet/settings.json",
        exclusions="results/psnet/cohort/exclusions.tsv",
    output:
        table="results/psnet_dice.tsv",
        report="results/psnet/report.html",
    log:
        "logs/psnet/dice.log",
    benchmark:
        "benchmarks/psnet/dice.tsv"
    conda:
        "../../../envs/medpipe.yaml"
    params:
        version=(BLOCK_VERSIONS["evaluate"], BLOCK_VERSIONS["report"]),
    shell:
        "medpipe networks report --study-dir results/psnet --out {output.report:q}"
        " --out-table {output.table:q} > {log:q} 2>&1"
