"""Does an image look like those that a model was trained on? Its kind, its voxels, its size.

A network answers to anything, with an empty mask or nonsense where it has learnt nothing; what is
out of the ordinary is therefore said. The model's card states what is ordinary.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pipeline.preprocess.orientation import canonical_move, move_grid
from pipeline.types import Array3D, Volume

#: Air in CT is -1000; nothing in MR lies as far below zero.
_CT_BELOW_HU = -500.0

#: Voxels and images may be larger or smaller than any in training by this factor.
_BEYOND = 2.0


def kind_of_image(data: Array3D) -> Literal["CT", "MR"]:
    """Return the kind of an image by its lowest value; MR stands for all that is not CT."""
    return "CT" if float(data.min()) < _CT_BELOW_HU else "MR"


def modalities(card: Mapping[str, Any]) -> list[str]:
    """Return the kinds of image that a card names, "MR" for every sort of MR."""
    stated = str(card.get("modality", "")).upper().replace(",", " ").replace("/", " ")
    return ["MR" if word.startswith("MR") else word for word in stated.split()]


def misfits(image: Volume, card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence for each way in which an image differs from a model's training images.

    Parameters
    ----------
    image : Volume
        In any orientation.
    card : mapping
        Of the model: "modality", and in "training_data" the least and the most "spacing_mm" and
        "extent_mm" along the axes nearest to L, P, S. What it leaves out is not looked at.
    """
    found = [_kind(image.data, modalities(card))]
    grid = move_grid(image.grid, canonical_move(image.grid))
    data = card.get("training_data")
    data = data if isinstance(data, Mapping) else {}
    extent = np.multiply(grid.shape, grid.spacing_mm)
    found.append(
        _outside("voxels of", grid.spacing_mm, data.get("spacing_mm"), "resample the image")
    )
    found.append(_outside("an image of", extent, data.get("extent_mm"), "crop or pad it"))
    return tuple(words for words in found if words)


def _kind(data: Array3D, stated: Sequence[str]) -> str:
    kind = kind_of_image(data)
    if kind in stated or not {"CT", "MR"} & set(stated):
        return ""
    if kind == "CT":
        return "the image looks like CT (air far below 0), the model was trained on MR"
    return (
        f"the model was trained on CT in Hounsfield units, and no voxel is below {_CT_BELOW_HU:g}:"
        " another kind of image, or a shifted scale"
    )


def _outside(what: str, own: Any, edges: Any, remedy: str) -> str:
    try:
        low, high = np.asarray(edges, dtype=float).reshape(2, 3)
    except (TypeError, ValueError):
        return ""
    values = np.asarray(own, dtype=float)
    if (values <= high * _BEYOND).all() and (values >= low / _BEYOND).all():
        return ""
    return (
        f"{what} {_product(values)} mm, and the model was trained on {_product(low)} to "
        f"{_product(high)} mm: look at the mask with care, or {remedy} first"
    )


def _product(values: Any) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
