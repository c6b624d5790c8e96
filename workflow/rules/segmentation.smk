"""Networks side by side: each is trained, applied and measured for each part held out."""


rule network_part:
    """Who trains, who validates, who is held out."""
    input:
        images=lambda wildcards: CONFIG.studies[wildcards.study].images,
        subjects=lambda wildcards: CONFIG.studies[wildcards.study].subjects,
        included="results/{study}/cohort/included.tsv",
        files=lambda wildcards: screened_files(wildcards.study),
    output:
        training="results/{study}/networks/{part}/training.tsv",
        held_out="results/{study}/networks/{part}/held_out.tsv",
    log:
        "logs/{study}/networks/{part}.log",
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.training),
        options=lambda wildcards: networks(wildcards.study).part_flags(wildcards.part),
        contrast=lambda wildcards: CONFIG.studies[wildcards.study].contrast,
        sessions=lambda wildcards: ",".join(CONFIG.studies[wildcards.study].sessions),
        seed=lambda wildcards: CONFIG.studies[wildcards.study].seed,
        version=BLOCK_VERSIONS["segment"],
    shell:
        "medpipe networks part --images {input.images:q} --subjects {input.subjects:q}"
        " --included {input.included:q} --contrast {params.contrast} --sessions {params.sessions}"
        " {params.options} --seed {params.seed} --out {params.out:q} > {log:q} 2>&1"


rule network_train:
    """One network on one part; the checkpoint beside the model outlives a killed job."""
    input:
        sheet="results/{study}/networks/{part}/training.tsv",
        vgg16=lambda wildcards: networks(wildcards.study).arms[wildcards.network].vgg16
        or [],
    output:
        model="results/{study}/networks/{part}/{network}/{run}/model/model.json",
        weights="results/{study}/networks/{part}/{network}/{run}/model/weights.safetensors",
    log:
        "logs/{study}/networks/{part}_{network}_{run}.log",
    benchmark:
        "benchmarks/{study}/networks/{part}_{network}_{run}.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        gpu=1 if CONFIG.device == "cuda" else 0,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    params:
        out=lambda wildcards: f"results/{wildcards.study}/networks/{wildcards.part}/{wildcards.network}",
        options=lambda wildcards: networks(wildcards.study).training_flags(
            wildcards.network
        ),
        device=CONFIG.device,
        seed=lambda wildcards: CONFIG.studies[wildcards.study].seed,
        version=BLOCK_VERSIONS["segment"],
    shell:
        "medpipe train {input.sheet:q} {params.options} --device {params.device}"
        " --seed {params.seed} --threads {threads} --replace --out {params.out:q} > {log:q} 2>&1"


rule network_predict:
    """The held-out cases by one network, or by the mean of several."""
    input:
        sheet="results/{study}/networks/{part}/held_out.tsv",
        models=network_models,
    output:
        "results/{study}/predictions/{part}/{network}/pairs.tsv",
    log:
        "logs/{study}/predictions/{part}_{network}.log",
    benchmark:
        "benchmarks/{study}/predictions/{part}_{network}.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        gpu=1 if CONFIG.device == "cuda" else 0,
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        models=lambda wildcards, input: model_folders(input.models),
        out=lambda wildcards, output: os.path.dirname(output[0]),
        device=CONFIG.device,
        version=BLOCK_VERSIONS["segment"],
    shell:
        "medpipe networks predict {input.sheet:q} {params.models} --device {params.device}"
        " --threads {threads} --out {params.out:q} > {log:q} 2>&1"


rule evaluate:
    """Every measure of one network over the cases that a scheme held out."""
    input:
        held_out_pairs,
    output:
        pairs="results/{study}/evaluation/{scheme}/{network}/pairs.tsv",
        cases="results/{study}/evaluation/{scheme}/{network}/cases.tsv",
        summary="results/{study}/evaluation/{scheme}/{network}/summary.tsv",
        report="results/{study}/evaluation/{scheme}/{network}/report.html",
    log:
        "logs/{study}/evaluation/{scheme}_{network}.log",
    benchmark:
        "benchmarks/{study}/evaluation/{scheme}_{network}.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.summary),
        options=lambda wildcards: networks(wildcards.study).evaluation_flags,
        seed=lambda wildcards: CONFIG.studies[wildcards.study].seed,
        version=BLOCK_VERSIONS["evaluate"],
    shell:
        "(medpipe networks pairs {input:q} --out {output.pairs:q}"
        " && medpipe evaluate --sheet {output.pairs:q} {params.options} --seed {params.seed}"
        " --threads {threads} --out {params.out:q}) > {log:q} 2>&1"
