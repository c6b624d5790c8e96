"""Where lesions are planted: a brain template, generated anatomies, real images.

The template comes plain and with a texture of its own. Generated ones are closed-form functions
of the point (`generated.py`); the others are cubic splines. A template finer than the grid is
used as it is; an image on its own grid is smoothed a little first (SD 0.7 voxel), so that its own
noise, which no map can carry along, does not count as anatomy; noise of the variant's level is
added to both images anyway.
"""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from pipeline.geometry import index_to_world, world_to_index
from pipeline.io import read_series, read_volume
from pipeline.types import Geometry, Volume
from scripts.registration_bench.engines import ROOT, bench_python
from scripts.registration_bench.generated import GENERATED, SHAPE, SPACING_MM, generate
from scripts.registration_bench.lesion import Anatomy, Array, Intensity, random_waves

_OWN_NOISE_VOXELS = 0.7
#: Body begins at this part of the range from air to bright.
_BODY_PART = 0.1
_TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
#: Texture of `textured`: share of the intensity, and wave lengths in mm.
_GRAIN, _SHORTEST_MM, _LONGEST_MM = 0.06, 4.0, 14.0
#: First voxel of the 1.6 mm grid in the 1 mm template, and the lesion's centre there: in the
#: white matter of the parietal lobe.
_TEMPLATE_CORNER, _TEMPLATE_CENTRE = (10, 22, 8), (66, 92, 100)


@dataclass(frozen=True)
class Source:
    """A real image and where its lesion goes.

    Attributes
    ----------
    path : str
        In MEDPIPE_DATA; a DICOM folder gives its second phase.
    first, last : three ints
        The box that is used, in voxels.
    centre : three ints
        Of the lesion, in voxels of the whole image.
    radius_mm : float
        At least six voxels along every axis.
    low : float
        Air.
    lesion_level, lesion_sd : float
        See `lesion.Anatomy`.
    """

    path: str
    first: tuple[int, int, int]
    last: tuple[int, int, int]
    centre: tuple[int, int, int]
    radius_mm: float
    low: float = 0.0
    lesion_level: float = 0.6
    lesion_sd: float = 0.12


REAL: dict[str, Source] = {
    "breast": Source(
        "breast_dce/UCSF-BR-06/image_dce_3dfgre_orig",
        (20, 30, 0), (170, 240, 60), (85, 130, 30), 14.0,
    ),
    "lung": Source(
        "lung_ct_pair/3DCT_lung_baseline.mha",
        (4, 20, 24), (114, 150, 124), (55, 85, 75), 15.0, low=-1000.0, lesion_level=0.75,
        lesion_sd=0.08,
    ),
    "abdomen": Source(
        "abdominal_ct/example_ct.nii.gz",
        (0, 0, 20), (122, 101, 112), (78, 55, 75), 18.0, low=-1000.0, lesion_level=0.85,
        lesion_sd=0.06,
    ),
    "thigh": Source(
        "sarcoma/STS_003/MR_T1_image.nii.gz",
        (0, 0, 0), (121, 138, 47), (55, 57, 20), 20.0,
    ),
}  # fmt: skip


class MissingAnatomyError(Exception):
    """The image of an anatomy is not on this machine."""


def _template() -> Anatomy:
    """Return the MNI 152 T1 template (brain only, 1 mm) as nilearn ships it, on a 1.6 mm grid."""
    found = subprocess.run(
        [bench_python(), "-c", "import nilearn; print(nilearn.__path__[0])"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    path = Path(found.stdout.strip()) / _TEMPLATE
    if found.returncode or not path.is_file():
        raise MissingAnatomyError(
            f"no nilearn in {bench_python()}: make bench-registration, or set BENCH_PYTHON"
        )
    image = read_volume(path)
    s = SPACING_MM
    x, y, z = (float(v) for v in index_to_world(image.grid, _TEMPLATE_CORNER))
    grid = Geometry(SHAPE, (s, s, s), (x, y, z), image.grid.direction)
    centre = index_to_world(image.grid, _TEMPLATE_CENTRE)
    return _anatomy("mni", image, grid, centre, 14.0)


def _textured() -> Anatomy:
    """Return the template with a texture of its own.

    White matter in the mean of 152 heads is flat, so that noise alone decides there; a single
    head's is not.
    """
    plain = _template()
    grain = random_waves(np.random.default_rng(8), _SHORTEST_MM, _LONGEST_MM, 48)

    def value(points: Array) -> Array:
        return plain.intensity(points) * (1 + _GRAIN * grain(points))

    return replace(plain, name="textured", intensity=value)


def _real(name: str) -> Anatomy:
    source = REAL[name]
    path = data_root() / source.path
    if not path.exists():
        raise MissingAnatomyError(f"{path} is not there: set MEDPIPE_DATA")
    image = read_series(path).image(1) if path.is_dir() else read_volume(path)
    box = tuple(slice(a, b) for a, b in zip(source.first, source.last, strict=True))
    i, j, k = (b - a for a, b in zip(source.first, source.last, strict=True))
    x, y, z = (float(v) for v in index_to_world(image.grid, source.first))
    grid = Geometry((i, j, k), image.grid.spacing_mm, (x, y, z), image.grid.direction)
    data = np.maximum(image.data[box].astype(np.float64), source.low)
    smooth = Volume(ndimage.gaussian_filter(data, _OWN_NOISE_VOXELS), grid)
    centre = index_to_world(image.grid, source.centre)
    return _anatomy(
        name, smooth, grid, centre, source.radius_mm, low=source.low,
        lesion_level=source.lesion_level, lesion_sd=source.lesion_sd,
    )  # fmt: skip


def _anatomy(
    name: str,
    image: Volume,
    grid: Geometry,
    centre_mm: Array,
    radius_mm: float,
    *,
    low: float = 0.0,
    lesion_level: float = 0.6,
    lesion_sd: float = 0.12,
) -> Anatomy:
    high = float(np.percentile(image.data, 99))
    return Anatomy(
        name, _spline(image), grid, low, high, low + _BODY_PART * (high - low), centre_mm,
        radius_mm, lesion_level, lesion_sd,
    )  # fmt: skip


def _spline(image: Volume) -> Intensity:
    """Return the cubic spline through the voxels; beyond the border the nearest value."""
    coefficients = ndimage.spline_filter(image.data.astype(np.float64), 3, mode="mirror")

    def value(points: Array) -> Array:
        index = np.moveaxis(world_to_index(image.grid, points), -1, 0)
        ends = np.asarray(image.grid.shape).reshape(3, *[1] * (index.ndim - 1)) - 1
        return np.asarray(
            ndimage.map_coordinates(
                coefficients, np.clip(index, 0, ends), order=3, prefilter=False, mode="mirror"
            )
        )

    return value


def data_root() -> Path:
    """Return the folder of the real images."""
    return Path(os.environ.get("MEDPIPE_DATA", ROOT.parent / "shared/data"))


#: name -> builder. "mni" is the case of the published comparison.
ANATOMIES: dict[str, Callable[[], Anatomy]] = {
    "mni": _template,
    "textured": _textured,
    **{name: partial(generate, name) for name in GENERATED},
    **{name: partial(_real, name) for name in REAL},
}
