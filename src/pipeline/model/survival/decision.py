"""Decision curves for survival: the net benefit of acting on a predicted risk by a time."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.calibration import check_probabilities
from pipeline.model.decision import decision_table
from pipeline.model.survival.censoring import TIME_TOLERANCE, kaplan_meier_at
from pipeline.model.survival.outcome import Outcome


def survival_decision_curve(
    survival: Mapping[str, npt.ArrayLike],
    outcome: Outcome,
    months: float,
    thresholds: npt.ArrayLike,
    *,
    rows: Int | None = None,
    level: float = 0.95,
    subjects: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the net benefit of each model, of acting on all, and on none, at a horizon.

    With x = 1 where the predicted risk 1 - S(t) is at least the threshold p, and S(t | x = 1)
    the Kaplan-Meier estimate among those:

    ``NB(p) = (1 - S(t | x = 1)) P(x = 1) - S(t | x = 1) P(x = 1) p / (1 - p)``

    Parameters
    ----------
    survival : mapping of model name to (n,) array
        Predicted probability to be free of the event at `months`.
    outcome : Outcome
        What happened.
    months : float
        The horizon, before the end of follow-up.
    thresholds : (k,) array
        Risks between 0 and 1, exclusive, increasing.
    rows : (draws, n) int array, optional
        Resamples (`bootstrap_rows`) for percentile limits, the same for every model.
    level : float
        Confidence level.
    subjects : sequence of n str, optional
        Names for the messages.

    Returns
    -------
    DataFrame
        As `pipeline.model.decision.binary_decision_curve` gives it, to which this is equal
        without censoring. 0 where no risk reaches the threshold; NaN where the follow-up of
        those above it ends before the horizon, with survivors.

    References
    ----------
    Vickers, Cronin, Elkin and Gonen, BMC Med. Inform. Decis. Mak. 8 (2008) 53.
    """
    last = float(outcome.months.max())
    if not 0 < months <= last + TIME_TOLERANCE:
        raise ModelError(
            f"a decision curve at {months:g} months: follow-up ends at {last:g} months; choose an"
            " earlier horizon"
        )
    risks = {
        name: 1
        - check_probabilities(
            values, len(outcome), what=f"predicted survival (model {name})", subjects=subjects
        )
        for name, values in survival.items()
    }

    def rates(above: Bool, counts: Float) -> tuple[Float, Float]:
        inside = counts.T[above].T
        share = inside.sum(axis=1) / counts.sum(axis=1)
        if not above.any():
            return share, share
        kept = np.where(share > 0, kaplan_meier_at(outcome.take(above), months, inside), 1.0)
        return (1 - kept) * share, kept * share

    return decision_table(risks, len(outcome), thresholds, rates, rows, level, subjects)
