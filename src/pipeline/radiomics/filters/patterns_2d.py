"""Local binary patterns within slices (Ojala et al. 2002, doi:10.1109/TPAMI.2002.1017623).

Values are those of scikit-image's `local_binary_pattern`, on which PyRadiomics relies, in the
type of the image: the samples of the circle are interpolated linearly between voxels, and what
lies outside the image is 0.
"""

import math

import numpy as np

from pipeline.errors import SettingsError
from pipeline.radiomics.filters.source import Box, Source
from pipeline.radiomics.profile import ImageType
from pipeline.types import Array3D


def support(image_type: ImageType) -> tuple[int, int, int]:
    """Return how many voxels around a region its values depend on."""
    reach = math.ceil(image_type.lbp_2d_radius) + 1
    across = image_type.texture.force_2d_axis
    i, j, k = (0 if axis == across else reach for axis in range(3))
    return i, j, k


def patterns(source: Source, box: Box, image_type: ImageType) -> Array3D:
    """Return the code of each voxel of `box`.

    Raises
    ------
    SettingsError
        The method is "var", whose values the type of most files cannot hold.
    """
    if image_type.lbp_2d_method == "var":
        raise SettingsError(
            "lbp2DMethod var is not offered: PyRadiomics rounds it to the type of the file; "
            "choose default, ror or uniform"
        )
    across = image_type.texture.force_2d_axis
    data, inner = _padded(source, box, support(image_type))
    # PyRadiomics swaps the axis across with its first, z; rows and columns follow from that.
    rows, columns = [(1, 0), (2, 0), (1, 2)][2 - across]
    centre = data[inner]
    count = image_type.lbp_2d_samples
    darker = np.empty((count, *centre.shape), dtype=bool)
    for sample in range(count):
        angle = 2 * np.pi * sample / count
        shift = np.zeros(3)
        shift[rows] = np.round(-image_type.lbp_2d_radius * np.sin(angle), 5)
        shift[columns] = np.round(image_type.lbp_2d_radius * np.cos(angle), 5)
        darker[sample] = _interpolated(data, inner, shift, rows, columns) - centre >= 0
    codes = _codes(darker, image_type.lbp_2d_method)
    return codes.astype(source.cut(box).data.dtype)


def _padded(source: Source, box: Box, reach: tuple[int, int, int]) -> tuple[Array3D, Box]:
    """Return `box` and `reach` voxels around it in float64, 0 outside the image."""
    wide = [
        slice(max(0, part.start - r), min(n, part.stop + r))
        for part, r, n in zip(box, reach, source.grid.shape, strict=True)
    ]
    values = source.cut((wide[0], wide[1], wide[2])).data.astype(np.float64)
    missing = [
        (r - (part.start - w.start), r - (w.stop - part.stop))
        for part, w, r in zip(box, wide, reach, strict=True)
    ]
    inner = [slice(r, r + part.stop - part.start) for part, r in zip(box, reach, strict=True)]
    return np.pad(values, missing), (inner[0], inner[1], inner[2])


def _interpolated(data: Array3D, inner: Box, shift: np.ndarray, rows: int, columns: int) -> Array3D:
    """Return the image at a fixed distance from each voxel of the inner part."""

    def at(row: int, column: int) -> Array3D:
        moved = [*inner]
        for axis, step in ((rows, row), (columns, column)):
            moved[axis] = slice(inner[axis].start + step, inner[axis].stop + step)
        return data[tuple(moved)]

    r, c = float(shift[rows]), float(shift[columns])
    low_r, low_c = math.floor(r), math.floor(c)
    high_r, high_c = math.ceil(r), math.ceil(c)
    dr, dc = r - low_r, c - low_c
    top = (1 - dc) * at(low_r, low_c) + dc * at(low_r, high_c)
    bottom = (1 - dc) * at(high_r, low_c) + dc * at(high_r, high_c)
    return np.asarray((1 - dr) * top + dr * bottom)


def _codes(darker: np.ndarray, method: str) -> Array3D:
    count = len(darker)
    if method == "uniform":
        changes = (darker[1:] != darker[:-1]).sum(axis=0)
        return np.asarray(np.where(changes <= 2, darker.sum(axis=0), count + 1))
    powers = 2 ** np.arange(count, dtype=np.int64)
    codes = np.tensordot(powers, darker.astype(np.int64), axes=1)
    if method == "default":
        return np.asarray(codes)
    smallest = codes.copy()
    for turn in range(1, count):
        turned = (codes >> turn) | ((codes & (2**turn - 1)) << (count - turn))
        smallest = np.minimum(smallest, turned)
    return smallest
