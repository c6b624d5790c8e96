"""A made-up survival study: every table of one arm, as the survival verb writes them."""

import numpy as np
import pandas as pd

HORIZONS = (12.0, 24.0, 36.0)
MODELS = ("rad_score", "clinical", "combined")
FEATURES = [
    "original_shape_Maximum3DDiameter", "original_firstorder_Energy", "original_glcm_Contrast",
    "original_glszm_SizeZoneNonUniformityNormalized", "original_glrlm_RunLengthNonUniformity",
    "original_gldm_LargeDependenceHighGrayLevelEmphasis",
    *(f"original_glrlm_Filler{n}" for n in range(18)),
]  # fmt: skip


def make_subjects(count=120, tested=60, seed=3):
    """Return a sheet with survival that depends on a score and on stage."""
    rng = np.random.default_rng(seed)
    n = count + tested
    score, stage = rng.normal(0, 0.6, n), rng.integers(1, 4, n)
    risk = 0.9 * score + 0.35 * (stage - 2)
    time = rng.exponential(28 * np.exp(-risk))
    censor = rng.uniform(6, 84, n)
    return pd.DataFrame(
        {
            "subject": [f"{k:03d}" for k in range(n)],
            "split": ["development"] * count + ["test"] * tested,
            "centre": ["lung1"] * count + ["lung2"] * tested,
            "time_months": np.round(np.minimum(time, censor), 2),
            "event": (time <= censor).astype(int),
            "age_years": np.round(rng.normal(67, 9, n), 1),
            "stage": stage,
            "score": score,
        }
    )


def km_rows(frame, split, group):
    """Return the product-limit rows of one group, at every time."""
    rows, survival, variance = [], 1.0, 0.0
    for time in np.unique(frame["time_months"]):
        now = frame["time_months"] == time
        risk = int((frame["time_months"] >= time).sum())
        dead = int((now & (frame["event"] == 1)).sum())
        survival *= 1 - dead / risk
        if risk > dead:
            variance += dead / (risk * (risk - dead))
        half = 1.96 * np.sqrt(variance)
        ends = (survival * np.exp(-half), min(survival * np.exp(half), 1.0))
        low, high = ends if survival > 0 else (np.nan, np.nan)
        rows.append((split, group, time, risk, dead, int(now.sum()) - dead, survival, low, high))
    return rows


def make_km(predictions):
    rows = []
    for (split, group), frame in predictions.groupby(["split", "risk_group"]):
        rows += km_rows(frame, split, group)
    return pd.DataFrame(rows, columns=["split", "group", "time_months", "at_risk", "events",
                                       "censored", "survival", "low95", "high95"])  # fmt: skip


def make_predictions(subjects, cutoff):
    frame = subjects[["subject", "split", "centre", "time_months", "event"]].copy()
    frame["rad_score"] = subjects["score"]
    frame["risk_group"] = np.where(subjects["score"] > cutoff, "high", "low")
    for model, weight in zip(MODELS, (0.9, 0.0, 0.9), strict=True):
        stage = 0.35 * (subjects["stage"] - 2) if model != "rad_score" else 0
        frame[f"lp_{model}"] = weight * subjects["score"] + stage
        for t in HORIZONS:
            baseline = np.exp(-t / 28)
            frame[f"survival_{model}_{t:g}m"] = baseline ** np.exp(frame[f"lp_{model}"])
    return frame


def make_lasso(seed=1):
    """Return path, path_summary and selection of a soft-thresholded path."""
    rng = np.random.default_rng(seed)
    lambdas = 0.3 * 0.9 ** np.arange(45)
    effects = np.r_[0.35, -0.25, 0.2, 0.16, 0.13, -0.1, rng.normal(0, 0.03, 18)]
    rows, summary = [], []
    for step, value in enumerate(lambdas):
        sizes = np.sign(effects) * np.maximum(np.abs(effects) - value, 0)
        kept = np.flatnonzero(sizes)
        rows += [(step, value, FEATURES[k], sizes[k]) for k in kept]
        deviance = 8.2 + 6 * (np.log(value) + 2.9) ** 2 / 40 + 0.02 * rng.normal()
        summary.append((step, value, len(kept), 1 - deviance / 9, deviance, 0.11))
    columns = ["step", "lambda", "n_selected", "deviance_ratio", "cv_deviance", "cv_deviance_se"]
    table = pd.DataFrame(summary, columns=columns)
    best = int(table["cv_deviance"].idxmin())
    for name, at in (("is_min", best), ("is_1se", best - 6), ("is_used", best)):
        table[name] = (np.arange(45) == at).astype(int)
    path = pd.DataFrame(rows, columns=["step", "lambda", "feature", "coefficient"])
    used = path[path["step"] == best].set_index("feature")["coefficient"]
    coefficients = used.reindex(FEATURES).fillna(0).to_numpy()
    frequency = np.clip(0.15 + 2.6 * np.abs(effects) + rng.uniform(-0.1, 0.1, 24), 0, 0.99)
    selection = pd.DataFrame({"feature": FEATURES, "coefficient": coefficients,
                              "frequency": frequency, "median_raw": 10.0, "mean_raw": 12.5,
                              "sd_raw": 3.25})  # fmt: skip
    return path, table, selection


