"""`medpipe preprocess`: bias field, canonical orientation, grid and intensities."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.common import Quiet, Threads, beside, numbers, set_up
from pipeline.errors import GeometryError, SettingsError

if TYPE_CHECKING:
    from pipeline.preprocess.chain import Preprocessed, PreprocessOptions
    from pipeline.preprocess.normalise import NyulStandard
    from pipeline.types import Series, Volume

_NORMALISATIONS = ("none", "zscore", "percentile", "ct-window", "nyul")
_MASK_METHODS = ("nearest", "label-gaussian")


def preprocess(
    image: Annotated[
        list[Path],
        typer.Argument(
            help="One image (3-D, 4-D, or a DICOM folder, also of several phases), or the phases "
            "of one session in order."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Result. Default: STEM_preprocessed.nii.gz.")
    ] = None,
    time_s: Annotated[
        str, typer.Option(help="Seconds after injection, one per image: 0,90,180.")
    ] = "",
    mask: Annotated[
        Path | None,
        typer.Option(help="Tissue, for N4 (default: Otsu) and normalisation (default: all)."),
    ] = None,
    out_mask: Annotated[Path | None, typer.Option(help="Where the resampled mask goes.")] = None,
    canonical: Annotated[
        bool, typer.Option(help="Turn axes towards LPS, no voxel changed.")
    ] = True,
    keep_orientation: Annotated[
        bool, typer.Option("--keep-orientation", help="Turn the result back to the input's axes.")
    ] = False,
    n4: Annotated[bool, typer.Option(help="N4 bias field correction; one field a session.")] = True,
    n4_shrink: Annotated[int, typer.Option(help="Estimate on every n-th voxel.")] = 4,
    n4_levels: Annotated[int, typer.Option(help="Levels of the field's B-spline.")] = 4,
    n4_iterations: Annotated[int, typer.Option(help="Most iterations on each level.")] = 50,
    n4_convergence: Annotated[
        float, typer.Option(help="Change of the field that ends a level.")
    ] = 0.001,
    n4_control_points: Annotated[int, typer.Option(help="Control points per axis, level 1.")] = 4,
    out_bias_field: Annotated[Path | None, typer.Option(help="Keep the bias field here.")] = None,
    spacing_mm: Annotated[
        str, typer.Option(help="New spacing: one number or three; 0 keeps the grid.")
    ] = "1.0",
    like: Annotated[Path | None, typer.Option(help="Resample onto the grid of this image.")] = None,
    interpolation: Annotated[
        str,
        typer.Option(
            help="nearest, linear, bspline1 to bspline5, hamming, cosine, welch, lanczos, blackman."
        ),
    ] = "bspline3",
    anti_alias: Annotated[
        bool, typer.Option(help="Blur first along axes that get coarser.")
    ] = True,
    clamp: Annotated[
        str, typer.Option(help="Overshoot: none, or within the global or local input range.")
    ] = "global",
    sinc_radius: Annotated[int, typer.Option(help="Voxels on each side that a sinc sees.")] = 5,
    outside: Annotated[float, typer.Option(help="Value outside the field of view.")] = 0.0,
    mask_method: Annotated[str, typer.Option(help="nearest or label-gaussian.")] = "nearest",
    as_mask: Annotated[
        bool, typer.Option("--as-mask", help="IMAGE is a mask: only turn and resample its labels.")
    ] = False,
    onto_first: Annotated[
        bool, typer.Option("--onto-first", help="Resample phases onto the grid of the first.")
    ] = False,
    normalise: Annotated[
        str, typer.Option(help="none, zscore, percentile, ct-window or nyul.")
    ] = "none",
    percentiles: Annotated[
        str, typer.Option(help="For percentile: these become 0 and 1.")
    ] = "1,99",
    window_centre_hu: Annotated[float, typer.Option(help="For ct-window.")] = 40.0,
    window_width_hu: Annotated[float, typer.Option(help="For ct-window.")] = 400.0,
    nyul_standard: Annotated[Path | None, typer.Option(help="For nyul: learned standard.")] = None,
    fit_nyul: Annotated[
        Path | None,
        typer.Option(help="Only learn Nyúl's standard from the images as they are; write it here."),
    ] = None,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Correct the bias field, turn to canonical axes, resample, normalise.

    Several images, or one file or folder with several phases, become one 4-D series: one bias
    field and one normalisation, both fitted on the image before contrast.

    Example: medpipe preprocess s0.nii.gz s1.nii.gz s2.nii.gz --time-s 0,90,180 --out dce.nii.gz
    """
    set_up(threads, quiet)
    import SimpleITK as sitk

    from pipeline.io import read_series
    from pipeline.preprocess.bias import N4Settings
    from pipeline.preprocess.chain import PreprocessOptions
    from pipeline.preprocess.chain import preprocess as run

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    if fit_nyul is not None:
        _learn_nyul(image, fit_nyul)
        return
    field_settings = N4Settings(
        n4_shrink, n4_levels, n4_iterations, n4_convergence, n4_control_points
    )
    options = PreprocessOptions(
        canonical=canonical,
        n4=field_settings if n4 and not as_mask else None,
        spacing_mm=_spacing(spacing_mm) if like is None else None,
        interpolation=cast(Any, interpolation),
        anti_alias=anti_alias,
        clamp=cast(Any, clamp),
        sinc_radius=sinc_radius,
        outside=outside,
        mask_method=cast(Any, _one_of(mask_method, _MASK_METHODS, "--mask-method")),
        normalise=cast(
            Any, _one_of("none" if as_mask else normalise, _NORMALISATIONS, "--normalise")
        ),
        percentiles=_pair(percentiles),
        window_centre_hu=window_centre_hu,
        window_width_hu=window_width_hu,
        nyul=_read_nyul(nyul_standard),
        keep_orientation=keep_orientation,
    )
    if out_mask is not None and mask is None:
        raise SettingsError("--out-mask needs --mask: there is no mask to resample")
    if out_bias_field is not None and options.n4 is None:
        raise SettingsError("--out-bias-field needs --n4: there is no field to keep")
    if as_mask and (mask is not None or len(image) > 1):
        raise SettingsError("--as-mask takes one IMAGE, the mask, and no --mask")
    series = (
        _read_labels(image[0])
        if as_mask
        else _read(image, time_s, onto_first=onto_first, options=options)
    )
    done = run(
        series,
        mask=_read_mask(mask, series, image[0]) if mask is not None else None,
        target=read_series(like).grid if like is not None else None,
        options=options,
        labels=as_mask,
    )
    target = out or beside(image[0], "_preprocessed.nii.gz")
    inputs = [*image, *(path for path in (mask, like, nyul_standard) if path is not None)]
    _write(done, series, options, inputs, target, out_mask, out_bias_field)
    typer.echo(str(target))


