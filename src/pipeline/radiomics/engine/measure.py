"""All classes of one region, on one discretisation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.radiomics.dictionary import FeatureClass
from pipeline.radiomics.engine.directions import Directions, directions
from pipeline.radiomics.engine.firstorder import firstorder
from pipeline.radiomics.engine.glcm import glcm
from pipeline.radiomics.engine.gldm import gldm
from pipeline.radiomics.engine.glrlm import glrlm
from pipeline.radiomics.engine.glszm import glszm
from pipeline.radiomics.engine.levels import LevelMap, bin_edges, discretise, map_levels
from pipeline.radiomics.engine.ngtdm import ngtdm
from pipeline.radiomics.engine.settings import TextureSettings
from pipeline.radiomics.engine.shape import shape
from pipeline.types import Array1D, Mask3D, Volume


@dataclass(frozen=True)
class Measured:
    """What the classes returned.

    Attributes
    ----------
    values : dict of (str, str) to float
        By class and PyRadiomics' name of the feature.
    grey_levels, occupied_levels : int or None
        Highest level, and how many occur; None when only the shape was asked for.
    """

    values: dict[tuple[FeatureClass, str], float]
    grey_levels: int | None = None
    occupied_levels: int | None = None


@dataclass(frozen=True, eq=False)
class _Region:
    values: Array1D
    levels: LevelMap
    direct: Directions
    around: Directions
    spacing_mm: tuple[float, float, float]
    settings: TextureSettings


_TEXTURE: dict[FeatureClass, Callable[[_Region], dict[str, float]]] = {
    "firstorder": lambda r: firstorder(
        r.values,
        r.levels.counts,
        float(np.prod(r.spacing_mm)),
        r.settings.intensity_shift,
    ),
    "glcm": lambda r: glcm(
        r.levels,
        r.around,
        r.spacing_mm,
        weighting=r.settings.weighting,
        symmetrical=r.settings.symmetrical_glcm,
    ),
    "glrlm": lambda r: glrlm(r.levels, r.direct, r.spacing_mm, r.settings.weighting),
    "glszm": lambda r: glszm(r.levels, r.direct),
    "gldm": lambda r: gldm(r.levels, r.around, r.settings.gldm_alpha),
    "ngtdm": lambda r: ngtdm(r.levels, r.around),
}


def measure(
    image: Volume, mask: Volume, classes: Sequence[FeatureClass], settings: TextureSettings
) -> Measured:
    """Return the features of some classes for a region cropped to its bounding box.

    Parameters
    ----------
    image, mask : Volume
        Intensities, finite inside the region, and 1 inside the region; one grid.
    classes : sequence of str
        Which classes.
    settings : TextureSettings
        Discretisation and neighbourhood.
    """
    inside = np.ascontiguousarray(mask.data.T == 1)
    i, j, k = mask.grid.spacing_mm
    found: dict[tuple[FeatureClass, str], float] = {}
    if "shape" in classes:
        found |= _named("shape", shape(inside, (k, j, i)))
    texture = [name for name in classes if name != "shape"]
    if not texture:
        return Measured(found)
    region = _region(image, inside, (k, j, i), settings)
    for name in texture:
        found |= _named(name, _TEXTURE[name](region))
    return Measured(found, region.levels.highest, len(region.levels.occupied))


def _region(
    image: Volume,
    inside: Mask3D,
    spacing_mm: tuple[float, float, float],
    settings: TextureSettings,
) -> _Region:
    values = image.data.T[inside].astype(np.float64, copy=False)
    edges = bin_edges(values, settings.bin_width, settings.bin_count)
    levels = map_levels(inside, discretise(values, edges), max(settings.distances))
    flat_axis = 2 - settings.force_2d_axis if settings.force_2d else None
    direct = directions(inside.shape, (1,), flat_axis)
    around = directions(inside.shape, settings.distances, flat_axis)
    return _Region(values, levels, direct, around, spacing_mm, settings)


def _named(
    feature_class: FeatureClass, values: dict[str, float]
) -> dict[tuple[FeatureClass, str], float]:
    return {(feature_class, name): value for name, value in values.items()}
