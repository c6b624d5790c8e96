"""Tables of a binary study: discrimination, paired tests, optimism, odds ratios, SHAP.

Every function takes the frozen models or their scores; nothing is fitted on test rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import chi2, norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.binary_study import (
    INNER_FOLDS,
    MODELS,
    BinaryDesign,
    BinaryFit,
    FrozenLogistic,
    FrozenTrees,
    common_rows,
    fit_trees,
    refit_logistic,
)
from pipeline.model.bootstrap import bootstrap_interval
from pipeline.model.comparison import compare_models
from pipeline.model.delong import delong, delong_test
from pipeline.model.explain import importance, importance_interval
from pipeline.model.folds import assign_folds
from pipeline.model.logistic import fit_logistic
from pipeline.model.roc import auc, roc_curve
from pipeline.model.terms import Term, complete_rows, level_names

#: Resamples for the optimism of a logistic model, and of the trees (each with an inner
#: cross-validation). The standard error of the mean optimism of an AUC is then about 0.002.
OPTIMISM_DRAWS = 200
OPTIMISM_DRAWS_TREES = 40

_Z95 = float(norm.ppf(0.975))


def splits(predictions: pd.DataFrame) -> list[str]:
    """Return the splits that have rows: development, and test when there are test rows."""
    found = set(predictions["split"])
    return [name for name in ("development", "test") if name in found]


def part(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of a split."""
    return predictions[(predictions["split"] == split).to_numpy()]


