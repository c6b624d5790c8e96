"""Maps one after another: affine matrices and displacement fields, as they are or inverted.

A chain is written in the order in which a point of the fixed image goes through it on its way to
the moving image. An inverted field is solved for each point, not read from an inverse field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.geometry import corners_mm, index_to_world
from pipeline.registration.inverse import FieldInverter
from pipeline.registration.sampling import FieldSampler, lies_inside, slab_points, slabs
from pipeline.types import DisplacementField, Geometry, Mask3D

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Link:
    """One map of a chain.

    Attributes
    ----------
    name : str
        For messages: the file it came from.
    map : (4, 4) array or DisplacementField
        Fixed point to moving point, LPS mm.
    inverted : bool
        Go from the moving point to the fixed point instead.
    """

    name: str
    map: Array | DisplacementField
    inverted: bool = False

    @property
    def matrix(self) -> Array | None:
        """The (4, 4) matrix of an affine link, inverted where that is asked for; else None."""
        return None if isinstance(self.map, DisplacementField) else _matrix(self.map, self.inverted)

    def reversed(self) -> "Link":
        """Return the link gone through the other way."""
        return Link(self.name, self.map, not self.inverted)


def backwards(chain: Sequence[Link]) -> list[Link]:
    """Return the chain that leads from the moving image back to the fixed one."""
    return [link.reversed() for link in reversed(chain)]


@dataclass(frozen=True, eq=False)
class Passage:
    """Where points came to on their way through a chain.

    Attributes
    ----------
    points_mm : (n, 3) array
        LPS positions at the end of the chain.
    inside : (links, n) bool array
        Whether each link's field covered the point; beyond it the border's displacement was
        taken. Always true for affine links.
    residual_mm : (n,) array
        Largest error of the inversions on the way; 0 without inverted fields.
    """

    points_mm: Array
    inside: npt.NDArray[np.bool_]
    residual_mm: Array


class Chain:
    """A chain, ready to carry points.

    Parameters
    ----------
    links : sequence of Link
        In the order that a fixed point goes through them.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = list(links)
        self._tools = [_tool(link) for link in self.links]

    def __call__(self, points_mm: Array) -> Passage:
        """Carry LPS points (n, 3) through all links."""
        points = np.asarray(points_mm, dtype=np.float64)
        residual = np.zeros(len(points))
        inside = np.ones((len(self.links), len(points)), dtype=np.bool_)
        for place, (link, tool) in enumerate(zip(self.links, self._tools, strict=True)):
            if isinstance(tool, FieldInverter):
                found = tool(points)
                points = found.points_mm
                residual = np.maximum(residual, found.residual_mm)
            if isinstance(link.map, DisplacementField):
                inside[place] = lies_inside(link.map.grid, points)
            if isinstance(tool, FieldSampler):
                points = points + tool(points)
            elif isinstance(tool, np.ndarray):
                points = points @ tool[:3, :3].T + tool[:3, 3]
        return Passage(points, inside, residual)


def _tool(link: Link) -> FieldSampler | FieldInverter | Array:
    if isinstance(link.map, DisplacementField):
        return FieldInverter(link.map) if link.inverted else FieldSampler(link.map)
    return _matrix(link.map, link.inverted)


def _matrix(matrix: Array, inverted: bool) -> Array:
    return np.asarray(np.linalg.inv(matrix) if inverted else matrix)


@dataclass(frozen=True, eq=False)
class Composition:
    """A chain written as one field, and what was lost on the way.

    Attributes
    ----------
    field : DisplacementField
        The whole chain on the grid that was asked for; float32.
    covered : (I, J, K) bool array
        Where every field of the chain had a displacement to give.
    outside_fraction : tuple of floats
        For each link the share of points that it did not cover.
    residual_mm : (I, J, K) float32 array
        Error of the inversions.
    between_mean_mm, between_p95_mm, between_max_mm : float
        Distance, in the middle between voxels, of the field read linearly from the chain itself.
        At the voxel centres the field is exact.
    """

    field: DisplacementField
    covered: Mask3D
    outside_fraction: tuple[float, ...]
    residual_mm: npt.NDArray[np.float32]
    between_mean_mm: float
    between_p95_mm: float
    between_max_mm: float


def as_matrix(links: Sequence[Link]) -> Array | None:
    """Return an affine chain as one (4, 4) matrix; None when there is a field in it."""
    whole = np.eye(4)
    for link in links:
        matrix = link.matrix
        if matrix is None:
            return None
        whole = matrix @ whole
    return whole


def compose_chain(links: Sequence[Link], grid: Geometry) -> Composition:
    """Return the chain as one field on `grid`.

    Raises
    ------
    GeometryError
        If no point of the grid reaches the field of one link.
    """
    chain = Chain(links)
    data = np.empty((*grid.shape, 3), dtype=np.float32)
    covered = np.empty(grid.shape, dtype=np.bool_)
    residual = np.empty(grid.shape, dtype=np.float32)
    reached = np.zeros(len(chain.links))
    for part in slabs(grid):
        start = slab_points(grid, part)
        passage = chain(start.reshape(-1, 3))
        data[:, :, part] = passage.points_mm.reshape(start.shape) - start
        covered[:, :, part] = passage.inside.all(axis=0).reshape(start.shape[:-1])
        residual[:, :, part] = passage.residual_mm.reshape(start.shape[:-1])
        reached += passage.inside.sum(axis=1)
    _check_reached(chain.links, reached, grid)
    field = DisplacementField(data, grid)
    between = _between(chain, field)
    return Composition(
        field,
        covered,
        tuple(float(share) for share in 1 - reached / covered.size),
        residual,
        float(between.mean()),
        float(np.percentile(between, 95)),
        float(between.max()),
    )


def _check_reached(links: Sequence[Link], reached: Array, grid: Geometry) -> None:
    for place, link in enumerate(links):
        if reached[place] > 0 or not isinstance(link.map, DisplacementField):
            continue
        centre = corners_mm(grid).mean(axis=0, keepdims=True)
        x, y, z = Chain(links[:place])(centre).points_mm[0]
        box = corners_mm(link.map.grid)
        spans = ", ".join(
            f"{axis} {low:.0f} to {high:.0f}"
            for axis, low, high in zip("xyz", box.min(axis=0), box.max(axis=0), strict=True)
        )
        raise GeometryError(
            f"{link.name}: no point of the output grid reaches this field: the middle of the grid "
            f"arrives at ({x:.0f}, {y:.0f}, {z:.0f}) mm, the field covers {spans} mm; check the "
            "order of the chain, what is inverted, and the output grid (--like)"
        )


def _between(chain: Chain, field: DisplacementField) -> Array:
    """Return the error in mm at up to 30,000 points in the middle between eight voxels."""
    grid = field.grid
    axes = [np.arange(0, max(n - 1, 1), max(1, n // 30)) + 0.5 * (n > 1) for n in grid.shape]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points = index_to_world(grid, index)
    passage = chain(points)
    known = passage.inside.all(axis=0)
    if not known.any():
        return np.zeros(1)
    error = points + FieldSampler(field)(points) - passage.points_mm
    return np.asarray(np.linalg.norm(error[known], axis=1))
