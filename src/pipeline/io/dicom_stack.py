"""Slices to stacks: phases told apart, slices put in order, gaps and tilts refused."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError, ReadError
from pipeline.io.dicom_headers import Slice
from pipeline.io.grids import REPAIRABLE_COSINE, grid_from_axes
from pipeline.types import Geometry

#: Slices closer than this along the normal lie in one plane.
SAME_PLANE_MM = 0.01

#: A slice may be off its even place by this much, or by this part of the step.
UNEVEN_MM = 0.05
UNEVEN_PART = 0.01

#: Directions and pixel sizes of one stack may differ by rounding only.
_SAME_COSINE = 1e-4
_SAME_SPACING = 1e-4

#: What tells phases apart, and which of them are seconds.
_PHASE_KEYS = ("temporal position", "temporal offset", "acquisition time", "trigger time",
               "content time", "acquisition number")  # fmt: skip
_TIME_KEYS = ("temporal offset", "acquisition time", "trigger time", "content time")


@dataclass(frozen=True, eq=False)
class Phases:
    """The images of one series on one grid.

    Attributes
    ----------
    stacks : list of list of Slice
        One stack per phase, each ordered along the normal (third array axis).
    grid : Geometry
        Grid of each stack.
    time_s : tuple of float
        Seconds after the first phase; empty when the headers do not say.
    time_source : str
        Where the times come from.
    """

    stacks: list[list[Slice]]
    grid: Geometry
    time_s: tuple[float, ...]
    time_source: str


def sort_phases(path: Path, slices: list[Slice]) -> Phases:
    """Sort the slices of one series into phases and places.

    Raises
    ------
    ReadError
        Several series, or images at one place that differ in more than time.
    GeometryError
        Slices that make no even stack: another size, direction or pixel spacing, doubles,
        gaps, tilt.
    """
    _check_one_series(path, slices)
    _check_alike(path, slices)
    normal = slice_normal(path, slices[0].axes)
    depths = np.array([s.position_mm @ normal for s in slices])
    planes = _planes(depths)
    count = _images_per_plane(path, slices, planes)
    stacks = _stacks(path, slices, planes, count)
    grid = _grid(path, stacks[0], normal)
    for stack in stacks[1:]:
        _check_places(path, stacks[0], stack)
    ordered, times, source = _in_time(stacks)
    return Phases(ordered, grid, times, source)


def slice_normal(path: Path, axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the unit normal of a slice whose row and column directions are `axes` (3, 2)."""
    cosine = float(axes[:, 0] @ axes[:, 1])
    if not abs(cosine) <= REPAIRABLE_COSINE:
        degrees = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        raise GeometryError(
            f"{path}: rows and columns of the slices meet at {degrees:.2f}° instead of 90°; export "
            "the series again"
        )
    normal = np.cross(axes[:, 0], axes[:, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _check_one_series(path: Path, slices: list[Slice]) -> None:
    series = {s.series: s.series_name for s in slices}
    if len(series) > 1:
        counts = Counter(s.series for s in slices)
        listed = "; ".join(f"{name}: {counts[uid]} images" for uid, name in sorted(series.items()))
        raise ReadError(
            f"{path}: {len(series)} series in one folder ({listed}); move each series into a "
            "folder of its own and give that"
        )
    ids = Counter((s.instance, s.frame) for s in slices)
    twice = next((key for key, n in ids.items() if n > 1), None)
    if twice is not None:
        names = [s.path.name for s in slices if (s.instance, s.frame) == twice]
        raise ReadError(f"{path}: {' and '.join(names)} are the same image; remove the copies")


def _check_alike(path: Path, slices: list[Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        if other.shape != first.shape:
            what = f"{other.shape} instead of {first.shape} pixels"
        elif not np.allclose(other.spacing_mm, first.spacing_mm, rtol=_SAME_SPACING, atol=0):
            what = f"pixel spacing {other.spacing_mm} instead of {first.spacing_mm} mm"
        elif not np.allclose(other.axes, first.axes, rtol=0, atol=_SAME_COSINE):
            what = "another direction"
        elif other.dtype != first.dtype:
            what = f"{other.dtype} instead of {first.dtype} pixels"
        else:
            continue
        raise GeometryError(
            f"{path}: {other.path.name} has {what} than {first.path.name}: not one stack of slices "
            "(a localiser in the series?); keep the slices of one stack in the folder"
        )


def _planes(depths: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return for each slice the number of its plane, counted along the normal."""
    order = np.argsort(depths, kind="stable")
    steps = np.diff(depths[order]) > SAME_PLANE_MM
    planes = np.empty(len(depths), dtype=np.intp)
    planes[order] = np.concatenate([[0], np.cumsum(steps)])
    return planes


def _images_per_plane(path: Path, slices: list[Slice], planes: npt.NDArray[np.intp]) -> int:
    counts = np.bincount(planes)
    usual = int(np.median(counts))
    odd = np.flatnonzero(counts != usual)
    if odd.size:
        place = int(odd[0])
        names = ", ".join(s.path.name for s, p in zip(slices, planes, strict=True) if p == place)
        raise GeometryError(
            f"{path}: {counts[place]} images at slice position {place + 1} of {counts.size} where "
            f"most positions have {usual} ({names}): slices are missing or there twice; export the "
            "series again"
        )
    return usual


def _stacks(
    path: Path, slices: list[Slice], planes: npt.NDArray[np.intp], count: int
) -> list[list[Slice]]:
    """Return `count` stacks, each with one slice per plane in the order of the planes."""
    if count == 1:
        return [_ordered(slices, planes)]
    if len({s.kind for s in slices}) > 1:
        raise ReadError(
            f"{path}: {count} images at each slice position, which differ in image type or echo "
            "time and not only in time; move each kind into a folder of its own"
        )
    for key in _PHASE_KEYS:
        groups: dict[float, list[int]] = {}
        for number, one in enumerate(slices):
            groups.setdefault(one.keys.get(key, np.nan), []).append(number)
        complete = all(
            np.array_equal(np.sort(planes[members]), np.arange(planes.max() + 1))
            for members in groups.values()
        )
        if len(groups) == count and complete:
            return [
                _ordered([slices[n] for n in groups[value]], planes[groups[value]])
                for value in sorted(groups)
            ]
    return _by_rank(path, slices, planes, count)


def _by_rank(
    path: Path, slices: list[Slice], planes: npt.NDArray[np.intp], count: int
) -> list[list[Slice]]:
    """Return the n-th image of every plane as phase n, when each slice has its own time."""
    ranked: list[list[Slice]] = [[] for _ in range(count)]
    for plane in range(int(planes.max()) + 1):
        here = [s for s, p in zip(slices, planes, strict=True) if p == plane]
        key = next((k for k in _TIME_KEYS if len({s.keys.get(k) for s in here}) == count), None)
        if key is None or any(key not in s.keys for s in here):
            raise ReadError(
                f"{path}: {count} images at each slice position and nothing in the headers tells "
                "which belong together; move each phase into a folder of its own"
            )
        for phase, one in enumerate(sorted(here, key=lambda s: s.keys[key])):
            ranked[phase].append(one)
    return ranked


def _ordered(slices: list[Slice], planes: npt.NDArray[np.intp]) -> list[Slice]:
    return [slices[n] for n in np.argsort(planes, kind="stable")]


def _grid(path: Path, stack: list[Slice], normal: npt.NDArray[np.float64]) -> Geometry:
    first = stack[0]
    step = _step(path, stack, normal)
    axes = np.column_stack([first.axes, normal])
    i, j = first.shape
    spacing = (*first.spacing_mm, step)
    return grid_from_axes(path, (i, j, len(stack)), axes, spacing, first.position_mm)


def _step(path: Path, stack: list[Slice], normal: npt.NDArray[np.float64]) -> float:
    """Return the distance between slices in mm; refuse gaps, unevenness and tilt."""
    if len(stack) == 1:
        return stack[0].thickness_mm or 1.0
    positions = np.array([s.position_mm for s in stack])
    depths = positions @ normal
    steps = np.diff(depths)
    usual = float(np.median(steps))
    limit = max(UNEVEN_MM, UNEVEN_PART * usual)
    worst = int(np.argmax(np.abs(steps - usual)))
    if abs(steps[worst] - usual) > limit:
        raise GeometryError(
            f"{path}: {steps[worst]:.3f} mm between {stack[worst].path.name} and "
            f"{stack[worst + 1].path.name} where the usual distance is {usual:.3f} mm: slices are "
            "missing or unevenly spaced; export the series again, or resample it first"
        )
    step = float((depths[-1] - depths[0]) / (len(stack) - 1))
    sideways = (positions - positions[0]) - np.outer(depths - depths[0], normal)
    drift = float(np.linalg.norm(sideways, axis=1).max())
    if drift > max(UNEVEN_MM, UNEVEN_PART * (depths[-1] - depths[0])):
        degrees = np.degrees(np.arctan2(drift, depths[-1] - depths[0]))
        raise GeometryError(
            f"{path}: the slices drift sideways by {drift:.2f} mm over the stack ({degrees:.2f}°): "
            "a tilted gantry; correct the tilt first (dcm2niix does) and give its .nii.gz"
        )
    return step


def _check_places(path: Path, first: list[Slice], other: list[Slice]) -> None:
    shift = max(
        float(np.linalg.norm(a.position_mm - b.position_mm))
        for a, b in zip(first, other, strict=True)
    )
    if shift > UNEVEN_MM:
        raise GeometryError(
            f"{path}: phases lie up to {shift:.2f} mm apart; move each into a folder of its own"
        )


def _in_time(stacks: list[list[Slice]]) -> tuple[list[list[Slice]], tuple[float, ...], str]:
    """Return stacks and seconds after the first, by the first time that tells them apart."""
    if len(stacks) == 1:
        return stacks, (0.0,), "a single phase"
    for key in _TIME_KEYS:
        if not all(key in s.keys for stack in stacks for s in stack):
            continue
        starts = [min(s.keys[key] for s in stack) for stack in stacks]
        if len(set(starts)) == len(stacks):
            order = np.argsort(starts, kind="stable")
            times = tuple(round(starts[n] - min(starts), 6) for n in order)
            return [stacks[n] for n in order], times, key
    return stacks, (), "unknown"
