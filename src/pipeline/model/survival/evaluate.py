"""Every table of a survival study from its frozen model: groups, Cox models, validation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.model.survival.chain import MODELS, SCORE, SurvivalModel, predict
from pipeline.model.survival.design import SurvivalDesign
from pipeline.model.survival.group_tables import cox_tables, curves, log_ranks, schoenfeld
from pipeline.model.survival.scored import Part, parts_of, scored_by, stack
from pipeline.model.survival.validation_tables import (
    calibrations,
    decision_curves,
    discrimination,
    roc_curves,
)
from pipeline.model.terms import Kind


def evaluate(
    model: SurvivalModel,
    design: SurvivalDesign,
    kinds: Mapping[str, Kind],
    *,
    rule: str = "significant",
    references: Mapping[str, str] | None = None,
    optimism: pd.DataFrame | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> dict[str, pd.DataFrame]:
    """Return the tables by name; rows of a table that cannot be computed are told and left out.

    Parameters
    ----------
    model : SurvivalModel
        Frozen.
    design : SurvivalDesign
        Development and test rows.
    kinds : mapping of covariate to kind
        Variables of the Cox tables, besides the risk group.
    rule : "significant" or "all"
        Variables of the multivariable table: those with p < 0.05 alone in development, or all.
    references : mapping of covariate to level, optional
        Reference levels of the Cox tables.
    optimism : DataFrame, optional
        ``model, metric, horizon_months, optimism`` of the whole chain.
    draws, seed : int
        Bootstrap resamples of the intervals.

    Returns
    -------
    mapping of name to DataFrame
        predictions, km, logrank, cox, schoenfeld, roc, discrimination, comparison, calibration,
        calibration_groups, calibration_smooth, decision, headline.
    """
    predictions = predict(model, design)
    parts = list(parts_of(design, predictions))
    scored = [s for part in parts for s in scored_by(part, model, draws, seed)]
    horizons = [m for m in model.horizons_months if m <= model.last_months]
    ranking, comparison = discrimination(scored, horizons, optimism)
    calibrated = [c for s in scored for c in calibrations(s, horizons, optimism)]
    tables = {
        "predictions": predictions,
        "km": stack(curves(part) for part in parts),
        "logrank": pd.DataFrame([row for part in parts for row in log_ranks(part)]),
        "cox": cox_tables(parts, kinds, rule, references),
        "schoenfeld": schoenfeld(model, design),
        "roc": stack(roc_curves(scored, horizons)),
        "discrimination": ranking,
        "comparison": comparison,
        "calibration": pd.DataFrame([row for row, _, _ in calibrated]),
        "calibration_groups": stack(groups for _, groups, _ in calibrated),
        "calibration_smooth": stack(smooth for _, _, smooth in calibrated),
        "decision": stack(decision_curves(scored, horizons)),
    }
    return tables | {"headline": _headline(model, parts, tables)}


def _headline(
    model: SurvivalModel, parts: Sequence[Part], tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Return a row per model: sizes, and what the test rows say (development: corrected).

    `features` counts the image features that the model reads. A Rad-score without any has a
    row all the same: that nothing was selected is a finding.
    """
    rows = []
    for name in MODELS:
        if name not in model.models and name != SCORE:
            continue
        uses = name in model.models and SCORE in model.models[name].variables
        row: dict[str, object] = {
            "model": name,
            "features": len(model.score.features) if uses else 0,
        }
        for part in parts:
            known = np.ones(len(part.outcome), dtype=bool)
            if name in model.models:
                known = np.isfinite(part.predictions[f"lp_{name}"].to_numpy(dtype=np.float64))
            row[f"n_{part.split}"] = int(known.sum())
            row[f"events_{part.split}"] = int(part.outcome.event[known].sum())
        table = tables["discrimination"]
        for found in table.to_dict("records"):  # without any model the table has no column
            row |= _headline_cells(found) if found["model"] == name else {}
        row |= _headline_calibration(name, tables["calibration"])
        row |= {
            f"log_rank_p_{item['split']}": item["p"] if name == "rad_score" else float("nan")
            for item in tables["logrank"].to_dict("records")
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _headline_cells(found: Mapping[str, Any]) -> dict[str, object]:
    months = found["horizon_months"]
    name = found["metric"] + ("" if np.isnan(months) else f"_{months:g}m")
    key = f"{name}_{found['split']}"
    cells = {key: found["value"], f"{key}_low95": found["low95"], f"{key}_high95": found["high95"]}
    if found["split"] == "development":
        cells[f"{key}_corrected"] = found["corrected"]
    return cells


def _headline_calibration(name: str, table: pd.DataFrame) -> dict[str, object]:
    if table.empty:
        return {}
    rows = table[((table["model"] == name) & (table["split"] == "test")).to_numpy()]
    return {f"ici_{row['horizon_months']:g}m_test": row["ici"] for row in rows.to_dict("records")}
