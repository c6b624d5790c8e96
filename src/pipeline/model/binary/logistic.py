"""Fit a logistic model of some covariates on some rows of a binary study."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Int
from pipeline.model.binary.design import BinaryDesign
from pipeline.model.binary.models import FrozenLogistic
from pipeline.model.logistic import fit_logistic
from pipeline.model.terms import (
    Kind,
    Term,
    complete_rows,
    design_matrix,
    fit_terms,
    level_names,
)


def fit_terms_logistic(
    design: BinaryDesign,
    covariates: Sequence[str],
    rows: Bool,
    *,
    known: Sequence[Term] | None = None,
) -> FrozenLogistic:
    """Fit a logistic model of some covariates on the complete ones of some rows.

    Parameters
    ----------
    design : BinaryDesign
        The study.
    covariates : sequence of str
        Columns of the model.
    rows : (n,) bool array
        Rows to fit on, before those with a missing covariate are dropped.
    known : sequence of Term, optional
        Terms of all development rows, whose levels are kept when only some rows are fitted.
    """
    frame, labels = _complete(design, covariates, rows)
    return _logistic_of(frame, labels, design, covariates, known)


def refit_logistic(
    design: BinaryDesign, covariates: Sequence[str], rows: Int, known: Sequence[Term]
) -> FrozenLogistic:
    """Fit on rows given by index, which may repeat (a bootstrap resample); all complete."""
    return _logistic_of(design.frame.iloc[rows], design.labels[rows], design, covariates, known)


def _complete(
    design: BinaryDesign, covariates: Sequence[str], rows: Bool
) -> tuple[pd.DataFrame, Bool]:
    whole = rows & complete_rows(design.frame, covariates, source=design.source)
    return design.frame[whole], design.labels[whole]


def _logistic_of(
    frame: pd.DataFrame,
    labels: Bool,
    design: BinaryDesign,
    covariates: Sequence[str],
    known: Sequence[Term] | None,
) -> FrozenLogistic:
    kinds = design.kinds_of(covariates)
    if known is None:
        references = {n: _commonest(frame[n]) for n, k in kinds.items() if k == "categorical"}
        # one giant tumour must not stretch its axis of the nomogram: limits as of rms::datadist
        terms = fit_terms(frame, kinds, source=design.source, references=references,
                          labels=design.labels_of, limits="datadist")  # fmt: skip
    else:
        terms = _with_levels(frame, kinds, known, design)
    matrix, names = design_matrix(frame, terms, source=design.source)
    return FrozenLogistic(terms, fit_logistic(matrix, names, labels))


def _commonest(column: pd.Series) -> str:
    """Return the level with most rows, the first in the alphabet when two have as many."""
    names, counts = np.unique(level_names(column), return_counts=True)
    return str(names[int(np.argmax(counts))])


def _with_levels(
    frame: pd.DataFrame, kinds: Mapping[str, Kind], known: Sequence[Term], design: BinaryDesign
) -> tuple[Term, ...]:
    """Return the known terms with the knots of these rows; their levels must all occur."""
    numbers = {name: kind for name, kind in kinds.items() if kind != "categorical"}
    anew = {term.name: term for term in fit_terms(frame, numbers, source=design.source)} if (
        numbers
    ) else {}  # fmt: skip
    terms = []
    for term in known:
        if term.kind != "categorical":
            terms.append(replace(term, knots=anew[term.name].knots))
            continue
        absent = set(term.levels) - set(level_names(frame[term.name]))
        if absent:
            raise ModelError(
                f"{design.source}: column {term.name}: the category {min(absent)} has no row"
                " outside one fold or resample; merge it with another category, or use fewer folds"
            )
        terms.append(term)
    return tuple(terms)
