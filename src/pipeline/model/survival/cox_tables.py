"""Tables of Cox models: coefficients, tests, one variable at a time and all together."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float
from pipeline.model.survival.cox import CoxFit, Ties, fit_cox
from pipeline.model.survival.outcome import Outcome
from pipeline.model.terms import Kind, Term, complete_rows, design_matrix, fit_terms

#: Columns of the tables of `univariable` and `multivariable`.
COX_COLUMNS = (
    "variable", "level", "n", "events", "coefficient", "se", "hazard_ratio", "low95", "high95",
    "z", "p",
)  # fmt: skip


def cox_table(fit: CoxFit, *, level: float = 0.95) -> pd.DataFrame:
    """Return term, coefficient, se, hazard_ratio, low95, high95, z, p: a row per column.

    The interval is Wald's, exp(coefficient -+ 1.96 se); p is two-sided from the normal
    distribution.
    """
    se = fit.standard_errors
    z = fit.coefficients / se
    half = float(norm.ppf((1 + level) / 2)) * se
    return pd.DataFrame(
        {
            "term": fit.names,
            "coefficient": fit.coefficients,
            "se": se,
            "hazard_ratio": np.exp(fit.coefficients),
            "low95": np.exp(fit.coefficients - half),
            "high95": np.exp(fit.coefficients + half),
            "z": z,
            "p": 2 * norm.sf(np.abs(z)),
        }
    )


def model_tests(fit: CoxFit) -> pd.DataFrame:
    """Return test, chi2, df, p of all coefficients: likelihood_ratio, wald and score."""
    wald = float(fit.coefficients @ np.linalg.solve(fit.covariance, fit.coefficients))
    statistic = [2 * (fit.loglik - fit.loglik_null), wald, fit.score_chi2]
    df = fit.coefficients.size
    return pd.DataFrame(
        {
            "test": ["likelihood_ratio", "wald", "score"],
            "chi2": statistic,
            "df": [df] * 3,
            "p": chi2.sf(statistic, df),
        }
    )


def univariable(
    frame: pd.DataFrame,
    kinds: Mapping[str, Kind],
    outcome: Outcome,
    *,
    ties: Ties = "efron",
    references: Mapping[str, str] | None = None,
    source: str = "the subjects sheet",
) -> pd.DataFrame:
    """Fit one Cox model per variable.

    Parameters
    ----------
    frame : DataFrame
        Variables, indexed by subject.
    kinds : mapping of column to kind
        Which columns enter, in which order, and how.
    outcome : Outcome
        Times in months and events of the same rows.
    ties : "efron" or "breslow"
        As for `fit_cox`.
    references : mapping of column to level, optional
        Reference levels; the first of the sorted levels otherwise.
    source : str
        Name of the table in messages.

    Returns
    -------
    DataFrame
        `COX_COLUMNS`. A continuous variable has one row (level empty). A categorical one has a
        row for its reference level (hazard ratio 1, no interval), whose p is that of the
        likelihood-ratio test of the whole variable, then a row per level against the
        reference. A spline has such a first row (level "overall") and one per column. `n` and
        `events` count the complete cases of the model, by level where there are levels.
    """
    parts = [
        multivariable(frame, {name: kind}, outcome, ties=ties, references=references, source=source)
        for name, kind in kinds.items()
    ]
    return pd.concat(parts, ignore_index=True)


def multivariable(
    frame: pd.DataFrame,
    kinds: Mapping[str, Kind],
    outcome: Outcome,
    *,
    ties: Ties = "efron",
    references: Mapping[str, str] | None = None,
    source: str = "the subjects sheet",
) -> pd.DataFrame:
    """Fit one Cox model of all variables, on the subjects complete in all of them.

    Parameters and result as for `univariable`; the p on a first row compares the model with
    the one without that variable, on the same subjects.
    """
    names = list(kinds)
    if not names:
        raise ModelError(f"{source}: no variable to model; name at least one column")
    complete = complete_rows(frame, names, source=source)
    rows, known = frame.loc[complete, names], outcome.take(complete)
    if not known.event.any():
        raise ModelError(
            f"{source}: of {len(outcome)} subjects {len(known)} are complete in"
            f" {', '.join(names)}, and none of these has an event; leave out the variable with"
            " the most missing cells"
        )
    terms = fit_terms(rows, kinds, source=source, references=references)
    blocks = [design_matrix(rows, (term,), source=source) for term in terms]
    subjects = [str(s) for s in rows.index]
    fit = _fit_blocks(blocks, known, ties, subjects)
    tests = []
    for skipped in range(len(blocks)):
        rest = blocks[:skipped] + blocks[skipped + 1 :]
        without = _fit_blocks(rest, known, ties, subjects).loglik if rest else fit.loglik_null
        width = blocks[skipped][0].shape[1]
        tests.append(float(chi2.sf(2 * (fit.loglik - without), width)))
    return _term_table(terms, blocks, fit, tests, known)


def significant_variables(table: pd.DataFrame, *, alpha: float = 0.05) -> tuple[str, ...]:
    """Return the variables of a `univariable` table whose (overall) p is below `alpha`."""
    first = table.drop_duplicates("variable")
    return tuple(first.loc[first["p"] < alpha, "variable"])


Block = tuple[Float, tuple[str, ...]]


def _fit_blocks(
    blocks: Sequence[Block], outcome: Outcome, ties: Ties, subjects: Sequence[str]
) -> CoxFit:
    names = [name for _, columns in blocks for name in columns]
    matrix = np.hstack([values for values, _ in blocks])
    return fit_cox(matrix, names, outcome, ties=ties, subjects=subjects)


def _term_table(
    terms: Sequence[Term],
    blocks: Sequence[Block],
    fit: CoxFit,
    tests: Sequence[float],
    outcome: Outcome,
) -> pd.DataFrame:
    estimates = cox_table(fit).drop(columns="term").to_dict("records")
    rows: list[dict[str, object]] = []
    at = 0
    for term, (values, columns), p in zip(terms, blocks, tests, strict=True):
        counted = _counted_levels(term, values, columns)
        if term.kind != "continuous":
            level, inside = counted.pop(0)
            one = 1.0 if term.kind == "categorical" else np.nan
            first = {"coefficient": 0.0 * one, "hazard_ratio": one, "p": p}
            rows.append(_row(term.name, level, inside, outcome) | first)
        for level, inside in counted:
            rows.append(_row(term.name, level, inside, outcome) | dict(estimates[at]))
            at += 1
    return pd.DataFrame(rows, columns=list(COX_COLUMNS))


def _counted_levels(term: Term, values: Float, columns: tuple[str, ...]) -> list[tuple[str, Bool]]:
    everyone = np.ones(len(values), dtype=bool)
    if term.kind == "categorical":
        members = [np.asarray((values == 0).all(axis=1)), *(column == 1 for column in values.T)]
        return list(zip(term.levels, members, strict=True))
    if term.kind == "continuous":
        return [("", everyone)]
    return [("overall", everyone), *((name, everyone) for name in columns)]


def _row(name: str, level: str, inside: Bool, outcome: Outcome) -> dict[str, object]:
    return {
        "variable": name,
        "level": level,
        "n": int(inside.sum()),
        "events": int((inside & outcome.event).sum()),
    }
