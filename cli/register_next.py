"""`medpipe register-next`: one visit more, by way of the visit before."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import registration_options as options
from cli.common import Quiet, Threads, set_up
from cli.visit_files import read_course, registering, write_visit

if TYPE_CHECKING:
    from pipeline.registration.engine import RegistrationResult
    from pipeline.types import Volume


def register_next(
    fixed: Annotated[Path, typer.Argument(help="Image of the reference visit.")],
    before: Annotated[Path, typer.Argument(help="Image of the visit before.")],
    moving: Annotated[Path, typer.Argument(help="Image of the new visit.")],
    known: Annotated[
        Path, typer.Option(help="Folder with the registration of the visit before to the fixed.")
    ],
    out: Annotated[Path, typer.Option(help="Folder.")],
    fixed_mask: Annotated[
        Path | None,
        typer.Option(help="Region on the fixed image: the Jacobian is reported inside it."),
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
    """Register a new visit to the one before; compose with the map that is known already.

    Writes the files of `medpipe register`, from the fixed image to the moving one, and
    step_jacobian.nii.gz: the change since the visit before, on that visit's grid.

    Example: medpipe register-next ses-1.nii.gz ses-2.nii.gz ses-3.nii.gz
    --known ses-2_to_ses-1 --out ses-3_to_ses-1
    """
    set_up(threads, quiet)
    options.limit_threads(threads, engine)
    from pipeline.provenance import write_sidecars
    from pipeline.registration.engine import Pair, load_engine
    from pipeline.registration.visits import Visit, one_more

    settings = options.settings_from(
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
    )
    load_engine(engine)
    files = [fixed, before, moving]
    course = read_course(files, 0, fixed_mask, [], phase_time_s, settings)
    result, step = one_more(
        Pair(course.common, course.images[2], course.mask),
        course.images[1],
        read_registration(known, course.common, fixed, course.images[1], before),
        registering(engine, settings, dict(zip(map(id, course.images), files, strict=True))),
    )
    outputs = write_visit(
        out, Visit(2, result, step), course, course.images[2], None, pictures=pictures
    )
    write_sidecars(
        outputs,
        block="register",
        inputs=[*files, *([fixed_mask] if fixed_mask else []), known / "displacement.nii.gz"],
        settings={"engine": engine, "phase_time_s": phase_time_s, **asdict(settings)},
        seed=seed,
        measured=result.metrics,
    )
    typer.echo(str(out))


def read_registration(
    folder: Path, fixed: "Volume", fixed_path: Path, moving: "Volume", moving_path: Path
) -> "RegistrationResult":
    """Read what `medpipe register` wrote; it must be of these two images."""
    from pipeline.errors import GeometryError
    from pipeline.geometry import same_grid
    from pipeline.io import read_affine, read_field, read_json, read_volume
    from pipeline.registration.engine import RegistrationResult

    displacement, inverse = (
        read_field(folder / f"{name}.nii.gz") for name in ("displacement", "inverse")
    )
    for field, image, path in ((displacement, fixed, fixed_path), (inverse, moving, moving_path)):
        if not same_grid(image.grid, field.grid):
            raise GeometryError(
                f"{folder}: its fields do not lie on the grid of {path}; give the folder of "
                f"`medpipe register {fixed_path} {moving_path}`"
            )
    return RegistrationResult(
        read_affine(folder / "affine.tfm"),
        displacement,
        inverse,
        read_volume(folder / "jacobian.nii.gz"),
        read_json(folder / "metrics.json"),
    )