def _read(
    paths: list[Path], time_s: str, *, onto_first: bool, options: "PreprocessOptions"
) -> "Series":
    """Read one file or folder, or several images on one grid."""
    from pipeline.geometry import same_grid
    from pipeline.io import read_series, read_volume
    from pipeline.preprocess.chain import stack
    from pipeline.preprocess.resample import resample

    times = numbers(time_s, "--time-s") if time_s else ()
    if len(paths) == 1:
        return read_series(paths[0], time_s=times or None)
    volumes = [read_volume(path) for path in paths]
    if onto_first:
        first = volumes[0].grid
        volumes = [
            v if same_grid(first, v.grid) else resample(v, first, kind=options.interpolation)
            for v in volumes
        ]
    try:
        return stack(volumes, [str(path) for path in paths], times)
    except GeometryError as error:
        raise GeometryError(
            f"{error}, or resample onto the first phase with --onto-first"
        ) from None


def _read_labels(path: Path) -> "Series":
    """Read a mask or label image as a series of one."""
    from pipeline.io import read_mask, read_volume
    from pipeline.types import Series

    dicom = path.is_dir() or path.suffix.lower() == ".dcm"
    labels = read_mask(path) if dicom else read_volume(path)
    return Series(labels.data[..., None], labels.grid, (0.0,))