def make_roc(predictions):
    rows = []
    for (split, frame), model, t in ((s, m, t) for s in predictions.groupby("split")
                                     for m in MODELS for t in HORIZONS):  # fmt: skip
        known = (frame["event"] == 1) | (frame["time_months"] > t)
        ill = (frame["time_months"] <= t)[known].to_numpy()
        marker = frame[f"lp_{model}"][known].to_numpy()
        for cut in np.r_[np.inf, np.sort(np.unique(marker))[::-1]]:
            high = marker >= cut
            rows.append((split, model, t, high[~ill].mean(), high[ill].mean(), cut))
    return pd.DataFrame(rows, columns=["split", "model", "horizon_months", "false_positive_rate",
                                       "true_positive_rate", "threshold"])  # fmt: skip


def make_cox():
    """Return Cox tables: a reference row of a categorical variable has a ratio of 1."""
    nan, rows = np.nan, []
    for split, shift in (("development", 0.0), ("test", 0.2)):
        for variable, level, beta, se in (
            ("risk_group", "low", 0.0, nan), ("risk_group", "high", 0.95, 0.2),
            ("age_years", "", 0.02, 0.01), ("stage", "I", 0.0, nan), ("stage", "II", 0.3, 0.24),
            ("stage", "III", 0.8, 0.26), ("sex", "male", 0.05, 0.9),
        ):  # fmt: skip
            for analysis, part in (("univariable", 1.0), ("multivariable", 0.8)):
                if variable == "sex" and analysis == "multivariable":
                    continue
                b = beta * part + (shift if beta else 0.0)
                z = b / se if np.isfinite(se) else nan
                p = float(np.exp(-(z**2))) if np.isfinite(se) else 0.003
                rows.append((split, analysis, variable, level, 120, 80, b, se, np.exp(b),
                             np.exp(b - 1.96 * se), np.exp(b + 1.96 * se), z, p))  # fmt: skip
    return pd.DataFrame(rows, columns=["split", "analysis", "variable", "level", "n", "events",
                                       "coefficient", "se", "hazard_ratio", "low95", "high95",
                                       "z", "p"])  # fmt: skip


def make_discrimination():
    rows = []
    for split, down in (("development", 0.0), ("test", 0.03)):
        for model, c in zip(MODELS, (0.64, 0.59, 0.68), strict=True):
            o = 0.02 if split == "development" else np.nan
            for metric, t, value in (
                ("harrell_c", np.nan, c), ("uno_c", 36.0, c - 0.01), ("ibs", 36.0, 0.18),
                ("slope", np.nan, 0.92), *(("auc", t, c + 0.03) for t in HORIZONS),
                *(("brier", t, 0.19) for t in HORIZONS),
            ):  # fmt: skip
                v = value - down
                rows.append((split, model, metric, t, v, v - 0.05, v + 0.05, o, v - o))
    return pd.DataFrame(rows, columns=["split", "model", "metric", "horizon_months", "value",
                                       "low95", "high95", "optimism", "corrected"])  # fmt: skip


def make_calibration(predictions):
    """Return calibration, calibration_groups and calibration_smooth."""
    totals, groups, smooth = [], [], []
    for (split, frame), t in ((s, t) for s in predictions.groupby("split") for t in HORIZONS):
        for model in MODELS:
            p = np.sort(frame[f"survival_{model}_{t:g}m"].to_numpy())
            totals.append((split, model, t, 0.021, 0.018, 0.043, 0.08, 0.93, 1.04))
            for at, part in enumerate(np.array_split(p, 4)):
                mean, bump = part.mean(), (0.05, -0.04, 0.03, -0.02)[at]
                seen = mean + bump
                fixed = seen - 0.02 if split == "development" else np.nan
                groups.append((split, model, t, at, len(part), mean, seen, max(seen - 0.13, 0),
                               min(seen + 0.13, 1), fixed))  # fmt: skip
            line = np.linspace(p[0], p[-1], 30)
            smooth += [(split, model, t, x, x + 0.05 * np.sin(5 * x)) for x in line]
    keys = ["split", "model", "horizon_months"]
    return (
        pd.DataFrame(totals, columns=[*keys, "ici", "e50", "e90", "emax", "slope",
                                      "ratio_observed_expected"]),
        pd.DataFrame(groups, columns=[*keys, "group", "n", "predicted", "observed", "low95",
                                      "high95", "corrected"]),
        pd.DataFrame(smooth, columns=[*keys, "predicted", "observed"]),
    )  # fmt: skip


