"""The analytic lesions: engines x anatomies x variants, a row of results each, resumable."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.io import read_field, write_volume
from scripts.registration_bench import results
from scripts.registration_bench.anatomies import ANATOMIES, MissingAnatomyError
from scripts.registration_bench.engines import EngineFailedError, costs, run_engine
from scripts.registration_bench.lesion import Case, make_case
from scripts.registration_bench.score import score
from scripts.registration_bench.variants import VARIANTS

_SEED = 1
#: The row of the true field: what differences on the fixed grid leave of a map without error.
_TRUTH = "true field"
_FREE = {"wall_s": 0.0, "cpu_s": 0.0, "peak_mib": 0.0, "start_s": 0.0}


def run_lesions(
    engines: Sequence[str],
    anatomies: Sequence[str],
    variants: Sequence[str],
    folder: Path,
    *,
    again: bool = False,
) -> list[dict[str, object]]:
    """Run what is not in ``folder/lesions.tsv`` yet, and return the rows of that table.

    Parameters
    ----------
    engines, anatomies, variants : sequences of str
        Keys of `engines.WORKERS`, `anatomies.ANATOMIES`, `variants.VARIANTS`.
    folder : Path
        Gets the table and, in ``lesions/``, the last pair and what the engines left of it.
    again : bool
        Also run what is there already.

    Notes
    -----
    Each case also gets a row "true field": no engine can do better than that by its own merit.
    """
    path = folder / "lesions.tsv"
    for anatomy in anatomies:
        for variant in variants:
            rows = results.load(path)
            keys = [{"anatomy": anatomy, "variant": variant, "engine": e} for e in engines]
            due = [k for k in keys if again or not results.has(rows, k)]
            if due:
                _run_case(due, folder / "lesions", path)
    return results.load(path)


def _run_case(due: Sequence[dict[str, str]], work: Path, path: Path) -> None:
    """Make one pair and give it to the engines that are due."""
    anatomy, variant = due[0]["anatomy"], VARIANTS[due[0]["variant"]]
    try:
        case = make_case(ANATOMIES[anatomy](), variant, seed=_SEED)
    except MissingAnatomyError as error:
        print(f"{anatomy}: left out: {error}", flush=True)
        return
    for name, volume in (("fixed", case.fixed), ("moving", case.moving)):
        write_volume(work / f"{name}.nii", volume)
    truth = {**due[0], "engine": _TRUTH}
    results.add(path, truth, {"status": "ok", **_FREE, **asdict(score(case.truth, case))})
    for keys in due:
        row = _row(keys["engine"], case, work, {"affine": "yes" if variant.moved else "no"})
        results.add(path, keys, row)
        print(", ".join(keys.values()), row["status"], flush=True)


def _row(engine: str, case: Case, work: Path, options: dict[str, str]) -> dict[str, object]:
    try:
        run = run_engine(
            engine, work / "fixed.nii", work / "moving.nii", work / engine, options=options
        )
    except EngineFailedError as error:
        return {"status": f"failed: {error}"}
    return {"status": "ok", **costs(run), **asdict(score(read_field(run.field_path), case))}