def _read_mask(path: Path, series: "Series", image: Path) -> "Volume":
    from pipeline.grid_difference import check_same_grid
    from pipeline.io import read_mask

    mask = read_mask(path, like=series.grid)
    check_same_grid(series.grid, mask.grid, (str(image), str(path)))
    return mask


def _write(
    done: "Preprocessed",
    series: "Series",
    options: "PreprocessOptions",
    inputs: list[Path],
    out: Path,
    out_mask: Path | None,
    out_bias_field: Path | None,
) -> None:
    from dataclasses import asdict

    from pipeline.io import write_series, write_volume
    from pipeline.provenance import write_sidecars

    if len(done.series.time_s) == 1:
        write_volume(out, done.series.image(0))
    else:
        write_series(out, done.series)
    written = [out]
    extras: list[tuple[Path | None, Volume | None]] = [
        (out_mask, done.mask), (out_bias_field, done.bias_field)
    ]  # fmt: skip
    for path, volume in extras:
        if path is not None and volume is not None:
            write_volume(path, volume)
            written.append(path)
    write_sidecars(
        written,
        block="preprocess",
        inputs=inputs,
        settings=asdict(options),
        measured={
            "time_s": done.series.time_s,
            "reference_time_point": done.reference,
            "shape_in": series.grid.shape,
            "spacing_in_mm": series.grid.spacing_mm,
            "shape_out": done.series.grid.shape,
            "spacing_out_mm": done.series.grid.spacing_mm,
            "bias_field_range": _range(done.bias_field),
            "intensity_map": asdict(done.intensities) if done.intensities else None,
        },
    )


def _learn_nyul(paths: list[Path], target: Path) -> None:
    """Learn Nyúl's standard histogram from training images and write it as JSON."""
    from dataclasses import asdict

    from pipeline.io import read_series, write_json
    from pipeline.preprocess.chain import reference_index
    from pipeline.preprocess.normalise import fit_nyul
    from pipeline.provenance import write_sidecars

    read = [read_series(path) for path in paths]
    standard = fit_nyul([series.data[..., reference_index(series)] for series in read])
    write_json(target, asdict(standard))
    write_sidecars([target], block="preprocess", inputs=paths, settings={"fit": "nyul"})
    typer.echo(str(target))


def _read_nyul(path: Path | None) -> "NyulStandard | None":
    if path is None:
        return None
    from pipeline.io import read_json
    from pipeline.preprocess.normalise import NyulStandard

    stored = read_json(path)
    try:
        percentile = tuple(float(v) for v in stored["percentile"])
        landmark = tuple(float(v) for v in stored["landmark"])
    except (KeyError, TypeError, ValueError):
        raise SettingsError(
            f"{path}: not a Nyúl standard (percentile and landmark, both lists of numbers); "
            "make one with --fit-nyul"
        ) from None
    if len(percentile) != len(landmark) or len(percentile) < 2:
        raise SettingsError(
            f"{path}: {len(percentile)} percentiles and {len(landmark)} landmarks; make the "
            "standard again with --fit-nyul"
        )
    return NyulStandard(percentile, landmark)


def _range(field: "Volume | None") -> tuple[float, float] | None:
    return None if field is None else (float(field.data.min()), float(field.data.max()))


def _spacing(text: str) -> tuple[float, float, float] | None:
    values = numbers(text, "--spacing-mm")
    if values == (0.0,):
        return None
    if len(values) == 1:
        values = values * 3
    if len(values) != 3:
        raise SettingsError(f"--spacing-mm {text}: give one number or three, in mm")
    return values[0], values[1], values[2]


def _pair(text: str) -> tuple[float, float]:
    values = numbers(text, "--percentiles")
    if len(values) != 2:
        raise SettingsError(f"--percentiles {text}: give two numbers, e.g. 1,99")
    return values[0], values[1]


def _one_of(value: str, choices: tuple[str, ...], flag: str) -> str:
    if value not in choices:
        raise SettingsError(f"{flag} {value} is unknown; choose one of {', '.join(choices)}")
    return value
