"""`medpipe register`: map a moving image onto a fixed one; field, inverse, Jacobian map."""

from pathlib import Path
from typing import Annotated

import typer

from cli import registration_options as options
from cli.common import Quiet, Threads, set_up, stem


def register(
    fixed: Annotated[
        Path, typer.Argument(help="Image that stays, e.g. baseline; 3-D, 4-D or a DICOM folder.")
    ],
    moving: Annotated[Path, typer.Argument(help="Image that is mapped onto it, e.g. follow-up.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder. Default: MOVING_to_FIXED beside the moving image.")
    ] = None,
    fixed_mask: Annotated[
        Path | None,
        typer.Option(help="Region on the fixed image: the Jacobian is reported inside it."),
    ] = None,
    moving_mask: Annotated[
        Path | None,
        typer.Option(help="The region on the moving image: gives the ratio of the volumes."),
    ] = None,
    compare_fixed: Annotated[
        Path | None,
        typer.Option(help="Compare the images only inside this mask of the fixed image."),
    ] = None,
    compare_moving: Annotated[
        Path | None, typer.Option(help="torch only: and only inside this mask of the moving one.")
    ] = None,
    ignore_fixed: Annotated[
        Path | None,
        typer.Option(
            help="Do not compare inside this mask of the fixed image, e.g. a lesion that vanished."
        ),
    ] = None,
    ignore_moving: Annotated[
        Path | None,
        typer.Option(
            help="torch only: nor inside this mask of the moving image, e.g. a new lesion."
        ),
    ] = None,
    moving_labels: Annotated[
        Path | None, typer.Option(help="Labels of the moving image to carry over as well.")
    ] = None,
    phase_time_s: options.PhaseTime = 180.0,
    engine: options.Engine = "torch",
    deformable: options.Deformable = "auto",
    metric: options.Metric = "lncc",
    device: options.Device = "auto",
    affine_metric: options.AffineMetric = "correlation",
    grid_mm: options.GridMm = None,
    bending_mm: options.BendingMm = None,
    robust_per_mm: options.RobustPerMm = 0.010,
    match_window_mm: options.MatchWindowMm = 5.0,
    reach_mm: options.ReachMm = 20.0,
    compare_within: options.CompareWithin = "image",
    mask_margin_mm: options.MaskMarginMm = 10.0,
    align_centres: options.AlignCentres = False,
    inverse_consistency: options.InverseConsistency = True,
    pictures: options.Pictures = True,
    seed: options.Seed = 20210322,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Align rigidly, affinely, then deformably; write the map and the local volume change.

    Writes displacement.nii.gz (fixed to moving, mm, LPS, affine part included), inverse.nii.gz
    (moving to fixed), affine.tfm, warped.nii.gz, jacobian.nii.gz (moving over fixed volume:
    below 1 is shrinkage), jacobian_log.nii.gz (NaN where the map folds),
    inverse_consistency.nii.gz (mm), metrics.json and pictures; with --moving-labels also
    warped_labels.nii.gz.

    Example: medpipe register baseline.nii.gz followup.nii.gz --fixed-mask tumour.nii.gz
    """
    set_up(threads, quiet)
    options.limit_threads(threads, engine)
    from cli.registration_pair import PairFiles, register_pair

    folder = out or moving.resolve().parent / f"{stem(moving.resolve())}_to_{stem(fixed.resolve())}"
    register_pair(
        PairFiles(
            fixed,
            moving,
            fixed_mask,
            moving_mask,
            compare_fixed,
            compare_moving,
            ignore_fixed,
            ignore_moving,
            moving_labels,
        ),
        folder,
        engine=engine,
        settings=options.settings_from(
            deformable=deformable,
            metric=metric,
            device=device,
            affine_metric=affine_metric,
            grid_mm=grid_mm,
            bending_mm=bending_mm,
            robust_per_mm=robust_per_mm,
            match_window_mm=match_window_mm,
            reach_mm=reach_mm,
            compare_within=compare_within,
            mask_margin_mm=mask_margin_mm,
            align_centres=align_centres,
            inverse_consistency=inverse_consistency,
            seed=seed,
        ),
        phase_time_s=phase_time_s,
        pictures=pictures,
    )
    typer.echo(str(folder))
