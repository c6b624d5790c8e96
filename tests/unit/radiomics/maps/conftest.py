"""PyRadiomics' voxel mode, and made-up images, for the tests of the maps."""

import importlib
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from radiomics import imageoperations
from scipy.ndimage import gaussian_filter

from pipeline.geometry import from_sitk, to_sitk
from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES
from pipeline.types import Geometry, Volume

_CLASSES = {
    "firstorder": "RadiomicsFirstOrder",
    "glcm": "RadiomicsGLCM",
    "glrlm": "RadiomicsGLRLM",
    "glszm": "RadiomicsGLSZM",
    "gldm": "RadiomicsGLDM",
    "ngtdm": "RadiomicsNGTDM",
}
Theirs = Callable[..., dict[str, np.ndarray]]
MakeRegion = Callable[..., tuple[Volume, Volume]]


@pytest.fixture
def pyradiomics() -> Theirs:
    """Return PyRadiomics' maps of a class, as its extractor would crop: column -> values (N,)."""

    def maps(image: Volume, mask: Volume, name: str, radius: int = 1, **settings: Any) -> Any:
        region = Volume(mask.data.astype(np.uint8), mask.grid)
        pictures = to_sitk(image), to_sitk(region)
        logging.disable(logging.CRITICAL)  # it tells each failed MCC with its traceback
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                box, _ = imageoperations.checkMask(*pictures)
                pictures = imageoperations.cropToTumorMask(*pictures, box, padDistance=radius)
                module = importlib.import_module(f"radiomics.{name}")
                calculator = getattr(module, _CLASSES[name])(
                    *pictures, voxelBased=True, kernelRadius=radius, **settings
                )
                found = calculator.execute()
        finally:
            logging.disable(logging.NOTSET)
        inside = from_sitk(pictures[1]).data.astype(bool)
        columns = {
            one.pyradiomics: one.column
            for one in (*FEATURES, *OPTIONAL_FEATURES)
            if one.feature_class == name
        }
        return {columns[key]: from_sitk(one).data[inside] for key, one in found.items()}

    return maps


@pytest.fixture
def make_region() -> MakeRegion:
    """Return a maker of (image, mask): noise over some grey levels of 25, a region with holes."""

    def make(
        seed: int = 0,
        *,
        shape: tuple[int, int, int] = (6, 7, 5),
        levels: float = 8,
        sigma: float = 0.0,
        filled: float = 0.7,
        spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
        flat: bool = False,
    ) -> tuple[Volume, Volume]:
        rng = np.random.default_rng(seed)
        noise = gaussian_filter(rng.normal(size=shape), sigma)
        values = (noise - noise.min()) / np.ptp(noise) * levels * 25 * 0.9999
        if flat:  # 0.1 is no binary fraction: means of such windows are rounded
            values[: shape[0] // 2] = 60.1
        inside = rng.random(shape) < filled
        grid = Geometry(shape, spacing_mm, (-3.0, 4.0, 5.0), np.eye(3))
        return Volume(values, grid), Volume(inside, grid)

    return make
