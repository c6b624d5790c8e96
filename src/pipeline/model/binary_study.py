"""A 0/1 outcome from a table: two logistic models and boosted trees on the same folds.

`reference` is a logistic model of a few covariates, `logistic` one of all (the nomogram's), and
`xgboost` boosted trees of all. Everything is fitted on development rows; each model scores a
development row only from folds that did not see it, and the test rows once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pipeline.errors import CohortError, ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.boosting import BoostingFit, BoostingOptions, FrozenBoosting, fit_boosting
from pipeline.model.explain import Shap, pool_columns, shap_contributions
from pipeline.model.folds import assign_folds
from pipeline.model.logistic import LogisticFit, fit_logistic
from pipeline.model.terms import (
    Kind,
    Term,
    complete_rows,
    design_matrix,
    fit_terms,
    level_names,
)

SCHEMA = 1

#: The models, in the order of every table; the others are compared with the first.
MODELS = ("reference", "logistic", "xgboost")

_SPLITS = ("development", "test")
#: Folds inside a fold or a resample, which choose the number of trees there.
INNER_FOLDS = 5


@dataclass(frozen=True, eq=False)
class BinaryDesign:
    """The rows of a study, sorted by subject, and what its models read.

    Attributes
    ----------
    frame : DataFrame
        The covariates, indexed by subject.
    split, centre : (n,) object arrays of str
        "development" or "test", and the centre.
    labels : (n,) bool array
        Outcome.
    complete : (n,) bool array
        Rows with a value in every covariate.
    kinds : mapping
        Covariate to kind, in the order of the sheet's wish.
    reference : tuple of str
        Covariates of the small model.
    outcome : str
        Column of the outcome.
    excluded : DataFrame
        subject, split, reason: rows without an outcome, which no model can use.
    source : str
        Name of the sheet in messages.
    labels_of : mapping
        Covariate to its name for readers.
    """

    frame: pd.DataFrame
    split: Any
    centre: Any
    labels: Bool
    complete: Bool
    kinds: Mapping[str, Kind]
    reference: tuple[str, ...]
    outcome: str
    excluded: pd.DataFrame
    source: str = "the subjects sheet"
    labels_of: Mapping[str, str] | None = None

    @property
    def subjects(self) -> list[str]:
        """Subjects, one per row."""
        return [str(name) for name in self.frame.index]

    @property
    def development(self) -> Bool:
        """Development rows."""
        return np.asarray(self.split == "development", dtype=bool)

    def kinds_of(self, names: Sequence[str]) -> dict[str, Kind]:
        """Return the kinds of some covariates, in the design's order."""
        return {name: kind for name, kind in self.kinds.items() if name in names}


class Scoring(Protocol):
    """What every model of a binary study offers."""

    def probability(self, frame: pd.DataFrame, *, source: str = "the subjects sheet") -> Float:
        """Return P(outcome = 1) of rows (n,); NaN where the model cannot score."""

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types."""


@dataclass(frozen=True, eq=False)
class FrozenLogistic:
    """A logistic model with its terms: levels, knots, coefficients."""

    terms: tuple[Term, ...]
    fit: LogisticFit

    def probability(self, frame: pd.DataFrame, *, source: str = "the subjects sheet") -> Float:
        """Return P(outcome = 1) of rows (n,); NaN where a covariate is missing."""
        found = np.full(len(frame), np.nan)
        whole = complete_rows(frame, [term.name for term in self.terms], source=source)
        if whole.any():
            matrix, _ = design_matrix(frame[whole], self.terms, source=source)
            found[whole] = self.fit.probability(matrix)
        return found

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types."""
        return {
            "schema": SCHEMA,
            "kind": "logistic_terms",
            "terms": [term.to_record() for term in self.terms],
            "fit": self.fit.to_record(),
        }


