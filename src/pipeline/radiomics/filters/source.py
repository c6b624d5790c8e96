"""The image that filters read from: whole in memory as stored, cut before it is made wide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.geometry import index_to_world
from pipeline.radiomics.profile import Normalisation
from pipeline.types import Array3D, Geometry, Volume

Box = tuple[slice, slice, slice]
PointOperation = Callable[[Array3D], Array3D]


@dataclass(frozen=True, eq=False)
class Source:
    """An image with what is done to each of its voxels before the filters.

    Attributes
    ----------
    image : Volume
        Voxels as stored.
    change : callable or None
        Voxels to voxels, one by one and rising (normalisation, limits): it is applied to the
        parts that are cut, so that the whole image is never copied.
    scale : Source or None
        The image whose largest intensity counts, when it is not this one.
    """

    image: Volume
    change: PointOperation | None = None
    scale: "Source | None" = None

    @property
    def grid(self) -> Geometry:
        """The grid of the whole image."""
        return self.image.grid

    @cached_property
    def largest(self) -> float:
        """Largest absolute intensity of the whole image; NaN when it holds one."""
        if self.scale is not None:
            return self.scale.largest
        ends = np.array([self.image.data.min(), self.image.data.max()]).reshape(2, 1, 1)
        changed = ends if self.change is None else self.change(ends)
        return float(np.abs(changed.astype(np.float64)).max())

    def cut(self, box: Box) -> Volume:
        """Return a part of the image, in the type that the voxels have by then."""
        return Volume(self._values(self.image.data[box]), part_of(self.grid, box))

    def take(self, places: Sequence[npt.NDArray[np.intp]]) -> Array3D:
        """Return the voxels at these places along each axis."""
        return self._values(self.image.data[np.ix_(*places)])

    def _values(self, data: Array3D) -> Array3D:
        return data if self.change is None else self.change(np.ascontiguousarray(data))


def part_of(grid: Geometry, box: Box) -> Geometry:
    """Return the grid of a part."""
    i, j, k = (part.stop - part.start for part in box)
    x, y, z = (float(v) for v in index_to_world(grid, [part.start for part in box]))
    return replace(grid, shape=(i, j, k), origin_mm=(x, y, z))


def source_of(
    image: Volume,
    *,
    clip: tuple[float, float] | None = None,
    normalisation: Normalisation | None = None,
) -> Source:
    """Return the source of an image that is first normalised or limited, which makes it float64."""
    if normalisation is not None:
        normal = _normalising(image, normalisation)
        if clip is None:
            return Source(image, normal)
        low, high = clip
        return Source(image, lambda data: np.clip(normal(data), low, high))
    if clip is not None:
        low, high = clip
        return Source(image, lambda data: np.clip(data.astype(np.float64), low, high))
    return Source(image)


def _normalising(image: Volume, how: Normalisation) -> PointOperation:
    """Return PyRadiomics' `normalizeImage` as an operation on parts of the image."""
    import SimpleITK as sitk

    from pipeline.geometry import to_sitk

    statistics = sitk.StatisticsImageFilter()
    statistics.Execute(to_sitk(image))
    mean, per_deviation = statistics.GetMean(), 1.0 / statistics.GetSigma()

    def normal(data: Array3D) -> Array3D:
        values = (data.astype(np.float64) - mean) * per_deviation
        if how.outliers is not None:
            values = np.clip(values, -how.outliers, how.outliers)
        return np.asarray(values * how.scale)

    return normal
