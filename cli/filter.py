"""`medpipe filter`: the response map of an IBSI filter, on the grid of the image."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.common import Quiet, beside, numbers, set_up
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.radiomics.ibsi_filters import FilterSettings, FilterTest
    from pipeline.types import Volume

_FILTERS = (
    "mean", "log", "laws", "gabor", "wavelet", "simoncelli", "shannon",
    "riesz-log", "riesz-simoncelli", "riesz-shannon",
)  # fmt: skip

#: Parameters of the verb that are no settings of a filter.
_NOT_SETTINGS = ("image", "kind", "test", "list_tests", "out", "quiet")


def filter(
    context: typer.Context,
    image: Annotated[
        Path | None,
        typer.Argument(help="Image: NIfTI, NRRD, MetaImage, DICOM folder. Default: the phantom "
                            "of --test, as built here."),
    ] = None,
    kind: Annotated[str | None, typer.Option("--filter", help=", ".join(_FILTERS) + ".")] = None,
    test: Annotated[
        str | None, typer.Option(help="Take the settings of an IBSI-2 benchmark: 3.a.1, 4.B, ...")
    ] = None,
    list_tests: Annotated[
        bool, typer.Option("--list-tests", help="Print the benchmarks and stop.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Map. Default: IMAGE_FILTER.nii.gz beside the image.")
    ] = None,
    boundary: Annotated[
        str | None, typer.Option(help="zero, nearest, periodic or mirror. Default: mirror.")
    ] = None,
    by_slice: Annotated[
        bool, typer.Option("--by-slice", help="Filter each slice (i, j) in 2D.")
    ] = False,
    support: Annotated[int | None, typer.Option(help="mean: odd number of voxels.")] = None,
    sigma_mm: Annotated[
        float | None, typer.Option(help="log, gabor, riesz-log: deviation of the Gaussian.")
    ] = None,
    cutoff: Annotated[
        float | None, typer.Option(help="log, gabor: the kernel ends at so many deviations (4).")
    ] = None,
    kernels: Annotated[
        str | None, typer.Option(help="laws: L5, E5, S5, W5, R5, L3, E3, S3 per axis, E5L5S5.")
    ] = None,
    energy_distance: Annotated[
        int | None, typer.Option(help="laws: Chebyshev distance of the energy map; 0 for none.")
    ] = None,
    rotation_invariant: Annotated[
        bool, typer.Option("--rotation-invariant", help="laws, wavelet: pool right-angle turns.")
    ] = False,
    pooling: Annotated[
        str | None, typer.Option(help="max, mean or min. Default: laws max, else mean.")
    ] = None,
    lambda_mm: Annotated[float | None, typer.Option(help="gabor: wavelength.")] = None,
    gamma: Annotated[float | None, typer.Option(help="gabor: aspect ratio (1).")] = None,
    theta_deg: Annotated[float | None, typer.Option(help="gabor: angle, or the first one.")] = None,
    delta_theta_deg: Annotated[
        float | None, typer.Option(help="gabor: steps of the angle, once round, pooled.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="wavelet: haar, db2, db3 or coif1.")
    ] = None,
    subband: Annotated[str | None, typer.Option(help="wavelet: L or H per axis, LLH.")] = None,
    level: Annotated[
        int | None, typer.Option(help="Wavelets: decomposition level, 1 the finest.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="riesz: order along i, j, k: 1,0,0.")
    ] = None,
    tensor_sigma_mm: Annotated[
        float | None, typer.Option(help="riesz: steer by the structure tensor of this scale.")
    ] = None,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Filter an image as the IBSI reference manual on convolutional filters says.

    Axes are those of the image array: i (columns), j (rows), k (slices). The map is float32.

    Example: medpipe filter ct.nii.gz --filter log --sigma-mm 3 --boundary mirror
    """
    set_up(1, quiet)
    if list_tests:
        _print_tests()
        return
    given = {
        name: value
        for name, value in context.params.items()
        if name not in _NOT_SETTINGS and value is not None and value is not False
    }
    benchmark = _benchmark(test, kind, given)
    settings = benchmark.settings if benchmark else _settings(kind, given)
    picture = _read(image, benchmark)
    target = out or _default_out(image, kind or str(test))
    _write(target, picture, settings, test, [image] if image else [])
    typer.echo(str(target))


