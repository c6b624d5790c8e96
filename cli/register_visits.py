"""`medpipe register-visits`: three sessions and more, to one of them or to their mean shape."""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli import registration_options as options
from cli.common import Quiet, Threads, set_up
from cli.visit_files import (
    read_course,
    registering,
    table_row,
    write_template,
    write_visit,
    write_visits_table,
)
from pipeline.errors import SettingsError


def register_visits(
    images: Annotated[list[Path], typer.Argument(help="One image per visit, in order of time.")],
    out: Annotated[Path, typer.Option(help="Folder; each visit gets one inside, ses-NAME.")],
    scheme: Annotated[
        Literal["reference", "sequence", "groupwise"],
        typer.Option(
            help="Each to the reference; each to the visit before, and the maps composed; or all "
            "to a template of their mean shape."
        ),
    ] = "reference",
    reference: Annotated[
        int, typer.Option(min=1, help="Which image is the reference; of a groupwise one, its grid.")
    ] = 1,
    mask: Annotated[
        Path | None,
        typer.Option(help="Region on the reference image: the Jacobian is reported inside it."),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="Labels to carry to the common space; repeat it, one per image."),
    ] = None,
    sessions: Annotated[
        str, typer.Option(help="Names of the visits with commas between. Default: 1,2,3,...")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="For groupwise: rounds, at most.")] = 4,
    within_mm: Annotated[
        float,
        typer.Option(help="For groupwise: settled when a round moves 95 % of it by less."),
    ] = 0.1,
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
    """Register the visits of one subject; every map goes from the common space to the visit.

    Each visit's folder holds the files of `medpipe register`; of a sequence also
    step_jacobian.nii.gz, the change since the visit before on that visit's grid. visits.tsv has
    the mean Jacobian in the region, visit after visit. A groupwise registration also writes
    template.nii.gz, with --mask template_mask.nii.gz, with --labels template_labels.nii.gz, and
    template_rounds.tsv: how far each round moved the template.

    Example: medpipe register-visits a.nii.gz b.nii.gz c.nii.gz --scheme sequence --mask roi.nii.gz
    --out visits
    """
    set_up(threads, quiet)
    options.limit_threads(threads, engine)
    from pipeline.provenance import write_sidecars
    from pipeline.registration import template as mean_shape
    from pipeline.registration import visits as several
    from pipeline.registration.engine import load_engine

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
        # The maps to a template are the mean's business; nobody reads that of each round.
        inverse_consistency=inverse_consistency and scheme != "groupwise",
        seed=seed,
    )
    load_engine(engine)
    names = session_names(sessions, len(images))
    course = read_course(images, reference - 1, mask, labels or [], phase_time_s, settings)
    register = registering(engine, settings, dict(zip(map(id, course.images), images, strict=True)))

    def sidecars(outputs: list[Path], measured: Mapping[str, Any]) -> None:
        write_sidecars(
            outputs,
            block="register",
            inputs=[*images, *([mask] if mask else []), *(labels or [])],
            settings={
                "engine": engine,
                "scheme": scheme,
                "reference": reference,
                "rounds": rounds,
                "within_mm": within_mm,
                "phase_time_s": phase_time_s,
                **asdict(settings),
            },
            seed=seed,
            measured=measured,
        )

    if scheme == "groupwise":
        template = mean_shape.groupwise(
            course.images,
            register,
            reference=reference - 1,
            mask=course.mask,
            most_rounds=rounds,
            within_mm=within_mm,
        )
        settled = {"change_mm": template.change_mm, "converged": template.converged}
        sidecars(write_template(out, template, course.labels), settled)
        course = replace(course, common=template.image, mask=template.mask)
        visits = mean_shape.to_template(template, course.images)
    else:
        run = several.to_reference if scheme == "reference" else several.in_sequence
        visits = run(course.images, register, reference=reference - 1, mask=course.mask)
    rows: dict[int, dict[str, Any]] = {}
    for visit in visits:
        folder = out / f"ses-{names[visit.index]}"
        labels_here = course.labels[visit.index] if course.labels else None
        image = course.images[visit.index]
        outputs = write_visit(folder, visit, course, image, labels_here, pictures=pictures)
        sidecars(outputs, visit.result.metrics)
        rows[visit.index] = table_row(visit)
    rows.setdefault(reference - 1, {"mean_jacobian": 1.0 if mask else None})
    ids = [{"session": n, "image": p.name} for n, p in zip(names, images, strict=True)]
    table = write_visits_table(out, [one | rows[n] for n, one in enumerate(ids)])
    sidecars([table], {})
    typer.echo(str(table))


def session_names(text: str, count: int) -> list[str]:
    """Return the names of the visits: those given, or their numbers."""
    names = [name.strip() for name in text.split(",")] if text else [*map(str, range(1, count + 1))]
    if len(names) != count or len({name.lower() for name in names}) < count:
        raise SettingsError(
            f"--sessions {text}: give each of the {count} images a name of its own, "
            "with commas between"
        )
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
            raise SettingsError(
                f"--sessions: {name!r} cannot name a folder; use 1 to 64 letters, digits, - or _, "
                "beginning with a letter or digit"
            )
    return names
