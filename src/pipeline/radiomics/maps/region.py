"""The region of the maps: its grey levels, and the windows around its voxels.

Arrays here are (k, j, i), PyRadiomics' order: windows are summed in its order of voxels too, so
that differences which vanish there vanish here.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import EmptyRegionError, SettingsError
from pipeline.radiomics.engine.levels import bin_edges, discretise
from pipeline.radiomics.maps.settings import MapSettings
from pipeline.types import Array3D, Volume

Step = tuple[int, int, int]

#: More levels do not fit the code of a pair; no window needs them.
MAX_LEVELS = 1 << 14


@dataclass(frozen=True, eq=False)
class Region:
    """The voxels that get a value, with the images that their windows look into.

    Attributes
    ----------
    levels : (V,) int tensor
        Grey levels from 1 on the padded, flattened crop; 0 where nothing counts.
    values : (V,) float64 tensor
        Intensities there; NaN where nothing counts.
    positions : (N,) int64 tensor
        Flat positions of the region's voxels, in C order of (k, j, i).
    voxels : (N, 3) int array
        Their indices (i, j, k) in the image.
    window : tuple of steps
        The window's voxels as steps (k, j, i) from its centre, which comes last.
    steps : (K,) int64 tensor
        The same as steps in the flat arrays.
    directions, lines : tuples of steps
        Directions of neighbours and of runs, one of each opposite pair.
    grey_levels : int
        Highest level.
    occupied_levels : (n,) int array
        Levels that occur, ascending.
    voxel_volume_mm3 : float
        Volume of a voxel.
    settings : MapSettings
        As asked for.
    """

    levels: Tensor
    values: Tensor
    positions: Tensor
    voxels: np.ndarray
    window: tuple[Step, ...]
    steps: Tensor
    directions: tuple[Step, ...]
    lines: tuple[Step, ...]
    grey_levels: int
    occupied_levels: np.ndarray
    voxel_volume_mm3: float
    settings: MapSettings

    def window_levels(self, part: slice) -> Tensor:
        """Return the levels (K, B) in the windows of some voxels."""
        return self.levels[self.positions[part] + self.steps[:, None]]

    def window_values(self, part: slice) -> Tensor:
        """Return the intensities (K, B) in the windows of some voxels."""
        return self.values[self.positions[part] + self.steps[:, None]]


def prepare(
    image: Volume, mask: Volume, settings: MapSettings, device: torch.device | str = "cpu"
) -> Region:
    """Crop, discretise and lay out a region.

    Parameters
    ----------
    image, mask : Volume
        Intensities, and not 0 inside the region; one grid.
    settings : MapSettings
        Window and grey levels.
    device : torch.device or str
        Where the maps will be computed.

    Raises
    ------
    EmptyRegionError
        The mask marks no voxel.
    SettingsError
        There are more than `MAX_LEVELS` grey levels.
    """
    inside = np.asarray(mask.data, dtype=bool)
    if not inside.any():
        raise EmptyRegionError("the mask marks no voxel; delineate the region first")
    radius = settings.kernel_radius
    box = _bounding_box(inside, radius)
    inside = np.ascontiguousarray(inside[box].T)
    values = np.ascontiguousarray(image.data[box].T, dtype=np.float64)
    counted = inside if settings.masked_kernel else np.ones_like(inside)
    levels = np.zeros(inside.shape, np.int32)
    texture = settings.texture
    edges = bin_edges(values[counted], texture.bin_width, texture.bin_count)
    levels[counted] = discretise(values[counted], edges)
    highest = int(levels.max())
    if highest > MAX_LEVELS:
        raise SettingsError(
            f"{highest} grey levels, and maps take up to {MAX_LEVELS}: give a larger bin width "
            "or a bin count"
        )
    values[~counted] = np.nan
    flat, index = np.pad(levels, radius), np.pad(inside, radius)
    shape = flat.shape
    found = np.argwhere(inside)
    window = _window(settings)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    low = [part.start for part in box]
    return Region(
        levels=torch.from_numpy(flat.ravel().astype(_level_dtype(highest, len(window)))).to(device),
        values=torch.from_numpy(np.pad(values, radius, constant_values=np.nan).ravel()).to(device),
        positions=torch.from_numpy(np.flatnonzero(index)).to(device),
        voxels=found[:, ::-1] + low,
        window=window,
        steps=torch.from_numpy(np.array(window) @ strides).to(device),
        directions=_directions(settings, texture.distances, inside.shape),
        lines=_directions(settings, (1,), inside.shape),
        grey_levels=highest,
        occupied_levels=np.unique(levels[counted]),
        voxel_volume_mm3=image.grid.voxel_volume_mm3,
        settings=settings,
    )


def _bounding_box(inside: Array3D, margin: int) -> tuple[slice, ...]:
    box = []
    for axis in range(3):
        marked = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(int(marked[0]) - margin, 0), int(marked[-1]) + margin + 1))
    return tuple(box)


def _flat_axis(settings: MapSettings) -> int | None:
    """Return the axis of (k, j, i) that no neighbour and no window crosses."""
    return 2 - settings.texture.force_2d_axis if settings.texture.force_2d else None


def _steps(settings: MapSettings, reach: int) -> list[Step]:
    """Return the steps from the centre of a cube to its other voxels, in PyRadiomics' order."""
    flat = _flat_axis(settings)
    ranges = [range(0, 1) if axis == flat else range(reach, -reach - 1, -1) for axis in range(3)]
    return [(k, j, i) for k, j, i in itertools.product(*ranges) if any((k, j, i))]


def _window(settings: MapSettings) -> tuple[Step, ...]:
    return (*_steps(settings, settings.kernel_radius), (0, 0, 0))


def _directions(
    settings: MapSettings, distances: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[Step, ...]:
    """Return the directions that fit into a crop of this shape, as PyRadiomics lists them."""
    both_ways = _steps(settings, max(distances))
    return tuple(
        step
        for step in both_ways[: len(both_ways) // 2]
        if max(map(abs, step)) in distances
        and all(abs(s) < n for s, n in zip(step, shape, strict=True))
    )


def _level_dtype(highest: int, window: int) -> type[np.signedinteger]:
    """Return the smallest type that holds the code of a pair and squared counts of a window."""
    bits = highest.bit_length() + (2 * highest).bit_length()
    return np.int16 if bits <= 15 and 2 * window**2 < 1 << 15 else np.int32
