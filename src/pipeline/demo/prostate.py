"""Simulated prostates on axial T2-weighted MRI whose outline is known in closed form.

The gland is an ellipsoid with shallow lobes: a dark, nodular transition zone and a bright
peripheral zone behind it, in a thin dark capsule. Bladder, rectum, muscles and fat lie round it;
a smooth bias field and Rician noise lie over it. Voxels are 0.6 x 0.6 x 3 mm, as in clinical
series; edges are blurred as by partial volumes. No public prostate set may be passed on with the
program: these images show that a study runs, and nothing about prostates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from pipeline.demo.fields import SmoothField, draw_field
from pipeline.errors import SettingsError
from pipeline.types import Geometry, Volume
from pipeline.versions import BLOCK_VERSIONS

Values = npt.NDArray[np.float64]

SIZES = (5, 500)
GRID = Geometry((96, 96, 18), (0.6, 0.6, 3.0), (-28.5, -28.5, -25.5), np.eye(3))
#: Scanners of the paper's sets; each has its own gain and noise.
CENTRES = ("emory", "radboud", "boston")
_GAIN = {"emory": 1.0, "radboud": 0.6, "boston": 1.7}
_NOISE = {"emory": 14.0, "radboud": 18.0, "boston": 22.0}

#: T2-weighted signal before gain: dark muscle and gas, bright fluid.
_FAT, _MUSCLE, _TRANSITION, _PERIPHERAL = 260.0, 70.0, 170.0, 330.0
_CAPSULE, _BLADDER, _RECTUM_WALL, _RECTUM_INSIDE = 90.0, 520.0, 130.0, 30.0
#: SD of the blur of every edge, and thickness of the capsule.
_EDGE_MM, _CAPSULE_MM = 0.7, 0.9
#: The smallest and largest semi-axis of a gland in x, y, z.
_LEAST_MM, _MOST_MM = (17.0, 12.0, 14.0), (24.0, 18.0, 21.0)


@dataclass(frozen=True, eq=False)
class Gland:
    """A prostate in LPS millimetres.

    Attributes
    ----------
    centre_mm, axes_mm : (3,) arrays
        Of the ellipsoid, its axes along x, y, z before the tilt.
    tilt : float
        Angle about x in radians.
    lobes : SmoothField
        Outline over directions.
    lobe_depth : float
        Its amplitude as a share of the radius.
    transition : (3,) array
        Semi-axes of the transition zone as shares of the gland's.
    nodules : SmoothField
        Signal inside it.
    """

    centre_mm: Values
    axes_mm: Values
    tilt: float
    lobes: SmoothField
    lobe_depth: float
    transition: Values
    nodules: SmoothField

    def relative_radius(self, points_mm: Values) -> Values:
        """Return 0 at the centre, 1 on the outline, for points (n, 3)."""
        unit = self._own(points_mm) / self.axes_mm
        radius = np.linalg.norm(unit, axis=1)
        # The lobes vary over directions: the field on a sphere of 10 mm.
        rays = 10.0 * unit / np.maximum(radius, 1e-9)[:, None]
        return np.asarray(radius / (1.0 + self.lobe_depth * np.tanh(self.lobes(rays))))

    def contains(self, points_mm: Values) -> npt.NDArray[np.bool_]:
        """Tell which points (n, 3) are prostate."""
        return np.asarray(self.relative_radius(points_mm) <= 1.0)

    def depth_mm(self, points_mm: Values) -> Values:
        """Return how deep points lie below the outline, about; negative outside."""
        radius_mm = np.cbrt(np.prod(self.axes_mm))
        return np.asarray((1.0 - self.relative_radius(points_mm)) * radius_mm)

    def transition_depth_mm(self, points_mm: Values) -> Values:
        """Return how deep points lie in the transition zone, about; negative outside."""
        axes = self.axes_mm * self.transition
        # It lies before the middle: the peripheral zone is thickest behind.
        moved = self._own(points_mm) + np.array([0.0, 0.18 * self.axes_mm[1], 0.0])
        radius = np.linalg.norm(moved / axes, axis=1)
        return np.asarray((1.0 - radius) * np.cbrt(np.prod(axes)))

    def _own(self, points_mm: Values) -> Values:
        """Return points in the axes of the gland, its centre being 0."""
        x, y, z = (points_mm - self.centre_mm).T
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return np.stack([x, cos * y + sin * z, cos * z - sin * y], axis=1)


def subject_ids(size: int) -> list[str]:
    """Return the ids of a cohort.

    Raises
    ------
    SettingsError
        `size` lies outside `SIZES`.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise SettingsError(f"--subjects {size}: give a number from {SIZES[0]} to {SIZES[1]}")
    return [f"{number + 1:03d}" for number in range(size)]


