rule survival_fit:
    """LASSO-Cox, Rad-score, cut-off, Cox models, nomogram: development rows only."""
    input:
        features=lambda wildcards: arm_features(wildcards.study, wildcards.arm),
        subjects=lambda wildcards: CONFIG.studies[wildcards.study].subjects,
        stability=lambda wildcards: CONFIG.studies[wildcards.study].survival.stability
        or [],
    output:
        model="results/{study}/survival/{arm}/model.json",
        score="results/{study}/survival/{arm}/rad_score.json",
        nomogram="results/{study}/survival/{arm}/nomogram.html",
    log:
        "logs/{study}/survival_{arm}_fit.log",
    benchmark:
        "benchmarks/{study}/survival_{arm}_fit.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.model),
        options=lambda wildcards: CONFIG.studies[
            wildcards.study
        ].survival.flags_of_arm(wildcards.arm),
        seed=lambda wildcards: CONFIG.studies[wildcards.study].seed,
        version=BLOCK_VERSIONS["survival"],
    shell:
        "medpipe survival fit --features-table {input.features:q} --subjects {input.subjects:q}"
        " {params.options} --seed {params.seed} --out {params.out:q} > {log:q} 2>&1"


rule survival_evaluate:
    """The frozen models on both splits: every table of the report, and the headline."""
    input:
        model="results/{study}/survival/{arm}/model.json",
        features=lambda wildcards: arm_features(wildcards.study, wildcards.arm),
        subjects=lambda wildcards: CONFIG.studies[wildcards.study].subjects,
    output:
        headline="results/{study}/survival/{arm}/headline.tsv",
        predictions="results/{study}/survival/{arm}/predictions.tsv",
    log:
        "logs/{study}/survival_{arm}_evaluate.log",
    benchmark:
        "benchmarks/{study}/survival_{arm}_evaluate.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.headline),
        bootstrap=lambda wildcards: CONFIG.studies[wildcards.study].survival.bootstrap,
        seed=lambda wildcards: CONFIG.studies[wildcards.study].seed,
        version=BLOCK_VERSIONS["survival"],
    shell:
        "medpipe survival evaluate --model {input.model:q} --features-table {input.features:q}"
        " --subjects {input.subjects:q} --bootstrap {params.bootstrap} --seed {params.seed}"
        " --out {params.out:q} > {log:q} 2>&1"
