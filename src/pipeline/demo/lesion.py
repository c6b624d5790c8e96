"""The tumour: a lobulated ellipsoid whose inside takes up contrast unevenly."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.demo.fields import KNOTS, SmoothField, draw_field
from pipeline.demo.shrink import lengths, rotation_matrix, times

Points = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

#: Geometric mean radius in mm, lowest and highest.
RADIUS_MM = (9.5, 15.8)
#: A lesion with this radius or more may hold a necrotic core.
_CORE_FROM_MM = 11.0
_CORE_KTRANS = 0.12


@dataclass(frozen=True, eq=False)
class Lesion:
    """A tumour in world coordinates of the baseline visit.

    Attributes
    ----------
    centre_mm : (3,) array
        Centre of the ellipsoid.
    axes_mm : (3, 3) array
        Semi-axes as columns.
    lobe_directions, lobe_heights : (k, 3) and (k,) arrays
        Lobes: the radius is multiplied by 1 + sum_k h_k exp(6 (n_k . d - 1)) in direction d.
    core_radius : float
        Radius of the necrotic core in units of the lesion; 0 for none.
    rim_gain : float
        How much more the rim takes up.
    grain : SmoothField
        Uneven uptake.
    ktrans_per_min, ve : float
        Middle values of the viable tissue at baseline.
    """

    centre_mm: Values
    axes_mm: npt.NDArray[np.float64]
    lobe_directions: Points
    lobe_heights: Values
    core_radius: float
    rim_gain: float
    grain: SmoothField
    ktrans_per_min: float
    ve: float

    @property
    def radius_mm(self) -> float:
        """Geometric mean of the semi-axes."""
        return float(np.cbrt(abs(np.linalg.det(self.axes_mm))))

    def relative_radius(self, points_mm: Points) -> Values:
        """Return 0 at the centre, 1 on the boundary, for points (n, 3)."""
        inverse = np.asarray(np.linalg.inv(self.axes_mm), dtype=np.float64)
        unit = times(points_mm - self.centre_mm, inverse.T)
        radius = lengths(unit)
        direction = unit / np.maximum(radius, 1e-9)[:, None]
        lobes = np.exp(6.0 * (times(direction, self.lobe_directions.T) - 1.0))
        height = times(lobes, self.lobe_heights[:, None])[:, 0]
        return np.asarray(radius / (1.0 + height))

    def contains(self, points_mm: Points) -> npt.NDArray[np.bool_]:
        """Tell which points (n, 3) lie inside."""
        return np.asarray(self.relative_radius(points_mm) <= 1.0)

    def ktrans(self, points_mm: Points) -> Values:
        """Return the transfer constant per minute at points (n, 3)."""
        radius = self.relative_radius(points_mm)
        rim = 1.0 + self.rim_gain * np.exp(-(((radius - 0.85) / 0.22) ** 2))
        uneven = np.exp(0.38 * self.grain(points_mm))
        viable = 1.0 - (1.0 - _CORE_KTRANS) * _core(radius, self.core_radius)
        return np.asarray(self.ktrans_per_min * rim * uneven * viable)

    def volume_fraction(self, points_mm: Points) -> Values:
        """Return the extravascular extracellular fraction ve at points (n, 3)."""
        # Half a period of the lattice away, the same field is another one.
        away = points_mm + 0.5 * KNOTS * self.grain.knot_mm
        return np.asarray(self.ve * np.exp(0.18 * self.grain(away)))

    def extent_mm(self) -> float:
        """Return the longest semi-axis with its highest lobe: about the farthest boundary."""
        longest = float(np.linalg.norm(self.axes_mm, axis=0).max())
        return longest * (1.0 + float(np.maximum(self.lobe_heights, 0.0).max()))


def draw_lesion(rng: np.random.Generator, centre_mm: Values, *, radius_mm: float) -> Lesion:
    """Return a random lesion of the given size at a place.

    Parameters
    ----------
    rng : Generator
        Source of shape and uptake.
    centre_mm : (3,) array
        World position.
    radius_mm : float
        Geometric mean semi-axis before lobulation.
    """
    ratios = np.exp(rng.uniform(-0.16, 0.16, 3))
    semi_axes = radius_mm * ratios / np.cbrt(ratios.prod())
    rotation = rotation_matrix(rng.uniform(-np.pi, np.pi, 3).tolist())
    directions = rng.normal(size=(4, 3))
    has_core = radius_mm >= _CORE_FROM_MM and rng.random() < 0.45
    return Lesion(
        centre_mm=np.asarray(centre_mm, dtype=np.float64),
        axes_mm=rotation * semi_axes,
        lobe_directions=directions / np.linalg.norm(directions, axis=1)[:, None],
        lobe_heights=rng.uniform(-0.12, 0.24, 4),
        core_radius=float(rng.uniform(0.30, 0.48)) if has_core else 0.0,
        rim_gain=float(rng.uniform(0.05, 0.5)),
        grain=draw_field(rng, float(rng.uniform(3.2, 5.0))),
        ktrans_per_min=float(rng.uniform(0.24, 0.46)),
        ve=float(rng.uniform(0.28, 0.42)),
    )


def _core(radius: Values, core_radius: float) -> Values:
    if core_radius == 0.0:
        return np.zeros_like(radius)
    return np.asarray(1.0 / (1.0 + np.exp((radius - core_radius) / 0.05)))
