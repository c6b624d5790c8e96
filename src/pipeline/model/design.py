"""Join the feature table and the subjects sheet into the rows of a model."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float
from pipeline.model.folds import check_disjoint

logger = logging.getLogger(__name__)

#: Feature sets of a longitudinal study, in the order in which fusion pools them.
FEATURE_SETS = ("baseline", "followup", "jacobian", "deltarad")
FUSION = "fusion"

#: Order of the one-hot columns of the molecular subtype.
SUBTYPES = ("luminal_a", "luminal_b", "her2", "basal")

#: Fewer development rows than this cannot carry a cross-validated selection.
MIN_DEVELOPMENT = 10


@dataclass(frozen=True, eq=False)
class Design:
    """Rows of a model, sorted by subject, whatever the order of the tables.

    Attributes
    ----------
    subjects : tuple of n str
        Row names.
    development : (n,) bool array
        Development rows; the others are test rows.
    outcome : (n,) float array
        0 or 1; NaN where a test row has no outcome.
    values : (n, p) float array
        Features as measured; NaN where missing.
    features : tuple of p str
        Column names, ``set.feature``.
    extra : (n, e) float array
        One-hot subtype, or no column.
    extra_names : tuple of e str
        ``subtype.luminal_a`` and so on.
    """

    subjects: tuple[str, ...]
    development: Bool
    outcome: Float
    values: Float
    features: tuple[str, ...]
    extra: Float
    extra_names: tuple[str, ...]


def build_design(
    features: pd.DataFrame,
    subjects: pd.DataFrame,
    *,
    feature_set: str,
    with_subtype: bool = False,
    outcome: str = "response",
    sources: tuple[str, str] = ("the feature table", "the subjects sheet"),
) -> Design:
    """Check and join the two tables.

    Parameters
    ----------
    features : DataFrame
        ``subject`` and columns ``set.feature``, one row per subject.
    subjects : DataFrame
        ``subject``, ``split`` (development or test), the outcome, and ``subtype`` when asked
        for, one row per subject. Subjects without features have been excluded and are left out.
    feature_set : str
        Prefix of the columns to use, or "fusion" for the four sets of `FEATURE_SETS`.
    with_subtype : bool
        Append four one-hot columns, 0 or 1 and not rescaled: two subtypes then lie as far
        apart (squared distance 2) as two random values of one z-scored feature.
    outcome : str
        Column of `subjects`, 0 or 1.
    sources : (str, str)
        What error messages call the two tables: their paths.

    Raises
    ------
    ModelError
        Names table, column or subject, and the remedy.
    """
    table, sheet = sources
    check_columns(features, ("subject",), table)
    check_columns(subjects, ("subject", "split", outcome), sheet)
    listed = subjects["subject"].astype(str).tolist()
    check_disjoint(listed, subjects["split"], what="split")
    check_unique(listed, sheet)
    check_unique(features["subject"].astype(str).tolist(), table)
    columns = _columns_of(features, feature_set, table)
    rows = _join(features, subjects, table, sheet)
    development = _split(rows, sheet)
    extra = one_hot_subtype(rows, sheet) if with_subtype else np.empty((len(rows), 0))
    return Design(
        subjects=tuple(rows.index),
        development=development,
        outcome=_outcome(rows, outcome, development, sheet),
        values=numbers(rows, columns, table),
        features=tuple(columns),
        extra=extra,
        extra_names=tuple(f"subtype.{s}" for s in SUBTYPES) if with_subtype else (),
    )


def one_hot_subtype(rows: pd.DataFrame, sheet: str) -> Float:
    """Return the one-hot columns (n, 4) of ``rows["subtype"]``, indexed by subject."""
    check_columns(rows, ("subtype",), sheet)
    text = rows["subtype"].astype(object).where(rows["subtype"].notna(), "")
    for subject, subtype in text.items():
        if subtype not in SUBTYPES:
            raise ModelError(
                f"{sheet}: column subtype, subject {subject}: {subtype!r} is none of "
                f"{', '.join(SUBTYPES)}; mend the cell or fit without --with-subtype"
            )
    return np.array([[float(value == s) for s in SUBTYPES] for value in text])


def numbers(rows: pd.DataFrame, columns: Sequence[str], table: str) -> Float:
    """Return columns (n, p) as floats; raise ModelError for a column of text or a missing one."""
    check_columns(rows, columns, table)
    text = [c for c in columns if not pd.api.types.is_numeric_dtype(rows[c])]
    text = [c for c in text if rows[c].notna().any()]
    if text:
        raise ModelError(f"{table}: column {text[0]} holds text; features must be numbers")
    return np.asarray(rows.loc[:, list(columns)].to_numpy(dtype=np.float64, na_value=np.nan))


def _columns_of(features: pd.DataFrame, feature_set: str, table: str) -> list[str]:
    wanted = FEATURE_SETS if feature_set == FUSION else (feature_set,)
    columns: list[str] = []
    for name in wanted:
        found = [str(c) for c in features.columns if str(c).startswith(f"{name}.")]
        if not found:
            present = sorted({str(c).split(".")[0] for c in features.columns if "." in str(c)})
            raise ModelError(
                f"{table}: no column starts with '{name}.'; it has the feature sets "
                f"{', '.join(present) or 'none'}: choose one with --feature-set, or make the "
                "table again with `medpipe cohort`"
            )
        columns += found
    return columns


def _join(features: pd.DataFrame, subjects: pd.DataFrame, table: str, sheet: str) -> pd.DataFrame:
    left = features.assign(subject=features["subject"].astype(str)).set_index("subject")
    right = subjects.assign(subject=subjects["subject"].astype(str)).set_index("subject")
    strangers = sorted(set(left.index) - set(right.index))
    if strangers:
        raise ModelError(
            f"{table}: subject {strangers[0]} is not in {sheet} ({len(strangers)} such); add its "
            "row there or make the feature table again"
        )
    without = sorted(set(right.index) - set(left.index))
    if without:
        logger.info("%d subjects without features are left out: %s", len(without), without)
    order = sorted(left.index)
    shared = [c for c in right.columns if c not in left.columns]
    return pd.concat([left.loc[order], right.loc[order, shared]], axis=1)


def _split(rows: pd.DataFrame, sheet: str) -> Bool:
    for subject, split in rows["split"].items():
        if split not in ("development", "test"):
            raise ModelError(
                f"{sheet}: column split, subject {subject}: {split!r} is neither development nor "
                "test; mend the cell"
            )
    development = (rows["split"] == "development").to_numpy(dtype=bool)
    if development.sum() < MIN_DEVELOPMENT:
        raise ModelError(
            f"{sheet}: {development.sum()} development rows have features; a model needs at least "
            f"{MIN_DEVELOPMENT}: add subjects, or see which ones the screen excluded"
        )
    return np.asarray(development)


def _outcome(rows: pd.DataFrame, name: str, development: Bool, sheet: str) -> Float:
    values = numbers(rows, [name], sheet)[:, 0]
    for subject, value, is_development in zip(rows.index, values, development, strict=True):
        if value not in (0.0, 1.0) and (is_development or not np.isnan(value)):
            raise ModelError(
                f"{sheet}: column {name}, subject {subject}: {value:g} is neither 0 nor 1; mend "
                "the cell or move the subject out of the development split"
            )
    classes = values[development]
    if np.unique(classes).size < 2:
        raise ModelError(
            f"{sheet}: all {classes.size} development rows have {name} = {classes[0]:g}; a model "
            "needs both classes: check the split and the outcome"
        )
    return values


def check_columns(table: pd.DataFrame, names: Sequence[str], source: str) -> None:
    """Raise ModelError, naming the first, when columns are missing."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{source}: column {missing[0]} is missing{more}; add it or name another in the options"
        )


def check_unique(subjects: Sequence[str], source: str) -> None:
    """Raise ModelError when a subject has two rows."""
    seen: set[str] = set()
    for subject in subjects:
        if subject in seen:
            raise ModelError(f"{source}: subject {subject} has two rows; keep one row per subject")
        seen.add(subject)