def centre_of(number: int) -> str:
    """Return the scanner of subject `number`, counted from 0."""
    return CENTRES[number % len(CENTRES)]


def draw_gland(seed: int, number: int) -> Gland:
    """Return the prostate of subject `number`, counted from 0."""
    rng = np.random.default_rng((seed, number, 0))
    size = rng.uniform(0.0, 1.0)  # a large gland is large along every axis
    shares = np.clip(size + rng.normal(0.0, 0.12, 3), 0.0, 1.0)
    least, most = np.array(_LEAST_MM), np.array(_MOST_MM)
    return Gland(
        centre_mm=rng.uniform(-2.0, 2.0, 3) * (1.0, 0.5, 1.0),
        axes_mm=least + shares * (most - least),
        tilt=float(rng.uniform(-0.25, 0.25)),
        lobes=draw_field(rng, 7.0),
        lobe_depth=float(rng.uniform(0.02, 0.08)),
        transition=np.array([0.62, 0.6, 0.7]) + 0.18 * size + rng.uniform(-0.04, 0.04, 3),
        nodules=draw_field(rng, float(rng.uniform(3.0, 6.0))),
    )


def draw_image(seed: int, number: int) -> tuple[Volume, Volume]:
    """Return the T2-weighted image (int16) and the whole-gland mask (uint8) of a subject."""
    gland = draw_gland(seed, number)
    rng = np.random.default_rng((seed, number, 1))
    centre = centre_of(number)
    points = grid_points()
    signal = _surroundings(rng, gland, points)
    signal = _laid_over(signal, _gland_signal(rng, gland, points), gland.depth_mm(points))
    signal *= _GAIN[centre] * np.exp(_bias(rng, points))
    noise = rng.normal(0.0, _NOISE[centre] * _GAIN[centre], (2, len(points)))
    measured = np.hypot(signal + noise[0], noise[1])
    image = np.rint(measured).astype(np.int16).reshape(GRID.shape)
    mask = gland.contains(points).astype(np.uint8).reshape(GRID.shape)
    return Volume(image, GRID), Volume(mask, GRID)


def grid_points() -> Values:
    """Return the centres of the voxels, (n, 3) LPS mm."""
    index = np.moveaxis(np.indices(GRID.shape), 0, -1).reshape(-1, 3)
    return np.asarray(index * GRID.spacing_mm + GRID.origin_mm, dtype=np.float64)


def _laid_over(below: Values, above: Values | float, depth_mm: Values) -> Values:
    """Return one tissue laid over another; its edge is blurred."""
    share = special.ndtr(depth_mm / _EDGE_MM)
    return np.asarray(below + share * (above - below))


def _gland_signal(rng: np.random.Generator, gland: Gland, points: Values) -> Values:
    """Return the zones, and the dark capsule below the outline."""
    septa = draw_field(rng, 4.0)
    peripheral = _PERIPHERAL * np.exp(0.10 * septa(points))
    transition = _TRANSITION * np.exp(0.30 * gland.nodules(points))
    inside = _laid_over(peripheral, transition, gland.transition_depth_mm(points))
    return _laid_over(np.full(len(points), _CAPSULE), inside, gland.depth_mm(points) - _CAPSULE_MM)


