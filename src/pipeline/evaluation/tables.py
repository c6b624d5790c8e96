"""The measures of a cohort as tables: a row per case and structure, a row per slice."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import ImageError
from pipeline.evaluation.case import CaseMeasures, StructureMeasures, absent_structure
from pipeline.evaluation.columns import MEASURES
from pipeline.evaluation.slices import summarise_slices
from pipeline.evaluation.structures import Structure

if TYPE_CHECKING:
    import pandas as pd

IDS = ("subject", "structure", "label", "reference", "prediction")
CASE_COLUMNS = (*IDS, "status", "note", *(m.column for m in MEASURES), "tolerance_mm")
SLICE_COLUMNS = ("subject", "structure", "label", "slice_index", "outcome", "dice_2d",
                 "msd_2d_mm", "hd95_2d_mm")  # fmt: skip


@dataclass(frozen=True)
class CaseResult:
    """A case and what became of it.

    Attributes
    ----------
    subject, reference, prediction : str
        Its id and the names of the files.
    measures : CaseMeasures or None
        None for a case that could not be measured.
    reason : str
        Why not.
    """

    subject: str
    reference: str
    prediction: str
    measures: CaseMeasures | None
    reason: str = ""


def structures_found(results: Sequence[CaseResult]) -> tuple[Structure, ...]:
    """Return a structure for each label that any reference holds.

    Raises
    ------
    ImageError
        No reference holds a label.
    """
    measured = [case.measures for case in results if case.measures is not None]
    values = sorted(set().union(*(m.reference_labels for m in measured)))
    if measured and not values:
        raise ImageError(
            "no reference holds a voxel above 0; swap reference and prediction, or name what to "
            "measure with --labels"
        )
    return tuple(Structure(str(value), (value,)) for value in values)


def case_table(
    results: Sequence[CaseResult], structures: Sequence[Structure], *, tolerance_mm: float
) -> "pd.DataFrame":
    """Return a row per case and structure, with the columns `CASE_COLUMNS`.

    A case that could not be measured has its rows too: status ``failed`` and the reason.
    """
    import pandas as pd

    rows = [
        _ids(case, structure)
        | {"reference": case.reference, "prediction": case.prediction}
        | _measured(case, structure)
        | {"tolerance_mm": tolerance_mm}
        for case in results
        for structure in structures or (Structure("", ()),)
    ]
    # A count stays a whole number where other rows have none.
    counts = {m.column: "Int64" for m in MEASURES if m.column.endswith("_slices")}
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS)).astype(counts)


def slice_table(results: Sequence[CaseResult], structures: Sequence[Structure]) -> "pd.DataFrame":
    """Return a row per slice that the reference or the prediction reaches."""
    import pandas as pd

    rows = [
        _ids(case, structure)
        | {
            "slice_index": one.index,
            "outcome": one.outcome,
            "dice_2d": one.dice,
            "msd_2d_mm": one.msd_mm,
            "hd95_2d_mm": one.hd95_mm,
        }
        for case in results
        if case.measures is not None
        for structure in structures
        for one in _of(case.measures, structure).slices
    ]
    return pd.DataFrame(rows, columns=list(SLICE_COLUMNS))


def _ids(case: CaseResult, structure: Structure) -> dict[str, str]:
    return {
        "subject": case.subject,
        "structure": structure.name,
        "label": structure.label if structure.name else "",
    }


def _measured(case: CaseResult, structure: Structure) -> dict[str, Any]:
    if case.measures is None:
        return {"status": "failed", "note": case.reason}
    found = _of(case.measures, structure)
    return (
        {"status": "ok", "note": found.note}
        | asdict(found.overlap)
        | asdict(found.surface)
        | asdict(summarise_slices(found.slices))
    )


def _of(measures: CaseMeasures, structure: Structure) -> StructureMeasures:
    return measures.structures.get(structure) or absent_structure()
