"""Anderson acceleration: where a series of steps that shrink only slowly is heading for."""

import numpy as np
import torch

#: Steps that are taken together, the new one among them.
_DEPTH = 3
#: Of the diagonal: steps that hardly differ say nothing about where they lead.
_RIDGE = 1e-8


class Acceleration:
    """Remembers the last iterates and steps of a fixed-point iteration x <- x + s(x).

    Gauss-Newton steps with a fit that is renewed after each are one: each undoes a part of what
    the renewed fit took away, and they would creep.

    Notes
    -----
    Anderson (1965), J. ACM 12:547, in the least-squares form of Walker and Ni (2011),
    doi:10.1137/10078356X.
    """

    def __init__(self) -> None:
        self._past: list[tuple[torch.Tensor, torch.Tensor]] = []

    def further(self, at: torch.Tensor, step: torch.Tensor) -> torch.Tensor | None:
        """Return the change of x that would leave least to do, or None on the first step.

        Parameters
        ----------
        at : tensor
            The iterate x.
        step : tensor
            s(x).
        """
        past, self._past = self._past, [*self._past[2 - _DEPTH :], (at, step)]
        if not past:
            return None
        ways = [at - before for before, _ in past]
        changes = [step - before for _, before in past]
        gram = np.array([[dot(one, other) for other in changes] for one in changes])
        gram += (_RIDGE * np.trace(gram) + 1e-300) * np.eye(len(gram))
        shares = np.linalg.solve(gram, [dot(change, step) for change in changes])
        found = step.clone()
        for share, way, change in zip(shares.tolist(), ways, changes, strict=True):
            found -= share * (way + change)
        return found


def dot(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the sum of the products, in float64."""
    return float((first.double() * second.double()).sum())
