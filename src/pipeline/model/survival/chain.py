"""The whole chain of a survival study on development rows, frozen, and applied to any rows.

Harmonise (optional) → filter → scale → LASSO-Cox → Rad-score → cut-off → three Cox models: the
Rad-score alone, the covariates alone, both (the nomogram's). What is fitted sees development
rows only; `predict` changes nothing.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.harmonise import Combat, Unseen, apply_combat, fit_combat
from pipeline.model.nomogram import NomogramModel, nomogram_model_of_cox
from pipeline.model.survival.cox import CoxFit, fit_cox
from pipeline.model.survival.cutoff import Cutoff, cutoff_by_log_rank, cutoff_by_roc
from pipeline.model.survival.design import SurvivalDesign
from pipeline.model.survival.frozen_score import RadScore
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.rad_score import LassoOptions, RadScoreFit, fit_rad_score
from pipeline.model.terms import Kind, Term, complete_rows, design_matrix, fit_terms

logger = logging.getLogger(__name__)

#: Raised when the layout of the record changes.
SCHEMA = 1

#: The column that the Rad-score, or its risk group, is called in the Cox models.
SCORE = "rad_score"

#: Names of the models, in the order of the tables.
MODELS = ("rad_score", "clinical", "combined")

LOW, HIGH = "low", "high"


@dataclass(frozen=True)
class SurvivalOptions:
    """What the chain may be asked; units in the names.

    Attributes
    ----------
    covariates : mapping of column to kind
        Variables of the clinical model.
    nomogram : tuple of str
        Terms of the combined model: ``rad_score`` and covariates.
    score_as : "continuous" or "dichotomised"
        How the Rad-score enters the combined model.
    harmonise, unseen_centre
        ComBat between centres, and its policy for a centre without development rows.
    lasso : LassoOptions
        Filter, elastic net, cross-validation and rule of lambda.
    cutoff : "nne", "km", "logrank" or "median"
        How low and high risk are told apart.
    cutoff_months : float
        Horizon of the time-dependent ROC.
    horizons_months : tuple of float
        Times at which probabilities are given.
    references : mapping of covariate to level
        Reference levels; the first of the sorted levels otherwise.
    labels : mapping of variable to text
        Names for readers.
    """

    covariates: Mapping[str, Kind] = field(default_factory=dict)
    nomogram: tuple[str, ...] = (SCORE,)
    score_as: Literal["continuous", "dichotomised"] = "continuous"
    harmonise: Literal["none", "combat"] = "none"
    unseen_centre: Unseen = "error"
    lasso: LassoOptions = field(default_factory=LassoOptions)
    cutoff: Literal["nne", "km", "logrank", "median"] = "nne"
    cutoff_months: float = 60.0
    horizons_months: tuple[float, ...] = (36.0, 60.0)
    references: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CoxModel:
    """A Cox model of named variables.

    Attributes
    ----------
    terms : tuple of Term
        Variables with their levels, knots and ranges.
    fit : CoxFit
        Coefficients and baseline.
    complete : int
        Development rows without a missing variable; the model is fitted on these.
    """

    terms: tuple[Term, ...]
    fit: CoxFit
    complete: int

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables."""
        return tuple(term.name for term in self.terms)

    def linear_predictor(self, frame: pd.DataFrame) -> Float:
        """Return log hazards (n,) of rows; NaN where a variable is missing."""
        known = complete_rows(frame, self.variables)
        found = np.full(len(frame), np.nan)
        if known.any():
            matrix, _ = design_matrix(frame.loc[known], self.terms)
            found[known] = self.fit.linear_predictor(matrix)
        return found

    def survival(self, linear_predictor: Float, months: float) -> Float:
        """Return S(months) (n,) for log hazards; NaN where the log hazard is."""
        hazard = float(self.fit.cumulative_hazard(np.array([months]))[0])
        return np.asarray(np.exp(-hazard * np.exp(linear_predictor)))


