"""Checks at the door of the registration: what cannot be registered is told before any work."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import EmptyRegionError, GeometryError, ImageError
from pipeline.geometry import corners_mm
from pipeline.grid_difference import check_same_grid
from pipeline.types import Volume

if TYPE_CHECKING:
    from pipeline.registration.engine import Pair, RegistrationSettings

#: Fewest voxels along an axis.
FEWEST_VOXELS = 4


def check_pair(pair: "Pair", settings: "RegistrationSettings") -> None:
    """Raise unless the two images can be registered.

    Raises
    ------
    GeometryError
        2-D images, masks off their image's grid, or images that lie apart.
    ImageError
        NaN, infinite or constant images.
    EmptyRegionError
        When the images are to be compared inside a fixed mask that is missing or empty.
    """
    for name, image, mask in (
        ("fixed", pair.fixed, pair.fixed_mask),
        ("moving", pair.moving, pair.moving_mask),
    ):
        _check_image(f"the {name} image", image)
        if mask is not None:
            check_same_grid(image.grid, mask.grid, (f"the {name} image", f"the {name} mask"))
    if settings.compare_within == "mask" and (
        pair.fixed_mask is None or not np.any(pair.fixed_mask.data)
    ):
        raise EmptyRegionError(
            "comparing within the mask needs a fixed mask with at least one voxel; "
            "give --fixed-mask or use --compare-within image"
        )
    if not settings.align_centres:
        _check_overlap(pair.fixed, pair.moving)


def _check_image(name: str, image: Volume) -> None:
    if image.data.ndim != 3 or min(image.data.shape) < FEWEST_VOXELS:
        raise GeometryError(
            f"{name} has {image.data.shape} voxels: registration is 3-D and needs "
            f"{FEWEST_VOXELS} along each axis; give the whole volume, not a slice"
        )
    bad = int(image.data.size - np.isfinite(image.data).sum())
    if bad:
        raise ImageError(
            f"{name}: {bad} of {image.data.size} voxels are NaN or infinite; "
            "replace them (a background of 0 is usual) and try again"
        )
    if image.data.min() == image.data.max():
        raise ImageError(
            f"{name} is {image.data.min()} in every voxel: there is nothing to align; "
            "check that the right file was given"
        )


def _check_overlap(fixed: Volume, moving: Volume) -> None:
    boxes = [(c.min(axis=0), c.max(axis=0)) for c in map(corners_mm, (fixed.grid, moving.grid))]
    (low, high), (other_low, other_high) = boxes
    gap = np.maximum(low - other_high, other_low - high).max()
    if gap > 0:
        raise GeometryError(
            f"the fixed and the moving image lie {gap:.1f} mm apart and do not overlap; "
            "if they show the same patient in two coordinate systems, start from their centres "
            "with --align-centres"
        )
