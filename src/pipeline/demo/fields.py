"""Smooth random fields of space, evaluated at any point without interpolation blur."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

#: Edge of the periodic lattice, in knots.
KNOTS = 24
#: SD of a cubic B-spline sum of unit normal coefficients, per axis, averaged over a cell.
_SPLINE_SD = float(np.sqrt(151.0 / 315.0))


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A periodic cubic B-spline with random coefficients: zero mean, unit SD, C2 everywhere.

    Attributes
    ----------
    coefficients : (24, 24, 24) float array
        Independent normal values at the knots.
    knot_mm : (3,) array
        Knot distance along each axis; sets the grain.
    """

    coefficients: npt.NDArray[np.float64]
    knot_mm: npt.NDArray[np.float64]

    def __call__(self, points_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the field at points (n, 3)."""
        found = ndimage.map_coordinates(
            self.coefficients,
            (points_mm / self.knot_mm).T,
            order=3,
            mode="grid-wrap",
            prefilter=False,
        )
        return np.asarray(found / _SPLINE_SD**3)


def draw_field(
    rng: np.random.Generator, knot_mm: float | tuple[float, float, float]
) -> SmoothField:
    """Return a random field with the given knot distance in mm."""
    distances = np.broadcast_to(np.asarray(knot_mm, dtype=np.float64), (3,)).copy()
    return SmoothField(rng.normal(size=(KNOTS, KNOTS, KNOTS)), distances)
