"""Rings of tissue around a region, and rims within it, at distances in mm from its surface."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import EmptyRegionError, SettingsError
from pipeline.grid_difference import check_same_grid
from pipeline.radiomics.distance import Edge, signed_distance_mm
from pipeline.types import Array3D, Geometry, Mask3D, Volume

Box = tuple[slice, slice, slice]

#: Distances are compared with this slack, so that 3 steps of 0.1 mm are 0.3 mm.
_SLACK_MM = 1e-6
_MOST_BANDS = 255
#: Further away nothing is peritumoural, and the box would hold gigabytes.
_FURTHEST_MM = 200.0
_BAND = re.compile(r"^(-?\d+(?:\.\d+)?)-(-?\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Band:
    """Distances from the surface of a region; negative ones lie inside it.

    Attributes
    ----------
    inner_mm, outer_mm : float
        A ring holds what is further than `inner_mm` and not further than `outer_mm`; a rim
        (-3 to 0) what is within 3 mm of the surface, on its inner side.
    """

    inner_mm: float
    outer_mm: float

    @property
    def name(self) -> str:
        """Name of the label: ring_0_3mm, rim_3_0mm, or shell_-2_3mm across the surface."""
        if self.inner_mm < 0 < self.outer_mm:
            kind, ends = "shell", (self.inner_mm, self.outer_mm)
        else:
            kind = "rim" if self.inner_mm < 0 else "ring"
            ends = (abs(self.inner_mm), abs(self.outer_mm))
        return f"{kind}_{ends[0]:g}_{ends[1]:g}mm".replace(".", "p")


@dataclass(frozen=True)
class RingRow:
    """What became of one band.

    Attributes
    ----------
    label : int
        Number in the label image.
    name : str
        `Band.name`.
    inner_mm, outer_mm : float
        Its distances.
    voxels : int
        How many are left.
    volume_mm3 : float
        Their volume.
    outside_image, outside_within, excluded : float
        Share of the whole band that is lost beyond the field of view, then outside the body or
        organ, then to other lesions.
    status : {"ok", "empty"}
        Whether any voxel is left.
    reason : str
        Why none is.
    """

    label: int
    name: str
    inner_mm: float
    outer_mm: float
    voxels: int
    volume_mm3: float
    outside_image: float
    outside_within: float
    excluded: float
    status: Literal["ok", "empty"]
    reason: str


def parse_bands(text: str) -> tuple[Band, ...]:
    """Return the bands of ``0-3,3-6``, in mm; ``-3-0`` is the inner rim.

    Raises
    ------
    SettingsError
        A band is none, is empty, or two of them overlap.
    """
    bands = []
    for part in text.split(","):
        found = _BAND.match(part.strip())
        if not found:
            raise SettingsError(
                f"ring {part!r} is not INNER-OUTER in mm; write for example 0-3,3-6"
            )
        bands.append(Band(*(float(end) for end in found.groups())))
    _check_bands(bands)
    return tuple(bands)


def rings(
    region: Volume,
    bands: Sequence[Band],
    *,
    within: Volume | None = None,
    exclude: Volume | None = None,
    edge: Edge = "surface",
    names: tuple[str, str, str] = ("the region", "the body mask", "the excluded mask"),
) -> tuple[Volume, tuple[RingRow, ...]]:
    """Return the bands around a region as labels 1, 2, ... on its grid, and what each one lost.

    Only a box around the region is computed on, so that a large scan costs little. Where the image
    ends at the region, there may be more of it: that border is no surface for a rim, and what a
    ring loses there is counted for the region as it is drawn.

    Parameters
    ----------
    region : Volume
        Not 0 inside the region; several pieces are one region.
    bands : sequence of Band
        In the order of the labels; they must not overlap.
    within : Volume, optional
        Not 0 in the body or organ that the bands may not leave.
    exclude : Volume, optional
        Not 0 in other lesions; voxels of the region itself do not count.
    edge : {"surface", "centres"}
        Where distances start; see `signed_distance_mm`.
    names : (str, str, str)
        What errors call the three masks.

    Raises
    ------
    EmptyRegionError
        The region holds no voxel, or none of the bands does.
    GeometryError
        The masks do not share a grid.
    SettingsError
        Bands that overlap, or have no width.
    """
    _check_bands(bands)
    for other, name in ((within, names[1]), (exclude, names[2])):
        if other is not None:
            check_same_grid(region.grid, other.grid, (names[0], name))
    inside = region.data != 0
    if not inside.any():
        raise EmptyRegionError(f"{names[0]}: no voxel is marked, so nothing lies around it")
    box = _box(inside, region.grid, max(band.outer_mm for band in bands))
    real, there = _part(box, region.grid.shape)
    padded = np.pad(inside[real], _padding(box, real))
    distance = _distance(inside[real], padded, there, region.grid, edge)
    body = np.ones_like(inside[real]) if within is None else within.data[real] != 0
    free = np.ones_like(body) if exclude is None else (exclude.data[real] == 0) | inside[real]
    labels = np.zeros(region.grid.shape, dtype=np.uint8)
    rows = []
    for number, band in enumerate(bands, start=1):
        whole = _inside_band(distance, padded, band)
        kept = whole[there] & body & free
        labels[real][kept] = number
        rows.append(_row(number, band, whole, whole[there], body, kept, region.grid, distance))
    if not labels.any():
        raise EmptyRegionError(f"{names[0]}: {'; '.join(f'{r.name}: {r.reason}' for r in rows)}")
    return Volume(labels, region.grid), tuple(rows)


def _distance(inside: Mask3D, padded: Mask3D, there: Box, grid: Geometry, edge: Edge) -> Array3D:
    """Return signed distances in the box; the border of the image is no surface for rims."""
    distance = signed_distance_mm(padded, grid.spacing_mm, edge=edge)
    if inside.shape != padded.shape:
        distance[there][inside] = signed_distance_mm(inside, grid.spacing_mm, edge=edge)[inside]
    return distance


def _inside_band(distance: Array3D, region: Mask3D, band: Band) -> Mask3D:
    """Return the voxels of a band: open towards the surface, closed away from it."""
    outer = (
        ~region & (distance > band.inner_mm + _SLACK_MM) & (distance <= band.outer_mm + _SLACK_MM)
    )
    inner = (
        region & (distance >= band.inner_mm - _SLACK_MM) & (distance < band.outer_mm - _SLACK_MM)
    )
    return np.asarray(outer | inner, dtype=np.bool_)


def _row(
    number: int,
    band: Band,
    whole: Mask3D,
    seen: Mask3D,
    body: Mask3D,
    kept: Mask3D,
    grid: Geometry,
    distance: Array3D,
) -> RingRow:
    counts = [int(np.count_nonzero(part)) for part in (whole, seen, seen & body, kept)]
    lost = [(a - b) / counts[0] if counts[0] else 0.0 for a, b in itertools.pairwise(counts)]
    reason = ""
    if not counts[0]:
        reason = _why_none(band, distance)
    elif not counts[3]:
        places = ("outside the image", "outside the body or organ", "in excluded lesions")
        told = ", ".join(f"{s:.0%} {p}" for s, p in zip(lost, places, strict=True) if s)
        reason = f"all of its {counts[0]} voxels are lost: {told}"
    return RingRow(
        label=number,
        name=band.name,
        inner_mm=band.inner_mm,
        outer_mm=band.outer_mm,
        voxels=counts[3],
        volume_mm3=counts[3] * grid.voxel_volume_mm3,
        outside_image=lost[0],
        outside_within=lost[1],
        excluded=lost[2],
        status="ok" if counts[3] else "empty",
        reason=reason,
    )


def _why_none(band: Band, distance: Array3D) -> str:
    where = f"no voxel centre lies {band.inner_mm:g} to {band.outer_mm:g} mm from the surface"
    deepest = -float(distance.min())
    if band.outer_mm <= 0 and not np.isfinite(deepest):
        return f"{where}: the region fills the image, and its surface is not in it"
    if band.outer_mm <= 0 and deepest < -band.outer_mm:
        return f"{where}: the region is nowhere deeper than {deepest:.3g} mm"
    return f"{where}: ask for a wider band, or for a finer grid"


def _box(inside: Mask3D, grid: Geometry, reach_mm: float) -> Box:
    """Return the region's box and what lies within reach; it may leave the image."""
    sides = []
    for axis, step in enumerate(grid.spacing_mm):
        others = tuple(a for a in range(3) if a != axis)
        occupied = np.flatnonzero(inside.any(axis=others))
        # A voxel more: the surface may lie up to half a voxel outside the region's centres.
        margin = int(np.ceil(max(reach_mm, 0.0) / step)) + 2
        sides.append(slice(int(occupied[0]) - margin, int(occupied[-1]) + 1 + margin))
    return sides[0], sides[1], sides[2]


