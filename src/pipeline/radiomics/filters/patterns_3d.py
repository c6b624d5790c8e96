"""Local binary patterns on a sphere, by spherical harmonics (Banerjee et al. 2013).

doi:10.1007/978-3-642-37410-4_3. Definitions are those of PyRadiomics 3.0.1, whose own code asks
for functions that SciPy no longer has, and for trimesh. Its angles are kept: the polar angle of a
point stands where SciPy expects the azimuth, and the other way round.
"""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter
from scipy.special import lpmv

from pipeline.radiomics.filters.source import Box, Source
from pipeline.radiomics.profile import ImageType
from pipeline.types import Array3D, Mask3D

#: Cubic splines forget by 0.27 per voxel: to the last bit of a double.
_SPLINE_SUPPORT = 30
#: Voxels at a time, times the points of the sphere, bound the memory.
_CHUNK = 1 << 21


def support(image_type: ImageType) -> tuple[int, int, int]:
    """Return how many voxels around a region its values depend on."""
    reach = math.ceil(image_type.lbp_3d_radius) + _SPLINE_SUPPORT
    return reach, reach, reach


def patterns(
    source: Source, box: Box, image_type: ImageType, inside: Mask3D
) -> Iterator[tuple[str, Array3D]]:
    """Yield (name, values on `box`) for each level of harmonics, and for the kurtosis.

    Voxels of `box` outside `inside` are 0.
    """
    wide = [
        slice(max(0, part.start - r), min(n, part.stop + r))
        for part, r, n in zip(box, support(image_type), source.grid.shape, strict=True)
    ]
    part = source.cut((wide[0], wide[1], wide[2])).data
    offset = [b.start - w.start for b, w in zip(box, wide, strict=True)]
    voxels = np.argwhere(inside) + offset
    points = sphere(image_type.lbp_3d_subdivision, image_type.lbp_3d_radius)
    degrees, harmonics = _harmonics(points, image_type.lbp_3d_radius, image_type.lbp_3d_levels)
    splines = spline_filter(part, order=3, output=np.float64)
    found = np.empty((image_type.lbp_3d_levels + 1, len(voxels)))
    step = max(1, _CHUNK // len(points))
    for start in range(0, len(voxels), step):
        chunk = voxels[start : start + step]
        # PyRadiomics adds the x of a point to the slice, and its z to the column.
        places = (chunk[:, None, :] + points[None, :, ::-1]).transpose(2, 0, 1)
        samples = map_coordinates(splines, places, output=part.dtype, order=3, prefilter=False)
        centres = part[tuple(chunk.T)]
        above = (samples >= centres[:, None]).astype(np.float64)
        found[:-1, start : start + step] = _norms(above, degrees, harmonics)
        found[-1, start : start + step] = _kurtosis(samples.astype(np.float64))
    for name, values in zip(image_type.names, found, strict=True):
        picture = np.zeros(inside.shape)
        picture[inside] = values
        yield name, picture


def sphere(subdivisions: int, radius: float) -> np.ndarray:
    """Return the vertices (N, 3) of an icosahedron whose triangles are divided in four."""
    golden = (1 + math.sqrt(5)) / 2
    ends = [(0.0, a, b * golden) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    vertices = np.array([np.roll(end, turn) for turn in range(3) for end in ends])
    vertices *= radius / math.hypot(1, golden)
    edge = 2 * radius / math.hypot(1, golden)
    near = np.linalg.norm(vertices[:, None] - vertices[None], axis=2) < 1.01 * edge
    faces = [
        (a, b, c)
        for a, b, c in combinations(range(12), 3)
        if near[a, b] and near[b, c] and near[a, c]
    ]
    for _ in range(subdivisions):
        vertices, faces = _divided(vertices, faces, radius)
    return vertices


def _divided(
    vertices: np.ndarray, faces: list[tuple[int, int, int]], radius: float
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    middles: dict[tuple[int, int], int] = {}
    for face in faces:
        for a, b in combinations(sorted(face), 2):
            middles.setdefault((a, b), len(vertices) + len(middles))
    added = np.array([(vertices[a] + vertices[b]) / 2 for a, b in middles])
    added *= radius / np.linalg.norm(added, axis=1, keepdims=True)
    smaller = []
    for face in faces:
        a, b, c = sorted(face)
        ab, ac, bc = middles[a, b], middles[a, c], middles[b, c]
        smaller += [(a, ab, ac), (ab, b, bc), (ac, bc, c), (ab, bc, ac)]
    return np.concatenate([vertices, added]), smaller


def _harmonics(points: np.ndarray, radius: float, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the degree (H,) and the values (N, H) of the harmonics up to `levels` - 1."""
    azimuth = np.arccos(np.clip(points[:, 2] / radius, -1.0, 1.0))
    polar = np.arctan2(points[:, 1], points[:, 0])
    degrees, values = [], []
    for n in range(levels):
        for m in range(-n, n + 1):
            order = abs(m)
            scale = (
                (2 * n + 1) / (4 * np.pi) * math.factorial(n - order) / math.factorial(n + order)
            )
            value = math.sqrt(scale) * lpmv(order, n, np.cos(polar)) * np.exp(1j * order * azimuth)
            degrees.append(n)
            values.append(value if m >= 0 else (-1) ** order * value.conj())
    return np.array(degrees), np.stack(values, axis=1)


def _norms(above: np.ndarray, degrees: np.ndarray, harmonics: np.ndarray) -> np.ndarray:
    """Return (levels, voxels): root of the summed square of each degree's part."""
    coefficients = above @ harmonics
    rows = []
    for degree in range(degrees.max() + 1):
        chosen = degrees == degree
        part = coefficients[:, chosen] @ harmonics[:, chosen].T
        rows.append(np.sqrt((part**2).sum(axis=1)).real)
    return np.stack(rows)


def _kurtosis(samples: np.ndarray) -> np.ndarray:
    """Return the kurtosis less 3 of each row; equal samples have -3, as in SciPy before 1.9."""
    centred = samples - samples.mean(axis=1, keepdims=True)
    second, fourth = (centred**2).mean(axis=1), (centred**4).mean(axis=1)
    ratio = np.divide(fourth, second**2, out=np.zeros_like(second), where=second > 0)
    return np.asarray(ratio - 3)
