"""The rows of a binary study: who is in it, what its models read, and who lacks what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import CohortError, ModelError
from pipeline.model.arrays import Bool
from pipeline.model.terms import Kind, complete_rows

#: Rows that the models are fitted on, and rows that they score once.
SPLITS = ("development", "test")


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
    for part in SPLITS:
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


def missing_table(design: BinaryDesign) -> pd.DataFrame:
    """Return who lacks what: subject, split, missing (columns), and who is not in a model."""
    rows: list[dict[str, str]] = [
        {"subject": str(row["subject"]), "split": str(row["split"]), "reason": str(row["reason"]),
         "left_out_of": "every model"}
        for row in design.excluded.to_dict("records")
    ]  # fmt: skip
    present = {n: complete_rows(design.frame, [n], source=design.source) for n in design.kinds}
    for at in np.flatnonzero(~design.complete):
        lacking = [name for name in design.kinds if not present[name][at]]
        out = ["reference"] if set(lacking) & set(design.reference) else []
        rows.append(
            {
                "subject": design.subjects[at],
                "split": str(design.split[at]),
                "reason": f"no {', '.join(lacking)}",
                "left_out_of": ", ".join([*out, "logistic", "comparisons"]),
            }
        )
    return pd.DataFrame(rows, columns=["subject", "split", "reason", "left_out_of"])


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
        if split not in SPLITS:
            problems.append(
                f"{source}: subject {subject}: split {split!r} is neither of"
                f" {', '.join(SPLITS)}; correct it"
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
