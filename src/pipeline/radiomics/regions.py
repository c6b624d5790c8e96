"""Regions of one image: many labels of one mask, or many masks, cut from them once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.errors import SettingsError
from pipeline.grid_difference import check_same_grid
from pipeline.radiomics.extract import border_voxels, bounding_box
from pipeline.radiomics.filters.source import Box
from pipeline.types import Array3D, Geometry, Mask3D, Volume

#: Labels above this are looked for one by one: a table of all numbers would be large.
_MOST_LABELS = 1 << 16


@dataclass(frozen=True, eq=False)
class Region:
    """A region, cropped, and where it lies in its image.

    Attributes
    ----------
    name : str
        Of the label; empty when it has none.
    number : int or None
        The label in its mask; None for every voxel that is not 0.
    box : three slices or None
        Its bounding box in the image; None when it holds no voxel.
    inside : (I, J, K) bool array
        On the box.
    border_voxels : int
        Voxels in the outermost layer of the image.
    reason : str
        Why it is empty.
    """

    name: str
    number: int | None
    box: Box | None
    inside: Mask3D
    border_voxels: int = 0
    reason: str = ""


def region_of(
    mask: Volume,
    grid: Geometry,
    *,
    name: str = "",
    names: tuple[str, str] = ("the image", "the mask"),
) -> Region:
    """Return every voxel of a mask that is not 0 as one region.

    Raises
    ------
    GeometryError
        The mask does not lie on `grid`.
    """
    check_same_grid(grid, mask.grid, names)
    return _region(mask.data != 0, (slice(0, None),) * 3, mask.data.shape, name, None)


def regions_of(
    labels: Volume,
    grid: Geometry,
    wanted: Mapping[str, int] | None = None,
    *,
    names: tuple[str, str] = ("the image", "the mask"),
) -> tuple[Region, ...]:
    """Return the labels of a mask as regions.

    Parameters
    ----------
    labels : Volume
        Whole numbers; 0 is background.
    grid : Geometry
        Grid of the image.
    wanted : mapping of str to int, optional
        Name and number of the labels, in the order of the result; by default all that occur,
        by their number, which is also their name. One that does not occur gives an empty
        region that says so.
    names : (str, str)
        What errors call image and mask.

    Raises
    ------
    GeometryError
        The mask does not lie on `grid`.
    SettingsError
        Label 0 is asked for.
    """
    check_same_grid(grid, labels.grid, names)
    boxes = _boxes(labels.data, None if wanted is None else list(wanted.values()))
    if wanted is None:
        wanted = {str(number): number for number in sorted(boxes)}
    if 0 in wanted.values():
        raise SettingsError("label 0 is the background; labels are counted from 1")
    found = []
    for name, number in wanted.items():
        box = boxes.get(number)
        if box is None:
            there = ", ".join(map(str, sorted(_boxes(labels.data, None))[:20])) or "none"
            reason = f"no voxel has label {number}; labels there: {there}"
            found.append(Region(name, number, None, np.zeros((0, 0, 0), bool), reason=reason))
        else:
            inside = labels.data[box] == number
            found.append(_region(inside, box, labels.data.shape, name, number))
    return tuple(found)


def _boxes(data: Array3D, numbers: Sequence[int] | None) -> dict[int, Box]:
    """Return the bounding boxes of the labels that occur."""
    highest = int(data.max(initial=0))
    if highest <= _MOST_LABELS and data.min(initial=0) >= 0:
        kind = np.int32 if data.dtype.kind not in "iu" or data.dtype.itemsize > 4 else data.dtype
        found = ndimage.find_objects(data.astype(kind, copy=False))
        return {n: box for n, box in enumerate(found, start=1) if box is not None}
    if numbers is None:
        numbers = [int(n) for n in np.unique(data) if n != 0]
    there = {n: data == n for n in numbers}
    return {n: bounding_box(inside) for n, inside in there.items() if inside.any()}


def _region(
    inside: Mask3D, at: Box, shape: tuple[int, ...], name: str, number: int | None
) -> Region:
    if not inside.any():
        empty = np.zeros((0, 0, 0), dtype=bool)
        return Region(name, number, None, empty, reason="the mask holds no voxel")
    box = bounding_box(inside)
    i, j, k = (slice(p.start + b.start, p.start + b.stop) for p, b in zip(at, box, strict=True))
    placed = (i, j, k)
    cropped = np.ascontiguousarray(inside[box])
    return Region(name, number, placed, cropped, _border(cropped, placed, shape))


def _border(inside: Mask3D, box: Box, shape: tuple[int, ...]) -> int:
    """Return how many voxels lie in the outermost layer of the image."""
    touches = [
        (int(part.start == 0), int(part.stop == n)) for part, n in zip(box, shape, strict=True)
    ]
    if not np.any(touches):
        return 0
    outer = [(1 - low, 1 - high) for low, high in touches]
    return border_voxels(np.pad(inside, outer))
