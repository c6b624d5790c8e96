rule ispy2_fit:
    """Logistic nomogram and boosted trees: development rows fit, test rows are scored once."""
    input:
        subjects=CONFIG.studies["ispy2"].subjects,
    output:
        headline="results/ispy2/binary/headline.tsv",
        predictions="results/ispy2/binary/predictions.tsv",
        models="results/ispy2/binary/models.json",
        nomogram="results/ispy2/binary/nomogram.html",
    log:
        "logs/ispy2/binary_fit.log",
    benchmark:
        "benchmarks/ispy2/binary_fit.tsv"
    conda:
        "../../../envs/medpipe.yaml"
    params:
        out=lambda wildcards, output: os.path.dirname(output.headline),
        options=CONFIG.studies["ispy2"].binary.as_flags(),
        seed=CONFIG.studies["ispy2"].seed,
        version=BLOCK_VERSIONS["model"],
    shell:
        "medpipe binary fit --subjects {input.subjects:q} {params.options} --seed {params.seed}"
        " --out {params.out:q} > {log:q} 2>&1"


rule ispy2_pcr:
    """The headline table, and the page that explains it."""
    input:
        headline="results/ispy2/binary/headline.tsv",
        nomogram="results/ispy2/binary/nomogram.html",
        subjects=CONFIG.studies["ispy2"].subjects,
        settings="results/ispy2/settings.json",
    output:
        headline="results/ispy2_pcr.tsv",
        report="results/ispy2/report.html",
    log:
        "logs/ispy2/pcr.log",
    benchmark:
        "benchmarks/ispy2/pcr.tsv"
    conda:
        "../../../envs/medpipe.yaml"
    params:
        version=BLOCK_VERSIONS["report"],
    shell:
        "medpipe binary report --study-dir results/ispy2 --subjects {input.subjects:q}"
        " --out {output.report:q} --out-table {output.headline:q} > {log:q} 2>&1"
