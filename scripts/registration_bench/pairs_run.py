"""The real pairs: engines x pairs, a row of results each, resumable."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ReadError
from scripts.registration_bench import results
from scripts.registration_bench.real_pairs import PAIRS, RealPair, prepare
from scripts.registration_bench.real_run import run_real


def run_pairs(
    engines: Sequence[str], studies: Sequence[str], data: Path, folder: Path, *, again: bool = False
) -> list[dict[str, object]]:
    """Run what is not in ``folder/pairs.tsv`` yet, and return the rows of that table.

    Parameters
    ----------
    engines : sequence of str
        Keys of `engines.WORKERS`.
    studies : sequence of str
        Whose pairs.
    data : Path
        MEDPIPE_DATA.
    folder : Path
        Gets the table and, in ``pairs/``, the images and fields.
    again : bool
        Also run what is there already.
    """
    path = folder / "pairs.tsv"
    for pair in (p for p in PAIRS if p.study in studies):
        rows = results.load(path)
        keys = [{"pair": pair.name, "engine": engine} for engine in engines]
        due = [k for k in keys if again or not results.has(rows, k)]
        if due:
            _run_pair(pair, due, data, folder / "pairs", path)
    return results.load(path)


def _run_pair(
    pair: RealPair, due: Sequence[dict[str, str]], data: Path, work: Path, path: Path
) -> None:
    try:
        prepared = prepare(pair, data, work)
    except ReadError as error:
        print(f"{pair.name}: left out: {error}", flush=True)
        return
    for keys in due:
        engine = keys["engine"]
        results.add(path, keys, run_real(engine, prepared, work / pair.name / engine, {}))
        print(", ".join(keys.values()), "done", flush=True)