@dataclass(frozen=True, eq=False)
class FrozenTrees:
    """Boosted trees with the levels of their one-hot columns; missing values are let through.

    Attributes
    ----------
    numeric : tuple of str
        Columns read as numbers.
    levels : mapping
        Categorical column to its levels, each a 0/1 column.
    boosting : FrozenBoosting
        The trees.
    """

    numeric: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    boosting: FrozenBoosting

    def columns(
        self, frame: pd.DataFrame, *, source: str = "the subjects sheet"
    ) -> tuple[Float, Float]:
        """Return numbers (n, p) and one-hot columns (n, e) of rows; NaN where missing."""
        return tree_columns(frame, self.numeric, self.levels, source=source)

    def probability(self, frame: pd.DataFrame, *, source: str = "the subjects sheet") -> Float:
        """Return P(outcome = 1) of rows (n,)."""
        return self.boosting.scores(*self.columns(frame, source=source))

    def shap(self, frame: pd.DataFrame, *, source: str = "the subjects sheet") -> Shap:
        """Return the contribution of each covariate, the one-hot columns of one summed."""
        groups = {name: one_hot_names(name, levels) for name, levels in self.levels.items()}
        parts = shap_contributions(self.boosting, *self.columns(frame, source=source))
        return pool_columns(parts, groups)

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types."""
        return {
            "schema": SCHEMA,
            "kind": "boosted_terms",
            "numeric": list(self.numeric),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "model": self.boosting.to_record(),
        }


def model_from_record(record: Mapping[str, Any]) -> FrozenLogistic | FrozenTrees:
    """Return a model of a JSON record.

    Raises
    ------
    ModelError
        If the record is none of these models, of another schema, or incomplete.
    """
    kind, schema = record.get("kind"), record.get("schema")
    if kind not in ("logistic_terms", "boosted_terms") or schema != SCHEMA:
        raise ModelError(
            f"kind {kind!r}, schema {schema!r}: this is no model of a binary study of schema"
            f" {SCHEMA}; make it again with `medpipe binary fit`"
        )
    try:
        if kind == "logistic_terms":
            terms = tuple(Term.from_record(term) for term in record["terms"])
            return FrozenLogistic(terms, LogisticFit.from_record(record["fit"]))
        levels = {str(name): tuple(found) for name, found in record["levels"].items()}
        return FrozenTrees(
            tuple(record["numeric"]), levels, FrozenBoosting.from_record(record["model"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the {kind} model is incomplete ({error}); make it again with `medpipe binary fit`"
        ) from error


@dataclass(frozen=True, eq=False)
class BinaryFit:
    """The fitted models and the scores of every row.

    Attributes
    ----------
    models : mapping
        Name (`MODELS`) to frozen model.
    predictions : DataFrame
        A row per subject: subject, split, centre, response, fold (0 for test rows), complete,
        and score_<model>: P(response = 1), held out for development rows.
    boosting : BoostingFit
        How the number of trees was chosen.
    """

    models: Mapping[str, FrozenLogistic | FrozenTrees]
    predictions: pd.DataFrame
    boosting: BoostingFit


def build_binary_design(
    sheet: pd.DataFrame,
    *,
    kinds: Mapping[str, Kind],
    reference: Sequence[str],
    outcome: str = "response",
    source: str = "the subjects sheet",
    labels: Mapping[str, str] | None = None,
) -> BinaryDesign:
    """Check a sheet and return its rows, sorted by subject.

    Parameters
    ----------
    sheet : DataFrame
        subject, split, centre, outcome and covariates, a row per subject.
    kinds : mapping of covariate to kind
        What the models read.
    reference : sequence of str
        Covariates of the small model; some of `kinds`.
    outcome : str
        Column with 0 or 1; empty where unknown: the row is left out and told.
    source : str
        Name of the sheet in messages.
    labels : mapping, optional
        Names of the covariates for readers.

    Raises
    ------
    CohortError
        Every wrong row at once: duplicate subject, unknown split, outcome other than 0 or 1,
        a number that is none.
    ModelError
        A column that is absent; no covariates; a reference that is no covariate, or all of them;
        a class that is missing in a split.
    """
    _check_names(sheet, kinds, reference, outcome, source)
    _check_cells(sheet, kinds, outcome, source)
    ordered = sheet.assign(subject=sheet["subject"].astype(str)).sort_values(
        "subject", ignore_index=True
    )
    unknown = ordered[outcome].isna().to_numpy()
    excluded = ordered.loc[unknown, ["subject", "split"]].assign(reason=f"no {outcome}")
    rows = ordered[~unknown].set_index("subject")
    split = rows["split"].to_numpy(dtype=object)
    positive = rows[outcome].to_numpy(dtype=np.float64) == 1.0
    for part in _SPLITS:
        _check_classes(positive[split == part], part, outcome, source)
    return BinaryDesign(
        frame=rows[list(kinds)],
        split=split,
        centre=rows["centre"].to_numpy(dtype=object),
        labels=np.asarray(positive),
        complete=complete_rows(rows, list(kinds), source=source),
        kinds=dict(kinds),
        reference=tuple(name for name in kinds if name in reference),
        outcome=outcome,
        excluded=excluded.reset_index(drop=True),
        source=source,
        labels_of=labels,
    )


def fit_binary(
    design: BinaryDesign,
    *,
    n_folds: int = 10,
    seed: int = 1,
    options: BoostingOptions | None = None,
) -> BinaryFit:
    """Fit the three models on development rows and score every row.

    Parameters
    ----------
    design : BinaryDesign
        From `build_binary_design`.
    n_folds : int
        Folds of the cross-validation, stratified by outcome, the same for every model.
    seed : int
        Seed of the folds.
    options : BoostingOptions
        Settings of the trees.

    Raises
    ------
    ModelError
        A category seen only in validation (names column and subject), or a category without a
        row outside one fold.

    Notes
    -----
    Logistic models use the development rows with every one of *their* covariates; the trees use
    all, as they send missing values one way. Knots of splines are placed anew in every fold,
    and so is the number of trees, by an inner cross-validation: held-out scores see nothing of
    the rows that they score.
    """
    dev = design.development
    folds = np.zeros(len(dev), dtype=np.int64)
    folds[dev] = assign_folds(
        np.array(design.subjects)[dev].tolist(), design.labels[dev], n_folds=n_folds, seed=seed
    )
    sets = {"reference": design.reference, "logistic": tuple(design.kinds)}
    models: dict[str, FrozenLogistic | FrozenTrees] = {}
    scores: dict[str, Float] = {}
    for name, covariates in sets.items():
        model = fit_terms_logistic(design, covariates, dev)
        held_out = _held_out_logistic(design, covariates, folds, model.terms)
        models[name], scores[name] = model, _joined(design, model, held_out)
    rows = np.flatnonzero(dev)
    trees, boosting = fit_trees(design, rows, folds[rows], seed=seed, options=options)
    models["xgboost"] = trees
    held_out = _held_out_trees(design, folds, seed=seed, options=options)
    scores["xgboost"] = _joined(design, trees, held_out)
    table = pd.DataFrame(
        {
            "subject": design.subjects,
            "split": design.split,
            "centre": design.centre,
            "response": design.labels.astype(np.int64),
            "fold": folds,
            "complete": design.complete.astype(np.int64),
        }
    )
    for name in MODELS:
        table[f"score_{name}"] = scores[name]
    return BinaryFit(models, table, boosting)


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


def fit_trees(
    design: BinaryDesign,
    rows: Int,
    folds: Int,
    *,
    seed: int,
    options: BoostingOptions | None = None,
) -> tuple[FrozenTrees, BoostingFit]:
    """Fit boosted trees on some rows; the number of trees is chosen on their folds.

    Parameters
    ----------
    design : BinaryDesign
        The study.
    rows : (m,) int array
        Rows by index, which may repeat (a bootstrap resample).
    folds : (m,) int array
        Fold of each of these rows; repeats of a row share one fold.
    seed : int
        Seed handed to XGBoost.
    options : BoostingOptions
        Settings of the trees.
    """
    numeric, levels = _tree_design(design)
    values, extra = tree_columns(design.frame.iloc[rows], numeric, levels, source=design.source)
    names = [n for name, found in levels.items() for n in one_hot_names(name, found)]
    fit = fit_boosting(
        values,
        design.labels[rows].astype(np.int64),
        folds,
        features=numeric,
        extra=extra,
        extra_names=names,
        options=options,
        seed=seed,
    )
    return FrozenTrees(numeric, levels, fit.model), fit


def tree_columns(
    frame: pd.DataFrame,
    numeric: Sequence[str],
    levels: Mapping[str, Sequence[str]],
    *,
    source: str = "the subjects sheet",
) -> tuple[Float, Float]:
    """Return numbers (n, p) and a 0/1 column per level (n, e); NaN where missing.

    Raises
    ------
    ModelError
        A category that the development rows do not have; names column and subject.
    """
    values = np.column_stack(
        [np.empty((len(frame), 0)), *(frame[n].to_numpy(dtype=np.float64) for n in numeric)]
    )
    blocks = [np.empty((len(frame), 0))]
    for name, known in levels.items():
        missing = ~complete_rows(frame, [name], source=source)
        cells = level_names(frame[name])
        for subject, cell, empty in zip(frame.index, cells, missing, strict=True):
            if not empty and cell not in known:
                raise ModelError(
                    f"{source}: column {name}, subject {subject}: {cell!r} is a category seen only"
                    f" in validation; development has {', '.join(known)}. Merge the category with"
                    " one of these, or leave the subject out"
                )
        block = np.array([[float(cell == level) for level in known] for cell in cells])
        block = block.reshape(len(frame), len(known))
        block[missing] = np.nan
        blocks.append(block)
    return values, np.hstack(blocks)


def one_hot_names(name: str, levels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the 0/1 columns of a category: ``subtype=basal``."""
    return tuple(f"{name}={level}" for level in levels)


