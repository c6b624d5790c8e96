"""`medpipe register-pairs`: many pairs of images in one process."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import registration_options as options
from cli.common import Quiet, Threads, progress, set_up, stem
from cli.registration_pair import PairFiles, register_pair
from pipeline.errors import MedpipeError, ReadError, SettingsError
from pipeline.pair_sheet import PairRow, read_pairs

#: Written last: a pair without it, or with another one than asked for, is registered (again).
RECORD = "pair.json"
#: Numbers of metrics.json that the summary repeats.
MEASURES = (
    "mean_jacobian", "volume_ratio", "folding_fraction", "minimum_jacobian", "correlation_before",
    "correlation_affine", "correlation_after", "overlap_fraction", "inverse_consistency_mean_mm",
    "inverse_consistency_p95_mm",
)  # fmt: skip

_LOG = logging.getLogger(__name__)


def register_pairs(
    pairs: Annotated[
        Path,
        typer.Argument(
            help="Table, a row per pair: fixed, moving, and as wanted name, fixed_mask, "
            "moving_mask, compare_fixed, compare_moving, ignore_fixed, ignore_moving, "
            "moving_labels; paths relative to the table."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder; each pair gets one inside, by its name.")],
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
    """Register every pair of a table, so that a cohort pays for the start of one process.

    The table is checked whole first. Each pair gets the files of `medpipe register` in a folder
    of its own; pairs_summary.tsv has a row for each. Started again, only pairs whose files,
    images or settings changed are registered. A pair that cannot be registered is told in the
    summary, the others go on, and the exit code is 2.

    Example: medpipe register-pairs pairs.tsv --out registered
    """
    set_up(threads, quiet)
    options.limit_threads(threads, engine)
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
        inverse_consistency=inverse_consistency,
        seed=seed,
    )
    load_engine(engine)
    columns = [field.name for field in fields(PairFiles)]
    rows = read_pairs(
        pairs, columns, default_name=lambda fixed, moving: f"{stem(moving)}_to_{stem(fixed)}"
    )
    asked = {
        "engine": engine,
        "phase_time_s": phase_time_s,
        "pictures": pictures,
        **asdict(settings),
    }

    def compute(files: PairFiles, folder: Path) -> None:
        register_pair(
            files,
            folder,
            engine=engine,
            settings=settings,
            phase_time_s=phase_time_s,
            pictures=pictures,
        )

    requests = {row.name: _request(row, asked) for row in rows}
    found = {row.name: _kept(row, out / row.name, requests[row.name]) for row in rows}
    summary = out / "pairs_summary.tsv"
    todo = [row for row in rows if found[row.name] is None]
    _LOG.info("%d pairs to register, %d unchanged", len(todo), len(rows) - len(todo))
    for row in progress(todo, total=len(todo), what="pairs"):
        found[row.name] = _registered(row, out / row.name, requests[row.name], compute)
        _write_summary(summary, found.values())
    _write_summary(summary, found.values())
    failed = [
        f"{pairs}:{row.row}: {row.name}: {one['reason']}"
        for row in rows
        if (one := found[row.name]) and one["status"] == "failed"
    ]
    if failed:
        raise MedpipeError(
            f"{len(failed)} of {len(rows)} pairs were not registered, see {summary}:\n  "
            + "\n  ".join(failed)
        )
    typer.echo(str(summary))


def _registered(
    row: PairRow,
    folder: Path,
    request: Mapping[str, Any],
    compute: Callable[[PairFiles, Path], None],
) -> dict[str, Any]:
    """Register a pair; return its row of the summary, whatever happens."""
    start = time.perf_counter()
    try:
        compute(PairFiles(**row.files), folder)
        _write_record(folder, request, round(time.perf_counter() - start, 2))
        return _kept(row, folder, request) or _failed(row, "its files changed while written")
    except SettingsError:
        raise  # the same for every pair
    except MedpipeError as error:
        _LOG.warning("%s: %s", row.name, error)
        return _failed(row, str(error))
    except Exception as error:  # whatever ITK or torch raise: the other pairs go on
        _LOG.exception("%s", row.name)
        return _failed(row, f"{type(error).__name__}: {error}")


def _failed(row: PairRow, reason: str) -> dict[str, Any]:
    return {**_names(row), "status": "failed", "reason": reason}


def _names(row: PairRow) -> dict[str, str]:
    return {"name": row.name, **{k: row.files[k].name for k in ("fixed", "moving")}}


def _request(row: PairRow, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the outputs of a pair follow from."""
    from pipeline.provenance import sha256
    from pipeline.versions import BLOCK_VERSIONS

    try:
        inputs = {column: sha256(path) for column, path in row.files.items()}
    except OSError as error:
        raise ReadError(
            f"{error.filename}: cannot be read ({error.strerror}); mend it or remove row {row.row}"
        ) from error
    return {
        "block_version": BLOCK_VERSIONS["register"],
        "inputs": inputs,
        "settings": dict(asked),
    }


def _kept(row: PairRow, folder: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the summary of a pair when its outputs are there, whole and as asked for."""
    from pipeline.io import read_json
    from pipeline.provenance import sha256

    try:
        record = read_json(folder / RECORD)
        if record["request"] != request:
            return None
        for name, expected in record["outputs"].items():
            if sha256(folder / name) != expected:
                return None
        metrics = read_json(folder / "metrics.json")
        return {
            **_names(row),
            "status": "registered",
            "reason": "",
            "seconds": record["seconds"],
            **{name: metrics.get(name) for name in MEASURES},
            "warnings": "; ".join(metrics["warnings"]),
        }
    except (ReadError, OSError, KeyError, TypeError, AttributeError):
        return None


def _write_record(folder: Path, request: Mapping[str, Any], seconds: float) -> None:
    from pipeline.io import read_json, write_json

    sidecars = sorted(folder.glob("*.prov.json"))
    outputs = {one["output"]: one["output_sha256"] for one in map(read_json, sidecars)}
    write_json(folder / RECORD, {"request": dict(request), "outputs": outputs, "seconds": seconds})


def _write_summary(path: Path, found: Iterable[dict[str, Any] | None]) -> None:
    import pandas as pd

    from pipeline.io import write_table

    columns = ["name", "fixed", "moving", "status", "reason", "seconds", *MEASURES, "warnings"]
    write_table(path, pd.DataFrame([row for row in found if row], columns=columns))
