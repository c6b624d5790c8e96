"""Shape of the region, and how intensity lies in it (IBSI HCUG)."""

import numpy as np

from pipeline.radiomics.ibsi.bodies import (
    box_volume_area,
    ellipsoid_area,
    smallest_box,
    smallest_ellipsoid,
)
from pipeline.radiomics.ibsi.prepare import Region
from pipeline.radiomics.ibsi.spatial import moran_geary
from pipeline.radiomics.ibsi.surface import Points, Surface, diameter_mm, surface
from pipeline.types import Array1D


def morphology(region: Region) -> dict[str, float]:
    """Return the 28 morphological features, by the stem of their tags.

    What divides by a body of no volume (the ellipsoid of a region one voxel thick) is NaN.
    """
    inside = region.morphological[region.tight()]
    body = surface(inside, region.spacing_mm)
    centres = np.argwhere(inside) * np.asarray(region.spacing_mm)
    axes = _principal(centres)
    return (
        _sizes(body, len(centres) * float(np.prod(region.spacing_mm)))
        | {"com": _centre_shift(region), "diam": diameter_mm(body.corners_mm)}
        | _axes(axes)
        | _densities(body, axes)
        | _intensity_in_space(region, body.volume_mm3)
    )


def _sizes(body: Surface, voxel_volume: float) -> dict[str, float]:
    volume, area = body.volume_mm3, body.area_mm2
    ball = np.cbrt(36.0 * np.pi * volume**2)
    return {
        "volume": volume,
        "vol_approx": voxel_volume,
        "area_mesh": area,
        "av": area / volume,
        "comp_1": volume / (np.sqrt(np.pi) * area**1.5),
        "comp_2": 36.0 * np.pi * volume**2 / area**3,
        "sph_dispr": float(area / ball),
        "sphericity": float(ball / area),
        "asphericity": float(area / ball) - 1.0,
    }


def _principal(centres: Points) -> Array1D:
    """Return the lengths of the principal axes, longest first: 4 standard deviations (n - 1)."""
    if len(centres) < 2:
        return np.zeros(3)
    variance = np.linalg.eigvalsh(np.cov(centres.T))[::-1]
    return 4.0 * np.sqrt(np.where(variance > 1e-12 * variance[0], variance, 0.0))


def _axes(axes: Array1D) -> dict[str, float]:
    longest, middle, least = (float(v) for v in axes)
    return {
        "pca_maj_axis": longest,
        "pca_min_axis": middle,
        "pca_least_axis": least,
        "pca_elongation": middle / longest if longest else float("nan"),
        "pca_flatness": least / longest if longest else float("nan"),
    }


def _densities(body: Surface, axes: Array1D) -> dict[str, float]:
    """Return volume and area of the region over those of the bodies round it."""
    bodies = {
        "aabb": box_volume_area(np.ptp(body.points_mm, axis=0)),
        "ombb": box_volume_area(smallest_box(body.corners_mm, body.normals)),
        "aee": _ellipsoid(axes / 2.0),
        "mvee": _ellipsoid(smallest_ellipsoid(body.corners_mm)),
        "conv_hull": (body.hull_volume_mm3, body.hull_area_mm2),
    }
    found = {}
    for name, (volume, area) in bodies.items():
        found[f"vol_dens_{name}"] = body.volume_mm3 / volume if volume else float("nan")
        found[f"area_dens_{name}"] = body.area_mm2 / area if area else float("nan")
    return found


def _ellipsoid(half_axes: Array1D) -> tuple[float, float]:
    if not half_axes.min() > 0:
        return float("nan"), float("nan")
    return float(4.0 / 3.0 * np.pi * np.prod(half_axes)), ellipsoid_area(half_axes)


def _centre_shift(region: Region) -> float:
    """Return the distance from the centre of the region to that of its intensity, in mm."""
    weights = region.values
    if weights.sum() == 0:
        return float("nan")
    heavy = weights @ np.argwhere(region.intensity) / weights.sum()
    middle = np.argwhere(region.morphological).mean(axis=0)
    return float(np.linalg.norm((heavy - middle) * np.asarray(region.spacing_mm)))


def _intensity_in_space(region: Region, volume_mm3: float) -> dict[str, float]:
    box = region.tight()
    moran, geary = moran_geary(region.image[box], region.intensity[box], region.spacing_mm)
    return {
        "integ_int": float(region.values.mean()) * volume_mm3,
        "moran_i": moran,
        "geary_c": geary,
    }