def common_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that every model has scored: paired comparisons need the same rows."""
    names = [column for column in predictions.columns if str(column).startswith("score_")]
    return predictions[predictions[names].notna().all(axis=1).to_numpy()]


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


def _complete(
    design: BinaryDesign, covariates: Sequence[str], rows: Bool
) -> tuple[pd.DataFrame, Bool]:
    whole = rows & complete_rows(design.frame, covariates, source=design.source)
    return design.frame[whole], design.labels[whole]


def _held_out_logistic(
    design: BinaryDesign, covariates: Sequence[str], folds: Int, known: Sequence[Term]
) -> Float:
    held_out = np.full(len(folds), np.nan)
    for fold in np.unique(folds[folds > 0]):
        inside = folds == fold
        model = fit_terms_logistic(design, covariates, (folds > 0) & ~inside, known=known)
        held_out[inside] = model.probability(design.frame[inside], source=design.source)
    return held_out


def _held_out_trees(
    design: BinaryDesign, folds: Int, *, seed: int, options: BoostingOptions | None
) -> Float:
    held_out = np.full(len(folds), np.nan)
    for fold in np.unique(folds[folds > 0]):
        inside, rest = folds == fold, np.flatnonzero((folds > 0) & (folds != fold))
        inner = assign_folds(
            np.array(design.subjects)[rest].tolist(),
            design.labels[rest],
            n_folds=INNER_FOLDS,
            seed=seed + int(fold),
        )
        model, _ = fit_trees(design, rest, inner, seed=seed, options=options)
        held_out[inside] = model.probability(design.frame[inside], source=design.source)
    return held_out


def _joined(design: BinaryDesign, model: FrozenLogistic | FrozenTrees, held_out: Float) -> Float:
    """Return held-out scores of development rows and the model's own of the others."""
    test = ~design.development
    scores = held_out.copy()
    if test.any():
        scores[test] = model.probability(design.frame[test], source=design.source)
    return scores


