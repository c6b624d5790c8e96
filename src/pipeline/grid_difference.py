"""How two grids differ, in mm and in words, and the command that brings one onto the other."""

import shlex
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.geometry import grid_difference_mm, index_to_world, same_grid, world_to_index
from pipeline.types import Array1D, Geometry

_AXES = "ijk"
#: Shares of a voxel that count as nothing, and as half or whole voxels; degrees that are noise.
_NOTHING, _NEAR, _NOISE_DEG = 1e-4, 0.02, 1e-3
#: Headers are written with few digits: differences up to this share of a voxel, of a spacing and
#: these degrees say no more than that.
_ROUNDED_VOXELS, _ROUNDED_SPACING, _ROUNDED_DEG = 0.05, 1e-3, 0.1
#: Digits that are lost in computing.
_ROUNDING = 1e-6
#: From RAS to LPS, and back.
_HALF_TURN = np.diag([-1.0, -1.0, 1.0])


def check_same_grid(first: Geometry, second: Geometry, names: tuple[str, str]) -> None:
    """Raise GeometryError unless the two grids agree.

    The message states the difference in mm along each axis, what it likely means, and the command
    that brings the second (`names`: its path) onto the grid of the first.
    """
    if same_grid(first, second):
        return
    raise GeometryError(describe_difference(first, second, names))


@dataclass(frozen=True, eq=False)
class GridDifference:
    """What separates the second grid from the first.

    Attributes
    ----------
    corners_mm : float
        Largest distance between equal corners; inf when the sizes differ.
    shift_mm, shift_voxels : (3,) float arrays
        From the first voxel of the first grid to that of the second, along i, j, k of the first.
    spacing_mm : (3,) float array
        Spacing of the second minus the first, along i, j, k of the first.
    order : (3,) int array
        Axis of the first grid along which each axis of the second runs.
    signs : (3,) float array
        -1 where it runs the other way.
    turned_deg : float
        Largest angle between matching axes, whichever way they run.
    same_size, same_box : bool
        The same number of voxels; the same box in space, to half a voxel.
    apart : bool
        The two boxes share nothing.
    """

    corners_mm: float
    shift_mm: Array1D
    shift_voxels: Array1D
    spacing_mm: Array1D
    order: npt.NDArray[np.intp]
    signs: Array1D
    turned_deg: float
    same_size: bool
    same_box: bool
    apart: bool

    @property
    def reordered(self) -> bool:
        """Whether axes are flipped or swapped."""
        return bool((self.signs < 0).any() or (self.order != np.arange(3)).any())


def grid_difference(first: Geometry, second: Geometry) -> GridDifference:
    """Measure what separates `second` from `first`."""
    steps = np.asarray(first.spacing_mm)
    relative = first.direction.T @ second.direction
    order = np.abs(relative).argmax(axis=0)
    matched = np.asarray(second.spacing_mm)[np.argsort(order)]
    along = relative[order, np.arange(3)]
    # The sine resolves small angles, where the arc cosine of nearly 1 does not.
    across = np.sqrt(np.clip((relative**2).sum(axis=0) - along**2, 0, None))
    shift = first.direction.T @ (np.asarray(second.origin_mm) - np.asarray(first.origin_mm))
    low, high = _box(first, second)
    half = (0.5 + 1e-6) * np.maximum(steps, matched) / steps
    size = np.asarray(first.shape)
    return GridDifference(
        corners_mm=grid_difference_mm(first, second),
        shift_mm=shift,
        shift_voxels=shift / steps,
        spacing_mm=matched - steps,
        order=order,
        signs=np.sign(along),
        turned_deg=float(np.degrees(np.arctan2(across, np.abs(along)).max())),
        same_size=first.shape == second.shape,
        same_box=bool(
            (np.abs(low + 0.5) <= half).all() and (np.abs(high - size + 0.5) <= half).all()
        ),
        apart=bool((high <= -0.5).any() or (low >= size - 0.5).any()),
    )


def describe_difference(first: Geometry, second: Geometry, names: tuple[str, str]) -> str:
    """Return one line: the difference in mm, its likely cause, and the command that mends it.

    Parameters
    ----------
    first, second : Geometry
        The grid that counts (of the image), and the other one (of the mask).
    names : (str, str)
        Paths, or words such as "the image"; paths go into the command.
    """
    found = grid_difference(first, second)
    if found.same_size:
        what = f"corners of {names[0]} and {names[1]} lie up to {found.corners_mm:.3g} mm apart"
    else:
        what = f"{names[0]} has {first.shape} voxels, {names[1]} has {second.shape}"
    details = _details(found, first)
    told = f" ({'; '.join(details)})" if details else ""
    image, mask = _argument(names[0], "IMAGE"), _argument(names[1], "OTHER")
    command = f"medpipe preprocess {mask} --like {image}"
    return (
        f"{what}{told}. Likely {_meaning(found, first, second)}. Bring a mask onto that grid with "
        f"`{command} --as-mask`, an image with `{command} --no-n4`"
    )


