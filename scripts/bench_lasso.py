"""Time the LASSO-Cox path side by side with R's glmnet: `python scripts/bench_lasso.py`.

The data are the real lung1 patients of MEDPIPE_DATA (default ../shared/data) where they are there,
else 199 simulated rows of 53 features in correlated blocks. glmnet is timed inside R, by
system.time; without R or glmnet only our own times are shown. Each time is the median of several
runs, in seconds. How far a path is from the optimum is shown as well: the largest violation of the
optimality conditions over the path, as a share of the largest lambda.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.model.arrays import Float
from pipeline.model.scaling import fit_scaler, standardise
from pipeline.model.survival.deviance import martingale_residuals, relative_risk, risk_sets
from pipeline.model.survival.lasso_cox import PathOptions, lasso_path
from pipeline.model.survival.outcome import DAYS_PER_MONTH, Outcome

R_SCRIPT = r"""
arguments <- commandArgs(TRUE)
suppressMessages(library(glmnet))
x <- as.matrix(read.table(arguments[1], sep = "\t"))
y <- as.matrix(read.table(arguments[2], sep = "\t")); colnames(y) <- c("time", "status")
for (thresh in as.numeric(strsplit(arguments[4], ",")[[1]])) {
  runs <- if (thresh < 1e-8) 1 else as.integer(arguments[3])
  seconds <- sapply(seq_len(runs), function(i) system.time(
    fit <<- glmnet(x, y, family = "cox", standardize = FALSE, thresh = thresh, maxit = 1e8))[[3]])
  name <- file.path(arguments[5], sprintf("fit_%g.tsv", thresh))
  write.table(cbind(fit$lambda, t(as.matrix(fit$beta))), name, sep = "\t", row.names = FALSE,
              col.names = FALSE)
  cat(sprintf("%g\t%.6f\n", thresh, median(seconds)))
}
"""


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=11, help="timed runs of each (default 11)")
    options.add_argument(
        "--thresh", default="1e-7,1e-10", help="glmnet's thresholds (default 1e-7,1e-10)"
    )
    asked = options.parse_args()
    name, values, outcome = data()
    print(f"{name}: {values.shape[0]} rows, {values.shape[1]} features, one core")
    print(f"{'':24}{'seconds':>10}{'lambdas':>10}{'violation':>12}")
    lasso_path(values, outcome, PathOptions(n_lambdas=3))  # loads scikit-survival
    for tolerance in (1e-3, 1e-10):
        seconds = []
        for _ in range(asked.runs):
            begin = time.perf_counter()
            path = lasso_path(values, outcome, PathOptions(tolerance=tolerance))
            seconds.append(time.perf_counter() - begin)
        taken = float(np.median(seconds))
        label = f"medpipe, tolerance {tolerance:g}"
        line(label, taken, path.lambdas, path.coefficients, values, outcome)
    for thresh, taken, lambdas, coefficients in glmnet(values, outcome, asked.runs, asked.thresh):
        line(f"glmnet, thresh {thresh}", taken, lambdas, coefficients, values, outcome)


def line(
    name: str, seconds: float, lambdas: Float, coefficients: Float, values: Float, outcome: Outcome
) -> None:
    """Print one row of the table."""
    off = violation(values, outcome, lambdas, coefficients)
    print(f"{name:24}{seconds:10.3f}{len(lambdas):10d}{off:12.1e}")


def data() -> tuple[str, Float, Outcome]:
    """Return a name, z-scores and outcome."""
    folder = Path(os.environ.get("MEDPIPE_DATA", Path(__file__).parents[2] / "shared/data"))
    if (folder / "nsclc/subjects.tsv").is_file():
        tables = [
            pd.read_csv(folder / "nsclc" / name, sep="\t", dtype={"subject": str}, index_col=0)
            for name in ("subjects.tsv", "published_radiomics.tsv")
        ]
        subjects = tables[0][tables[0]["centre"] == "lung1"].sort_index()
        raw = tables[1].loc[subjects.index].to_numpy(float)
        months = subjects["time_days"].to_numpy(float) / DAYS_PER_MONTH
        outcome = Outcome(months, subjects["event"].to_numpy() == 1)
        return "lung1", standardise(fit_scaler(raw), raw), outcome
    rng = np.random.default_rng(1)
    raw = rng.normal(size=(199, 8))[:, np.arange(53) % 8] + 0.4 * rng.normal(size=(199, 53))
    months = 20 * rng.exponential(size=199) * np.exp(-0.6 * raw[:, 0] + 0.5 * raw[:, 3])
    ends = rng.uniform(5, 90, size=199)
    outcome = Outcome(np.minimum(months, ends), months <= ends)
    return "simulated", standardise(fit_scaler(raw), raw), outcome


def violation(values: Float, outcome: Outcome, lambdas: Float, coefficients: Float) -> float:
    """Return the largest violation of the optimality conditions, as a share of lambda_max."""
    sets, worst = risk_sets(outcome), 0.0
    for penalty, beta in zip(lambdas, coefficients, strict=True):
        risk = relative_risk((values @ beta)[sets.order], sets)
        slope = martingale_residuals(risk, sets) @ values[sets.order] / sets.size
        active = beta != 0
        inside = np.abs(slope[active] - penalty * np.sign(beta[active])).max(initial=0.0)
        outside = (np.abs(slope[~active]) - penalty).max(initial=0.0)
        worst = max(worst, float(inside), float(outside))
    return worst / float(lambdas[0])


def glmnet(
    values: Float, outcome: Outcome, runs: int, thresh: str
) -> list[tuple[str, float, Float, Float]]:
    """Return threshold, seconds, lambdas and coefficients of each fit; nothing without R."""
    if shutil.which("Rscript") is None:
        print("Rscript is not installed: no comparison (apt-get install r-cran-glmnet)")
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savetxt(folder / "x.tsv", values, fmt="%.17g", delimiter="\t")
        target = np.column_stack([outcome.months, outcome.event])
        np.savetxt(folder / "y.tsv", target, fmt="%.17g", delimiter="\t")
        (folder / "fit.R").write_text(R_SCRIPT)
        files = [str(folder / part) for part in ("fit.R", "x.tsv", "y.tsv")]
        done = subprocess.run(
            ["Rscript", *files, str(runs), thresh, name], capture_output=True, text=True
        )
        if done.returncode:
            print(f"glmnet did not run: no comparison\n{done.stderr.strip()}")
            return []
        found = []
        for row in done.stdout.splitlines():
            threshold, seconds = row.split("\t")
            fit = np.loadtxt(folder / f"fit_{threshold}.tsv", delimiter="\t")
            found.append((threshold, float(seconds), fit[:, 0], fit[:, 1:]))
    return found


if __name__ == "__main__":
    main()
