"""PyRadiomics' own feature classes on a cropped region, kept quiet."""

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
from pipeline.types import Volume

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
    """What PyRadiomics returned.

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
    bin_width: float | None,
    bin_count: int | None,
    intensity_shift: float,
) -> Calculated:
    """Return the features of `classes` for a region cropped to its bounding box.

    Parameters
    ----------
    image, mask : Volume
        Float64 intensities, and 1 inside the region; one grid.
    classes : sequence of str
        Which feature classes to run.
    bin_width, bin_count : float or None, int or None
        Discretisation; PyRadiomics lets the count win.
    intensity_shift : float
        Added before squaring.
    """
    settings = {"binWidth": bin_width, "binCount": bin_count, "voxelArrayShift": intensity_shift}
    pictures = to_sitk(image), to_sitk(mask)
    values: dict[str, float] = {}
    highest = occupied = None
    with _listening() as messages:
        for name in classes:
            calculator = _CLASSES[name](*pictures, **settings)
            for feature, value in calculator.execute().items():
                values[_COLUMNS[name, feature]] = float(np.squeeze(value))
            if "grayLevels" in calculator.coefficients:
                occupied = len(calculator.coefficients["grayLevels"])
                highest = int(calculator.coefficients["Ng"])
    return Calculated(values, highest, occupied, tuple(dict.fromkeys(messages)))


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
