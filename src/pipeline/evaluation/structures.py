"""Which labels make up a structure, and where in an image each label lies."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.errors import ImageError, SettingsError
from pipeline.types import Array3D, Mask3D

#: Largest label of an image; FreeSurfer's go to about 14,000.
MAX_LABEL = 65_535

Box = tuple[slice, slice, slice]

_VALUES = re.compile(r"\d+(\+\d+)*")


@dataclass(frozen=True)
class Structure:
    """A structure and the labels that make it up.

    Attributes
    ----------
    name : str
        What readers call it.
    values : tuple of int
        Its labels, joined; empty for every label that is not 0.
    """

    name: str
    values: tuple[int, ...]

    @property
    def label(self) -> str:
        """The labels as text: ``1``, ``1+2`` or ``any``."""
        return "+".join(map(str, self.values)) or "any"

    def of(self, labels: Array3D) -> Mask3D:
        """Return the mask of the structure in an array of labels."""
        if not self.values:
            return np.asarray(labels != 0)
        if len(self.values) == 1:
            return np.asarray(labels == self.values[0])
        return np.asarray(np.isin(labels, self.values))


def parse_structures(text: str) -> tuple[Structure, ...]:
    """Return the structures that a text such as ``anterior=1,whole=1+2,all=any`` names.

    Raises
    ------
    SettingsError
        No ``name=label``, a label that is no whole number above 0, or a name given twice.
    """
    found = [_parse_one(part.strip(), text) for part in text.split(",")]
    names = [structure.name for structure in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"--labels {text}: {twice[0]!r} stands twice; give each its own name")
    return tuple(found)


def _parse_one(part: str, text: str) -> Structure:
    name, _, values = part.rpartition("=")
    name, values = name.strip(), values.replace(" ", "")
    if name and values == "any":
        return Structure(name, ())
    numbers = [int(v) for v in values.split("+")] if _VALUES.fullmatch(values) else [0]
    if not name or not all(0 < number <= MAX_LABEL for number in numbers):
        raise SettingsError(
            f"--labels {text}: {part!r} names no structure; write name=1, name=1+2 or name=any, "
            f"with labels from 1 to {MAX_LABEL}"
        )
    return Structure(name, tuple(sorted(set(numbers))))


def label_boxes(labels: Array3D, *, name: str) -> dict[int, Box]:
    """Return the bounding box of each label above 0, by one pass over the image.

    Raises
    ------
    ImageError
        A label below 0 or above `MAX_LABEL`; `name` says where.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > MAX_LABEL:
        raise ImageError(
            f"{name}: labels run from {low} to {high}, expected 0 to {MAX_LABEL}; is this a mask?"
        )
    whole = labels if labels.dtype.kind in "iu" else labels.astype(np.int32)
    boxes = ndimage.find_objects(whole.astype(np.int32) if whole.itemsize > 4 else whole)
    return {number: box for number, box in enumerate(boxes, start=1) if box is not None}


def joint_box(structure: Structure, *images: Mapping[int, Box]) -> Box | None:
    """Return the smallest box that holds a structure in all images; None where it is in none.

    Parameters
    ----------
    structure : Structure
        The labels to look for.
    *images : mapping
        Label to box, from `label_boxes`.
    """
    boxes = [
        box
        for image in images
        for value, box in image.items()
        if not structure.values or value in structure.values
    ]
    return _around(boxes) if boxes else None


def _around(boxes: Sequence[Box]) -> Box:
    i, j, k = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in range(3)
    )
    return i, j, k
