"""Area and volume of the surface mesh of a region: marching cubes, closed and symmetric.

The mesh passes through the midpoints of neighbours in and out of the region. Which midpoints a
cube of eight voxels joins follows from its faces: on each face a row of inside corners is cut off
by one line, so that corners which touch by a diagonal only are apart. Neighbouring cubes see the
same line, hence the mesh has no holes, and its volume does not depend on where the region lies.
(Lorensen and Cline's table of 1987, which PyRadiomics uses, has holes at such faces.)

A polygon of five or more midpoints is not flat. Of the ways to part it into a fan of triangles the
mesh takes those of the largest area on cubic voxels, as the usual tables do; where two are equally
large, being mirror images, it takes the mean of both. The numbers are therefore independent of how
the voxels are stored: mirrored or turned, they are equal.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.types import Mask3D

#: Corners of a cube: bit b of a code is the corner at (b & 1, b >> 1 & 1, b >> 2 & 1).
_CORNERS = np.array([(b & 1, b >> 1 & 1, b >> 2 & 1) for b in range(8)], dtype=np.float64)

#: Corners of each face, counter-clockwise as seen from outside.
_FACES = (
    (0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6),
)  # fmt: skip

#: Areas that differ by less (in squared voxels) are those of mirror images.
_SAME_AREA = 1e-9

_Points = npt.NDArray[np.float64]
_Edge = tuple[int, int]
_Loop = list[_Edge]


def mesh_volume_area(inside: Mask3D, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Return the volume in mm³ and the area in mm² of the surface of a mask.

    Every cube of eight voxels has one of 256 pieces of surface, so the sums run over pieces.
    """
    codes = _codes(inside)
    at = np.argwhere((codes > 0) & (codes < 255))
    code = codes[tuple(at.T)]
    area, towards, own = _pieces(tuple(spacing_mm))
    # Divergence theorem: a third of position times outward area, the position of a piece being
    # that of its cube plus that within it.
    shift = np.einsum("na,na->n", at * np.asarray(spacing_mm), towards[code])
    return float((shift / 3.0 + own[code]).sum()), float(area[code].sum())


def _codes(inside: Mask3D) -> npt.NDArray[np.uint8]:
    padded = np.pad(inside, 1).astype(np.uint8)
    i, j, k = (n - 1 for n in padded.shape)
    codes = np.zeros((i, j, k), dtype=np.uint8)
    for bit, (a, b, c) in enumerate(_CORNERS.astype(int)):
        codes |= padded[a : a + i, b : b + j, c : c + k] << bit
    return codes


@lru_cache(maxsize=8)
def _pieces(
    spacing_mm: tuple[float, float, float],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return area, area vector and a third of the flux of position of each of the 256 pieces."""
    area, towards, own = np.zeros(256), np.zeros((256, 3)), np.zeros(256)
    for code in range(256):
        for loop in _loops(code):
            points = np.array([(_CORNERS[a] + _CORNERS[b]) / 2.0 for a, b in loop])
            cubic = np.array([_measures(fan)[0] for fan in _fans(points)])
            largest = np.flatnonzero(cubic > cubic.max() - _SAME_AREA)
            fans = _fans(points * np.asarray(spacing_mm))
            found = [_measures(fans[n]) for n in largest]
            area[code] += np.mean([size for size, _, _ in found])
            towards[code] += found[0][1]  # that of the rim, whatever the fan
            own[code] += np.mean([flux for _, _, flux in found])
    return area, towards, own


def _fans(points: _Points) -> list[tuple[_Points, _Points, _Points]]:
    """Return the corners of the triangles of each fan, one from every point of a polygon."""
    turned = (np.roll(points, -n, axis=0) for n in range(len(points)))
    return [(np.broadcast_to(p[0], (len(p) - 2, 3)), p[1:-1], p[2:]) for p in turned]


def _measures(fan: tuple[_Points, _Points, _Points]) -> tuple[float, _Points, float]:
    a, b, c = fan
    cross = np.cross(b - a, c - a) / 2.0
    flux = float(np.einsum("na,na->", (a + b + c) / 3.0, cross)) / 3.0
    return float(np.linalg.norm(cross, axis=1).sum()), cross.sum(axis=0), flux


def _loops(code: int) -> list[_Loop]:
    """Return the closed polygons of a cube, as the edges on whose midpoints they turn."""
    following: dict[_Edge, _Edge] = {}
    for face in _FACES:
        inside = [bool(code >> corner & 1) for corner in face]
        for n in range(4):
            if inside[n] and not inside[n - 1]:  # a row of inside corners begins here
                last = n
                while inside[(last + 1) % 4]:
                    last = (last + 1) % 4
                begin = _edge(face[n - 1], face[n])
                end = _edge(face[last], face[(last + 1) % 4])
                following[begin] = end
    loops = []
    while following:
        start, edge = following.popitem()
        loop = [start]
        while edge != start:
            loop.append(edge)
            edge = following.pop(edge)
        loops.append(loop)
    return loops


def _edge(a: int, b: int) -> _Edge:
    return (a, b) if a < b else (b, a)
