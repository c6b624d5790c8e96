rule report_subject:
    """One page a subject: both visits, outline, warped follow-up, Jacobian overlay."""
    input:
        results=lambda wildcards: subject_results(wildcards.study, wildcards.subject),
        subjects=lambda wildcards: CONFIG.studies[wildcards.study].subjects,
    output:
        "results/{study}/sub-{subject}/report.html",
    log:
        "logs/{study}/sub-{subject}/report.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/report.tsv"
    conda:
        "../../envs/medpipe.yaml"
    params:
        sessions=lambda wildcards: first_and_last(wildcards.study),
        version=BLOCK_VERSIONS["report"],
    shell:
        "medpipe report subject --subject {wildcards.subject:q} --sessions {params.sessions}"
        " --study-dir results/{wildcards.study} --subjects {input.subjects:q} --out {output:q}"
        " > {log:q} 2>&1"


rule truth:
    """Found against true, for a simulated cohort."""
    input:
        truth=lambda wildcards: CONFIG.studies[wildcards.study].truth,
        features="results/{study}/cohort/features.tsv",
    output:
        "results/{study}/cohort/truth.tsv",
    log:
        "logs/{study}/truth.log",
    benchmark:
        "benchmarks/{study}/truth.tsv"
    conda:
        "../../envs/medpipe.yaml"
    params:
        version=BLOCK_VERSIONS["demo"],
    shell:
        "medpipe demo score --truth {input.truth:q} --study results/{wildcards.study}"
        " --out {output:q} > {log:q} 2>&1"
