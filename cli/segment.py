"""`medpipe segment`: the mask of a lesion in one image or contrast series."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.common import Quiet, Threads, beside, numbers, set_up
from cli.memory import memory_told
from cli.triples import whole_triple
from pipeline.errors import EmptyRegionError, SettingsError

if TYPE_CHECKING:
    from pipeline.segment.options import LesionOptions
    from pipeline.types import Geometry, Mask3D, Series

_METHODS = ("fcm",)
_FEATURES = ("enhancement", "intensity")


@memory_told("segmentation", "crop or resample the image first, or use a larger machine")
def segment(
    image: Annotated[Path, typer.Argument(help="Image or 4-D series (a file or DICOM folder).")],
    out: Annotated[
        Path | None, typer.Option(help="Mask. Default: STEM_segmentation.nii.gz.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="A mask drawn elsewhere: it wins, on the image's grid.")
    ] = None,
    label: Annotated[
        int | None, typer.Option(help="The label of --mask that counts. Default: all but 0.")
    ] = None,
    method: Annotated[str, typer.Option(help="fcm: spatial fuzzy C-means.")] = "fcm",
    seed_mm: Annotated[
        str,
        typer.Option(help="Point in the lesion, LPS mm: X,Y,Z. Default: the brightest blob."),
    ] = "",
    within: Annotated[Path | None, typer.Option(help="Organ in which the lesion lies.")] = None,
    feature: Annotated[
        str, typer.Option(help="Of a series: enhancement (phase - S0) or intensity (phase).")
    ] = "enhancement",
    phase: Annotated[
        int | None, typer.Option(help="Time point of a series, from 0. Default: by its time.")
    ] = None,
    phase_time_s: Annotated[
        float, typer.Option(help="Take the time point nearest to this, after injection.")
    ] = 180.0,
    time_s: Annotated[
        str, typer.Option(help="Seconds after injection, one per time point, if the file has none.")
    ] = "",
    clusters: Annotated[
        int, typer.Option(help="Clusters; from 3 on, one fewer is tried as well.")
    ] = 3,
    fuzzifier: Annotated[float, typer.Option(help="Fuzzifier m.")] = 2.0,
    membership_power: Annotated[float, typer.Option(help="Power p of a voxel's own say.")] = 1.0,
    spatial_power: Annotated[
        float, typer.Option(help="Power q of its 3x3x3 neighbours'; 0 for plain fuzzy C-means.")
    ] = 1.0,
    seed_box_mm: Annotated[
        float, typer.Option(help="Edge of the box round the seed that the lesion cannot leave.")
    ] = 100.0,
    seed_reach_mm: Annotated[
        float, typer.Option(help="How far beside the lesion the seed may lie.")
    ] = 10.0,
    opening_mm: Annotated[
        float, typer.Option(help="Attachments thinner than twice this go; 0 keeps them.")
    ] = 3.0,
    fill_planes: Annotated[
        bool, typer.Option("--fill-planes", help="Fill holes plane by plane as well.")
    ] = False,
    minimum_mm3: Annotated[float, typer.Option(help="Smaller regions are no lesion.")] = 100.0,
    minimum_contrast: Annotated[
        float, typer.Option(help="Regions that stand out less are no lesion (0 to 1).")
    ] = 0.4,
    minimum_enhancement: Annotated[
        float, typer.Option(help="Regions that rise by less of their S0 are no lesion.")
    ] = 0.5,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="No lesion is a result, not an error.")
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            help="Trained network: a name of `medpipe models`, a folder, or several "
            "with commas between (their mean)."
        ),
    ] = "",
    device: Annotated[str, typer.Option(help="Of networks: auto, cpu, cuda or cuda:N.")] = "auto",
    overlap: Annotated[
        float, typer.Option(help="Of networks: part of a window that the next one covers again.")
    ] = 0.5,
    window: Annotated[
        str,
        typer.Option(
            help="Of networks: voxels of a window, 64,64,64; smaller ones need less memory. "
            "Default: the model's patch."
        ),
    ] = "",
    mirror: Annotated[
        bool, typer.Option(help="Of networks: average over mirrored images as well.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Of networks: write entropy and spread too.")
    ] = False,
    largest_piece: Annotated[
        bool, typer.Option("--largest-piece", help="Of networks: one piece per label.")
    ] = False,
    piece_mm3: Annotated[
        float, typer.Option(help="Of networks: smaller pieces of a label go.")
    ] = 0.0,
    hole_mm3: Annotated[
        float, typer.Option(help="Of networks: holes in a label up to this size are filled.")
    ] = 0.0,
    dicom_seg: Annotated[
        Path | None, typer.Option(help="Of a DICOM series or enhanced image: DICOM SEG as well.")
    ] = None,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Find the lesion by spatial fuzzy C-means round a seed; a given mask or --model wins.

    Example: medpipe segment input.nii.gz --seed-mm=-12.5,40,8

    Example: medpipe segment t1.nii.gz --model hippocampus
    """
    set_up(threads, quiet)
    from cli.segment_network import (
        NetworkOptions,
        check_dicom,
        name_fitting_models,
        refuse_flags,
        segment_by_network,
        write_dicom,
    )

    check_dicom(image, dicom_seg, drawn=mask)
    if model and mask is None:
        network = NetworkOptions(
            models=model,
            device=device,
            overlap=overlap,
            window=whole_triple(window, "--window"),
            mirror=mirror,
            uncertainty=uncertainty,
            largest_piece=largest_piece,
            piece_mm3=piece_mm3,
            hole_mm3=hole_mm3,
            dicom_seg=dicom_seg,
            phase=phase,
            allow_empty=allow_empty,
            threads=threads,
        )
        with memory_told(str(image), network.less_memory):
            typer.echo(str(segment_by_network(image, out, network)[0]))
        return
    from dataclasses import asdict

    import numpy as np

    from pipeline.io import read_series, write_volume
    from pipeline.provenance import write_sidecars
    from pipeline.segment.options import LesionOptions
    from pipeline.types import Volume

    options = LesionOptions(
        feature=cast(Any, _one_of(feature, _FEATURES, "--feature")),
        phase=phase,
        phase_time_s=phase_time_s,
        clusters=clusters,
        fuzzifier=fuzzifier,
        membership_power=membership_power,
        spatial_power=spatial_power,
        seed_box_mm=seed_box_mm,
        seed_reach_mm=seed_reach_mm,
        opening_mm=opening_mm,
        fill_planes=fill_planes,
        minimum_mm3=minimum_mm3,
        minimum_contrast=minimum_contrast,
        minimum_enhancement=minimum_enhancement,
    )
    _one_of(method, _METHODS, "--method")
    point = _point(seed_mm)
    series = read_series(image, time_s=numbers(time_s, "--time-s") if time_s else None)
    if mask is not None:
        found, measured = _external(mask, label, series.grid)
    else:
        refuse_flags(
            {
                "--mirror": mirror,
                "--uncertainty": uncertainty,
                "--window": window,
                "--largest-piece": largest_piece,
                "--piece-mm3": piece_mm3,
                "--hole-mm3": hole_mm3,
            }
        )
        name_fitting_models(series.data)
        region = _on_grid(within, series.grid) if within is not None else None
        found, measured = _lesion(series, point, region, options)
    if measured["status"] == "empty" and not allow_empty:
        raise EmptyRegionError(
            f"{image}: no lesion: {measured['reason']}. To take that as a result and write an "
            "empty mask, add --allow-empty"
        )
    voxels = int(np.count_nonzero(found))
    measured |= {"voxels": voxels, "volume_mm3": voxels * series.grid.voxel_volume_mm3}
    target = out or beside(image, "_segmentation.nii.gz")
    written = [target]
    write_volume(target, Volume(found, series.grid))
    if dicom_seg is not None:
        on = measured.get("phase")
        write_dicom(
            dicom_seg, Volume(found, series.grid), image, {"lesion": 1}, "fuzzy C-means", on
        )
        written.append(dicom_seg)
    write_sidecars(
        written,
        block="segment",
        inputs=[path for path in (image, mask, within) if path is not None],
        settings={
            "method": method,
            "seed_mm": point,
            "label": label,
            "time_s": series.time_s,
            **asdict(options),
        },
        measured=measured,
    )
    typer.echo(str(target))


