"""Every image type on a part of the image, one filtered image in memory at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from pipeline.geometry import from_sitk, to_sitk
from pipeline.radiomics.filters import laplacian, patterns_2d, patterns_3d, points, wavelets
from pipeline.radiomics.filters.source import Box, Source, part_of
from pipeline.radiomics.profile import ImageKind, ImageType
from pipeline.types import Array3D, Mask3D, Volume


@dataclass(frozen=True, eq=False)
class Filtered:
    """One filtered image.

    Attributes
    ----------
    name : str
        PyRadiomics' name of the image type, the head of its columns.
    image : Volume or None
        On the part that was asked for; None when it cannot be made.
    reason : str
        Why not.
    """

    name: str
    image: Volume | None
    reason: str = ""


_POINTS: dict[ImageKind, Callable[[Array3D, float], Array3D]] = {
    "square": points.square, "squareroot": points.squareroot,
    "logarithm": points.logarithm, "exponential": points.exponential,
}  # fmt: skip


def support_voxels(image_type: ImageType, source: Source) -> tuple[int, int, int]:
    """Return how many voxels around a region the filtered values inside depend on."""
    match image_type.kind:
        case "wavelet":
            return wavelets.support(image_type)
        case "log":
            return laplacian.support(max(image_type.sigma_mm), source.grid.spacing_mm)
        case "gradient":
            return 1, 1, 1
        case "lbp2d":
            return patterns_2d.support(image_type)
        case "lbp3d":
            return patterns_3d.support(image_type)
        case _:
            return 0, 0, 0


def filtered(
    source: Source, box: Box, image_type: ImageType, inside: Mask3D | None = None
) -> Iterator[Filtered]:
    """Yield the images of one type on a part of the image.

    Values are the bits that PyRadiomics 3.0.1 gets from the whole image; those of the 3-D
    patterns agree to 12 digits.

    Parameters
    ----------
    source : Source
        The whole image.
    box : three slices
        The part.
    image_type : ImageType
        Filter and options.
    inside : (I, J, K) bool array, optional
        Voxels of `box` that matter; 3-D binary patterns are made for no others.
    """
    match image_type.kind:
        case "original":
            yield Filtered("original", source.cut(box))
        case "log":
            yield from _laplacians(source, box, image_type)
        case "gradient":
            yield Filtered("gradient", _gradient(source, box, image_type))
        case "wavelet" | "lbp2d" | "lbp3d":
            yield from _on_grid(source, box, image_type, inside)
        case kind:
            yield _pointwise(source, box, kind)


def _on_grid(
    source: Source, box: Box, image_type: ImageType, inside: Mask3D | None
) -> Iterator[Filtered]:
    grid = part_of(source.grid, box)
    if image_type.kind == "wavelet":
        found = wavelets.bands(source, box, image_type)
    elif image_type.kind == "lbp2d":
        found = iter([("lbp-2D", patterns_2d.patterns(source, box, image_type))])
    else:
        everywhere = np.ones(grid.shape, dtype=bool)
        found = patterns_3d.patterns(
            source, box, image_type, everywhere if inside is None else inside
        )
    for name, values in found:
        yield Filtered(name, Volume(values, grid))


def _laplacians(source: Source, box: Box, image_type: ImageType) -> Iterator[Filtered]:
    grid = part_of(source.grid, box)
    for name, sigma in zip(image_type.names, image_type.sigma_mm, strict=True):
        reason = laplacian.too_small(sigma, source)
        if reason:
            yield Filtered(name, None, reason)
        else:
            yield Filtered(name, Volume(laplacian.laplacian(source, box, sigma), grid))


def _pointwise(source: Source, box: Box, kind: ImageKind) -> Filtered:
    if not np.isfinite(source.largest):
        reason = "the image holds values that are not finite; this filter scales by the largest"
        return Filtered(kind, None, reason)
    if source.largest == 0:
        return Filtered(kind, None, "every voxel of the image is 0; this filter divides by it")
    part = source.cut(box)
    return Filtered(kind, Volume(_POINTS[kind](part.data, source.largest), part.grid))


def _gradient(source: Source, box: Box, image_type: ImageType) -> Volume:
    wide = [
        slice(max(0, part.start - 1), min(n, part.stop + 1))
        for part, n in zip(box, source.grid.shape, strict=True)
    ]
    part = to_sitk(source.cut((wide[0], wide[1], wide[2])))
    magnitude = sitk.GradientMagnitude(part, image_type.gradient_uses_spacing)
    start = [b.start - w.start for b, w in zip(box, wide, strict=True)]
    size = [b.stop - b.start for b in box]
    return from_sitk(sitk.RegionOfInterest(magnitude, size, start))
