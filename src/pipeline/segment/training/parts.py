"""Which subjects a comparison of networks holds out, and who of the others only validates."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import CohortError, SettingsError
from pipeline.segment.training.folds import deal_folds

#: The part that holds out the sheet's test rows; the others are called fold0, fold1 ...
TEST = "test"
_FOLD = re.compile(r"fold(\d+)")


@dataclass(frozen=True)
class Candidate:
    """A subject with masks.

    Attributes
    ----------
    subject, split : str
        Its id, and "development" or "test".
    volume_mm3 : float
        Volume of what is to be found, over its images.
    """

    subject: str
    split: str
    volume_mm3: float


@dataclass(frozen=True)
class Part:
    """Three sets of subjects that share nobody.

    Attributes
    ----------
    training : tuple of str
        The weights are fitted to these.
    validation : tuple of str
        These choose which weights are kept; perhaps nobody.
    held_out : tuple of str
        Neither: what is measured on these is an honest number.
    """

    training: tuple[str, ...]
    validation: tuple[str, ...]
    held_out: tuple[str, ...]


def make_part(
    subjects: Sequence[Candidate], name: str, *, folds: int, validation: float, seed: int
) -> Part:
    """Return who trains, who validates and who is held out.

    Parameters
    ----------
    subjects : sequence of Candidate
        In any order.
    name : str
        "fold0", "fold1" ... of a cross-validation over all subjects, or "test": the development
        rows train, the test rows are held out.
    folds : int
        Folds, balanced by volume.
    validation : float
        Share of those not held out that only validates; 0 for nobody.
    seed : int
        Of the dealing.

    Raises
    ------
    SettingsError
        No such part, or a share of validation above a half.
    CohortError
        Fewer subjects than are needed.
    """
    ordered = sorted(subjects, key=lambda s: s.subject)
    held_out = _held_out(ordered, name, folds, seed)
    others = [s for s in ordered if s.subject not in held_out]
    validating = _validating(others, validation, seed)
    training = [s.subject for s in others if s.subject not in validating]
    if not held_out or len(training) < 2:
        raise CohortError(
            [
                f"part {name}: {len(training)} subjects train and {len(held_out)} are held out; 2"
                " and 1 are needed: add subjects, lower `folds` or `validation`, or correct the"
                " column split of subjects.tsv"
            ]
        )
    return Part(tuple(training), tuple(sorted(validating)), tuple(sorted(held_out)))


def _held_out(subjects: Sequence[Candidate], name: str, folds: int, seed: int) -> set[str]:
    if name == TEST:
        return {s.subject for s in subjects if s.split == "test"}
    found = _FOLD.fullmatch(name)
    if not found or int(found[1]) >= folds:
        raise SettingsError(f"part {name!r}: use test, or fold0 to fold{folds - 1}")
    return _fold(subjects, int(found[1]), folds, seed)


def _validating(subjects: Sequence[Candidate], share: float, seed: int) -> set[str]:
    if not 0 <= share <= 0.5:
        raise SettingsError(f"validation {share}: give a share from 0 to 0.5")
    return _fold(subjects, 0, round(1 / share), seed) if share else set()


def _fold(subjects: Sequence[Candidate], number: int, folds: int, seed: int) -> set[str]:
    names = [s.subject for s in subjects]
    dealt = deal_folds(names, [s.volume_mm3 for s in subjects], folds=folds, seed=seed)
    return {name for name, fold in zip(names, dealt, strict=True) if fold == number}
