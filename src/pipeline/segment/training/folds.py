"""Folds of groups of subjects, balanced by the volume of what is to be found."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pipeline.errors import CohortError

#: Groups are dealt within thirds of their foreground volume.
_STRATA = 3


def deal_folds(
    groups: Sequence[str], volumes_mm3: Sequence[float], *, folds: int, seed: int
) -> tuple[int, ...]:
    """Deal the groups over the folds, small, middling and large ones alike.

    Parameters
    ----------
    groups : sequence of n str
        Group of each case; a group's cases share one fold.
    volumes_mm3 : sequence of n floats
        Volume of the foreground of each case.
    folds : int
        How many, at least 2.
    seed : int
        Seed of the shuffle within each third.

    Returns
    -------
    n ints
        Fold of each case, from 0. The order of the cases changes nothing.

    Raises
    ------
    CohortError
        With fewer groups than folds.
    """
    of_group: dict[str, list[float]] = defaultdict(list)
    for group, volume in zip(groups, volumes_mm3, strict=True):
        of_group[group].append(volume)
    if folds < 2 or len(of_group) < folds:
        raise CohortError(
            [
                f"{folds} folds over {len(of_group)} subjects (or groups): 2 folds or more, and a"
                " subject for each, are needed; lower --folds, or train on all with --fold none"
            ]
        )
    ranked = sorted(of_group, key=lambda group: (float(np.mean(of_group[group])), group))
    rng = np.random.default_rng(seed)
    dealt = [
        group
        for stratum in np.array_split(np.array(ranked), min(_STRATA, len(ranked)))
        for group in rng.permutation(np.sort(stratum)).tolist()
    ]
    fold_of = {group: place % folds for place, group in enumerate(dealt)}
    return tuple(fold_of[group] for group in groups)