def _benchmark(
    test: str | None, kind: str | None, given: dict[str, Any]
) -> "FilterTest | None":  # fmt: skip
    """Return the benchmark of `--test`; it allows no setting beside it."""
    from pipeline.radiomics.ibsi_filters import PHASE1, PHASE2

    if test is None:
        return None
    if kind is not None or given:
        flags = ["--filter"] * (kind is not None) + [_flag(name) for name in given]
        raise SettingsError(f"--test {test} fixes all settings; leave out {', '.join(flags)}")
    tests = PHASE1 | PHASE2
    if test not in tests:
        raise SettingsError(f"--test {test}: give one of {', '.join(tests)}")
    return tests[test]


def _settings(kind: str | None, given: dict[str, Any]) -> "FilterSettings":
    """Return the settings record of a filter from the flags that were given."""
    from pipeline.radiomics import ibsi_filters as filters

    if kind not in _FILTERS:
        raise SettingsError(f"--filter {kind}: give one of {', '.join(_FILTERS)}, or --test")
    if not kind.startswith("riesz-"):
        record, fixed = _record(kind)
        return cast("FilterSettings", _make(kind, record, given | fixed))
    record, fixed = _record(kind.removeprefix("riesz-"))
    own = {name: given[name] for name in ("sigma_mm", "cutoff", "level") if name in given}
    outer = {name: value for name, value in given.items() if name not in own}
    if "order" in outer:
        outer["order"] = _whole(outer["order"])
    outer["of"] = _make(kind, record, own | fixed)
    return cast("FilterSettings", _make(kind, filters.RieszSettings, outer))


def _record(kind: str) -> tuple[Any, dict[str, str]]:
    """Return the settings class of a filter and what its name already says."""
    from pipeline.radiomics import ibsi_filters as filters

    if kind in ("simoncelli", "shannon"):
        return filters.NonSeparableSettings, {"family": kind}
    records = {
        "mean": filters.MeanSettings,
        "log": filters.LogSettings,
        "laws": filters.LawsSettings,
        "gabor": filters.GaborSettings,
        "wavelet": filters.WaveletSettings,
    }
    return records[kind], {}


def _whole(text: str) -> tuple[int, ...]:
    values = numbers(text, "--order")
    if any(value != int(value) for value in values):
        raise SettingsError(f"--order {text}: give whole numbers, e.g. 1,0,0")
    return tuple(int(value) for value in values)


def _make(kind: str, record: Any, given: dict[str, Any]) -> Any:
    """Return a settings record; complain about flags it lacks or does not know."""
    fields = {field.name: field for field in dataclasses.fields(record)}
    strange = [_flag(name) for name in given if name not in fields]
    if strange:
        raise SettingsError(f"--filter {kind} does not use {', '.join(strange)}; leave it out")
    missing = [
        _flag(name)
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in given
    ]
    if missing:
        raise SettingsError(f"--filter {kind} needs {', '.join(missing)}")
    return record(**given)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _read(image: Path | None, benchmark: "FilterTest | None") -> "Volume":
    from pipeline.io import read_volume
    from pipeline.radiomics.ibsi_filters import PHANTOMS, phantom

    if image is not None:
        return read_volume(image)
    if benchmark is None or benchmark.image not in PHANTOMS:
        raise SettingsError("give the image to filter (the chest CT, for tests of phase 2)")
    return phantom(benchmark.image)


def _default_out(image: Path | None, name: str) -> Path:
    ending = f"_{name.replace('.', '_')}.nii.gz"
    return Path("phantom" + ending) if image is None else beside(image, ending)


def _write(
    target: Path,
    picture: "Volume",
    settings: "FilterSettings | None",
    test: str | None,
    inputs: list[Path],
) -> None:
    from pipeline.io import write_volume
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.ibsi_filters import response

    found = picture if settings is None else response(picture, settings)
    write_volume(target, found)
    told = {} if settings is None else dataclasses.asdict(settings)
    told["test"] = test
    told["filter"] = "none" if settings is None else type(settings).__name__
    measured = {"min": float(found.data.min()), "max": float(found.data.max())}
    write_sidecars([target], block="radiomics", inputs=inputs, settings=told, measured=measured)


def _print_tests() -> None:
    from pipeline.radiomics.ibsi_filters import PHASE1, PHASE2

    for name, test in (PHASE1 | PHASE2).items():
        reference = "reference" if test.has_reference else "no reference"
        typer.echo(f"{name}\t{test.image}\t{test.source}\t{reference}\t{test.settings}")
