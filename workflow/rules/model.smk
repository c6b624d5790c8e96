rule model:
    """Select, tune and fit on the development rows; apply once to the test rows."""
    input:
        features="results/{study}/cohort/features.tsv",
        subjects=lambda wildcards: CONFIG.studies[wildcards.study].subjects,
        stability=lambda wildcards: CONFIG.studies[wildcards.study].model.stability
        or [],
    output:
        predictions="results/{study}/model/{model}/predictions.tsv",
        model="results/{study}/model/{model}/model.json",
        selection="results/{study}/model/{model}/selection.tsv",
    log:
        "logs/{study}/model_{model}.log",
    benchmark:
        "benchmarks/{study}/model_{model}.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.model),
        what=lambda wildcards: model_flags(wildcards.model),
        options=options("model"),
        seed=lambda wildcards: CONFIG.studies[wildcards.study].seed,
        version=BLOCK_VERSIONS["model"],
    shell:
        "medpipe model fit --features {input.features:q} --subjects {input.subjects:q}"
        " {params.what} {params.options} --seed {params.seed} --out {params.out:q}"
        " > {log:q} 2>&1"
