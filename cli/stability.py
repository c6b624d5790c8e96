"""`medpipe stability`: features of perturbed images, and how far repeated features agree."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from cli.common import Quiet, Seed, beside, numbers, set_up
from pipeline.errors import MedpipeError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.radiomics.stability.repeats import Repeats

app = typer.Typer(
    help="Which features hold when scan, position or outline is repeated.", no_args_is_help=True
)


@app.command()
def perturb(
    images: Annotated[
        Path,
        typer.Argument(
            help="Table, a row per region: subject, image, mask, and as wanted session, contrast,"
            " label; paths relative to the table."
        ),
    ],
    chain: Annotated[
        str, typer.Option(help="Of noise,translate,rotate,grow,contour; or letters: NTVC, NTRVC.")
    ] = "noise,translate,grow,contour",
    repeats: Annotated[int, typer.Option(min=2, help="Perturbations of each region.")] = 30,
    noise_sd: Annotated[
        float | None, typer.Option(help="Of the noise. Default: that of the image, estimated.")
    ] = None,
    translations_voxels: Annotated[
        str, typer.Option(help="Shifts along each axis, in voxels.")
    ] = "0.25,0.75",
    angles_deg: Annotated[str, typer.Option(help="Angles of rotation.")] = "-12,-8,-4,4,8,12",
    rotation: Annotated[
        Literal["in_plane", "3d"], typer.Option(help="Within the slices, or round any axis.")
    ] = "in_plane",
    volume_fractions: Annotated[
        str, typer.Option(help="Growth of the region: 0.1 is 10 % more volume.")
    ] = "-0.2,-0.1,0.1,0.2",
    supervoxel_mm3: Annotated[
        float, typer.Option(help="Volume of the supervoxels that make up new outlines.")
    ] = 250.0,
    kind: Annotated[
        Literal["subtraction", "jacobian", "mr", "ct"],
        typer.Option(help="Preset of `medpipe radiomics`."),
    ] = "mr",
    bin_width: Annotated[float | None, typer.Option(help="Instead of the preset's.")] = None,
    bin_count: Annotated[int | None, typer.Option(help="Grey levels, instead of a width.")] = None,
    classes: Annotated[
        str, typer.Option(help="Feature classes.")
    ] = "shape,firstorder,glcm,glrlm,glszm,gldm",
    filters: Annotated[
        str,
        typer.Option("--images", help="Image types: original,wavelet,log,gradient,lbp2d,lbp3d."),
    ] = "original",
    log_sigma: Annotated[str, typer.Option(help="Widths in mm, for log: 1,2,3.")] = "",
    spacing_mm: Annotated[
        float, typer.Option(min=0, help="Resample to this grid as well; 0 keeps the voxels.")
    ] = 0.0,
    interpolation: Annotated[str, typer.Option(help="Of the image.")] = "bspline3",
    min_voxels: Annotated[int, typer.Option(min=1, help="Fewer voxels are too small.")] = 8,
    canonical: Annotated[
        bool, typer.Option("--canonical", help="Bring voxels to LPS order first.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: IMAGES_perturbed.tsv beside the table.")
    ] = None,
    cores: Annotated[
        int, typer.Option(min=0, help="Processes, one thread each; 0: all cores. Same bytes.")
    ] = 0,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Measure the features of every region under perturbations of its image and outline.

    A row for each perturbation, its levels beside the features. What is finished is kept in
    OUT.parts and not measured again. The bytes do not depend on the number of cores.

    Example: medpipe stability perturb images.tsv --chain NTVC --repeats 30 --kind ct
    """
    set_up(1, quiet)
    from cli.stability_rows import Request, measure_all, read_regions
    from pipeline.io import write_table
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.stability.chain import Chain, parse_steps, perturbations

    asked = Chain(
        steps=parse_steps(chain),
        noise_sd=noise_sd,
        translations_voxels=numbers(translations_voxels, "--translations-voxels"),
        angles_deg=numbers(angles_deg, "--angles-deg"),
        rotation=rotation,
        volume_fractions=numbers(volume_fractions, "--volume-fractions"),
        supervoxel_mm3=supervoxel_mm3,
    )
    request = Request(
        chain=asked,
        perturbations=tuple(perturbations(asked, repeats=repeats, seed=seed)),
        kind=kind,
        bin_width=bin_width,
        bin_count=bin_count,
        classes=tuple(classes.split(",")),
        spacing_mm=spacing_mm or None,
        interpolation=interpolation,
        min_voxels=min_voxels,
        canonical=canonical,
        images=filters,
        log_sigma=log_sigma,
    )
    request.profile()  # options without meaning stop here, before any image is read
    regions = read_regions(images)
    target = out or beside(images, "_perturbed.tsv")
    table = measure_all(regions, request, target.with_name(target.name + ".parts"), cores)
    write_table(target, table)
    write_sidecars(
        [target],
        block="radiomics",
        inputs=[images, *dict.fromkeys(p for r in regions for p in (r.image, r.mask))],
        settings=request.settings() | {"repeats": repeats},
        seed=seed,
        measured={"regions": len(regions), "rows": len(table)},
    )
    _tell_failures(table, target)
    typer.echo(f"{len(regions)} regions, {len(table)} rows: {target}")