def _part(box: Box, shape: tuple[int, int, int]) -> tuple[Box, Box]:
    """Return the part of a box within the image: in the image's indices, and in the box's."""
    real = [
        slice(max(side.start, 0), min(side.stop, n)) for side, n in zip(box, shape, strict=True)
    ]
    there = [
        slice(r.start - side.start, r.stop - side.start) for r, side in zip(real, box, strict=True)
    ]
    return (real[0], real[1], real[2]), (there[0], there[1], there[2])


def _padding(box: Box, real: Box) -> list[tuple[int, int]]:
    return [(r.start - b.start, b.stop - r.stop) for b, r in zip(box, real, strict=True)]


def _check_bands(bands: Sequence[Band]) -> None:
    if not 1 <= len(bands) <= _MOST_BANDS:
        raise SettingsError(f"{len(bands)} rings; ask for 1 to {_MOST_BANDS}")
    for band in bands:
        if not (
            np.isfinite([band.inner_mm, band.outer_mm]).all() and band.inner_mm < band.outer_mm
        ):
            raise SettingsError(
                f"ring {band.inner_mm:g}-{band.outer_mm:g} has no width; give the smaller distance "
                "first, as in 3-6 (or -3-0 for the inner rim)"
            )
        furthest = max(abs(band.inner_mm), abs(band.outer_mm))
        if furthest > _FURTHEST_MM:
            raise SettingsError(
                f"ring of {furthest:g} mm: at most {_FURTHEST_MM:g} mm from a region"
            )
    ordered = sorted(bands, key=lambda band: band.inner_mm)
    for one, next_one in itertools.pairwise(ordered):
        if next_one.inner_mm < one.outer_mm:
            raise SettingsError(
                f"rings {one.inner_mm:g}-{one.outer_mm:g} and {next_one.inner_mm:g}-"
                f"{next_one.outer_mm:g} mm overlap, and a voxel has one label; ask for them in two "
                "runs"
            )
