"""From an image's own grid to the one that a network sees, and back.

The network's axes are the image's own, swapped and flipped to lie nearest to L, P, S: an oblique
image stays oblique, and no voxel is rotated. Along these axes the plan's spacing follows. Where
the image has it already (to 1e-3 mm), voxels are only moved, bit for bit.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.errors import ImageError
from pipeline.grid_difference import check_same_grid
from pipeline.preprocess.checks import check_finite
from pipeline.preprocess.grids import spaced_grid
from pipeline.preprocess.kernels import AxisWeights, apply_weights, interpolation_weights
from pipeline.preprocess.orientation import canonical_move, move_data, move_grid, restore
from pipeline.segment.plan import Intensity, Plan
from pipeline.types import Array1D, Array3D, Geometry, Volume

#: Spacings that differ by less are the same.
SAME_SPACING_MM = 1e-3

#: Samples on each side that the Lanczos kernel of images sees, stretched along axes that get
#: coarser, so that nothing is aliased.
_RADIUS = 3

#: Values turned into float64 at once while resampling (64 MiB).
_CHUNK = 1 << 23

Spacing = tuple[float, float, float]

#: What interpolates each axis; None where its voxels stay.
Steps = list[AxisWeights | None]

#: Position in samples, number of samples, ratio of spacings (1 or more) -> weights.
Kernel = Callable[[Array1D, int, float], AxisWeights]


def network_grid(grid: Geometry, spacing_mm: Spacing) -> Geometry:
    """Return the grid that a network sees of an image.

    Parameters
    ----------
    grid : Geometry
        The image's own grid, in any orientation.
    spacing_mm : three floats
        Of the network, along the axes nearest to L, P, S.

    Returns
    -------
    Geometry
        Centred on the image's box and just covering it; see `pipeline.preprocess.grids`. An axis
        whose spacing is the network's already keeps its voxels.
    """
    canonical = move_grid(grid, canonical_move(grid))
    own = np.asarray(canonical.spacing_mm)
    same = np.abs(own - np.asarray(spacing_mm)) <= SAME_SPACING_MM
    if same.all():
        return canonical
    a, b, c = (float(s) for s in np.where(same, own, spacing_mm))
    return spaced_grid(canonical, (a, b, c))


def prepare(image: Volume, plan: Plan) -> Volume:
    """Return the image as the network sees it: its grid, its intensities, float32.

    Intensities are normalised before they are interpolated, so that metal or air beyond the
    clipping values cannot spread.

    Raises
    ------
    ImageError
        If a voxel is not finite, or the image is constant where its own SD is needed.
    """
    check_finite(image.data, "segmentation")
    move = canonical_move(image.grid)
    moved = normalise(move_data(image.data, move), plan.intensity)
    return _resampled(Volume(moved, move_grid(image.grid, move)), plan.spacing_mm)


def normalise(data: Array3D, intensity: Intensity) -> Array3D:
    """Return the float32 array clipped, shifted and scaled as the plan says; see `Intensity`."""
    values = np.array(data, dtype=np.float32)
    if intensity.kind == "dataset":
        np.clip(values, intensity.low, intensity.high, out=values)
        mean, sd = intensity.mean, intensity.sd
    else:
        low, high = np.percentile(values, (intensity.low, intensity.high))
        np.clip(values, low, high, out=values)
        mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if not sd > 1e-9 * max(1.0, abs(mean)):
        raise ImageError(
            f"segmentation: the standard deviation is {sd:g} around {mean:g}; a constant image "
            "cannot be segmented. Give another image"
        )
    values -= np.float32(mean)
    values /= np.float32(sd)
    return values


def prepare_labels(mask: Volume, grid: Geometry, plan: Plan) -> npt.NDArray[np.uint8]:
    """Return the class of each voxel of the network's grid.

    Each class is interpolated by itself, linearly, and the largest share wins (the lower class
    where two are equal), so that no class is invented between two others.

    Parameters
    ----------
    mask : Volume
        Values of `plan.labels`; any other value is background.
    grid : Geometry
        `network_grid` of the image, on whose grid the mask must lie.
    plan : Plan
        Names the labels.

    Raises
    ------
    GeometryError
        If the mask does not lie on the grid of the image.
    """
    move = canonical_move(mask.grid)
    moved = Volume(move_data(mask.data, move), move_grid(mask.grid, move))
    target = network_grid(mask.grid, plan.spacing_mm)
    check_same_grid(grid, target, ("the image", "the mask"))
    classes = np.zeros(moved.data.shape, dtype=np.uint8)
    for number, value in enumerate(plan.values[1:], start=1):
        classes[moved.data == value] = number
    return np.asarray(_vote(classes, axis_weights(moved.grid, target, linear_weights)))


def back_to_image(
    data: Array3D, grid: Geometry, image: Geometry, *, labels: bool = False
) -> Array3D:
    """Return an array of the network's grid on the image's own grid.

    Parameters
    ----------
    data : (I, J, K) array
        Class numbers or values (probabilities, entropy) on `grid`.
    grid : Geometry
        `network_grid` of the image.
    image : Geometry
        The image's own grid.
    labels : bool
        The array holds class numbers: where spacings differ each is interpolated by itself and
        the largest share wins. Values are interpolated linearly.

    Returns
    -------
    (I, J, K) array
        Same type for class numbers and where voxels are only moved, else float32.
    """
    canonical = move_grid(image, canonical_move(image))
    steps = axis_weights(grid, canonical, linear_weights)
    moved = _vote(data, steps) if labels else _apply(data, steps)
    return restore(moved, canonical, image)[0]


def axis_weights(source: Geometry, target: Geometry, kernel: Kernel) -> Steps:
    """Return what interpolates each axis between two grids with the same axes and centre.

    None stands for an axis whose voxels stay.
    """
    steps: list[AxisWeights | None] = []
    for axis in range(3):
        size, count = source.shape[axis], target.shape[axis]
        ratio = target.spacing_mm[axis] / source.spacing_mm[axis]
        middle = (size - 1) / 2.0 - ratio * (count - 1) / 2.0
        # rounding: a point meant to sit on a sample shall hit it
        position: Array1D = np.round(middle + ratio * np.arange(count, dtype=np.float64), 9)
        stays = count == size and np.array_equal(position, np.arange(size))
        steps.append(None if stays else kernel(position, size, max(1.0, ratio)))
    return steps


def linear_weights(position: Array1D, size: int, widen: float) -> AxisWeights:
    """Return linear interpolation, its triangle stretched by `widen` along coarser axes."""
    reach = math.ceil(widen)
    tap = np.floor(position)[:, None] + np.arange(1 - reach, reach + 1)
    weight = np.maximum(0.0, 1.0 - np.abs(position[:, None] - tap) / widen)
    weight /= weight.sum(axis=1, keepdims=True)
    return AxisWeights(np.clip(tap, 0, size - 1).astype(np.intp), np.asarray(weight))


def _image_weights(position: Array1D, size: int, widen: float) -> AxisWeights:
    return interpolation_weights("lanczos", position, size, widen=widen, radius=_RADIUS)


def _resampled(canonical: Volume, spacing_mm: Spacing) -> Volume:
    grid = network_grid(canonical.grid, spacing_mm)
    steps = axis_weights(canonical.grid, grid, _image_weights)
    if all(weights is None for weights in steps):
        return Volume(canonical.data, grid)
    low, high = canonical.data.min(), canonical.data.max()
    data = _apply(canonical.data, steps)
    return Volume(np.clip(data, low, high, out=data), grid)


def _apply(data: Array3D, steps: Steps) -> Array3D:
    """Return the float32 array with each axis interpolated, those that shrink most first.

    Where nothing is interpolated the array itself comes back, whatever its type.
    """
    growth = [1.0 if w is None else len(w.index) / data.shape[axis] for axis, w in enumerate(steps)]
    for axis in sorted(range(3), key=growth.__getitem__):
        weights = steps[axis]
        if weights is not None:
            data = _apply_axis(data, weights, axis)
    return data


def _apply_axis(data: Array3D, weights: AxisWeights, axis: int) -> Array3D:
    """Interpolate one axis piece by piece, so that float64 never holds the whole image."""
    shape = list(data.shape)
    shape[axis] = len(weights.index)
    out = np.empty(shape, dtype=np.float32)
    across = 0 if axis else 1
    thick = max(1, _CHUNK * data.shape[across] // max(data.size, out.size))
    for start in range(0, data.shape[across], thick):
        piece = (slice(None),) * across + (slice(start, start + thick),)
        out[piece] = apply_weights(data[piece], weights, axis)
    return out


def _vote(classes: Array3D, steps: Steps) -> Array3D:
    """Return the class with the largest share at each point; the lower one of equals."""
    if all(weights is None for weights in steps):
        return classes
    there = np.unique(classes)
    best = _apply(np.asarray(classes == there[0], dtype=np.float32), steps)
    winner = np.full(best.shape, there[0], dtype=classes.dtype)
    for number in there[1:]:
        share = _apply(np.asarray(classes == number, dtype=np.float32), steps)
        ahead = share > best + 1e-6  # equal but for rounding: the lower class keeps it
        best[ahead], winner[ahead] = share[ahead], number
    return winner
