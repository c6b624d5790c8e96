rule register:
    """Later session onto the first; fields, warped image, Jacobian map, pictures."""
    input:
        fixed=lambda wildcards: block_image(
            wildcards, first_session(wildcards), "preprocess"
        ),
        moving=lambda wildcards: block_image(wildcards, wildcards.session, "preprocess"),
        before=lambda wildcards: block_image(
            wildcards, session_before(wildcards), "preprocess"
        ),
        known=known_registration,
        mask=lambda wildcards: block_image(
            wildcards, first_session(wildcards), "segment"
        ),
    output:
        displacement="results/{study}/sub-{subject}/ses-{session}/register/displacement.nii.gz",
        inverse="results/{study}/sub-{subject}/ses-{session}/register/inverse.nii.gz",
        warped="results/{study}/sub-{subject}/ses-{session}/register/warped.nii.gz",
        jacobian="results/{study}/sub-{subject}/ses-{session}/register/jacobian.nii.gz",
        jacobian_log="results/{study}/sub-{subject}/ses-{session}/register/jacobian_log.nii.gz",
        checkerboard="results/{study}/sub-{subject}/ses-{session}/register/checkerboard.png",
        grid="results/{study}/sub-{subject}/ses-{session}/register/grid.png",
        affine="results/{study}/sub-{subject}/ses-{session}/register/affine.tfm",
        metrics="results/{study}/sub-{subject}/ses-{session}/register/metrics.json",
    log:
        "logs/{study}/sub-{subject}/ses-{session}/register.log",
    benchmark:
        "benchmarks/{study}/sub-{subject}/ses-{session}/register.tsv"
    conda:
        "../../envs/medpipe.yaml"
    resources:
        gpu=1 if CONFIG.device == "cuda" else 0,
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        out=lambda wildcards, output: os.path.dirname(output.jacobian),
        command=register_command,
        options=options("register_"),
        device=CONFIG.device,
        seed=lambda wildcards: CONFIG.studies[wildcards.study].seed,
        version=BLOCK_VERSIONS["register"],
    shell:
        "medpipe {params.command} --fixed-mask {input.mask:q} {params.options}"
        " --device {params.device} --seed {params.seed} --out {params.out:q} --threads {threads}"
        " > {log:q} 2>&1"
