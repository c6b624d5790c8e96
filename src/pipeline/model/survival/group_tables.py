"""Risk groups and Cox models of each split, as tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.model.arrays import Bool
from pipeline.model.survival.chain import HIGH, LOW, SurvivalModel, model_frame, predict
from pipeline.model.survival.cox_tables import multivariable, significant_variables, univariable
from pipeline.model.survival.design import SurvivalDesign
from pipeline.model.survival.kaplan_meier import kaplan_meier, log_rank
from pipeline.model.survival.schoenfeld import proportional_hazards
from pipeline.model.survival.scored import GROUP, Part, attempt, stack
from pipeline.model.terms import Kind, complete_rows, design_matrix


def curves(part: Part) -> pd.DataFrame:
    """Return the Kaplan-Meier curves of both risk groups, a row per distinct time."""
    groups = part.frame[GROUP].to_numpy()
    tables = []
    for group in (LOW, HIGH):
        rows: Bool = np.asarray(groups == group)
        if not rows.any():
            continue
        curve = kaplan_meier(part.outcome.take(rows))
        tables.append(
            pd.DataFrame(
                {
                    "split": part.split,
                    "group": group,
                    "time_months": curve.months,
                    "at_risk": curve.at_risk,
                    "events": curve.events,
                    "censored": curve.censored,
                    "survival": curve.survival,
                    "low95": curve.low,
                    "high95": curve.high,
                }
            )
        )
    return stack(tables)


def log_ranks(part: Part) -> list[dict[str, object]]:
    """Return split, chi2, df and p of low against high risk; no row when one group is empty."""
    groups = part.frame[GROUP].astype(str).tolist()
    if len(set(groups)) < 2:
        return []
    found = attempt(f"{part.split}, log-rank", log_rank, part.outcome, groups)
    if found is None:
        return []
    return [{"split": part.split, "chi2": found.chi2, "df": found.df, "p": found.p}]


def cox_tables(
    parts: Sequence[Part],
    kinds: Mapping[str, Kind],
    rule: str,
    references: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return univariable and multivariable Cox models of the risk group and the covariates.

    The variables of the multivariable model are chosen on the development rows (p < 0.05 alone,
    or all) and are the same on the test rows.
    """
    tables = []
    chosen: tuple[str, ...] = ()
    levels = {GROUP: LOW, **(references or {})}
    for part in parts:
        grouped = part.frame[GROUP].nunique() == 2
        wanted: dict[str, Kind] = {GROUP: "categorical", **kinds} if grouped else dict(kinds)
        alone = stack(_alone(part, {name: kind}, levels) for name, kind in wanted.items())
        if part.split == "development" and len(alone):
            chosen = tuple(wanted) if rule == "all" else significant_variables(alone)
        together = {name: wanted[name] for name in chosen if name in wanted}
        tables.append(_labelled(part, "univariable", alone))
        if together:
            both = attempt(
                f"{part.split}, multivariable Cox model",
                multivariable,
                part.frame,
                together,
                part.outcome,
                references=_named(together, levels),
            )
            tables.append(_labelled(part, "multivariable", both))
    return stack(tables)


def _alone(part: Part, kinds: Mapping[str, Kind], levels: Mapping[str, str]) -> pd.DataFrame | None:
    return attempt(
        f"{part.split}, Cox model of {next(iter(kinds))}",
        univariable,
        part.frame,
        kinds,
        part.outcome,
        references=_named(kinds, levels),
    )


def _named(kinds: Mapping[str, Kind], levels: Mapping[str, str]) -> dict[str, str]:
    return {name: level for name, level in levels.items() if name in kinds}


def _labelled(part: Part, analysis: str, table: pd.DataFrame | None) -> pd.DataFrame | None:
    if table is None or table.empty:
        return None
    return pd.concat(
        [pd.DataFrame({"split": part.split, "analysis": analysis}, index=table.index), table],
        axis=1,
    )


def schoenfeld(model: SurvivalModel, design: SurvivalDesign) -> pd.DataFrame:
    """Return the test of proportional hazards of each model, on the development rows, if any."""
    rows = design.development
    if not rows.any():
        return pd.DataFrame(columns=["model", "term", "chi2", "df", "p"])
    tables = []
    predictions = predict(model, design)
    for name, cox in model.models.items():
        score = predictions["rad_score"].to_numpy(dtype=np.float64)
        as_given = "continuous" if name == "rad_score" else model.score_as
        frame = model_frame(design.covariates, model.score, score, as_given).loc[rows]
        known = complete_rows(frame, cox.variables)
        matrix, _ = design_matrix(frame.loc[known], cox.terms)
        outcome = design.outcome.take(rows).take(known)
        found = attempt(
            f"proportional hazards of {name}",
            proportional_hazards,
            cox.fit,
            matrix,
            outcome,
            terms={t.name: t.columns for t in cox.terms},
        )
        if found is not None:
            tables.append(found.table.assign(model=name)[["model", "term", "chi2", "df", "p"]])
    return stack(tables)