@app.command("icc")
def icc_verb(
    features: Annotated[
        Path, typer.Argument(help="Table: subject, the repeat column, features (wide or long).")
    ],
    repeat_column: Annotated[
        str, typer.Option(help="Says which measurement a row is: perturbation, rater, session.")
    ] = "perturbation",
    model: Annotated[
        Literal["1,1", "2,1", "3,1"],
        typer.Option(help="1,1: no order; 2,1: raters agree; 3,1: raters rank alike."),
    ] = "1,1",
    unbalanced: Annotated[
        bool, typer.Option("--unbalanced", help="Keep subjects that lack a rating (model 1,1).")
    ] = False,
    thresholds: Annotated[
        str, typer.Option(help="Lower limits of the interval: stable, high.")
    ] = "0.75,0.9",
    columns: Annotated[
        str, typer.Option(help="Features: a,b. Default: every column named like one.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: FEATURES_stability.tsv beside it.")
    ] = None,
    figure: Annotated[bool, typer.Option(help="Also draw OUT.svg.")] = True,
    quiet: Quiet = False,
) -> None:
    """Tell for each feature how stable it is: ICC, interval, spread within subjects, verdict.

    Session, contrast and kind are kept apart, unless they are the repeat column (test-retest). A
    subject that lacks a rating of a feature is left out of that feature, and counted.

    Example: medpipe stability icc features_perturbed.tsv --model 1,1 --out stability.tsv
    """
    set_up(1, quiet)
    import pandas as pd

    from pipeline.io import read_table, write_bytes, write_table
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.stability.repeats import collect_repeats
    from pipeline.radiomics.stability.table import stability_table

    low, high = _pair(thresholds)
    groups = collect_repeats(
        read_table(features),
        repeat_column,
        features=[name for name in columns.split(",") if name] or None,
        source=str(features),
    )
    target = out or beside(features, "_stability.tsv")
    tables, written = [], [target]
    for group in groups:
        found = stability_table(group, model=model, thresholds=(low, high), unbalanced=unbalanced)
        if figure:
            path = _figure_path(target, group, len(groups))
            write_bytes(path, _draw(found, group, (low, high)))
            written.append(path)
        for place, (name, value) in enumerate(group.condition):
            found.insert(place, name, value)
        tables.append(found)
    table = pd.concat(tables, ignore_index=True)
    write_table(target, table)
    counts = {str(name): int(n) for name, n in table["verdict"].value_counts().items()}
    write_sidecars(
        written,
        block="radiomics",
        inputs=[features],
        settings={"repeat_column": repeat_column, "model": model, "unbalanced": unbalanced}
        | {"thresholds": [low, high], "columns": columns},
        measured=counts,
    )
    kept = counts.get("high", 0) + counts.get("stable", 0)
    typer.echo(f"{kept} of {len(table)} features stable: {target}")


def _pair(text: str) -> tuple[float, float]:
    from pipeline.errors import SettingsError

    found = numbers(text, "--thresholds")
    if len(found) != 2:
        raise SettingsError(f"--thresholds {text}: give two numbers, e.g. 0.75,0.9")
    return found[0], found[1]


def _figure_path(target: Path, group: "Repeats", groups: int) -> Path:
    """Return where a figure goes: beside the table, named by its session and contrast."""
    parts = [value for _, value in group.condition if value] if groups > 1 else []
    return target.with_name("_".join([target.stem, *parts]) + ".svg")


def _draw(found: "pd.DataFrame", group: "Repeats", thresholds: tuple[float, float]) -> bytes:
    from pipeline.report.stability_figure import stability_figure

    where = " ".join(value for _, value in group.condition if value)
    note = f"{where}: {len(group.repeats)} measurements" if where else ""
    return stability_figure(found, thresholds=thresholds, note=note)


def _tell_failures(table: "pd.DataFrame", target: Path) -> None:
    """Raise, when the table is in place, if a region could not be measured."""
    failed = cast(Any, table[table["status"] == "failed"]).drop_duplicates(["subject", "reason"])
    if len(failed):
        lines = [f"{row.subject}: {row.reason}" for row in failed.itertuples()]
        raise MedpipeError(
            f"{len(failed)} regions were not measured, see {target}:\n  " + "\n  ".join(lines)
        )
