NACT_MODELS = [
    "baseline",
    "followup",
    "deltarad",
    "jacobian",
    "fusion",
    "fusion_subtype",
]


rule nact_xgboost:
    """Boosted trees on the same folds, for comparison."""
    input:
        expand("results/nact/model/xgboost_{model}/predictions.tsv", model=NACT_MODELS),
    output:
        "results/nact/cohort/xgboost_auc.tsv",
    log:
        "logs/nact/xgboost_auc.log",
    conda:
        "../../../envs/medpipe.yaml"
    params:
        bootstrap=CONFIG.studies["nact"].compare.bootstrap,
        seed=CONFIG.studies["nact"].seed,
        version=BLOCK_VERSIONS["model"],
    shell:
        "medpipe model compare {input:q} --reference xgboost_fusion_subtype"
        " --bootstrap {params.bootstrap} --seed {params.seed} --out {output:q}"
        " > {log:q} 2>&1"


rule nact_auc:
    """The table of the six models, and the page that explains it."""
    input:
        predictions=expand(
            "results/nact/model/{model}/predictions.tsv", model=NACT_MODELS
        ),
        subjects=CONFIG.studies["nact"].subjects,
        settings="results/nact/settings.json",
        exclusions="results/nact/cohort/exclusions.tsv",
        xgboost="results/nact/cohort/xgboost_auc.tsv",
        truth=branch(
            CONFIG.studies["nact"].truth,
            then="results/nact/cohort/truth.tsv",
            otherwise=[],
        ),
        pages=lambda wildcards: [
            f"results/nact/sub-{subject}/report.html" for subject in included("nact")
        ],
    output:
        auc="results/nact_auc.tsv",
        report="results/nact/report.html",
        flow="results/nact/cohort/flow.svg",
    log:
        "logs/nact/auc.log",
    benchmark:
        "benchmarks/nact/auc.tsv"
    conda:
        "../../../envs/medpipe.yaml"
    params:
        bootstrap=CONFIG.studies["nact"].compare.bootstrap,
        seed=CONFIG.studies["nact"].seed,
        version=(BLOCK_VERSIONS["model"], BLOCK_VERSIONS["report"]),
    shell:
        "(medpipe model compare {input.predictions:q} --reference fusion_subtype"
        " --bootstrap {params.bootstrap} --seed {params.seed} --out {output.auc:q}"
        " && medpipe report study --study-dir results/nact --auc {output.auc:q}"
        " --subjects {input.subjects:q} --out {output.report:q}"
        " --out-flow {output.flow:q}) > {log:q} 2>&1"
