"""One engine on one real pair: files in, a row of the results out."""

from collections.abc import Mapping
from pathlib import Path

from scripts.registration_bench.engines import EngineFailedError, costs, run_engine
from scripts.registration_bench.real_pairs import PreparedPair
from scripts.registration_bench.real_scores import score


def run_real(
    engine: str, pair: PreparedPair, folder: Path, options: Mapping[str, str]
) -> dict[str, object]:
    """Register a pair with an engine and score it.

    Parameters
    ----------
    engine : str
        Key of `engines.WORKERS`.
    pair : PreparedPair
        From `real_pairs.prepare`.
    folder : Path
        Where the engine's fields and logs go.
    options : mapping
        Of `engines.run_engine`.

    Returns
    -------
    dict
        ``engine``, the pair, the cost of the forward run, and the scores; ``error``, on
        one line, in place of both when the engine failed.
    """
    row: dict[str, object] = {
        "engine": engine,
        "study": pair.pair.study,
        "fixed": pair.pair.fixed,
        "moving": pair.pair.moving,
        "masked": int(pair.pair.masked),
    }
    files = {"fixed_compare": pair.fixed_compare, "moving_compare": pair.moving_compare}
    swapped = {"fixed_compare": pair.moving_compare, "moving_compare": pair.fixed_compare}
    backward = None
    try:
        run = run_engine(
            engine, pair.fixed, pair.moving, folder / "forward", options=options, **files
        )
        if pair.pair.both_ways:
            backward = run_engine(
                engine, pair.moving, pair.fixed, folder / "backward", options=options, **swapped
            ).field_path
    except EngineFailedError as error:
        return row | {"error": " ".join(str(error).split())}
    return row | costs(run) | score(pair, run.field_path, backward)