@dataclass(frozen=True, eq=False)
class SurvivalModel:
    """Everything that new patients need: no row of anybody is kept.

    Attributes
    ----------
    combat : Combat or None
        Harmonisation of the features, and `unseen`, its policy for a new centre.
    score : RadScore
        Scaler, coefficients and cut-off.
    models : mapping of name to CoxModel
        Those of `MODELS` that could be fitted.
    score_as, horizons_months
        As in `SurvivalOptions`.
    last_months : float
        Longest follow-up among the development rows; no probability is given beyond.
    """

    combat: Combat | None
    unseen: Unseen
    score: RadScore
    models: Mapping[str, CoxModel]
    score_as: Literal["continuous", "dichotomised"]
    horizons_months: tuple[float, ...]
    last_months: float

    def to_record(self) -> dict[str, Any]:
        """Return JSON types; floats keep every bit."""
        return {
            "schema": SCHEMA,
            "kind": "survival",
            "combat": self.combat.to_record() if self.combat else None,
            "unseen_centre": self.unseen,
            "rad_score": self.score.to_record(),
            "score_as": self.score_as,
            "horizons_months": list(self.horizons_months),
            "last_months": self.last_months,
            "models": {
                name: {
                    "terms": [term.to_record() for term in model.terms],
                    "cox": model.fit.to_record(),
                    "complete": model.complete,
                }
                for name, model in self.models.items()
            },
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "SurvivalModel":
        """Return the model of a JSON record; ModelError when it is none or is incomplete."""
        if record.get("kind") != "survival" or record.get("schema") != SCHEMA:
            raise ModelError(
                f"kind {record.get('kind')!r}, schema {record.get('schema')!r}: this version reads"
                f" survival models of schema {SCHEMA}; make the file again with"
                " `medpipe survival fit`"
            )
        try:
            return _from_record(record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the survival model is incomplete ({error}); make it again with"
                " `medpipe survival fit`"
            ) from error


@dataclass(frozen=True, eq=False)
class SurvivalFit:
    """The model, and how it came about.

    Attributes
    ----------
    model : SurvivalModel
        Frozen.
    lasso : RadScoreFit
        Path, cross-validation and selection.
    cutoff : Cutoff or None
        Candidates and choice; None when no feature was selected.
    """

    model: SurvivalModel
    lasso: RadScoreFit
    cutoff: Cutoff | None


def fit_survival(
    design: SurvivalDesign, options: SurvivalOptions, *, seed: int, rows: Int | None = None
) -> SurvivalFit:
    """Run the chain on development rows.

    Parameters
    ----------
    design : SurvivalDesign
        Any rows; those outside development are not looked at.
    options : SurvivalOptions
        What to do.
    seed : int
        Deals the folds and draws the resamples.
    rows : (m,) int array, optional
        Which development rows to use, by index in the design; repeats make a bootstrap.

    Raises
    ------
    ModelError
        Names the step and the column that cannot be fitted.
    """
    chosen = np.flatnonzero(design.development) if rows is None else rows
    outcome = design.outcome.take(chosen)
    subjects = [design.subjects[i] for i in chosen]
    centres = [design.centre[i] for i in chosen]
    if rows is None:
        _check_horizons(outcome, options)
    values = design.values[chosen]
    combat = None
    if options.harmonise == "combat":
        combat = fit_combat(values, centres, features=design.features)
        values = apply_combat(combat, values, centres)
    lasso = fit_rad_score(
        values, design.features, outcome, subjects, options=options.lasso, seed=seed
    )
    score = lasso.score.score(values, design.features)
    cutoff = choose_cutoff(score, outcome, options) if lasso.score.features else None
    frozen = lasso.score.with_cutoff(cutoff.value) if cutoff else lasso.score
    frame = model_frame(design.covariates.iloc[chosen], frozen, score, options.score_as)
    models = _fit_models(frame, score if frozen.features else None, outcome, options)
    model = SurvivalModel(
        combat=combat,
        unseen=options.unseen_centre,
        score=frozen,
        models=models,
        score_as=options.score_as,
        horizons_months=options.horizons_months,
        last_months=float(outcome.months.max()),
    )
    return SurvivalFit(model, lasso, cutoff)


def _check_horizons(outcome: Outcome, options: SurvivalOptions) -> None:
    """Stop at a time that nobody was followed to, or before which nobody had an event."""
    last = float(outcome.months.max())
    asked = [("horizons_months", months) for months in options.horizons_months]
    if options.cutoff in ("nne", "km"):
        asked.append(("cutoff_months", options.cutoff_months))
    for name, months in asked:
        if months > last and (name == "cutoff_months" or months == min(options.horizons_months)):
            raise ModelError(
                f"{name}: {months:g} months lie beyond the follow-up of the development rows,"
                f" which ends at {last:.4g} months; choose an earlier time, and check that the"
                " follow-up is in months"
            )
        if months > last:
            logger.warning(
                "horizons_months: %g months lie beyond the follow-up of the development rows,"
                " which ends at %.4g months: no probability is given there", months, last,
            )  # fmt: skip
        if not outcome.event[outcome.months <= months].any():
            raise ModelError(
                f"{name}: no development row has an event by {months:g} months; choose a later"
                " time, and check that the follow-up is in months"
            )


def choose_cutoff(score: Float, outcome: Outcome, options: SurvivalOptions) -> Cutoff:
    """Return the value from which on a score means high risk, learnt from these rows alone."""
    if options.cutoff == "logrank":
        return cutoff_by_log_rank(score, outcome)
    if options.cutoff == "median":
        middle = float(np.median(score))
        curve = pd.DataFrame({"cutoff": [middle], "statistic": [np.nan], "chosen": [1]})
        return Cutoff(middle, "median", float("nan"), float("nan"), {}, curve)
    return cutoff_by_roc(score, outcome, options.cutoff_months, method=options.cutoff)


def model_frame(
    covariates: pd.DataFrame, score: RadScore, values: Float, score_as: str
) -> pd.DataFrame:
    """Return the covariates with the Rad-score, or its risk group, as one more column."""
    column: Any = values
    if score_as == "dichotomised" and score.cutoff is not None:
        column = np.where(score.risk_group(values), HIGH, LOW).astype(object)
    return covariates.assign(**{SCORE: column})


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to be scored: n names, centres, features (n, p) by name, covariates by name."""

    subjects: tuple[str, ...]
    centres: tuple[str, ...]
    values: Float
    features: tuple[str, ...]
    covariates: pd.DataFrame


def predict(model: SurvivalModel, design: SurvivalDesign) -> pd.DataFrame:
    """Apply the frozen model to every row of a design.

    Returns
    -------
    DataFrame
        ``subject, split, centre, time_months, event`` and the columns of `predict_rows`.
    """
    rows = Rows(
        design.subjects, design.centre, design.values, design.features, design.covariates
    )  # fmt: skip
    found = predict_rows(model, rows)
    split = np.where(design.development, "development", "test")
    found.insert(1, "split", split)
    found.insert(3, "time_months", design.outcome.months)
    found.insert(4, "event", design.outcome.event.astype(int))
    return found


def predict_rows(model: SurvivalModel, rows: Rows) -> pd.DataFrame:
    """Apply the frozen model to rows whose outcome need not be known.

    Returns
    -------
    DataFrame
        ``subject, centre, rad_score, risk_group``, and for each model ``lp_<model>`` and
        ``survival_<model>_<t>m``; NaN where a variable is missing, and where t lies beyond the
        follow-up of the development rows.
    """
    score = model.score.score(align_features(rows, model))
    frame = model_frame(rows.covariates, model.score, score, model.score_as)
    found: dict[str, Any] = {"subject": rows.subjects, "centre": rows.centres}
    found |= _score_columns(model.score, score)
    for name, cox in model.models.items():
        log_hazard = cox.linear_predictor(
            frame.assign(**{SCORE: score}) if name == SCORE else frame
        )
        found[f"lp_{name}"] = log_hazard
        for months in model.horizons_months:
            known = months <= model.last_months
            survival = cox.survival(log_hazard, months) if known else np.full(len(score), np.nan)
            found[survival_column(name, months)] = survival
    return pd.DataFrame(found)


def _score_columns(score: RadScore, values: Float) -> dict[str, Any]:
    if not score.features:
        empty = np.full(len(values), np.nan)
        return {SCORE: empty, "risk_group": np.full(len(values), "", dtype=object)}
    return {SCORE: values, "risk_group": np.where(score.risk_group(values), HIGH, LOW)}


def survival_column(model: str, months: float) -> str:
    """Return the column of survival probabilities of a model at a time."""
    return f"survival_{model}_{months:g}m"


def align_features(rows: Rows, model: SurvivalModel) -> Float:
    """Return the values (n, k) of the Rad-score's features, harmonised as in development."""
    features, combat = model.score.features, model.combat
    columns = combat.features if combat else features
    missing = [name for name in columns if name not in rows.features]
    if missing:
        raise ModelError(
            f"the feature table lacks {missing[0]}, which the model needs ({len(missing)} such);"
            " make it with the settings of the development rows"
        )
    place = {name: i for i, name in enumerate(rows.features)}
    values = rows.values[:, [place[name] for name in columns]]
    if combat is None:
        return values
    values = apply_combat(combat, values, rows.centres, unseen=model.unseen, subjects=rows.subjects)
    at = {name: i for i, name in enumerate(columns)}
    return np.asarray(values[:, [at[name] for name in features]])


def nomogram_of(
    model: SurvivalModel, design: SurvivalDesign, *, title: str = "survival"
) -> NomogramModel | None:
    """Return what a nomogram of the combined model needs, if there is such a model.

    The development rows of the design set the ends of its axes and the intervals.
    """
    combined = model.models.get("combined")
    months = [m for m in model.horizons_months if m <= model.last_months]
    if combined is None or not months:
        return None
    rows = np.flatnonzero(design.development)
    found = Rows(
        tuple(design.subjects[i] for i in rows),
        tuple(design.centre[i] for i in rows),
        design.values[rows],
        design.features,
        design.covariates.iloc[rows],
    )
    score = model.score.score(align_features(found, model))
    frame = model_frame(found.covariates, model.score, score, model.score_as)
    known = complete_rows(frame, combined.variables)
    matrix, _ = design_matrix(frame.loc[known], combined.terms)
    return nomogram_model_of_cox(
        combined.fit,
        combined.terms,
        months,
        matrix=matrix,
        outcome=design.outcome.take(rows[known]),
        title=title,
    )


def _fit_models(
    frame: pd.DataFrame, score: Float | None, outcome: Outcome, options: SurvivalOptions
) -> dict[str, CoxModel]:
    score_kind: Kind = "categorical" if options.score_as == "dichotomised" else "continuous"
    unknown = [n for n in options.nomogram if n != SCORE and n not in options.covariates]
    if unknown:
        raise ModelError(
            f"nomogram term {unknown[0]!r} is neither {SCORE} nor among the covariates"
            f" ({', '.join(options.covariates) or 'none'}); add it to `covariates`"
        )
    combined: dict[str, Kind] = {
        name: score_kind if name == SCORE else options.covariates[name]
        for name in options.nomogram
        if score is not None or name != SCORE
    }
    found = {}
    if score is None:
        logger.warning("no feature was selected: there is no Rad-score, only clinical models")
    else:
        alone = frame.assign(**{SCORE: score})
        found[SCORE] = _fit_model(alone, {SCORE: "continuous"}, outcome, options)
    for name, kinds in (("clinical", options.covariates), ("combined", combined)):
        if kinds:
            found[name] = _fit_model(frame, kinds, outcome, options)
    return found


def _fit_model(
    frame: pd.DataFrame, kinds: Mapping[str, Kind], outcome: Outcome, options: SurvivalOptions
) -> CoxModel:
    known: Bool = complete_rows(frame, list(kinds))
    rows, times = frame.loc[known], outcome.take(known)
    references = {name: level for name, level in options.references.items() if name in kinds}
    if kinds.get(SCORE) == "categorical":
        references[SCORE] = LOW
    labels = {SCORE: "Rad-score", **options.labels}
    terms = fit_terms(rows, kinds, references=references, labels=labels)
    matrix, names = design_matrix(rows, terms)
    fit = fit_cox(matrix, names, times, subjects=[str(s) for s in rows.index])
    return CoxModel(terms, fit, int(known.sum()))


def _terms_of(records: Any) -> tuple[Term, ...]:
    terms = tuple(Term.from_record(record) for record in records)
    if not terms:
        raise ValueError("a Cox model without terms")
    return terms


def _from_record(record: Mapping[str, Any]) -> SurvivalModel:
    combat = record["combat"]
    return SurvivalModel(
        combat=Combat.from_record(combat) if combat else None,
        unseen=record["unseen_centre"],
        score=RadScore.from_record(record["rad_score"]),
        models={
            name: CoxModel(
                _terms_of(item["terms"]),
                CoxFit.from_record(item["cox"]),
                int(item["complete"]),
            )
            for name, item in record["models"].items()
        },
        score_as=record["score_as"],
        horizons_months=tuple(float(m) for m in record["horizons_months"]),
        last_months=float(record["last_months"]),
    )