def _lesion(
    series: "Series",
    seed_mm: tuple[float, ...] | None,
    within: "Mask3D | None",
    options: "LesionOptions",
) -> tuple["Mask3D", dict[str, Any]]:
    from dataclasses import asdict

    from pipeline.segment.lesion import segment_lesion

    found, record = segment_lesion(series, seed_mm=seed_mm, within=within, options=options)
    return found, {"method": "spatial fuzzy C-means", **asdict(record)}


def _external(path: Path, label: int | None, grid: "Geometry") -> tuple["Mask3D", dict[str, Any]]:
    """Read a mask drawn elsewhere and bring it onto the grid of the image."""
    from dataclasses import asdict

    from pipeline.io import read_mask
    from pipeline.segment.postprocess import step_size

    drawn = read_mask(path, label=label)
    found = _on_grid(path, grid, label)
    empty = not found.any()
    steps = [step_size("drawn", drawn.data > 0, drawn.grid), step_size("on image", found, grid)]
    return found, {
        "method": "external",
        "status": "empty" if empty else "found",
        "reason": f"{path.name} holds no voxel inside the image" if empty else "",
        "steps": [asdict(step) for step in steps],
    }


def _on_grid(path: Path, grid: "Geometry", label: int | None = None) -> "Mask3D":
    """Read a mask and bring it onto the grid by the nearest voxel."""
    import numpy as np

    from pipeline.io import read_mask
    from pipeline.preprocess.resample import resample_mask

    mask = resample_mask(read_mask(path, label=label), grid)
    return np.asarray(mask.data > 0)


def _point(text: str) -> tuple[float, ...] | None:
    if not text:
        return None
    point = numbers(text, "--seed-mm")
    if len(point) != 3:
        raise SettingsError(f"--seed-mm {text}: give three numbers X,Y,Z in LPS mm")
    return point


def _one_of(value: str, allowed: tuple[str, ...], flag: str) -> str:
    if value not in allowed:
        raise SettingsError(f"{flag} {value}: unknown; use one of {', '.join(allowed)}")
    return value
