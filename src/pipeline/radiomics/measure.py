"""The features of many regions of one image: each filter is run once for regions that are near."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.radiomics.dictionary import SIZE_COLUMNS
from pipeline.radiomics.extract import COMPLETE, FeatureRow, Status, fill
from pipeline.radiomics.filters import Box, Filtered, Source, filtered, support_voxels
from pipeline.radiomics.filters.source import part_of
from pipeline.radiomics.groups import grouped, within
from pipeline.radiomics.prepare import Prepared, prepare
from pipeline.radiomics.profile import ExtractionProfile, ImageType, column_of
from pipeline.radiomics.regions import Region
from pipeline.radiomics.shape_2d import shape_2d
from pipeline.types import Mask3D, Volume


@dataclass
class _Found:
    """What is known of a region so far."""

    ready: Prepared
    values: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    first: FeatureRow | None = None


def measure(
    image: Volume, regions: Sequence[Region], profile: ExtractionProfile
) -> tuple[FeatureRow, ...]:
    """Return a row for each region, whatever is wrong with it, in the order of the regions.

    Values are those of ``RadiomicsFeatureExtractor`` (PyRadiomics 3.0.1) on the whole image and
    the region's mask, with our own resampling where the profile asks for it. The original image
    is taken in float64 unless PyRadiomics resampled it as float32. A region's row does not
    depend on the other regions.

    Parameters
    ----------
    image : Volume
        Scalar image, in the type of its file.
    regions : sequence of Region
        On the grid of `image`.
    profile : ExtractionProfile
        What to measure.

    Returns
    -------
    tuple of FeatureRow
        `values` has every column of the profile; `status` is that of the original image, or
        "incomplete" when another image lacks something; `reason` names the images.
    """
    ready = prepare(image, regions, profile)
    found = [_Found(one) if one is not None and one.status == "ok" else None for one in ready]
    measurable = [one for one in found if one is not None]
    for one in measurable:
        _measure_shape(one, profile)
    if profile.texture_classes:
        for image_type in profile.images:
            for members, source, box in _groups(measurable, image_type):
                inside = _union([one.ready for one in members], box)
                for one_image in filtered(source, box, image_type, inside):
                    for member in members:
                        _measure_image(member, one_image, box, image_type, profile)
    pairs = zip(regions, ready, found, strict=True)
    return tuple(_row(region, made, known, profile) for region, made, known in pairs)


def _groups(
    found: Sequence[_Found], image_type: ImageType
) -> Iterator[tuple[list[_Found], Source, Box]]:
    """Yield the regions that are filtered together, with the box that covers them."""
    sources = {id(one.ready.source): one.ready.source for one in found}
    for key, source in sources.items():
        members = [one for one in found if id(one.ready.source) == key]
        reach = support_voxels(image_type, source)
        for places, box in grouped([one.ready.box for one in members], reach, source.grid.shape):
            yield [members[place] for place in places], source, box


def _union(ready: Sequence[Prepared], box: Box) -> Mask3D:
    inside = np.zeros(tuple(part.stop - part.start for part in box), dtype=bool)
    for one in ready:
        inside[within(one.box, box)] |= one.inside
    return inside


def _measure_shape(found: _Found, profile: ExtractionProfile) -> None:
    """Add the shape of the region, which needs no intensities."""
    ready = found.ready
    shell = _shell(ready, profile.shape_columns, profile.images[0])
    mask = Volume(ready.shape.astype(np.uint8), part_of(ready.source.grid, ready.box))
    if "shape" in profile.classes:
        blank = Volume(np.zeros(ready.shape.shape), mask.grid)
        row = fill(shell, blank, mask, profile.images[0].texture, ("shape",))
        found.values |= row.values
        found.notes += row.warnings
    if profile.shape_2d:
        values, reason = shape_2d(mask, profile.images[0].texture)
        found.values |= values
        if reason:
            found.statuses["shape2D"] = "incomplete"
            found.reasons.append(f"shape2D: {reason}")


def _measure_image(
    found: _Found, image: Filtered, box: Box, image_type: ImageType, profile: ExtractionProfile
) -> None:
    """Add the features of one filtered image."""
    if image.image is None:
        _note(found, image.name, "incomplete", image.reason)
        return
    ready = found.ready
    data = image.image.data[within(ready.box, box)]
    if image.name == "original":
        data = _as_measured(data, profile)
    inside = ready.inside
    broken = int(np.count_nonzero(~np.isfinite(data[inside])))
    if broken:
        _note(found, image.name, "incomplete", f"{broken} filtered voxels are not finite")
        return
    grid = part_of(ready.source.grid, ready.box)
    row = fill(
        _shell(ready, profile.texture_columns, image_type),
        Volume(data, grid),
        Volume(inside.astype(np.uint8), grid),
        image_type.texture,
        profile.texture_classes,
    )
    found.values |= {column_of(image.name, column): v for column, v in row.values.items()}
    found.notes += [_named(image.name, text) for text in row.warnings]
    if found.first is None:
        found.first = row
    if row.status == "one_grey_level" and image.name != "original":
        found.notes.append(_named(image.name, row.reason))
    else:
        _note(found, image.name, row.status, row.reason)


def _as_measured(data: np.ndarray, profile: ExtractionProfile) -> np.ndarray:
    """Return the original image in the type it is measured in.

    Float64, whatever the file holds, but as it comes from a resampling by PyRadiomics.
    """
    theirs = profile.resampling is not None and profile.resampling.way == "pyradiomics"
    return data if theirs and data.dtype.kind == "f" else data.astype(np.float64)


def _shell(ready: Prepared, columns: Sequence[str], image_type: ImageType) -> FeatureRow:
    texture = image_type.texture
    count = texture.bin_count
    return FeatureRow(
        values=dict.fromkeys(columns, np.nan),
        status="ok",
        reason="",
        voxels=int(np.count_nonzero(ready.inside)),
        volume_mm3=0.0,
        bin_width=None if count else texture.bin_width,
        bin_count=count,
    )


def _note(found: _Found, name: str, status: Status, reason: str) -> None:
    found.statuses[name] = status
    if reason:
        found.reasons.append(_named(name, reason))


def _named(name: str, text: str) -> str:
    return text if name == "original" else f"{name}: {text}"


def _row(
    region: Region, ready: Prepared | None, found: _Found | None, profile: ExtractionProfile
) -> FeatureRow:
    columns = profile.columns
    if ready is None:
        return _row_without_voxels(region, profile)
    voxels = int(np.count_nonzero(ready.inside))
    row = FeatureRow(
        values=dict.fromkeys(columns, np.nan),
        status=ready.status,
        reason=ready.reason,
        voxels=voxels,
        volume_mm3=voxels * ready.source.grid.voxel_volume_mm3,
        border_voxels=region.border_voxels,
        clipped_fraction=ready.clipped_fraction,
    )
    if found is None:
        return _too_small(row, ready, profile) if row.status == "too_small" else row
    known = {c: found.values.get(c, math.nan) for c in columns}
    first = found.first
    return replace(
        row,
        values=known,
        status=_status(found),
        reason="; ".join(found.reasons),
        bin_width=first.bin_width if first else None,
        bin_count=first.bin_count if first else None,
        grey_levels=first.grey_levels if first else None,
        warnings=tuple(dict.fromkeys(found.notes)),
    )


def _status(found: _Found) -> Status:
    """Return the original's status, or that something else is incomplete."""
    own = found.statuses.get("original", "ok")
    if own not in COMPLETE:
        return own
    others = [status for name, status in found.statuses.items() if name != "original"]
    return own if all(status in COMPLETE for status in others) else "incomplete"


def _row_without_voxels(region: Region, profile: ExtractionProfile) -> FeatureRow:
    absent = region.box is None and region.number is not None
    reason = region.reason
    if region.box is not None:
        reason = "the mask holds no voxel on the grid of the resampled image"
    values = dict.fromkeys(profile.columns, math.nan)
    if not absent:
        values |= {column: 0.0 for column in SIZE_COLUMNS if column in values}
    return FeatureRow(values, "label_absent" if absent else "empty_roi", reason, 0, 0.0)


def _too_small(row: FeatureRow, ready: Prepared, profile: ExtractionProfile) -> FeatureRow:
    """Return the row with the region's sizes, and why there is no more."""
    size = " x ".join(str(n) for n in ready.inside.shape)
    reason = f"{row.voxels} voxels within {size}: too small for texture, shape has sizes only"
    sizes: dict[str, float] = {}
    if "shape" in profile.classes:
        found = _Found(ready)
        _measure_shape(found, replace(profile, shape_2d=False))
        sizes = {c: found.values[c] for c in SIZE_COLUMNS if c in found.values}
    parts = (row.reason, reason)
    return replace(row, values=dict(row.values) | sizes, reason="; ".join(p for p in parts if p))