def _box(first: Geometry, second: Geometry) -> tuple[Array1D, Array1D]:
    """Return the lowest and highest index of the first grid that the second's voxels reach."""
    ends = np.array([(-0.5, n - 0.5) for n in second.shape])
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T
    index = world_to_index(first, index_to_world(second, corners))
    return index.min(axis=0), index.max(axis=0)


def _details(found: GridDifference, first: Geometry) -> list[str]:
    details = []
    if (np.abs(found.shift_voxels) > _NOTHING).any():
        details.append(
            f"first voxel shifted by {_numbers(found.shift_mm)} mm along i, j, k: "
            f"{_numbers(found.shift_voxels)} voxels"
        )
    if (np.abs(found.spacing_mm) > 1e-6 * np.asarray(first.spacing_mm)).any():
        details.append(
            f"spacing {_numbers(first.spacing_mm)} mm against "
            f"{_numbers(found.spacing_mm + first.spacing_mm)} mm, "
            f"a difference of {_numbers(found.spacing_mm)} mm"
        )
    if found.reordered:
        details.append(_axes(found))
    if found.turned_deg > _NOISE_DEG:
        details.append(f"axes turned by {found.turned_deg:.3g} degrees")
    return details


def _axes(found: GridDifference) -> str:
    if (found.order == np.arange(3)).all():
        flipped = [_AXES[n] for n in np.flatnonzero(found.signs < 0)]
        noun = "axis" if len(flipped) == 1 else "axes"
        verb = "runs" if len(flipped) == 1 else "run"
        return f"{noun} {' and '.join(flipped)} {verb} the other way"
    pairs = zip(found.signs, found.order, strict=True)
    return "axes i, j, k run along " + ", ".join(
        ("-" if s < 0 else "") + _AXES[n] for s, n in pairs
    )


def _meaning(found: GridDifference, first: Geometry, second: Geometry) -> str:
    if _half_turned(first, second):
        return (
            "a header in RAS that was taken for LPS, or the reverse (180 degrees about the body's "
            "axis); compare the two in a viewer before resampling"
        )
    if found.apart:
        return (
            "another series or another patient, for the two boxes do not overlap: resampled it "
            "would be empty; check that the files belong together"
        )
    if found.reordered:
        if found.same_box:
            return "the same box with its axes flipped or stored in another order"
        return (
            "flipped axes with an origin that was left behind: one header is wrong; compare the "
            "two in a viewer before resampling"
        )
    if found.turned_deg > _NOISE_DEG:
        if found.turned_deg <= _ROUNDED_DEG:
            return "a direction that was rounded when the header was written"
        return "another series, whose slices lie at another angle"
    return _meaning_of_parallel(found, first)


def _meaning_of_parallel(found: GridDifference, first: Geometry) -> str:
    """Return the likely cause where the axes agree."""
    stretched = np.abs(found.spacing_mm) / np.asarray(first.spacing_mm)
    if (stretched > _ROUNDED_SPACING).any():
        if found.same_box:
            return "the same field of view at another spacing: one of the two was resampled"
        return "another series or reconstruction, of another field of view"
    shift = np.abs(found.shift_voxels)
    if (shift <= _ROUNDED_VOXELS).all():
        if not found.same_size:
            return "the same scan with slices, rows or columns missing at the far end of one"
        return "an origin or spacing that was rounded when the header was written"
    if (np.abs(shift - np.rint(shift)) <= _NEAR).all():
        kind = "moved" if found.same_size else "cropped or padded"
        return (
            f"a grid that was {kind} by whole voxels: another crop of the scan, or another series"
        )
    if (np.minimum(shift, np.abs(shift - 0.5)) <= _NEAR).all():
        return (
            "a half-voxel shift: one program counts from the corner of the first voxel, the other "
            "from its centre"
        )
    return "another series, or a patient or table that moved in between"


def _half_turned(first: Geometry, second: Geometry) -> bool:
    if first.shape != second.shape:
        return False
    limit = _ROUNDED_VOXELS * min(first.spacing_mm)
    origin = _HALF_TURN @ np.asarray(first.origin_mm)
    return bool(
        np.allclose(second.direction, _HALF_TURN @ first.direction, rtol=0, atol=_ROUNDED_SPACING)
        and np.allclose(second.origin_mm, origin, rtol=0, atol=limit)
        and np.allclose(second.spacing_mm, first.spacing_mm, rtol=_ROUNDED_SPACING)
    )


def _numbers(values: npt.ArrayLike) -> str:
    """Return three numbers with commas; -0 and what rounding left are 0."""
    return ", ".join(f"{0.0 if abs(v) < _ROUNDING else v:.6g}" for v in np.asarray(values).tolist())


def _argument(name: str, placeholder: str) -> str:
    """Return a path as a shell takes it; words such as "the image" become a placeholder."""
    return placeholder if name.startswith("the ") or "'s " in name else shlex.quote(name)
