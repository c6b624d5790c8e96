"""The features of a cropped region: by the engine, or by PyRadiomics' own classes."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from radiomics.shape import RadiomicsShape

from pipeline.geometry import to_sitk
from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES, FeatureClass
from pipeline.radiomics.engine import Measured, TextureSettings, measure
from pipeline.types import Volume

__all__ = ["Calculated", "TextureSettings", "calculate", "calculate_by_pyradiomics"]

_CLASSES: dict[FeatureClass, Any] = {
    "shape": RadiomicsShape,
    "firstorder": RadiomicsFirstOrder,
    "glcm": RadiomicsGLCM,
    "glrlm": RadiomicsGLRLM,
    "glszm": RadiomicsGLSZM,
    "gldm": RadiomicsGLDM,
    "ngtdm": RadiomicsNGTDM,
}
_COLUMNS = {
    (feature.feature_class, feature.pyradiomics): feature.column
    for feature in (*FEATURES, *OPTIONAL_FEATURES)
}

#: Said on every run: it is how the feature is defined.
_EXPECTED = "GLCM is symmetrical"


@dataclass(frozen=True)
class Calculated:
    """The features found.

    Attributes
    ----------
    values : dict of str to float
        By column of the dictionary.
    grey_levels : int or None
        Highest grey level, levels being counted from 1 (with a bin width, the lowest is 1);
        None when only the shape was asked for.
    occupied_levels : int or None
        How many of them occur in the region.
    messages : tuple of str
        Warnings on the way, each once.
    """

    values: dict[str, float]
    grey_levels: int | None
    occupied_levels: int | None
    messages: tuple[str, ...]


def calculate(
    image: Volume,
    mask: Volume,
    classes: Sequence[FeatureClass],
    *,
    settings: TextureSettings,
) -> Calculated:
    """Return the features of `classes` for a region cropped to its bounding box.

    All classes are those of `pipeline.radiomics.engine`, which measured faster than PyRadiomics
    3.0.1 for each of them (``scripts/bench_texture.py``) and agrees with it to 1e-9 of each
    value. A region with an intensity that is not finite is left to PyRadiomics.

    Parameters
    ----------
    image, mask : Volume
        Intensities, and 1 inside the region; one grid.
    classes : sequence of str
        Which feature classes to run.
    settings : TextureSettings
        Discretisation and neighbourhood.
    """
    if not np.isfinite(image.data[mask.data == 1]).all():
        return calculate_by_pyradiomics(image, mask, classes, settings=settings)
    with _listening() as messages:
        found = measure(image, mask, classes, settings)
    return _calculated(found, messages)


def calculate_by_pyradiomics(
    image: Volume,
    mask: Volume,
    classes: Sequence[FeatureClass],
    *,
    settings: TextureSettings,
) -> Calculated:
    """Return the same from PyRadiomics' own classes, against which the engine is measured."""
    theirs = _pyradiomics_settings(settings)
    pictures = to_sitk(image), to_sitk(mask)
    values: dict[tuple[FeatureClass, str], float] = {}
    highest = occupied = None
    with _listening() as messages:
        for name in classes:
            calculator = _CLASSES[name](*pictures, **theirs)
            for feature, value in calculator.execute().items():
                values[name, feature] = float(np.squeeze(value))
            if "grayLevels" in calculator.coefficients:
                occupied = len(calculator.coefficients["grayLevels"])
                highest = int(calculator.coefficients["Ng"])
    return _calculated(Measured(values, highest, occupied), messages)


def _calculated(found: Measured, messages: Sequence[str]) -> Calculated:
    values = {_COLUMNS[name]: value for name, value in found.values.items()}
    said = tuple(dict.fromkeys(messages))
    return Calculated(values, found.grey_levels, found.occupied_levels, said)


def _pyradiomics_settings(settings: TextureSettings) -> dict[str, Any]:
    weighting = None if settings.weighting == "none" else settings.weighting
    return {
        "binWidth": settings.bin_width,
        "binCount": settings.bin_count,
        "voxelArrayShift": settings.intensity_shift,
        "distances": list(settings.distances),
        "force2D": settings.force_2d,
        "force2Ddimension": 2 - settings.force_2d_axis,
        "weightingNorm": weighting,
        "symmetricalGLCM": settings.symmetrical_glcm,
        "gldm_a": int(settings.gldm_alpha),  # levels are whole: the floor decides the same
    }


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith(_EXPECTED):
            self._messages.append(text.strip().splitlines()[-1])


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what PyRadiomics logs and warns, instead of letting it reach stderr."""
    messages: list[str] = []
    logger = logging.getLogger("radiomics")
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [_Collector(messages)], False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield messages
        messages += [str(item.message) for item in caught]
    finally:
        logger.handlers, logger.propagate = handlers, propagate
