checkpoint screen:
    """Read every file whole; subjects with a defect leave with their reason."""
    input:
        images=lambda wildcards: CONFIG.studies[wildcards.study].images,
        subjects=lambda wildcards: CONFIG.studies[wildcards.study].subjects,
        files=lambda wildcards: screened_files(wildcards.study),
    output:
        included="results/{study}/cohort/included.tsv",
        exclusions="results/{study}/cohort/exclusions.tsv",
        flow="results/{study}/cohort/screen.svg",
    log:
        "logs/{study}/screen.log",
    benchmark:
        "benchmarks/{study}/screen.tsv"
    conda:
        "../../envs/medpipe.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.included),
        options=lambda wildcards: CONFIG.studies[wildcards.study].screen_flags(),
        version=BLOCK_VERSIONS["screen"],
    shell:
        "medpipe screen --images {input.images:q} --subjects {input.subjects:q}"
        " --out {params.out:q} {params.options} --threads {threads}"
        " > {log:q} 2>&1"


rule settings:
    """What the study was run with: every setting, versions, seed."""
    output:
        "results/{study}/settings.json",
    log:
        "logs/{study}/settings.log",
    conda:
        "../../envs/medpipe.yaml"
    params:
        settings=lambda wildcards: CONFIG.studies[wildcards.study].model_dump_json(
            by_alias=True
        ),
        version=str(BLOCK_VERSIONS),
    shell:
        "medpipe config resolve --study {wildcards.study} --settings {params.settings:q}"
        " --out {output:q} > {log:q} 2>&1"
