"""Why the boosted trees of a binary study decide as they do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.binary_results import BinaryResults, level_name
from pipeline.report.page import Picture, Section
from pipeline.report.shap_figures import (
    LEVEL_COLOURS,
    Bar,
    Swarm,
    beeswarm_figure,
    importance_figure,
)


def shap_section(results: BinaryResults) -> Section:
    """Return why the trees decide as they do."""
    table = results.tables["importance"]
    bars = [
        Bar(results.label(str(r["feature"])), float(r["mean_abs_shap"]), float(r["low95"]),
            float(r["high95"]))
        for r in table.to_dict("records")
    ]  # fmt: skip
    order = [str(name) for name in table["feature"]]
    rows = swarm_rows(results, order)
    words = "; ".join(f"{bar.label} {bar.value:.2f}" for bar in bars)
    pictures = [
        Picture(
            beeswarm_figure(rows, outcome=results.positive), "image/svg+xml",
            f"SHAP values of every subject by feature. Mean absolute values: {words}",
            "Each point is a subject: how far the feature moves the log odds away from the mean of"
            " the model. Colour: the value of a number, or the level of a category. Hollow:"
            " missing.", 860,
        ),
        Picture(
            importance_figure(bars), "image/svg+xml", f"Mean absolute SHAP values: {words}",
            "Mean over the subjects with its 95 % bootstrap interval (the model held fixed).", 568,
        ),
    ]  # fmt: skip
    trees = results.measured.get("trees")
    size = f" {trees} trees of depth 2, their number chosen by cross-validation." if trees else ""
    return Section("Why the trees decide as they do",
                   "XGBoost's own SHAP contributions, which add up to the log odds of each"
                   f" subject.{size}", pictures)  # fmt: skip


def swarm_rows(results: BinaryResults, order: Sequence[str]) -> list[Swarm]:
    """Return the rows of the beeswarm: a number's own, a category's levels under its name."""
    kinds, rows = covariate_kinds(results.settings), []
    for feature in order:
        frame = results.rows("shap", feature=feature)
        parts = frame["contribution"].to_numpy(dtype=np.float64)
        label = results.label(feature)
        if kinds.get(feature) != "categorical":
            values = pd.to_numeric(frame["value"]).to_numpy(dtype=np.float64)
            rows.append(Swarm(label, parts, values))
            continue
        rows.append(Swarm(label, np.empty(0), heading=True))
        names = frame["value"].map(lambda v: None if pd.isna(v) else level_name(v))
        means = frame.assign(name=names).groupby("name")["contribution"].mean()
        for at, name in enumerate(means.sort_values(ascending=False, kind="stable").index):
            chosen = (names == name).to_numpy()
            text = f"{results.level(name)} (n = {int(chosen.sum())})"
            colour = LEVEL_COLOURS[at % len(LEVEL_COLOURS)]
            rows.append(Swarm(text, parts[chosen], colour=colour, indent=True))
        lacking = names.isna().to_numpy()
        if lacking.any():
            rows.append(Swarm(f"missing (n = {int(lacking.sum())})", parts[lacking],
                              np.full(int(lacking.sum()), np.nan), indent=True))  # fmt: skip
    return rows


def covariate_kinds(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return column -> kind from the settings' ``column:kind,...``."""
    pairs = (item.partition(":") for item in str(settings.get("covariates", "")).split(","))
    return {name.strip(): kind.strip() for name, _, kind in pairs if name.strip()}
