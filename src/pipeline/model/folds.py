"""Cross-validation folds: stratified, grouped by subject, independent of the row order."""

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Int, as_labels

logger = logging.getLogger(__name__)


def assign_folds(
    subjects: Sequence[str], labels: npt.ArrayLike, *, n_folds: int = 10, seed: int
) -> Int:
    """Deal the subjects of each class over the folds.

    Parameters
    ----------
    subjects : sequence of n str
        Subject of each row. All rows of a subject share one fold.
    labels : (n,) array of 0 and 1
        Class of each row; one class per subject.
    n_folds : int
        Folds wanted. Lowered, with a log line, to the number of subjects in the smaller
        class, so that every fold holds both classes.
    seed : int
        Seed of the shuffle within each class.

    Returns
    -------
    (n,) int array
        Fold of each row, 1 to the number of folds.

    Raises
    ------
    ModelError
        If a subject has two classes, or the smaller class has fewer than two subjects.
    """
    classes = _class_of_subjects(subjects, labels)
    members = [sorted(s for s, c in classes.items() if c == wanted) for wanted in (True, False)]
    members.sort(key=len)
    count = _fold_count(len(members[0]), n_folds)
    rng = np.random.default_rng(seed)
    dealt = [subject for group in members for subject in rng.permutation(group).tolist()]
    fold_of = {subject: position % count + 1 for position, subject in enumerate(dealt)}
    folds = np.array([fold_of[subject] for subject in subjects], dtype=np.int64)
    check_disjoint(subjects, folds, what="fold")
    return folds


def check_disjoint(subjects: Sequence[str], parts: npt.ArrayLike, *, what: str) -> None:
    """Raise ModelError when a subject lies in two parts (`what`: "fold" or "split")."""
    seen: dict[str, object] = {}
    for subject, part in zip(subjects, np.asarray(parts).tolist(), strict=True):
        if seen.setdefault(subject, part) != part:
            raise ModelError(
                f"subject {subject} is in {what} {seen[subject]} and in {what} {part}; a subject "
                f"in two {what}s leaks: give all its rows one {what}"
            )


def _class_of_subjects(subjects: Sequence[str], labels: npt.ArrayLike) -> dict[str, bool]:
    classes: dict[str, bool] = {}
    for subject, label in zip(subjects, as_labels(labels).tolist(), strict=True):
        if classes.setdefault(subject, label) != label:
            raise ModelError(
                f"subject {subject} has outcome 0 and 1; give all rows of a subject one outcome"
            )
    return classes


def _fold_count(minority: int, wanted: int) -> int:
    if minority < 2 or wanted < 2:
        raise ModelError(
            f"{wanted} folds over {minority} subjects of the smaller class: at least 2 of each are "
            "needed; add development subjects or raise --folds"
        )
    if minority < wanted:
        logger.info(
            "%d folds, not %d: the smaller class has %d subjects and each fold needs one",
            minority, wanted, minority,
        )  # fmt: skip
    return min(wanted, minority)