def auc_table(
    predictions: pd.DataFrame,
    *,
    optimism: pd.DataFrame | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> pd.DataFrame:
    """Return a row per split and model: AUC with DeLong's and the bootstrap interval.

    Parameters
    ----------
    predictions : DataFrame
        Of `fit_binary`; rows that a model cannot score are left out for all models.
    optimism : DataFrame, optional
        Of `optimism_table`: adds ``apparent``, ``optimism`` and ``corrected`` to development.
    draws, seed : int
        Bootstrap resamples and seed.

    Notes
    -----
    Development scores are held out. Their intervals treat them as scores of one model, although
    each fold had its own.
    """
    known = common_rows(predictions)
    rows = []
    for split in splits(known):
        chosen = part(known, split)
        for model in MODELS:
            labels, scores = chosen["response"], chosen[f"score_{model}"]
            area = delong(labels, scores)
            low, high = bootstrap_interval(labels, scores, draws=draws, seed=seed)
            row: dict[str, Any] = {
                "split": split, "model": model, "n": len(chosen), "responders": int(labels.sum()),
                "auc": area.auc, "se": area.se, "low95": area.low, "high95": area.high,
                "boot_low95": low, "boot_high95": high,
            }  # fmt: skip
            rows.append(row | _optimism_of(optimism, model, "auc", split))
    return pd.DataFrame(rows)


def roc_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the points of every ROC curve: split, model, rates and threshold."""
    known, tables = common_rows(predictions), []
    for split in splits(known):
        chosen = part(known, split)
        for model in MODELS:
            curve = roc_curve(chosen["response"], chosen[f"score_{model}"])
            tables.append(
                pd.DataFrame(
                    {
                        "split": split,
                        "model": model,
                        "false_positive_rate": curve.false_positive_rate,
                        "true_positive_rate": curve.true_positive_rate,
                        "threshold": np.where(np.isinf(curve.threshold), np.nan, curve.threshold),
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def comparison_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return DeLong's paired test of every pair of models, in every split.

    The difference is the first AUC minus the second, with its 95 % interval.
    """
    known, rows = common_rows(predictions), []
    for split in splits(known):
        chosen = part(known, split)
        for at, second in enumerate(MODELS):
            for first in MODELS[at + 1 :]:
                found = delong_test(
                    chosen["response"], chosen[f"score_{first}"], chosen[f"score_{second}"]
                )
                half = _Z95 * found.se
                rows.append(
                    {
                        "split": split, "first": first, "second": second, "metric": "auc",
                        "difference": found.difference, "low95": found.difference - half,
                        "high95": found.difference + half, "z": found.z, "p": found.p,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def optimism_table(
    design: BinaryDesign,
    fit: BinaryFit,
    *,
    draws: int = OPTIMISM_DRAWS,
    draws_trees: int = OPTIMISM_DRAWS_TREES,
    seed: int = 1,
) -> pd.DataFrame:
    """Correct the apparent performance on development rows for optimism (Harrell's bootstrap).

    Parameters
    ----------
    design, fit : BinaryDesign, BinaryFit
        The study. Complete development rows only, so that all models see the same.
    draws, draws_trees : int
        Resamples for the logistic models and for the trees.
    seed : int
        Seed of the resamples; the same ones for every model.

    Returns
    -------
    DataFrame
        A row per model and metric (auc, brier, slope, intercept): ``apparent`` on the rows that
        fitted the model, ``optimism`` the mean over resamples of (resampled model on its
        resample) - (resampled model on the original rows), ``corrected = apparent - optimism``,
        ``draws`` the resamples that could be fitted.

    Raises
    ------
    ModelError
        If fewer than half of the resamples can be fitted.

    References
    ----------
    Harrell, Lee and Mark, Statistics in Medicine 15 (1996) 361. The choice of knots and of the
    number of trees is repeated in each resample.
    """
    rows = np.flatnonzero(design.development & design.complete)
    rng = np.random.default_rng(seed)
    resamples = [rng.choice(rows, rows.size) for _ in range(max(draws, draws_trees))]
    tables = []
    for name in MODELS:
        count = draws_trees if name == "xgboost" else draws
        found = [_one_optimism(design, fit, name, rows, drawn, seed) for drawn in resamples[:count]]
        usable = [values for values in found if values is not None]
        if len(usable) < max(1, count / 2):
            raise ModelError(
                f"model {name}: {count - len(usable)} of {count} bootstrap resamples cannot be"
                " fitted (a category without rows, or separated classes); merge rare categories"
            )
        whole = fit.models[name].probability(design.frame.iloc[rows])
        apparent = _measures(design.labels[rows], whole)
        for metric, value in apparent.items():
            sizes = np.array([values[metric] for values in usable])
            known = sizes[np.isfinite(sizes)]
            mean = float(known.mean()) if known.size else float("nan")
            tables.append(
                {
                    "model": name, "metric": metric, "apparent": value, "optimism": mean,
                    "corrected": value - mean, "draws": len(usable),
                }
            )  # fmt: skip
    return pd.DataFrame(tables)


def logistic_table(model: FrozenLogistic, frame: pd.DataFrame) -> pd.DataFrame:
    """Return odds ratios with Wald intervals and a joint test per variable.

    Parameters
    ----------
    model : FrozenLogistic
        The model of all covariates.
    frame : DataFrame
        The rows that it was fitted on, for the quartiles.

    Returns
    -------
    DataFrame
        variable, level, coefficient, se, odds_ratio, low95, high95, z, p, chi2, df, p_variable.
        A category has a row per level against the reference level (which has a row of its own,
        without an interval). A number has a row "per unit" when it is linear, and one for its
        upper against its lower quartile, which a spline needs and which makes numbers of
        different units comparable. ``chi2, df, p_variable`` is Wald's test of all columns of
        the variable.
    """
    rows: list[dict[str, Any]] = []
    start = 1
    for term in model.terms:
        width = len(term.columns)
        columns = slice(start, start + width)
        start += width
        beta = np.r_[model.fit.intercept, model.fit.coefficients][columns]
        covariance = model.fit.covariance[columns, columns]
        statistic = float(beta @ np.linalg.solve(covariance, beta))
        joint = {"chi2": statistic, "df": width, "p_variable": float(chi2.sf(statistic, width))}
        for level, contrast in _contrasts(term, frame):
            found = _odds(contrast, beta, covariance)
            rows.append({"variable": term.name, "level": level} | found | joint)
    return pd.DataFrame(rows)


def shap_table(
    model: FrozenTrees, frame: pd.DataFrame, *, source: str = "the subjects sheet"
) -> pd.DataFrame:
    """Return the contributions of every row: subject, feature, value, contribution (log odds)."""
    shap = model.shap(frame, source=source)
    tables = [
        pd.DataFrame(
            {
                "subject": [str(name) for name in frame.index],
                "feature": feature,
                "value": _shown(frame[feature], categorical=feature in model.levels),
                "contribution": shap.contributions[:, at],
            }
        )
        for at, feature in enumerate(shap.features)
    ]
    return pd.concat(tables, ignore_index=True)


def _shown(column: pd.Series, *, categorical: bool) -> list[object]:
    """Return numbers, or names of levels; NaN where missing."""
    if not categorical:
        return list(column.to_numpy(dtype=np.float64))
    present = complete_rows(column.to_frame(), [column.name])
    return [
        name if known else float("nan")
        for name, known in zip(level_names(column), present, strict=True)
    ]


def missing_table(design: BinaryDesign) -> pd.DataFrame:
    """Return who lacks what: subject, split, missing (columns), and who is not in a model."""
    rows: list[dict[str, str]] = [
        {"subject": str(row["subject"]), "split": str(row["split"]), "reason": str(row["reason"]),
         "left_out_of": "every model"}
        for row in design.excluded.to_dict("records")
    ]  # fmt: skip
    present = {n: complete_rows(design.frame, [n], source=design.source) for n in design.kinds}
    for at in np.flatnonzero(~design.complete):
        lacking = [name for name in design.kinds if not present[name][at]]
        out = ["reference"] if set(lacking) & set(design.reference) else []
        rows.append(
            {
                "subject": design.subjects[at],
                "split": str(design.split[at]),
                "reason": f"no {', '.join(lacking)}",
                "left_out_of": ", ".join([*out, "logistic", "comparisons"]),
            }
        )
    return pd.DataFrame(rows, columns=["subject", "split", "reason", "left_out_of"])


def _optimism_of(
    optimism: pd.DataFrame | None, model: str, metric: str, split: str
) -> dict[str, float]:
    names = ("apparent", "optimism", "corrected")
    if optimism is None or split != "development":
        return dict.fromkeys(names, float("nan"))
    row = optimism[((optimism["model"] == model) & (optimism["metric"] == metric)).to_numpy()]
    return {name: float(row[name].iloc[0]) for name in names}


def _one_optimism(
    design: BinaryDesign, fit: BinaryFit, name: str, rows: Int, drawn: Int, seed: int
) -> dict[str, float] | None:
    """Return the optimism of one resample, or None when its model cannot be fitted."""
    try:
        model = _refit(design, fit, name, drawn, seed)
        inside, outside = (
            _measures(design.labels[r], model.probability(design.frame.iloc[r]))
            for r in (drawn, rows)
        )
    except ModelError:
        return None
    return {metric: inside[metric] - outside[metric] for metric in inside}


def _refit(
    design: BinaryDesign, fit: BinaryFit, name: str, drawn: Int, seed: int
) -> FrozenLogistic | FrozenTrees:
    known = fit.models[name]
    if isinstance(known, FrozenLogistic):
        return refit_logistic(design, [term.name for term in known.terms], drawn, known.terms)
    subjects = np.array(design.subjects)[drawn].tolist()
    folds = assign_folds(subjects, design.labels[drawn], n_folds=INNER_FOLDS, seed=seed)
    return fit_trees(design, drawn, folds, seed=seed)[0]


def _measures(labels: Bool, probability: Float) -> dict[str, float]:
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    try:
        line = fit_logistic(logit(clipped)[:, np.newaxis], ["log odds"], labels)
        slope, intercept = float(line.coefficients[0]), line.intercept
    except ModelError:  # a model that separates the classes, or says the same of all
        slope, intercept = float("nan"), float("nan")
    return {
        "auc": auc(labels, probability),
        "brier": float(np.mean((labels - probability) ** 2)),
        "slope": slope,
        "intercept": intercept,
    }


def _contrasts(term: Term, frame: pd.DataFrame) -> list[tuple[str, Float]]:
    """Return (what is compared, columns of the difference) of a variable."""
    if term.kind == "categorical":
        base = term.matrix([term.levels[0]])
        return [(level, (term.matrix([level]) - base)[0]) for level in term.levels]
    found = [("per unit", np.ones(1))] if term.kind == "continuous" else []
    values = frame[term.name].to_numpy(dtype=np.float64)
    low, high = np.quantile(values, [0.25, 0.75]).tolist()
    ends = term.matrix(np.array([low, high]))
    return [*found, (f"{high:.3g} vs {low:.3g}", ends[1] - ends[0])]


def _odds(contrast: Float, beta: Float, covariance: Float) -> dict[str, float]:
    value = float(contrast @ beta)
    se = float(np.sqrt(contrast @ covariance @ contrast))
    if se == 0:  # the reference level
        missing = dict.fromkeys(("low95", "high95", "z", "p"), float("nan"))
        return {"coefficient": 0.0, "se": float("nan"), "odds_ratio": 1.0} | missing
    return {
        "coefficient": value,
        "se": se,
        "odds_ratio": float(np.exp(value)),
        "low95": float(np.exp(value - _Z95 * se)),
        "high95": float(np.exp(value + _Z95 * se)),
        "z": value / se,
        "p": float(2 * norm.sf(abs(value / se))),
    }


def subject_counts(design: BinaryDesign) -> Mapping[str, Sequence[int]]:
    """Return split -> (rows, responders, complete rows), for the flow."""
    return {
        split: (
            int((design.split == split).sum()),
            int(design.labels[design.split == split].sum()),
            int(design.complete[design.split == split].sum()),
        )
        for split in ("development", "test")
    }


def headline_table(
    predictions: pd.DataFrame,
    aucs: pd.DataFrame,
    calibration: pd.DataFrame,
    decision: pd.DataFrame,
    *,
    thresholds: Sequence[float],
    draws: int = 1000,
    seed: int = 1,
) -> pd.DataFrame:
    """Return a row per model: what a reader compares first.

    Parameters
    ----------
    predictions, aucs, calibration, decision : DataFrame
        Of `fit_binary`, `auc_table`, and the tables of calibration and net benefit.
    thresholds : sequence of float
        Threshold probabilities whose net benefit is shown.
    draws, seed : int
        Bootstrap resamples and seed.

    Returns
    -------
    DataFrame
        Test rows where there are any (``evaluated_on`` is "test"), else the held-out scores of
        the cross-validation. With test rows the columns are those of `compare_models` too.
    """
    known = common_rows(predictions)
    split = splits(known)[-1]
    tables = {
        name: known[["subject", "split", "fold", "response"]].assign(score=known[f"score_{name}"])
        for name in MODELS
    }
    if split == "test":
        found = compare_models(tables, reference=MODELS[0], draws=draws, seed=seed)
    else:
        found = _cross_validated(known, aucs)
    found.insert(1, "evaluated_on", "test" if split == "test" else "cross-validation")
    development = aucs[(aucs["split"] == "development").to_numpy()].set_index("model")
    own = _split_of(calibration, split).set_index("model")
    extra = pd.DataFrame(
        {
            "responders_development": int(part(known, "development")["response"].sum()),
            "auc_apparent_development": development["apparent"].reindex(MODELS),
            "auc_corrected_development": development["corrected"].reindex(MODELS),
        },
        index=list(MODELS),
    ).join(own.drop(columns=["split", "n", "events"]))
    for threshold in thresholds:
        extra = extra.join(_benefit_at(_split_of(decision, split), threshold))
    return found.merge(extra, left_on="model", right_index=True, how="left", validate="1:1")


def _cross_validated(known: pd.DataFrame, aucs: pd.DataFrame) -> pd.DataFrame:
    own = _split_of(aucs, "development").set_index("model").loc[list(MODELS)]
    tests = comparison_table(known).set_index(["first", "second"])["p"]
    return pd.DataFrame(
        {
            "model": MODELS,
            "n_development": len(known),
            "n_test": 0,
            "responders_test": 0,
            "auc": own["auc"].to_numpy(),
            "auc_se": own["se"].to_numpy(),
            "auc_low95": own["low95"].to_numpy(),
            "auc_high95": own["high95"].to_numpy(),
            "auc_boot_low95": own["boot_low95"].to_numpy(),
            "auc_boot_high95": own["boot_high95"].to_numpy(),
            "reference": MODELS[0],
            "p_vs_reference": [float("nan"), *(tests[name, MODELS[0]] for name in MODELS[1:])],
            "auc_cv_development": own["auc"].to_numpy(),
        }
    )


def _split_of(table: pd.DataFrame, split: str) -> pd.DataFrame:
    return table[(table["split"] == split).to_numpy()]


def _benefit_at(decision: pd.DataFrame, threshold: float) -> pd.DataFrame:
    near = decision[np.isclose(decision["threshold"].to_numpy(dtype=np.float64), threshold)]
    near = near[near["model"].isin(MODELS).to_numpy()].set_index("model")
    if near.empty:
        raise ModelError(f"threshold {threshold:g} is not on the decision curve; choose another")
    name = f"net_benefit_at_{threshold:g}"
    ends = {"net_benefit": name, "low95": f"{name}_low95", "high95": f"{name}_high95"}
    return near[list(ends)].rename(columns=ends)


def importance_table(
    model: FrozenTrees,
    frame: pd.DataFrame,
    *,
    draws: int = 1000,
    seed: int = 1,
    source: str = "the subjects sheet",
) -> pd.DataFrame:
    """Return mean absolute SHAP values, largest first: feature, mean_abs_shap, low95, high95.

    The interval is of the mean over the rows (see `explain.importance_interval`).
    """
    shap = model.shap(frame, source=source)
    low, high = importance_interval(shap, draws=draws, seed=seed)
    table = pd.DataFrame(
        {
            "feature": shap.features,
            "mean_abs_shap": importance(shap),
            "low95": low,
            "high95": high,
        }
    )
    return table.sort_values("mean_abs_shap", ascending=False, kind="stable", ignore_index=True)


def skewed(values: Float) -> bool:
    """Tell whether a variable is shown better by its median: sample skewness beyond 1."""
    known = values[np.isfinite(values)]
    if known.size < 3 or known.std() == 0:
        return False
    return bool(abs(np.mean(((known - known.mean()) / known.std()) ** 3)) > 1)
