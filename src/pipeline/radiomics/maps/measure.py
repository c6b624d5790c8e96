"""Maps piece by piece: the features of some voxels, in bounded memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import SettingsError
from pipeline.radiomics.dictionary import FeatureClass, columns_of, features_of
from pipeline.radiomics.maps.batches import lost_to_batches, matters
from pipeline.radiomics.maps.firstorder import firstorder
from pipeline.radiomics.maps.glcm import glcm
from pipeline.radiomics.maps.gldm import gldm
from pipeline.radiomics.maps.glrlm import glrlm
from pipeline.radiomics.maps.glszm import glszm
from pipeline.radiomics.maps.ngtdm import ngtdm
from pipeline.radiomics.maps.region import Region, prepare
from pipeline.radiomics.maps.settings import MapSettings
from pipeline.types import Geometry, Volume

Floats = npt.NDArray[np.float64]

#: Voxels of a piece, which is what a broken-off run keeps. The same on any machine.
PIECE_VOXELS = 1 << 15

#: The classes that have maps.
MEASURES: dict[FeatureClass, Callable[[Region, slice], Mapping[str, torch.Tensor]]] = {
    "firstorder": firstorder,
    "glcm": glcm,
    "glrlm": glrlm,
    "glszm": glszm,
    "gldm": gldm,
    "ngtdm": ngtdm,
}

#: Windows that are measured together: more leave a processor's cache, and a GPU wants many.
_WINDOWS = {"cpu": 1 << 14, "cuda": 1 << 18}
#: Bytes for each voxel of a window, and of a whole measurement: measured, with a margin.
_BYTES_PER_ENTRY = 260
_FIXED_MB = 100.0


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured where.

    Attributes
    ----------
    region : Region
        Voxels and their windows.
    classes : tuple of str
        Feature classes.
    columns : tuple of str
        Features, as columns of the dictionary.
    pieces : tuple of slices
        Parts of the region's voxels.
    windows : int
        Windows measured together; no value depends on it.
    lost : pair of (N,) bool tensors, or None
        Voxels whose JointAverage and MCC PyRadiomics does not give.
    """

    region: Region
    classes: tuple[FeatureClass, ...]
    columns: tuple[str, ...]
    pieces: tuple[slice, ...]
    windows: int
    lost: tuple[torch.Tensor, torch.Tensor] | None


def plan_maps(
    image: Volume,
    mask: Volume,
    classes: Sequence[FeatureClass],
    *,
    settings: MapSettings,
    device: torch.device | str = "cpu",
    memory_mb: float = 1024.0,
) -> Plan:
    """Prepare the maps of a region.

    Parameters
    ----------
    image, mask : Volume
        Intensities, and not 0 inside the region; one grid.
    classes : sequence of str
        Feature classes.
    settings : MapSettings
        Window and grey levels.
    device : torch.device or str
        Where to compute.
    memory_mb : float
        Roughly what may be allocated beyond the images.

    Raises
    ------
    EmptyRegionError
        The mask marks no voxel.
    SettingsError
        A class has no maps, or the memory is too small.
    """
    without = [name for name in classes if name not in MEASURES]
    if without:
        raise SettingsError(f"class {without[0]!r} has no maps; choose from {', '.join(MEASURES)}")
    columns = columns_of(classes)
    region = prepare(image, mask, settings, device)
    number = len(region.positions)
    starts = range(0, number, PIECE_VOXELS)
    return Plan(
        region=region,
        classes=tuple(dict.fromkeys(feature.feature_class for feature in features_of(classes))),
        columns=columns,
        pieces=tuple(slice(start, min(start + PIECE_VOXELS, number)) for start in starts),
        windows=_windows_at_once(region, memory_mb),
        lost=lost_to_batches(region) if "glcm" in classes and matters(region) else None,
    )


def measure(plan: Plan, part: slice) -> Floats:
    """Return the features of some of the region's voxels: (columns, voxels)."""
    blocks = []
    for start in range(part.start, part.stop, plan.windows):
        some = slice(start, min(start + plan.windows, part.stop))
        found = {name: dict(MEASURES[name](plan.region, some)) for name in plan.classes}
        if plan.lost is not None:
            average, correlation = (one[some] for one in plan.lost)
            found["glcm"]["JointAverage"].masked_fill_(average, torch.nan)
            found["glcm"]["MCC"].masked_fill_(correlation, plan.region.settings.init_value)
        rows = [found[f.feature_class][f.pyradiomics] for f in features_of(plan.classes)]
        blocks.append(torch.stack(rows).cpu().numpy())
    return np.concatenate(blocks, axis=1)


def place(
    plan: Plan, values: npt.ArrayLike, grid: Geometry, dtype: npt.DTypeLike = np.float64
) -> Volume:
    """Lay one feature's values (N,) out on the image's grid."""
    data = np.full(grid.shape, plan.region.settings.init_value, dtype=dtype)
    data[tuple(plan.region.voxels.T)] = values
    return Volume(data, grid)


def feature_maps(
    image: Volume,
    mask: Volume,
    classes: Sequence[FeatureClass],
    *,
    settings: MapSettings,
    device: torch.device | str = "cpu",
    memory_mb: float = 1024.0,
    on_piece: Callable[[int, int], None] | None = None,
) -> dict[str, Volume]:
    """Return the map of each feature, by column of the dictionary.

    Parameters
    ----------
    image, mask, classes, settings, device, memory_mb
        As for `plan_maps`.
    on_piece : callable, optional
        Told (pieces done, pieces in all) after each.
    """
    plan = plan_maps(image, mask, classes, settings=settings, device=device, memory_mb=memory_mb)
    values = np.empty((len(plan.columns), len(plan.region.positions)))
    for done, part in enumerate(plan.pieces, start=1):
        values[:, part] = measure(plan, part)
        if on_piece is not None:
            on_piece(done, len(plan.pieces))
    return {
        column: place(plan, row, image.grid)
        for column, row in zip(plan.columns, values, strict=True)
    }


def _windows_at_once(region: Region, memory_mb: float) -> int:
    each = _BYTES_PER_ENTRY * len(region.window)
    fitting = int((memory_mb - _FIXED_MB) * 1e6 / each)
    if fitting < 1:
        raise SettingsError(
            f"memory_mb is {memory_mb:g}; windows of {len(region.window)} voxels need at least "
            f"{_FIXED_MB + 1e-6 * each:.0f}"
        )
    return min(fitting, _WINDOWS[region.levels.device.type])
