"""Cost of a run: one row per job, gathered from the sidecars that its results carry."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

_COST = ["wall_s", "cpu_s", "peak_memory_mib"]


def costs(records: Sequence[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return a row per job: block, subject, session, wall_s, cpu_s, peak_memory_mib.

    Parameters
    ----------
    records : sequence of (path, sidecar)
        Path of the sidecar inside the study's folder, and its content. A job that wrote several
        results has several sidecars; its largest figures count.
    """
    rows = [
        {
            "block": record["block"],
            "subject": _part(path, "sub-"),
            "session": _part(path, "ses-"),
            "job": path.rsplit("/", 1)[0] if record["block"] != "radiomics" else path,
            "wall_s": record["seconds"],
            "cpu_s": record["cpu_seconds"],
            "peak_memory_mib": record["peak_memory_mib"],
        }
        for path, record in records
    ]
    if not rows:
        return pd.DataFrame(columns=["block", "subject", "session", *_COST])
    jobs = pd.DataFrame(rows).groupby(["block", "subject", "session", "job"], sort=True)[_COST]
    return jobs.max().reset_index().drop(columns="job")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per block: jobs, median and total seconds, largest peak memory."""
    grouped = table.groupby("block", sort=True)
    return pd.DataFrame(
        {
            "jobs": grouped.size(),
            "median_wall_s": grouped["wall_s"].median(),
            "total_wall_s": grouped["wall_s"].sum(),
            "total_cpu_s": grouped["cpu_s"].sum(),
            "peak_memory_mib": grouped["peak_memory_mib"].max(),
        }
    ).reset_index()


def _part(path: str, prefix: str) -> str:
    for part in path.split("/"):
        if part.startswith(prefix):
            return part.removeprefix(prefix)
    return ""