def make_decision():
    rows = []
    for split in ("development", "test"):
        for t, share in zip(HORIZONS, (0.3, 0.5, 0.65), strict=True):
            for threshold in np.round(np.arange(0.01, 0.91, 0.02), 2):
                odds = threshold / (1 - threshold)
                reach = share - (1 - share) * odds
                rows.append((split, "all", t, threshold, reach, np.nan, np.nan))
                rows.append((split, "none", t, threshold, 0.0, np.nan, np.nan))
                for model, gain in zip(MODELS, (0.07, 0.04, 0.1), strict=True):
                    bump = gain * np.exp(-((threshold - share) ** 2) / 0.02)
                    nb = max(reach, 0) + bump
                    rows.append((split, model, t, threshold, nb, nb - 0.06, nb + 0.06))
    return pd.DataFrame(rows, columns=["split", "model", "horizon_months", "threshold",
                                       "net_benefit", "low95", "high95"])  # fmt: skip


def make_agreement():
    """Return features that agree, differ by their region, by their definition, or have no twin."""
    rng = np.random.default_rng(9)
    rows = []
    for at, feature in enumerate(FEATURES):
        kind = at % 4
        rows.append((feature, feature.replace("original_", "ours."), 59,
                     1 - 0.01 * rng.uniform() if kind < 2 else 0.4 + 0.3 * rng.uniform(),
                     1 + 0.01 * rng.normal() if kind < 2 else 3.0 * (at - 5),
                     "yes" if kind < 2 else "no", "yes" if kind < 3 else "no",
                     "" if kind < 2 else "the <b>region</b> differs"))  # fmt: skip
    rows.append(("original_glszm_Constant", np.nan, 0, np.nan, np.nan, np.nan, np.nan,
                 "no counterpart among our columns"))  # fmt: skip
    return pd.DataFrame(rows, columns=["feature", "ours", "n", "spearman", "ratio_median",
                                       "agrees", "same_definition", "why"])  # fmt: skip


def make_table_one():
    """Return rows as `pipeline.model.table_one` writes them."""
    nan = np.nan
    return pd.DataFrame(
        [
            ("subjects", "n", "180", "120", "60", nan, "", nan, 180),
            ("age_years", "mean (SD)", "66.9 (9.1)", "66.7 (9.0)", "67.2 (9.3)", 0.71, "t test",
             0.05, 180),
            ("sex", "male", "110 (61 %)", "70 (58 %)", "40 (67 %)", 0.0004, "chi-square (Yates)",
             0.19, 178),
            ("sex", "female", "70 (39 %)", "50 (42 %)", "20 (33 %)", nan, "", nan, nan),
            ("sex", "missing", "2", "2", "0", nan, "", nan, nan),
        ],
        columns=["variable", "level", "all", "development", "test", "p", "p_test", "smd", "n"],
    )  # fmt: skip


def make_arm_tables(seed=3):
    """Return name of the file without its ending -> table, and the sheet."""
    subjects = make_subjects(seed=seed)
    cutoff = 0.11
    predictions = make_predictions(subjects, cutoff)
    path, summary, selection = make_lasso()
    calibration, groups, smooth = make_calibration(predictions)
    cutoffs = np.linspace(-0.9, 0.9, 60)
    youden = 0.35 * np.exp(-((cutoffs - cutoff) ** 2) / 0.3)
    pairs = [("combined", "clinical", "harrell_c", 0.09, 0.03, 0.15, 0.004),
             ("combined", "rad_score", "harrell_c", 0.04, -0.01, 0.09, 0.12)]  # fmt: skip
    tables = {
        "path": path,
        "path_summary": summary,
        "selection": selection,
        "cutoff": pd.DataFrame({"cutoff": cutoffs, "youden": youden,
                                "chosen": (np.abs(cutoffs - cutoff) < 0.0156).astype(int)}),
        "roc": make_roc(predictions),
        "predictions": predictions,
        "km": make_km(predictions),
        "logrank": pd.DataFrame([("development", 21.5, 1, 3.5e-6), ("test", 6.1, 1, 0.0135)],
                                columns=["split", "chi2", "df", "p"]),
        "cox": make_cox(),
        "schoenfeld": pd.DataFrame([("combined", "rad_score", 0.4, 1, 0.53),
                                    ("combined", "stage=III", 6.2, 2, 0.045),
                                    ("combined", "GLOBAL", 6.5, 3, 0.09)],
                                   columns=["model", "term", "chi2", "df", "p"]),
        "discrimination": make_discrimination(),
        "comparison": pd.DataFrame([(s, *row) for s in ("development", "test") for row in pairs],
                                   columns=["split", "first", "second", "metric", "difference",
                                            "low95", "high95", "p"]),
        "calibration": calibration,
        "calibration_groups": groups,
        "calibration_smooth": smooth,
        "decision": make_decision(),
        "table_one": make_table_one(),
    }  # fmt: skip
    return tables, subjects
