"""`medpipe dce`: subtraction image and enhancement maps of a contrast series."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cli.common import Quiet, Threads, numbers, set_up, stem


def dce(
    series: Annotated[Path, typer.Argument(help="4-D series, or a DICOM folder of phases.")],
    mask: Annotated[
        Path | None, typer.Option(help="Tumour, for the choice of the phase; may be empty.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: STEM_dce.")] = None,
    phase: Annotated[
        str, typer.Option(help="Phase to subtract S0 from: max-mean, third or nearest-time.")
    ] = "max-mean",
    phase_time_s: Annotated[
        float, typer.Option(help="For nearest-time, and for an empty mask.")
    ] = 180.0,
    floor_fraction: Annotated[
        float,
        typer.Option(help="Ratios are 0 where S0 is at or below this part of its 95th percentile."),
    ] = 0.2,
    within: Annotated[
        Path | None, typer.Option(help="Breast mask: its box limits that percentile.")
    ] = None,
    time_s: Annotated[
        str, typer.Option(help="Seconds after injection, one per phase, when the file has none.")
    ] = "",
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Subtract S0 from the phase of greatest enhancement; map the early enhancement.

    Writes subtraction.nii.gz, early_enhancement.nii.gz (percent), phase.json and, with two
    phases after contrast, signal_enhancement_ratio.nii.gz.

    Example: medpipe dce dce.nii.gz --mask tumour.nii.gz --out dce
    """
    set_up(threads, quiet)
    from dataclasses import asdict

    from pipeline.grid_difference import check_same_grid
    from pipeline.io import read_mask, read_series, write_json, write_volume
    from pipeline.preprocess.dce import (
        choose_phase,
        early_enhancement,
        s0_floor,
        signal_enhancement_ratio,
        subtraction,
    )
    from pipeline.provenance import write_sidecars

    images = read_series(series, time_s=numbers(time_s, "--time-s") if time_s else None)
    regions = []
    for path in (mask, within):
        region = read_mask(path, like=images.grid) if path is not None else None
        if region is not None:
            check_same_grid(images.grid, region.grid, (str(series), str(path)))
        regions.append(region.data != 0 if region is not None else None)
    choice = choose_phase(images, regions[0], rule=cast(Any, phase), time_s=phase_time_s)
    floor = s0_floor(images, region=regions[1], fraction=floor_fraction)
    maps = {
        "subtraction": subtraction(images, choice),
        "early_enhancement": early_enhancement(images, floor=floor),
    }
    if len(images.time_s) - choice.pre_index > 2:
        maps["signal_enhancement_ratio"] = signal_enhancement_ratio(images, floor=floor)
    folder = out or series.resolve().parent / f"{stem(series.resolve())}_dce"
    for name, volume in maps.items():
        write_volume(folder / f"{name}.nii.gz", volume)
    record = {**asdict(choice), "s0_floor": floor}
    write_json(folder / "phase.json", record)
    write_sidecars(
        [folder / f"{name}.nii.gz" for name in maps],
        block="dce",
        inputs=[path for path in (series, mask, within) if path is not None],
        settings={
            "phase": phase,
            "phase_time_s": phase_time_s,
            "floor_fraction": floor_fraction,
            "time_s": images.time_s,
        },
        measured=record,
    )
    typer.echo(str(folder))
