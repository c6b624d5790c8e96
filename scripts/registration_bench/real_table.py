"""Markdown of the real pairs: one table per study, one row per engine."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from scipy.stats import spearmanr

Row = Mapping[str, object]
Column = tuple[str, Callable[[Sequence[Row]], str]]

_FEWEST_RANKED = 3


def real_table(rows: Sequence[Row]) -> str:
    """Return the tables of all studies that have rows.

    Parameters
    ----------
    rows : sequence of mappings
        One per engine and pair: ``engine``, ``study``, ``fixed``, ``moving``, ``masked``,
        ``wall_s``, ``cpu_s``, ``peak_mib``, and what `real_scores.score` returned. A row of an
        engine that failed has ``error`` in place of scores.
    """
    parts = []
    for title, study, masked, columns in _TABLES:
        chosen = [r for r in rows if r["study"] == study and bool(r["masked"]) is masked]
        if chosen:
            parts.append(f"### {title}\n\n{_table(chosen, columns)}")
    return "\n\n".join(parts) + "\n"


def volume_ranks(rows: Sequence[Row]) -> float:
    """Return Spearman's rho of mean Jacobian and mask volume ratio; NaN below three lesions."""
    if len(rows) < _FEWEST_RANKED:
        return float("nan")
    pairs = [(_number(r, "mean_jacobian"), _number(r, "volume_ratio")) for r in rows]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    engines = list(dict.fromkeys(str(r["engine"]) for r in rows))
    lines = [
        "| engine | " + " | ".join(name for name, _ in columns) + " |",
        "|" + "---|" * (len(columns) + 1),
    ]
    for engine in engines:
        own = [r for r in rows if r["engine"] == engine]
        failed = [str(r["error"]) for r in own if r.get("error")]
        cells = (
            ["failed: " + failed[0].replace("|", "/")] if failed else [f(own) for _, f in columns]
        )
        cells += [""] * (len(columns) - len(cells))
        lines.append(f"| {engine} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(row: Row, key: str) -> float:
    return float(str(row[key]))


def _mean(key: str, digits: int) -> Callable[[Sequence[Row]], str]:
    return lambda rows: f"{mean(_number(r, key) for r in rows):.{digits}f}"


def _largest(key: str, digits: int) -> Callable[[Sequence[Row]], str]:
    return lambda rows: f"{max(_number(r, key) for r in rows):.{digits}f}"


def _sum(key: str, digits: int) -> Callable[[Sequence[Row]], str]:
    return lambda rows: f"{sum(_number(r, key) for r in rows):.{digits}f}"


def _change(key: str, unit: str, digits: int) -> Callable[[Sequence[Row]], str]:
    def text(rows: Sequence[Row]) -> str:
        ends = (mean(_number(r, f"{key}_{w}{unit}") for r in rows) for w in ("before", "after"))
        return " → ".join(f"{value:.{digits}f}" for value in ends)

    return text


def _each_volume(rows: Sequence[Row]) -> str:
    ordered = sorted(rows, key=lambda r: _number(r, "volume_ratio"))
    return ", ".join(
        f"{_number(r, 'mean_jacobian'):.2f} ({_number(r, 'volume_ratio'):.2f})" for r in ordered
    )


def _folds(rows: Sequence[Row]) -> str:
    return f"{100 * max(_number(r, 'folding_fraction') for r in rows):.3f}"


_COST: tuple[Column, ...] = (
    ("wall s", _sum("wall_s", 1)),
    ("CPU s", _sum("cpu_s", 1)),
    ("peak MiB", _largest("peak_mib", 0)),
)
_LUNG: tuple[Column, ...] = (
    ("landmarks median mm", _change("landmark_median", "_mm", 2)),
    ("mean mm", _change("landmark_mean", "_mm", 2)),
    ("max mm", _change("landmark_max", "_mm", 2)),
    ("best affine, median mm", _mean("landmark_median_best_affine_mm", 2)),
    ("lung Dice", _change("dice_lungs", "", 3)),
    ("lung HD95 mm", _change("hd95_lungs", "_mm", 2)),
    ("folds in the lungs %", _folds),
    ("min J", _mean("min_jacobian", 2)),
    *_COST,
)
_GLIOMA: tuple[Column, ...] = (
    ("pairs", lambda rows: str(len(rows))),
    ("Spearman of mean J and volume ratio", lambda rows: f"{volume_ranks(rows):.3f}"),
    ("mean J (volume ratio) of each", _each_volume),
    ("correlation in the lesion", _change("correlation", "", 3)),
    ("folds in the lesions %, worst", _folds),
    ("folds in the images %, worst", lambda r: f"{100 * _worst_image(r):.3f}"),
    *_COST,
)
_HIPPOCAMPUS: tuple[Column, ...] = (
    ("pairs", lambda rows: str(len(rows))),
    ("Dice anterior", _change("dice_anterior", "", 3)),
    ("Dice posterior", _change("dice_posterior", "", 3)),
    ("HD95 anterior mm", _change("hd95_anterior", "_mm", 2)),
    ("HD95 posterior mm", _change("hd95_posterior", "_mm", 2)),
    ("folds in the labels %, worst", _folds),
    ("folds in the images %, worst", lambda r: f"{100 * _worst_image(r):.3f}"),
    *_COST,
)
_BREAST: tuple[Column, ...] = (
    ("correlation", _change("correlation", "", 3)),
    ("mutual information nats", _change("mutual_information", "_nats", 3)),
    ("mean J", _mean("mean_jacobian", 3)),
    ("mean abs log J", _mean("mean_abs_log_jacobian", 3)),
    ("folds in the breast %", _folds),
    ("inverse consistency mean mm", _mean("inverse_consistency_mean_mm", 3)),
    ("p95 mm", _mean("inverse_consistency_p95_mm", 3)),
    *_COST,
)


def _worst_image(rows: Sequence[Row]) -> float:
    return max(_number(r, "folding_fraction_image") for r in rows)


_TABLES: tuple[tuple[str, str, bool, tuple[Column, ...]], ...] = (
    ("Lungs, baseline and follow-up: 26 landmarks", "lung_ct_pair", False, _LUNG),
    ("Lungs, compared inside the lung masks", "lung_ct_pair", True, _LUNG),
    ("Gliomas before and after treatment", "glioma_longitudinal", False, _GLIOMA),
    ("Hippocampus, one head to another: means over the pairs", "hippocampus", False, _HIPPOCAMPUS),
    ("Breast, phase 0 to phase 2 of one series", "breast_dce", False, _BREAST),
)