def _surroundings(rng: np.random.Generator, gland: Gland, points: Values) -> Values:
    """Return fat with strands, the muscles at both sides, the bladder above, the rectum behind."""
    signal = _FAT * np.exp(0.15 * draw_field(rng, 5.0)(points))
    x, y, z = points.T
    wall = gland.axes_mm[0] + rng.uniform(1.0, 3.0)
    for side in (-1.0, 1.0):
        beside = side * (x - gland.centre_mm[0]) - wall - 0.01 * y**2
        signal = _laid_over(signal, _MUSCLE, beside)
    top = gland.centre_mm[2] + 0.8 * gland.axes_mm[2]
    bladder = _ball_depth(points, (0.0, -4.0, top + 14.0), (22.0, 16.0, 14.0))
    signal = _laid_over(signal, _MUSCLE, bladder + 2.0)
    signal = _laid_over(signal, _BLADDER, bladder)
    radius = rng.uniform(8.0, 11.0)
    behind = gland.centre_mm[1] + gland.axes_mm[1] + radius - 0.5
    bend = 0.01 * z**2
    rectum = radius - np.hypot(x - rng.uniform(-3.0, 3.0), y - behind - bend)
    signal = _laid_over(signal, _RECTUM_WALL, rectum)
    return _laid_over(signal, _RECTUM_INSIDE, rectum - 2.5)


def _ball_depth(points: Values, centre: Sequence[float], axes: Sequence[float]) -> Values:
    """Return how deep points lie in an ellipsoid, about; negative outside."""
    radius = np.linalg.norm((points - np.asarray(centre)) / np.asarray(axes), axis=1)
    return np.asarray((1.0 - radius) * np.cbrt(np.prod(axes)))


def _bias(rng: np.random.Generator, points: Values) -> Values:
    """Return the log of the receiver's field: a slope, and more signal near the back."""
    slope = rng.normal(0.0, 0.004, 3)
    coil = rng.uniform(0.0, 0.5) * np.exp(-(((points[:, 1] - 30.0) / 25.0) ** 2))
    return np.asarray((points * slope).sum(axis=1) + coil)


def image_paths(subject: str) -> tuple[str, str]:
    """Return where image and mask of a subject lie, relative to the sheets."""
    folder = f"images/sub-{subject}/ses-baseline"
    return f"{folder}/t2.nii.gz", f"{folder}/mask.nii.gz"


def images_frame(subjects: Sequence[str]) -> pd.DataFrame:
    """Return images.tsv."""
    rows = [(subject, "baseline", "t2", *image_paths(subject)) for subject in subjects]
    return pd.DataFrame(rows, columns=["subject", "session", "contrast", "image", "mask"])


def subjects_frame(subjects: Sequence[str]) -> pd.DataFrame:
    """Return subjects.tsv; the last fifth are test rows."""
    first_test = round(0.8 * len(subjects))
    return pd.DataFrame(
        {
            "subject": list(subjects),
            "split": ["development" if n < first_test else "test" for n in range(len(subjects))],
            "centre": [centre_of(n) for n in range(len(subjects))],
        }
    )


def dataset_record(size: int, *, seed: int) -> dict[str, Any]:
    """Return dataset.json: that the images are simulated, and how."""
    return {
        "simulated": True,
        "title": "Simulated prostates on T2-weighted MRI; no patient was imaged",
        "seed": seed,
        "subjects": size,
        "generator_version": BLOCK_VERSIONS["demo"],
        "spacing_mm": list(GRID.spacing_mm),
    }


README = """\
THE IMAGES IN THIS FOLDER ARE SIMULATED. No patient was imaged.

They imitate axial T2-weighted MRI of the prostate, as in Tian et al. 2018 (J Med Imaging
5:021208): whole-gland masks, voxels of 0.6 x 0.6 x 3 mm, three scanners of different gain and
noise. Networks trained on them show that the program works, and nothing about prostates.

images.tsv     T2-weighted image and whole-gland mask of each subject
subjects.tsv   split and scanner of each subject
dataset.json   how the cohort was made
"""
