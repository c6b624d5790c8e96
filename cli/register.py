"""`medpipe register`: map a moving image onto a fixed one; field, inverse, Jacobian map."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.common import Quiet, Seed, Threads, set_up, stem

if TYPE_CHECKING:
    from pipeline.registration.engine import RegistrationResult
    from pipeline.types import Volume


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
    phase_time_s: Annotated[
        float, typer.Option(help="Of a 4-D series, the phase nearest to this time is used.")
    ] = 180.0,
    engine: Annotated[str, typer.Option(help="simpleitk.")] = "simpleitk",
    deformable: Annotated[
        str, typer.Option(help="After the affine stage: bspline, demons or none.")
    ] = "bspline",
    affine_metric: Annotated[
        str, typer.Option(help="Of the affine stage: correlation or mutual-information.")
    ] = "correlation",
    grid_mm: Annotated[float, typer.Option(help="Knot distance of the B-spline.")] = 8.0,
    bending_mm2: Annotated[
        float, typer.Option(help="Weight of bending; more gives a smoother map.")
    ] = 0.3,
    match_window_mm: Annotated[
        float, typer.Option(help="Window in which intensities are matched; SD.")
    ] = 5.0,
    reach_mm: Annotated[
        float, typer.Option(help="How far the map reaches into matter without contrast.")
    ] = 20.0,
    compare_within: Annotated[
        str, typer.Option(help="Compare the images everywhere (image) or near the mask (mask).")
    ] = "image",
    mask_margin_mm: Annotated[
        float, typer.Option(help="For --compare-within mask: how near.")
    ] = 10.0,
    align_centres: Annotated[
        bool, typer.Option("--align-centres", help="Accept images that lie apart.")
    ] = False,
    inverse_consistency: Annotated[
        bool, typer.Option(help="Also register the other way round and measure the difference.")
    ] = True,
    seed: Seed = 20210322,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Align rigidly, affinely, then deformably; write the map and the local volume change.

    Writes displacement.nii.gz (fixed to moving, mm, LPS, affine part included), inverse.nii.gz
    (moving to fixed), warped.nii.gz, jacobian.nii.gz (moving over fixed volume: below 1 is
    shrinkage), affine.tfm and metrics.json.

    Example: medpipe register baseline.nii.gz followup.nii.gz --fixed-mask tumour.nii.gz
    """
    set_up(threads, quiet)
    from dataclasses import asdict

    import SimpleITK as sitk

    from pipeline.io import read_mask
    from pipeline.provenance import write_sidecars
    from pipeline.registration import engine as engines

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    settings = engines.RegistrationSettings(
        deformable=cast(Any, deformable),
        affine_metric=cast(Any, affine_metric),
        grid_mm=grid_mm,
        bending_mm2=bending_mm2,
        match_window_mm=match_window_mm,
        reach_mm=reach_mm,
        compare_within=cast(Any, compare_within),
        mask_margin_mm=mask_margin_mm,
        align_centres=align_centres,
        inverse_consistency=inverse_consistency,
        seed=seed,
    )
    engines.load_engine(engine)
    images = {name: _read(path, phase_time_s) for name, path in (("fixed", fixed),
                                                                 ("moving", moving))}  # fmt: skip
    masks = [None if path is None else read_mask(path) for path in (fixed_mask, moving_mask)]
    result = engines.register(
        images["fixed"][0],
        images["moving"][0],
        engine=engine,
        settings=settings,
        fixed_mask=masks[0],
        moving_mask=masks[1],
    )
    folder = out or moving.resolve().parent / f"{stem(moving.resolve())}_to_{stem(fixed.resolve())}"
    phases = {f"{name}_time_s": time for name, (_, time) in images.items() if time is not None}
    outputs = _write(folder, result, images["moving"][0], phases)
    write_sidecars(
        outputs,
        block="register",
        inputs=[p for p in (fixed, moving, fixed_mask, moving_mask) if p is not None],
        settings={"engine": engine, "phase_time_s": phase_time_s, **asdict(settings)},
        seed=seed,
        measured={**phases, **result.metrics},
    )
    typer.echo(str(folder))


def _read(path: Path, phase_time_s: float) -> tuple["Volume", float | None]:
    """Return the image, or the nearest phase of a series and its time."""
    from pipeline.io import read_series

    series = read_series(path)
    if len(series.time_s) == 1:
        return series.image(0), None
    nearest = min(range(len(series.time_s)), key=lambda i: abs(series.time_s[i] - phase_time_s))
    return series.image(nearest), float(series.time_s[nearest])


def _write(
    folder: Path, result: "RegistrationResult", moving: "Volume", phases: dict[str, float]
) -> list[Path]:
    from pipeline.io import write_affine, write_field, write_json, write_volume
    from pipeline.registration.fields import warp

    warped = warp(moving, result.displacement, outside=float(moving.data.min()))
    write_field(folder / "displacement.nii.gz", result.displacement)
    write_field(folder / "inverse.nii.gz", result.inverse)
    write_volume(folder / "warped.nii.gz", warped)
    write_volume(folder / "jacobian.nii.gz", result.jacobian)
    write_affine(folder / "affine.tfm", result.affine)
    write_json(folder / "metrics.json", {**phases, **result.metrics})
    names = ("displacement.nii.gz", "inverse.nii.gz", "warped.nii.gz", "jacobian.nii.gz",
             "affine.tfm", "metrics.json")  # fmt: skip
    return [folder / name for name in names]
