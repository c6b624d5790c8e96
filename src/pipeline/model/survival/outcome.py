"""Follow-up times and events, checked at the door of every survival block."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import CohortError, ModelError
from pipeline.model.arrays import Bool, Float, Int

logger = logging.getLogger(__name__)

#: Days of a mean month (365.25 / 12).
DAYS_PER_MONTH = 30.4375

#: A median follow-up beyond this many months (20 years) is a wrong unit, almost surely days.
LONGEST_MEDIAN_MONTHS = 240.0

#: A median follow-up below this many months is perhaps given in years.
SHORTEST_MEDIAN_MONTHS = 3.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """Right-censored times.

    Attributes
    ----------
    months : (n,) float array
        Time from the origin to the event or to the end of follow-up; above 0.
    event : (n,) bool array
        True: the event was seen. False: censored.
    """

    months: Float
    event: Bool

    def __len__(self) -> int:
        """Return the number of subjects."""
        return int(self.months.size)

    def take(self, rows: Bool | Int) -> "Outcome":
        """Return some rows, by mask or by index (which may repeat, for a bootstrap)."""
        return Outcome(self.months[rows], self.event[rows])


def check_outcome(
    months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    subjects: Sequence[str] | None = None,
    source: str = "the subjects sheet",
    columns: tuple[str, str] = ("time_months", "event"),
) -> Outcome:
    """Return the checked outcome; every wrong row is told at once.

    Parameters
    ----------
    months, event : (n,) arrays
        Times in months and 0 or 1.
    subjects : sequence of n str, optional
        Names for the messages; row numbers (the header being row 1) otherwise.
    source, columns
        What the messages call the table and its two columns.

    Raises
    ------
    CohortError
        A time that is missing, infinite, zero or negative; an event that is not 0 or 1.
    ModelError
        No event at all.

    Notes
    -----
    An implausible median follow-up is logged as a warning: above 240 months the times are
    perhaps days, below 3 months perhaps years.
    """
    times, events = np.asarray(months, dtype=np.float64), np.asarray(event, dtype=np.float64)
    names = [f"subject {s}" for s in subjects] if subjects else _rows(times.size)
    problems = [
        f"{source}: column {columns[0]}, {name}: {_shown(value)} is no time in months above 0;"
        " correct it or remove the subject"
        for name, value in zip(names, times, strict=True)
        if not (np.isfinite(value) and value > 0)
    ]
    problems += [
        f"{source}: column {columns[1]}, {name}: {_shown(value)} is neither 0 (censored) nor 1"
        " (event); correct it or remove the subject"
        for name, value in zip(names, events, strict=True)
        if value not in (0.0, 1.0)
    ]
    if problems:
        raise CohortError(problems)
    if not (events == 1.0).any():
        raise ModelError(
            f"{source}: column {columns[1]}: none of {events.size} subjects has an event (1); a"
            " survival model needs events: check how the column is coded, and the split"
        )
    _warn_of_unit(times, source, columns[0])
    return Outcome(times, np.asarray(events == 1.0))


def _shown(value: float) -> str:
    return "an empty cell" if np.isnan(value) else f"{value:g}"


def _rows(count: int) -> list[str]:
    return [f"row {number}" for number in range(2, count + 2)]


def _warn_of_unit(times: Float, source: str, column: str) -> None:
    median = float(np.median(times))
    if median > LONGEST_MEDIAN_MONTHS:
        guess = f"days? {median:.0f} days are {median / DAYS_PER_MONTH:.1f} months"
    elif median < SHORTEST_MEDIAN_MONTHS:
        guess = f"years? {median:.2g} years are {median * 12:.0f} months"
    else:
        return
    logger.warning(
        "%s: column %s: the median time is %.3g months, which is implausible; is it in %s",
        source, column, median, guess,
    )  # fmt: skip
