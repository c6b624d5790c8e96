rule radiomics_dce:
    """Features of the subtraction image inside the session's own mask."""
    input:
        image="results/{study}/sub-{subject}/ses-{session}/dce/subtraction.nii.gz",
        mask="results/{study}/sub-{subject}/ses-{session}/segment/dce.nii.gz",
    output:
        "results/{study}/sub-{subject}/ses-{session}/radiomics/dce.tsv",
    log:
        "logs/{study}/sub-{subject}/ses-{session}/radiomics_dce.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/ses-{session}/radiomics_dce.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        bin_width=lambda wildcards: CONFIG.studies[
            wildcards.study
        ].radiomics.bin_width_image,
        version=BLOCK_VERSIONS["radiomics"],
    shell:
        "medpipe radiomics {input.image:q} {input.mask:q} --kind subtraction"
        " --bin-width {params.bin_width} --subject {wildcards.subject}"
        " --session {wildcards.session} --contrast dce --allow-empty --out {output:q}"
        " > {log:q} 2>&1"


rule radiomics_jacobian:
    """Features of the Jacobian map inside the first session's mask."""
    input:
        image="results/{study}/sub-{subject}/ses-{session}/register/jacobian.nii.gz",
        mask=lambda wildcards: block_image(
            wildcards, first_session(wildcards), "segment"
        ),
    output:
        "results/{study}/sub-{subject}/ses-{session}/radiomics/jacobian.tsv",
    log:
        "logs/{study}/sub-{subject}/ses-{session}/radiomics_jacobian.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/ses-{session}/radiomics_jacobian.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        bin_width=lambda wildcards: CONFIG.studies[
            wildcards.study
        ].radiomics.bin_width_jacobian,
        version=BLOCK_VERSIONS["radiomics"],
    shell:
        "medpipe radiomics {input.image:q} {input.mask:q} --kind jacobian"
        " --bin-width {params.bin_width} --subject {wildcards.subject}"
        " --session {wildcards.session} --contrast jacobian --allow-empty --out {output:q}"
        " > {log:q} 2>&1"


rule radiomics_image:
    """Features of one image inside its mask: the sheet's, or the one that `segment` found."""
    input:
        image=lambda wildcards: measured_image(wildcards),
        mask=lambda wildcards: measured_mask(wildcards),
    output:
        "results/{study}/sub-{subject}/ses-{session}/radiomics/{contrast}.tsv",
    log:
        "logs/{study}/sub-{subject}/ses-{session}/radiomics_{contrast}.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/ses-{session}/radiomics_{contrast}.tsv"
    wildcard_constraints:
        contrast="(?!(?:dce|jacobian)\\.tsv)[A-Za-z0-9][A-Za-z0-9_-]*",
    conda:
        "../../envs/medpipe.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        verb=lambda wildcards: CONFIG.studies[wildcards.study].radiomics.verb,
        options=lambda wildcards: CONFIG.studies[
            wildcards.study
        ].radiomics.image_flags("ct" if wildcards.contrast == "ct" else "mr"),
        version=BLOCK_VERSIONS["radiomics"],
    shell:
        "medpipe {params.verb} {input.image:q} {input.mask:q} {params.options}"
        " --subject {wildcards.subject} --session {wildcards.session}"
        " --contrast {wildcards.contrast} --allow-empty --out {output:q}"
        " > {log:q} 2>&1"


rule cohort:
    """One row a subject: the feature sets side by side, with the change between visits."""
    input:
        included="results/{study}/cohort/included.tsv",
        tables=lambda wildcards: feature_tables(wildcards.study),
    output:
        features="results/{study}/cohort/features.tsv",
        failures="results/{study}/cohort/failures.tsv",
        dictionary="results/{study}/cohort/dictionary.tsv",
    log:
        "logs/{study}/cohort.log",
    benchmark:
        "benchmarks/{study}/cohort.tsv"
    conda:
        "../../envs/medpipe.yaml"
    params:
        sets=lambda wildcards: cohort_flags(wildcards.study),
        version=BLOCK_VERSIONS["cohort"],
    shell:
        "medpipe cohort results/{wildcards.study} --included {input.included:q} {params.sets}"
        " --out {output.features:q} --out-failures {output.failures:q}"
        " --out-dictionary {output.dictionary:q} > {log:q} 2>&1"


rule features_page:
    """A look at the features before they are modelled: failures, clusters, outliers."""
    input:
        "results/{study}/cohort/features.tsv",
    output:
        page="results/{study}/cohort/features.html",
        clusters="results/{study}/cohort/clusters.tsv",
    log:
        "logs/{study}/features_page.log",
    conda:
        "../../envs/medpipe.yaml"
    params:
        version=BLOCK_VERSIONS["report"],
    shell:
        "medpipe features-report {input:q} --out {output.page:q}"
        " --out-clusters {output.clusters:q} --title 'Features of {wildcards.study}'"
        " > {log:q} 2>&1"


rule published_features:
    """Our features against a table made elsewhere: per feature, and per subject."""
    input:
        features="results/{study}/cohort/features.tsv",
        published=lambda wildcards: CONFIG.studies[wildcards.study].features,
        subjects=lambda wildcards: CONFIG.studies[wildcards.study].subjects,
        tables=lambda wildcards: feature_tables(wildcards.study),
    output:
        agreement="results/{study}/cohort/published_agreement.tsv",
        subjects="results/{study}/cohort/published_subjects.tsv",
    log:
        "logs/{study}/published.log",
    conda:
        "../../envs/medpipe.yaml"
    params:
        table=lambda wildcards: (
            f"{first_session(wildcards)}/{CONFIG.studies[wildcards.study].contrast}"
        ),
        bin_width=lambda wildcards: CONFIG.studies[
            wildcards.study
        ].radiomics.bin_width_image,
        version=BLOCK_VERSIONS["radiomics"],
    shell:
        "medpipe published {input.features:q} {input.published:q}"
        " --study-dir results/{wildcards.study} --table {params.table}"
        " --subjects {input.subjects:q} --bin-width {params.bin_width}"
        " --out {output.agreement:q} --out-subjects {output.subjects:q} > {log:q} 2>&1"