def _tree_design(design: BinaryDesign) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    numeric = tuple(name for name, kind in design.kinds.items() if kind != "categorical")
    frame = design.frame[design.development]
    levels = {}
    for name, kind in design.kinds.items():
        if kind == "categorical":
            known = frame[complete_rows(frame, [name], source=design.source)]
            levels[name] = tuple(sorted(set(level_names(known[name]))))
    return numeric, levels


def _check_names(
    sheet: pd.DataFrame,
    kinds: Mapping[str, Kind],
    reference: Sequence[str],
    outcome: str,
    source: str,
) -> None:
    if not kinds:
        raise ModelError("no covariate is named; give --covariates as age_years:continuous,...")
    for name in ("subject", "split", "centre", outcome, *kinds):
        if name not in sheet.columns:
            raise ModelError(
                f"{source}: there is no column {name}; it has {', '.join(map(str, sheet.columns))}"
            )
    if outcome in kinds:
        raise ModelError(f"the outcome {outcome} is among the covariates; remove it there")
    strangers = [name for name in reference if name not in kinds]
    if strangers or not reference:
        raise ModelError(
            f"--reference {','.join(reference)}: "
            + (f"{strangers[0]} is no covariate" if strangers else "no covariate is named")
            + f"; choose among {', '.join(kinds)}"
        )


def _check_cells(sheet: pd.DataFrame, kinds: Mapping[str, Kind], outcome: str, source: str) -> None:
    subjects = sheet["subject"].astype(str)
    problems = [
        f"{source}: subject {name} stands twice; keep one row"
        for name in sorted(set(subjects[subjects.duplicated()]))
    ]
    for subject, split in zip(subjects, sheet["split"], strict=True):
        if split not in _SPLITS:
            problems.append(
                f"{source}: subject {subject}: split {split!r} is neither of"
                f" {', '.join(_SPLITS)}; correct it"
            )
    numeric = [name for name, kind in kinds.items() if kind != "categorical"]
    for name in [outcome, *numeric]:
        what = "neither 0 nor 1" if name == outcome else "no finite number"
        problems += [
            f"{source}: column {name}, subject {subject}: {cell!r} is {what}; correct it, or leave"
            " it empty"
            for subject, cell in zip(subjects, sheet[name], strict=True)
            if not pd.isna(cell) and not _is_good(cell, binary=name == outcome)
        ]
    if problems:
        raise CohortError(problems)


def _is_good(cell: Any, *, binary: bool) -> bool:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return False
    return number in (0.0, 1.0) if binary else bool(np.isfinite(number))


def _check_classes(positive: Bool, part: str, outcome: str, source: str) -> None:
    if part == "test" and positive.size == 0:
        return
    if positive.all() or not positive.any():
        raise ModelError(
            f"{source}: column {outcome}: the {part} rows hold {int(positive.sum())} cases of class"
            f" 1 and {int((~positive).sum())} of class 0; both classes are needed: check the"
            " outcome and the split"
        )
