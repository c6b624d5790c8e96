"""Markdown of the analytic lesions: a table per case, and where each engine misses a target."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from scripts.registration_bench.results import Row
from scripts.registration_bench.score import Score, shortfalls

_HEADER = (
    "engine", "wall s", "CPU s", "peak MiB", "start s", "mean J (true)", "off",
    "log J error", "correlation", "target mm (before)", "outside mm", "folds", "misses",
)  # fmt: skip
_OURS = ("torch", "simpleitk")


def lesion_tables(rows: Sequence[Row]) -> str:
    """Return one table per anatomy and variant, then what each engine misses over them all.

    Our own engines also have to take no more CPU time than greedy on the same pair.
    """
    cases = list(dict.fromkeys((str(r["anatomy"]), str(r["variant"])) for r in rows))
    parts, missed = [], []
    for anatomy, variant in cases:
        own = [r for r in rows if (r["anatomy"], r["variant"]) == (anatomy, variant)]
        limits = [_number(r, "cpu_s") for r in own if r["engine"] == "greedy" and _ran(r)]
        cells = [_cells(r, limits) for r in own]
        parts.append(f"### {anatomy}, {variant}\n\n{markdown(_HEADER, cells)}")
        missed += [(c[0], f"{anatomy}, {variant}", c[-1]) for c in cells if c[-1] != "none"]
    lines = [f"- {engine}: {case}: {what}" for engine, case, what in sorted(missed)]
    return "\n\n".join([*parts, "### What misses a target", "\n".join(lines) or "Nothing."])


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cells(row: Row, greedy_cpu_s: Sequence[float]) -> list[str]:
    if not _ran(row):
        return [str(row["engine"]), *["-"] * (len(_HEADER) - 2), "failed"]
    values: dict[str, Any] = {f.name: _number(row, f.name) for f in fields(Score)}
    found = Score(**values)
    missed = shortfalls(found)
    if row["engine"] in _OURS and any(_number(row, "cpu_s") > most for most in greedy_cpu_s):
        missed.append("CPU time")
    return [
        str(row["engine"]),
        f"{_number(row, 'wall_s'):.1f}",
        f"{_number(row, 'cpu_s'):.1f}",
        f"{_number(row, 'peak_mib'):.0f}",
        f"{_number(row, 'start_s'):.1f}",
        f"{found.mean_jacobian:.3f} ({found.true_jacobian:.3f})",
        f"{found.ratio_error:+.2%}",
        f"{found.log_jacobian_error:.4f}",
        f"{found.correlation:.4f}",
        f"{found.target_error_mm:.3f} ({found.target_before_mm:.2f})",
        f"{found.outside_error_mm:.3f}",
        f"{found.folds:.0f}",
        ", ".join(missed) or "none",
    ]


def _ran(row: Row) -> bool:
    return row["status"] == "ok"


def _number(row: Row, name: str) -> float:
    return float(str(row[name]))
