"""`medpipe radiomics-ibsi`: the IBSI-1 features of one region of one image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.common import Quiet, Threads, beside, numbers, set_up
from pipeline.errors import EmptyRegionError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.radiomics.ibsi.measure import Measured
    from pipeline.radiomics.ibsi.settings import IbsiSettings


def radiomics_ibsi(
    image: Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MetaImage, DICOM folder.")],
    mask: Annotated[Path, typer.Argument(help="Region, on the grid of the image.")],
    out: Annotated[
        Path | None, typer.Option(help="Wide row. Default: IMAGE_ibsi.tsv beside the image.")
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="Also a table with a row per feature: OUT_long.tsv.")
    ] = False,
    configuration: Annotated[
        Literal["A", "B", "C", "D", "E", "digital"] | None,
        typer.Option(help="Of IBSI's CT phantom, or of its digital phantom; sets all below."),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(help="New voxels in mm, e.g. 2,2,2; 0 keeps an axis.")
    ] = None,
    interpolation: Annotated[
        Literal["linear", "cubic"], typer.Option(help="Of the image; the mask is linear.")
    ] = "linear",
    mask_threshold: Annotated[
        float, typer.Option(help="Share of the region from which a new voxel belongs to it.")
    ] = 0.5,
    rounding: Annotated[
        bool, typer.Option(help="Round interpolated intensities to whole numbers, as for CT.")
    ] = True,
    by_slice: Annotated[
        bool, typer.Option("--by-slice", help="Texture in 2-D and 2.5-D instead of 3-D.")
    ] = False,
    resegment: Annotated[
        str | None, typer.Option(help="Only these intensities count, e.g. -1000,400.")
    ] = None,
    outliers: Annotated[
        float | None, typer.Option(help="Only intensities within so many deviations count.")
    ] = None,
    bin_width: Annotated[float | None, typer.Option(help="Width of a grey level.")] = None,
    bin_count: Annotated[int | None, typer.Option(help="Number of grey levels.")] = None,
    volume_bin_width: Annotated[
        float | None, typer.Option(help="Width of a bin of the intensity-volume histogram.")
    ] = None,
    volume_bin_count: Annotated[
        int | None, typer.Option(help="Number of its bins. Default: the intensities themselves.")
    ] = None,
    label: Annotated[int | None, typer.Option(help="Label of the mask. Default: not 0.")] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="An empty region gives a row, not an error.")
    ] = False,
    subject: Annotated[str, typer.Option(help="Written into the row.")] = "",
    session: Annotated[str, typer.Option(help="Written into the row.")] = "",
    contrast: Annotated[str, typer.Option(help="Written into the row.")] = "",
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Measure the features of the Image Biomarker Standardisation Initiative, part 1.

    Columns have the tags of IBSI's reference files; --long adds a table with codes and units.

    Example: medpipe radiomics-ibsi ct.nii.gz tumour.nii.gz --spacing 2,2,2
    --resegment -1000,400 --bin-width 25
    """
    set_up(threads, quiet)
    from pipeline.io import read_mask, read_volume
    from pipeline.radiomics.ibsi.settings import CONFIGURATIONS, DIGITAL_PHANTOM, IbsiSettings

    own = {
        "spacing_mm": _spacing(spacing),
        "interpolation": interpolation,
        "mask_threshold": mask_threshold,
        "round_intensities": rounding,
        "resegment": _range(resegment),
        "outlier_sigma": outliers,
        "bin_width": bin_width,
        "bin_count": bin_count,
        "volume_bin_width": volume_bin_width,
        "volume_bin_count": volume_bin_count,
        "dimensions": ("2D", "2_5D") if by_slice else ("3D",),
    }
    settings = IbsiSettings(**own)  # type: ignore[arg-type]
    if configuration is not None:
        if settings != IbsiSettings():
            raise SettingsError(
                f"--configuration {configuration} sets the preparation; leave the other options out"
            )
        settings = (CONFIGURATIONS | {"digital": DIGITAL_PHANTOM})[configuration]
    elif bin_width is None and bin_count is None:
        raise SettingsError("no grey levels: give --bin-width, --bin-count or --configuration")
    picture, region = read_volume(image), read_mask(mask, label=label)
    found = _measured(picture, region, settings, (str(image), str(mask)), allow_empty)
    ids = {"subject": subject, "session": session, "contrast": contrast}
    target = out or beside(image, "_ibsi.tsv")
    targets = [target] + ([target.with_name(f"{target.stem}_long.tsv")] if long else [])
    _write(targets, image, mask, label, ids, settings, found)
    typer.echo(f"{found.status}, {len(found.values)} values: {target}")


def _measured(
    picture: Any, region: Any, settings: "IbsiSettings", names: tuple[str, str], allow_empty: bool
) -> "Measured":
    import logging

    from pipeline.radiomics.ibsi.measure import empty, measure

    try:
        found = measure(picture, region, settings, names=names)
    except EmptyRegionError as error:
        if not allow_empty:
            raise EmptyRegionError(f"{error}, or ask with --allow-empty for a row") from None
        found = empty(settings, str(error).removeprefix(f"{names[1]}: "))
    if found.status != "ok":
        logging.getLogger(__name__).warning("%s: %s: %s", names[0], found.status, found.reason)
    return found


def _write(
    targets: list[Path],
    image: Path,
    mask: Path,
    label: int | None,
    ids: dict[str, str],
    settings: "IbsiSettings",
    found: "Measured",
) -> None:
    """Write the wide table, the long one where a second name is given, and their sidecars."""
    from dataclasses import asdict

    import pandas as pd

    from pipeline.io import write_table
    from pipeline.provenance import sha256, write_sidecars

    measured = {
        "grey_levels": found.grey_levels,
        "status": found.status,
        "reason": found.reason,
    }
    files = {
        "image": image.name,
        "mask": mask.name,
        "label": "" if label is None else str(label),
        "mask_sha256": sha256(mask),
    }
    write_table(targets[0], pd.DataFrame([ids | files | measured | found.values]))
    for path in targets[1:]:
        write_table(path, _long(ids, settings, found))
    write_sidecars(
        targets,
        block="radiomics",
        inputs=[image, mask],
        settings={"profile": "ibsi", **ids, "label": label, **asdict(settings)},
        measured=measured,
    )


def _long(ids: dict[str, str], settings: "IbsiSettings", found: "Measured") -> "pd.DataFrame":
    from dataclasses import asdict

    import pandas as pd

    from pipeline.radiomics.ibsi.registry import diagnostics, features

    register = (*diagnostics(), *features(settings.dimensions))
    rows = [ids | asdict(feature) | {"value": found.values[feature.tag]} for feature in register]
    return pd.DataFrame(rows)


def _spacing(text: str | None) -> tuple[float | None, ...] | None:
    if text is None:
        return None
    steps = numbers(text, "--spacing")
    if len(steps) != 3:
        raise SettingsError(f"--spacing {text}: give three numbers, e.g. 2,2,2; 0 keeps an axis")
    return tuple(step or None for step in steps)


def _range(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    ends = numbers(text, "--resegment")
    if len(ends) != 2:
        raise SettingsError(f"--resegment {text}: give the two ends, e.g. -1000,400")
    return ends
