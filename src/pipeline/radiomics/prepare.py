"""A region made ready for its features: the image it is measured on, its box, what stays of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.geometry import from_sitk, to_sitk
from pipeline.preprocess.resample import resample_mask
from pipeline.radiomics.extract import Status, bounding_box, size_status
from pipeline.radiomics.filters import Box, Source, source_of, support_voxels
from pipeline.radiomics.filters.source import part_of
from pipeline.radiomics.profile import ExtractionProfile, Resampling
from pipeline.radiomics.regions import Region
from pipeline.radiomics.regrid import regrid
from pipeline.radiomics.resegment import resegment
from pipeline.types import Mask3D, Volume


@dataclass(frozen=True, eq=False)
class Prepared:
    """A region on the image that its features are computed from.

    Attributes
    ----------
    source : Source
        The image; several regions may share it.
    box : three slices
        Bounding box of what is measured.
    inside, shape : (I, J, K) bool arrays
        Voxels whose intensities, and whose shape, are measured; on the box.
    voxels : int
        Number of voxels of the region before re-segmentation.
    clipped_fraction : float
        Share of the region's voxels outside the profile's range.
    status, reason : str
        "ok", or why nothing (or only the size) can be measured.
    """

    source: Source
    box: Box
    inside: Mask3D
    shape: Mask3D
    voxels: int
    clipped_fraction: float = 0.0
    status: Status = "ok"
    reason: str = ""


def prepare(
    image: Volume, regions: Sequence[Region], profile: ExtractionProfile
) -> list[Prepared | None]:
    """Return each region made ready; None for one without a voxel (on the new grid)."""
    whole = source_of(image, clip=profile.clip, normalisation=profile.normalisation)
    return [
        None if region.box is None else _prepared(whole, image, region, region.box, profile)
        for region in regions
    ]


def _prepared(
    whole: Source, image: Volume, region: Region, box: Box, profile: ExtractionProfile
) -> Prepared | None:
    source, inside = whole, region.inside
    if profile.resampling is not None and profile.resampling.way == "own":
        source, inside, box = _regridded(whole, region, box, profile, profile.resampling)
    elif profile.resampling is not None:
        source, inside, box = _resampled(whole, region, box, profile.resampling)
    elif profile.crop_pad_voxels is not None:
        source, box = _cropped(whole, box, profile.crop_pad_voxels)
    if not inside.any():
        return None
    ready = Prepared(source, box, inside, inside, int(np.count_nonzero(inside)))
    data = source.cut(box).data
    broken = int(np.count_nonzero(~np.isfinite(data[inside])))
    if broken:
        reason = (
            f"{broken} voxels inside the region are not finite; mend the image, or leave them "
            "out of the mask"
        )
        return replace(ready, status="not_finite", reason=reason)
    if profile.clip is not None:
        ready = replace(ready, clipped_fraction=_clipped(whole, source, box, inside, profile.clip))
    ready = replace(ready, status=size_status(inside, profile.min_voxels, profile.min_dimensions))
    if profile.resegmentation is None or ready.status != "ok":
        return ready
    return _resegmented(ready, resegment(data, inside, profile.resegmentation), profile)


def _resegmented(ready: Prepared, kept: Mask3D, profile: ExtractionProfile) -> Prepared:
    """Return the region less the voxels beyond the limits.

    As in PyRadiomics 3.0.1, the shape is that of the whole region, but cut to the bounding box of
    what stays.
    """
    count = int(np.count_nonzero(kept))
    reason = f"re-segmentation leaves {count} of {ready.voxels} voxels"
    if count <= 1:
        return replace(ready, status="too_small", reason=reason)
    box = bounding_box(kept)
    i, j, k = (
        slice(p.start + b.start, p.start + b.stop) for p, b in zip(ready.box, box, strict=True)
    )
    status = size_status(kept[box], profile.min_voxels, profile.min_dimensions)
    wanted = kept if profile.resegmentation and profile.resegmentation.shape else ready.shape
    return replace(
        ready,
        box=(i, j, k),
        inside=kept[box],
        shape=wanted[box],
        status=status,
        reason="" if status == "ok" else reason,
    )


def _cropped(whole: Source, box: Box, pad: int) -> tuple[Source, Box]:
    """Return PyRadiomics' preCrop: an image of no more than the region's padded box."""
    wide = [
        slice(max(0, part.start - pad), min(n, part.stop + pad))
        for part, n in zip(box, whole.grid.shape, strict=True)
    ]
    i, j, k = (slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))
    return Source(whole.cut((wide[0], wide[1], wide[2]))), (i, j, k)


def _resampled(
    whole: Source, region: Region, box: Box, how: Resampling
) -> tuple[Source, Mask3D, Box]:
    """Return PyRadiomics' `resampleImage` of the whole image, cut to the region's padded box."""
    from radiomics.imageoperations import resampleImage

    everywhere = (slice(0, n) for n in whole.grid.shape)
    i, j, k = everywhere
    mask = np.zeros(whole.grid.shape, dtype=np.uint8)
    mask[box] = region.inside
    image, label = resampleImage(
        to_sitk(whole.cut((i, j, k))),
        to_sitk(Volume(mask, whole.grid)),
        resampledPixelSpacing=list(how.spacing_mm),
        interpolator=how.interpolation,
        padDistance=how.pad_voxels,
        label=1,
    )
    return _found(Source(from_sitk(image)), from_sitk(label).data == 1)


def _regridded(
    whole: Source, region: Region, box: Box, profile: ExtractionProfile, how: Resampling
) -> tuple[Source, Mask3D, Box]:
    """Return our own regridding of the region and as much around it as the filters need.

    Intensities are scaled by the largest of the image before resampling.
    """
    spaced = Source(Volume(whole.image.data, replace(whole.grid, spacing_mm=how.spacing_mm)))
    reach = np.max([support_voxels(one, spaced) for one in profile.images], axis=0)
    reach_voxels = np.ceil(reach * how.spacing_mm / np.array(whole.grid.spacing_mm)).astype(int)
    wide = [
        slice(part.start - r, part.stop + r)
        if part.start >= r and part.stop + r <= n
        else slice(0, n)
        for part, r, n in zip(box, reach_voxels, whole.grid.shape, strict=True)
    ]
    surroundings = np.zeros(whole.grid.shape, dtype=np.uint8)
    surroundings[tuple(wide)] = 1
    picture, _ = regrid(
        whole.image,
        Volume(surroundings, whole.grid),
        spacing_mm=how.spacing_mm,
        interpolation=how.interpolation,  # type: ignore[arg-type]  # checked by Resampling
    )
    near = [
        slice(max(0, part.start - 1), min(n, part.stop + 1))
        for part, n in zip(box, whole.grid.shape, strict=True)
    ]
    around = (near[0], near[1], near[2])
    mask = np.zeros(tuple(part.stop - part.start for part in near), dtype=np.uint8)
    mask[
        tuple(slice(b.start - n.start, b.stop - n.start) for b, n in zip(box, near, strict=True))
    ] = region.inside
    moved = resample_mask(Volume(mask, part_of(whole.grid, around)), picture.grid)
    return _found(Source(picture, whole.change, scale=whole), moved.data != 0)


def _found(source: Source, inside: Mask3D) -> tuple[Source, Mask3D, Box]:
    if not inside.any():
        return source, inside, (slice(0, 0), slice(0, 0), slice(0, 0))
    box = bounding_box(inside)
    return source, np.ascontiguousarray(inside[box]), box


def _clipped(
    whole: Source, source: Source, box: Box, inside: Mask3D, limits: tuple[float, float]
) -> float:
    """Return the share of voxels that the limits changed."""
    data = source.image.data[box] if source.change is whole.change else source.cut(box).data
    values = data[inside].astype(np.float64)
    return float(np.mean((values < limits[0]) | (values > limits[1])))
