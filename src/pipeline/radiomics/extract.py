"""The features of one region of one image, with the discretisation that its kind needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.errors import ImageError, SettingsError
from pipeline.geometry import index_to_world
from pipeline.grid_difference import check_same_grid
from pipeline.preprocess.kernels import Interpolation
from pipeline.radiomics.calculate import TextureSettings, calculate
from pipeline.radiomics.dictionary import CLASS_COUNTS, SIZE_COLUMNS, FeatureClass, columns_of
from pipeline.radiomics.regrid import regrid
from pipeline.types import Array1D, Array3D, Geometry, Volume

Kind = Literal["subtraction", "jacobian", "mr", "ct"]
Status = Literal[
    "ok", "one_grey_level", "incomplete", "empty_roi", "label_absent", "too_small",
    "too_many_grey_levels", "not_finite", "geometry_mismatch", "unreadable", "failed",
]  # fmt: skip

#: With any other status, features are missing.
COMPLETE: tuple[Status, ...] = ("ok", "one_grey_level")

#: More grey levels than this cost minutes and a GiB in PyRadiomics' co-occurrence matrices.
MAX_GREY_LEVELS = 1000


@dataclass(frozen=True)
class Discretisation:
    """How the intensities of a kind of image become grey levels.

    Attributes
    ----------
    bin_width : float
        Width of a grey level, in intensity units; levels start at a multiple of it.
    clip : (float, float) or None
        Intensities are first limited to this range.
    """

    bin_width: float
    clip: tuple[float, float] | None = None


#: Presets. A Jacobian lies near 1: with a width of 25 it would be a single grey level.
DISCRETISATION: dict[Kind, Discretisation] = {
    "subtraction": Discretisation(25.0),
    "jacobian": Discretisation(0.1, clip=(0.05, 5.0)),
    "mr": Discretisation(25.0),
    "ct": Discretisation(25.0),
}


@dataclass(frozen=True)
class FeatureRow:
    """The features of one region.

    Attributes
    ----------
    values : mapping of str to float
        Every column of the classes asked for, in the dictionary's order; NaN where missing.
    status : str
        "ok", or why features are missing or degenerate.
    reason : str
        The same in words; empty when ok.
    voxels : int
        Number of voxels in the region.
    volume_mm3 : float
        Their volume.
    bin_width, bin_count : float or None, int or None
        As used; the width is in intensity units.
    grey_levels : int or None
        Highest grey level, the lowest being 1; None where nothing was discretised.
    border_voxels : int
        Voxels of the region in the outermost layer of the image: above 0, the field of view may
        cut the region.
    clipped_fraction : float
        Share of the region's voxels outside the preset's range.
    warnings : tuple of str
        What PyRadiomics said on the way.
    """

    values: Mapping[str, float]
    status: Status
    reason: str
    voxels: int
    volume_mm3: float
    bin_width: float | None = None
    bin_count: int | None = None
    grey_levels: int | None = None
    border_voxels: int = 0
    clipped_fraction: float = 0.0
    warnings: tuple[str, ...] = ()


def extract(
    image: Volume,
    mask: Volume,
    *,
    kind: Kind = "mr",
    bin_width: float | None = None,
    bin_count: int | None = None,
    intensity_shift: float = 0.0,
    min_voxels: int = 8,
    min_dimensions: int = 3,
    classes: Sequence[FeatureClass] = tuple(CLASS_COUNTS),
    spacing_mm: float | None = None,
    interpolation: Interpolation = "bspline3",
    names: tuple[str, str] = ("the image", "the mask"),
) -> FeatureRow:
    """Return the features of a region (102, or 107 with NGTDM), or why it does not have them.

    Values are those of ``RadiomicsFeatureExtractor`` (PyRadiomics 3.0.1, van Griethuysen et al.
    2017, doi:10.1158/0008-5472.CAN-17-0339) on the same voxels in float64, to nine digits: sums
    are formed in another order.
    Like it, this looks at the voxels as stored: the surface mesh of a mirrored grid differs (by
    0.1 % on a smooth lesion, 2 % on a ragged one), and the 2-D diameters follow the planes of
    the grid. Bring image and mask to canonical orientation first for results that do not depend
    on the storage.

    Parameters
    ----------
    image : Volume
        Scalar image.
    mask : Volume
        Not 0 inside the region; on the grid of `image`.
    kind : {"subtraction", "jacobian", "mr", "ct"}
        Chooses the preset of `DISCRETISATION`.
    bin_width : float, optional
        Instead of the preset's, in intensity units.
    bin_count : int, optional
        Number of equal bins over the region's range, instead of a width.
    intensity_shift : float
        Added before squaring (energy, total energy, root mean square).
    min_voxels, min_dimensions : int
        A region with fewer voxels, or extended along fewer axes, is too small.
    classes : sequence of str
        Feature classes; "ngtdm" is optional, the shape belongs to each region.
    spacing_mm : float, optional
        Isotropic grid on which the features are computed; None keeps the voxels.
    interpolation : Interpolation
        Of the image onto that grid; the mask takes the nearest voxel.
    names : (str, str)
        What errors call the two; the row itself names no file.

    Returns
    -------
    FeatureRow
        An empty region has its sizes (`SIZE_COLUMNS`) as 0 and all else missing. One that is
        too small has its sizes and all else missing; one with too many grey levels has its
        shape. A region of one grey level is complete.

    Raises
    ------
    GeometryError
        The two do not share a grid.
    ImageError
        An intensity inside the region is not finite.
    SettingsError
        Width and count together, or a number without meaning.
    """
    check_settings(bin_width, bin_count, min_dimensions)
    columns = columns_of(classes)
    check_same_grid(image.grid, mask.grid, names)
    inside = mask.data != 0
    if not inside.any():
        return _empty(columns, "the mask holds no voxel")
    border = border_voxels(inside)
    if spacing_mm is not None:
        image, mask = regrid(image, mask, spacing_mm=spacing_mm, interpolation=interpolation)
        inside = mask.data != 0
        if not inside.any():
            return _empty(columns, f"the mask holds no voxel on a grid of {spacing_mm:g} mm")
    voxels = int(np.count_nonzero(inside))
    box = bounding_box(inside)
    region = _crop(inside, image.grid, box)
    cropped = _crop(image.data, image.grid, box)
    preset = DISCRETISATION[kind]
    clipped = _clip(cropped, region, preset.clip, names[0])
    outside = np.count_nonzero(clipped.data[region.data] != cropped.data[region.data])
    shell = FeatureRow(
        values=dict.fromkeys(columns, np.nan),
        status=size_status(region.data, min_voxels, min_dimensions),
        reason="",
        voxels=voxels,
        volume_mm3=voxels * image.grid.voxel_volume_mm3,
        bin_width=None if bin_count else (bin_width or preset.bin_width),
        bin_count=bin_count,
        border_voxels=border,
        clipped_fraction=float(outside) / voxels,
    )
    texture = TextureSettings(
        bin_width=shell.bin_width, bin_count=shell.bin_count, intensity_shift=intensity_shift
    )
    return fill(shell, clipped, region, texture, classes)


def _empty(columns: Sequence[str], reason: str) -> FeatureRow:
    sizes = dict.fromkeys(SIZE_COLUMNS, 0.0)
    return FeatureRow(_row(sizes, columns), "empty_roi", reason, 0, 0.0)


def fill(
    shell: FeatureRow,
    image: Volume,
    region: Volume,
    texture: TextureSettings,
    classes: Sequence[FeatureClass],
) -> FeatureRow:
    """Return the row with what its region can bear, and what PyRadiomics could not say.

    Parameters
    ----------
    shell : FeatureRow
        Sizes and settings; its columns are those that are kept, its status "ok" or "too_small".
    image, region : Volume
        The region's bounding box: intensities, finite inside, and not 0 inside the region.
    texture : TextureSettings
        Grey levels and neighbours.
    classes : sequence of str
        What to compute; without the shape, nothing is for a region that is too small.
    """
    values = image.data[region.data != 0]
    if shell.status == "ok" and _too_many_levels(values, shell.bin_width):
        shell = replace(shell, status="too_many_grey_levels")
    possible = tuple(c for c in classes if shell.status == "ok" or c == "shape")
    found = calculate(image, region, possible, settings=texture)
    known = found.values
    if shell.status == "too_small":
        known = {column: known[column] for column in SIZE_COLUMNS if column in known}
    row = replace(
        shell,
        values=_row(known, tuple(shell.values)),
        grey_levels=found.grey_levels,
        warnings=found.messages,
    )
    if row.status == "ok" and not np.isfinite(list(row.values.values())).all():
        row = replace(row, status="incomplete")
    elif row.status == "ok" and found.occupied_levels == 1:
        row = replace(row, status="one_grey_level")
    return replace(row, reason=_reason(row, values, region.grid.shape))


def _reason(row: FeatureRow, values: Array1D, shape: tuple[int, int, int]) -> str:
    spread = f"intensities from {values.min():.6g} to {values.max():.6g}"
    if row.status == "too_small":
        size = " x ".join(str(n) for n in shape)
        return f"{row.voxels} voxels within {size}: too small for texture, shape has sizes only"
    if row.status == "too_many_grey_levels":
        levels = (float(values.max()) - float(values.min())) / (row.bin_width or 1.0)
        return (
            f"{spread} make {levels:,.0f} grey levels of width {row.bin_width:g}, more than "
            f"{MAX_GREY_LEVELS:,}; choose a larger --bin-width, or --bin-count"
        )
    if row.status == "one_grey_level":
        return f"{spread} make one grey level: texture has its constant values"
    if row.status == "incomplete":
        lacking = [name for name, value in row.values.items() if not np.isfinite(value)]
        return f"PyRadiomics gives no finite value for {', '.join(lacking)}"
    return ""


def _row(known: Mapping[str, float], columns: Sequence[str]) -> dict[str, float]:
    """Return every column, in order; what is unknown or not finite is NaN."""
    values = {column: known.get(column, np.nan) for column in columns}
    return {name: value if np.isfinite(value) else np.nan for name, value in values.items()}


def _too_many_levels(values: Array1D, bin_width: float | None) -> bool:
    return bin_width is not None and float(np.ptp(values)) / bin_width > MAX_GREY_LEVELS


def size_status(region: Array3D, min_voxels: int, min_dimensions: int) -> Status:
    """Return whether a region, cropped to its bounding box, is large enough."""
    extended = sum(n > 1 for n in region.shape)
    enough = np.count_nonzero(region) >= min_voxels and extended >= min_dimensions
    return "ok" if enough else "too_small"


def border_voxels(inside: Array3D) -> int:
    """Return how many voxels of a mask lie in the outermost layer of the grid."""
    inner = tuple(slice(1, -1) for _ in range(inside.ndim))
    return int(np.count_nonzero(inside) - np.count_nonzero(inside[inner]))


def bounding_box(inside: Array3D) -> tuple[slice, slice, slice]:
    """Return the smallest box around the voxels of a mask that is not empty."""
    ends = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        occupied = np.flatnonzero(inside.any(axis=others))
        ends.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    i, j, k = ends
    return i, j, k


def _crop(data: Array3D, grid: Geometry, box: tuple[slice, slice, slice]) -> Volume:
    x, y, z = (float(v) for v in index_to_world(grid, [part.start for part in box]))
    cropped = data[box]
    i, j, k = cropped.shape
    return Volume(cropped, replace(grid, shape=(i, j, k), origin_mm=(x, y, z)))


def _clip(image: Volume, region: Volume, limits: tuple[float, float] | None, name: str) -> Volume:
    """Return the image in float64, within the limits; what lies outside the region is unused.

    Float64 whatever the file holds: bin edges in the image's own type would depend on numpy's
    promotion rules, and overflow in small integers.
    """
    data = image.data.astype(np.float64)
    broken = np.count_nonzero(~np.isfinite(data[region.data]))
    if broken:
        raise ImageError(
            f"{name}: {broken} voxels inside the region are not finite; mend the image, or leave "
            "them out of the mask"
        )
    data[~region.data] = 0.0
    return Volume(data if limits is None else np.clip(data, *limits), image.grid)


def check_settings(bin_width: float | None, bin_count: int | None, min_dimensions: int) -> None:
    """Raise SettingsError for a number without meaning, or width and count together."""
    if bin_width is not None and bin_count is not None:
        raise SettingsError("bin width and bin count exclude each other; give one of them")
    if bin_width is not None and not 0 < bin_width < np.inf:
        raise SettingsError(f"bin width is {bin_width:g}; it must be finite and above 0")
    if bin_count is not None and not 1 <= bin_count <= MAX_GREY_LEVELS:
        raise SettingsError(f"bin count is {bin_count}; it must lie in 1 to {MAX_GREY_LEVELS}")
    if not 1 <= min_dimensions <= 3:
        raise SettingsError(f"minimum dimensions is {min_dimensions}; it must be 1, 2 or 3")
