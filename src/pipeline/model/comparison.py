"""The headline table: one row per model, every model against a reference on the same rows."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.bootstrap import bootstrap_interval, bootstrap_test
from pipeline.model.delong import delong, delong_test
from pipeline.model.folds import check_disjoint
from pipeline.model.roc import Confusion, auc, confusion, wilson_interval, youden_threshold

#: Columns that a table of predictions must have.
PREDICTION_COLUMNS = ("subject", "split", "fold", "response", "score")

_RATES = ("sensitivity", "specificity", "ppv", "npv")


def compare_models(
    predictions: Mapping[str, pd.DataFrame],
    *,
    reference: str,
    draws: int = 2000,
    seed: int = 1,
) -> pd.DataFrame:
    """Evaluate models on the test rows.

    Parameters
    ----------
    predictions : mapping of model name to DataFrame
        Each with `PREDICTION_COLUMNS`; development rows carry held-out scores. All models
        cover the same subjects.
    reference : str
        Model that the others are compared with (paired DeLong and paired bootstrap).
    draws, seed : int
        Bootstrap resamples (the same rows for every model) and seed.

    Returns
    -------
    DataFrame
        A row per model, in the given order. AUC with DeLong's and the percentile bootstrap
        interval on the test rows; sensitivity to npv at the Youden threshold of the held-out
        development scores, with Wilson's intervals; the columns ``*_test_youden`` at the
        Youden threshold of the test rows themselves, as published, which is optimistic, as is
        ``auc_cv_development``. NaN where undefined.

    Raises
    ------
    ModelError
        If the reference is absent, or the models do not share subjects, splits and outcomes.
    """
    if reference not in predictions:
        raise ModelError(
            f"the reference model {reference} is not among {', '.join(predictions)}; add its "
            "predictions or name another with --reference"
        )
    tables = {name: _checked(name, table) for name, table in predictions.items()}
    for name, table in tables.items():
        _check_same_rows(name, table, reference, tables[reference])
    return pd.DataFrame(
        [
            _row(name, table, reference, tables[reference], draws, seed)
            for name, table in tables.items()
        ]
    )


def _row(
    name: str,
    table: pd.DataFrame,
    reference: str,
    other: pd.DataFrame,
    draws: int,
    seed: int,
) -> dict[str, object]:
    development, test = _part(table, "development"), _part(table, "test")
    labels, scores = test["response"], test["score"]
    area = delong(labels, scores)
    low, high = bootstrap_interval(labels, scores, draws=draws, seed=seed)
    threshold = youden_threshold(development["response"], development["score"])
    test_threshold = youden_threshold(labels, scores)
    counts = confusion(labels, scores, threshold)
    row: dict[str, object] = {
        "model": name,
        "n_development": len(development),
        "n_test": len(test),
        "responders_test": int(labels.sum()),
        "auc": area.auc,
        "auc_se": area.se,
        "auc_low95": area.low,
        "auc_high95": area.high,
        "auc_boot_low95": low,
        "auc_boot_high95": high,
        "reference": reference,
        **_against_reference(name, test, reference, _part(other, "test"), draws, seed),
        "auc_cv_development": auc(development["response"], development["score"]),
        "threshold_development": threshold,
        **_rates(counts),
        "threshold_test_youden": test_threshold,
        **_rates(confusion(labels, scores, test_threshold), "_test_youden"),
    }
    return row | _counts(counts) | _intervals(counts)


def _against_reference(
    name: str, test: pd.DataFrame, reference: str, other: pd.DataFrame, draws: int, seed: int
) -> dict[str, float]:
    if name == reference:
        return {"p_vs_reference": float("nan"), "p_bootstrap_vs_reference": float("nan")}
    labels, first, second = test["response"], test["score"], other["score"]
    drawn = bootstrap_test(labels, first, second, draws=draws, seed=seed)
    return {
        "p_vs_reference": delong_test(labels, first, second).p,
        "p_bootstrap_vs_reference": drawn.p,
    }


def _rates(counts: Confusion, ending: str = "") -> dict[str, float]:
    return {f"{rate}{ending}": getattr(counts, rate) for rate in _RATES}


def _counts(counts: Confusion) -> dict[str, int]:
    return {"tp": counts.tp, "fn": counts.fn, "tn": counts.tn, "fp": counts.fp}


def _intervals(counts: Confusion) -> dict[str, float]:
    parts = {
        "sensitivity": (counts.tp, counts.tp + counts.fn),
        "specificity": (counts.tn, counts.tn + counts.fp),
        "ppv": (counts.tp, counts.tp + counts.fp),
        "npv": (counts.tn, counts.tn + counts.fn),
    }
    row = {}
    for rate, (hits, total) in parts.items():
        row[f"{rate}_low95"], row[f"{rate}_high95"] = wilson_interval(hits, total)
    return row


def _part(table: pd.DataFrame, split: str) -> pd.DataFrame:
    return table[(table["split"] == split).to_numpy()]


def _checked(name: str, table: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in PREDICTION_COLUMNS if column not in table.columns]
    if missing:
        raise ModelError(
            f"predictions of {name}: column {missing[0]} is missing; make the file again with "
            "`medpipe model fit`"
        )
    subjects = table["subject"].astype(str)
    check_disjoint(subjects.tolist(), table["split"], what="split")
    if subjects.duplicated().any():
        twice = subjects[subjects.duplicated()].iloc[0]
        raise ModelError(f"predictions of {name}: subject {twice} has two rows; keep one")
    known = table.assign(subject=subjects).sort_values("subject", ignore_index=True)
    known = known[known["response"].notna().to_numpy()]
    for split in ("development", "test"):
        classes = np.unique(_part(known, split)["response"].to_numpy(dtype=np.float64))
        if classes.tolist() != [0.0, 1.0]:
            raise ModelError(
                f"predictions of {name}: the {split} rows have the outcomes {classes.tolist()}; "
                "an AUC needs both 0 and 1: check the split and the outcome of the subjects sheet"
            )
    return known


def _check_same_rows(name: str, table: pd.DataFrame, reference: str, other: pd.DataFrame) -> None:
    keys = ["subject", "split", "response"]
    one, two = ({tuple(row) for row in t[keys].to_numpy().tolist()} for t in (table, other))
    differing = sorted(str(row[0]) for row in one ^ two)
    if differing:
        raise ModelError(
            f"models {name} and {reference} differ in subject, split or response of subject "
            f"{differing[0]} ({len(set(differing))} such); fit both on the same tables"
        )
