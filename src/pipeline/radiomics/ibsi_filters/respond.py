"""One door to all filters: an image in, its response map on the same grid out."""

import numpy as np

from pipeline.errors import GeometryError, ImageError
from pipeline.radiomics.ibsi_filters.fourier import nonseparable_response
from pipeline.radiomics.ibsi_filters.gabor import gabor_response
from pipeline.radiomics.ibsi_filters.riesz import riesz_response
from pipeline.radiomics.ibsi_filters.settings import (
    FilterSettings,
    GaborSettings,
    LawsSettings,
    LogSettings,
    MeanSettings,
    NonSeparableSettings,
    RieszSettings,
    WaveletSettings,
)
from pipeline.radiomics.ibsi_filters.spatial import (
    laws_response,
    log_response,
    mean_response,
    wavelet_response,
)
from pipeline.types import Array3D, Geometry, Volume

#: Spacings that differ by less than this fraction count as equal (rounding of file headers).
_SAME_SPACING = 1e-3


def response(image: Volume, settings: FilterSettings) -> Volume:
    """Return the response map of a filter, in float64 on the grid of the image.

    Sizes in mm become voxels by the spacing along the axes of the filter, which must agree: i
    and j for a filter by slice, all three else. Kernels in voxels (mean, Laws, wavelets) are
    used on any grid.

    Parameters
    ----------
    image : Volume
        Intensities, all finite.
    settings : FilterSettings
        Family of the filter and what it is told.

    Returns
    -------
    Volume
        Response map.

    Raises
    ------
    GeometryError
        If a filter in mm meets voxels that are not square or cubic.
    ImageError
        If a voxel is not finite.
    """
    data = np.asarray(image.data, dtype=np.float64)
    if not np.isfinite(data).all():
        wrong = int(np.count_nonzero(~np.isfinite(data)))
        raise ImageError(f"{wrong} voxels are not finite; mask or replace them before filtering")
    return Volume(_filtered(data, settings, image.grid), image.grid)


def _filtered(data: Array3D, settings: FilterSettings, grid: Geometry) -> Array3D:
    match settings:
        case MeanSettings():
            return mean_response(data, settings)
        case LawsSettings():
            return laws_response(data, settings)
        case WaveletSettings():
            return wavelet_response(data, settings)
        case NonSeparableSettings():
            return nonseparable_response(data, settings)
        case LogSettings():
            return log_response(data, settings, _voxel_mm(grid, settings.dimensions))
        case GaborSettings():
            return gabor_response(data, settings, _voxel_mm(grid, settings.dimensions))
        case RieszSettings():
            return riesz_response(data, settings, _riesz_voxel_mm(grid, settings))


def _riesz_voxel_mm(grid: Geometry, settings: RieszSettings) -> float:
    """Return the spacing; a wavelet without steering has no size in mm that would need it."""
    in_voxels = isinstance(settings.of, NonSeparableSettings) and settings.tensor_sigma_mm is None
    return 1.0 if in_voxels else _voxel_mm(grid, settings.dimensions)


def _voxel_mm(grid: Geometry, dimensions: int) -> float:
    spacing = grid.spacing_mm[:dimensions]
    if max(spacing) > min(spacing) * (1.0 + _SAME_SPACING):
        sizes = " x ".join(f"{value:g}" for value in spacing)
        remedy = f"resample to cubic voxels first (medpipe preprocess --spacing-mm {min(spacing):g}"
        if dimensions == 3:
            remedy += "), or filter by slice"
        else:
            remedy += ")"
        raise GeometryError(
            f"voxels of {sizes} mm: this filter's size is in mm and needs equal spacing along its "
            f"{dimensions} axes; {remedy}"
        )
    return float(spacing[0])
