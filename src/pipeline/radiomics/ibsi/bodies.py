"""Simple bodies round a region: ellipsoid of its moments, smallest box, smallest ellipsoid."""

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from pipeline.radiomics.ibsi.surface import Points
from pipeline.types import Array1D

#: Terms of the Legendre series, as in the reference manual.
_TERMS = 20

#: Relative growth of the smallest ellipsoid below which it is found.
_TOLERANCE = 1e-7
_MAX_STEPS = 20_000


def ellipsoid_area(axes: Array1D) -> float:
    """Return the surface that IBSI ascribes to an ellipsoid with these semi-axes.

    Legendre series of the reference manual with 20 terms, as printed there:
    4 pi a b sum (AB)^n / (1 - 4 n²) P_n((A² + B²) / (2 A B)), A² = 1 - b²/a², B² = 1 - c²/a².
    The series of the true surface has 1 - c²/a² and 1 - c²/b² in their place; the reference
    values follow the print (the digital phantom's area density is 1.36, by the true surface 1.30).
    Written in the products (AB)^n P_n, it stays finite for a ball (A = B = 0).
    """
    longest, middle, shortest = np.sort(np.asarray(axes, dtype=np.float64))[::-1]
    if longest <= 0:
        return 0.0
    alpha = 1.0 - (middle / longest) ** 2
    beta = 1.0 - (shortest / longest) ** 2
    half, product = (alpha + beta) / 2.0, alpha * beta
    before, now, total = 0.0, 1.0, 1.0
    for n in range(_TERMS):
        before, now = now, ((2 * n + 1) * half * now - n * product * before) / (n + 1)
        total += now / (1.0 - 4.0 * (n + 1) ** 2)
    return float(4.0 * np.pi * longest * middle * total)


def box_volume_area(sides: Array1D) -> tuple[float, float]:
    """Return volume and surface of a box."""
    a, b, c = (float(side) for side in sides)
    return a * b * c, 2.0 * (a * b + b * c + a * c)


def smallest_box(corners: Points, normals: Points) -> Array1D:
    """Return the sides of the smallest box with a face along a face of the convex hull.

    For each face the hull is projected onto it, and the smallest rectangle round the projection
    has a side along one of its edges (Freeman and Shapira 1975). A box whose faces all touch the
    hull by edges only could be smaller still; none is looked for.
    """
    best, sides = np.inf, np.full(3, np.nan)
    for normal in np.vstack([normals, np.eye(3)]):
        across = _across(normal)
        height = float(np.ptp(corners @ normal))
        flat = corners @ across.T
        width, depth = _smallest_rectangle(flat)
        if width * depth * height < best:
            best, sides = width * depth * height, np.array([width, depth, height])
    return np.asarray(sides)


def smallest_ellipsoid(corners: Points) -> Array1D:
    """Return the semi-axes of the smallest ellipsoid that holds all points.

    Khachiyan's ascent with the away steps of Todd and Yildirim (2007,
    doi:10.1016/j.dam.2007.02.013), which converge linearly.
    """
    number, dimension = corners.shape
    lifted = np.hstack([corners - corners.mean(axis=0), np.ones((number, 1))])
    weight = np.full(number, 1.0 / number)
    goal = dimension + 1.0
    for _ in range(_MAX_STEPS):
        inverse = np.linalg.inv((lifted.T * weight) @ lifted)
        reach = np.einsum("ia,ab,ib->i", lifted, inverse, lifted)
        far = int(reach.argmax())
        near = int(np.where(weight > 0, reach, np.inf).argmin())
        over, under = reach[far] / goal - 1.0, 1.0 - reach[near] / goal
        if max(over, under) < _TOLERANCE:
            break
        at = far if over > under else near
        step = (reach[at] - goal) / (goal * (reach[at] - 1.0))
        step = max(step, -weight[at] / (1.0 - weight[at]))  # a weight stays at or above 0
        weight = weight * (1.0 - step)
        weight[at] = max(weight[at] + step, 0.0)
    centre = weight @ corners
    spread = (corners - centre).T @ ((corners - centre) * weight[:, None])
    # Stretched so that it truly holds every point.
    inside = np.einsum("ia,ab,ib->i", corners - centre, np.linalg.inv(spread), corners - centre)
    return np.asarray(np.sqrt(np.linalg.eigvalsh(spread) * inside.max()))


def _across(normal: Array1D) -> Points:
    """Return two unit vectors at right angles to a direction and to each other."""
    normal = normal / np.linalg.norm(normal)
    first = np.eye(3)[np.abs(normal).argmin()]
    first = first - normal * (first @ normal)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def _smallest_rectangle(points: Points) -> tuple[float, float]:
    try:
        outline = points[ConvexHull(points).vertices]
    except QhullError:
        outline = points
    edges = np.diff(outline, axis=0, append=outline[:1])
    length = np.linalg.norm(edges, axis=1)
    along = edges[length > 0] / length[length > 0, None]
    along_extent = np.ptp(outline @ along.T, axis=0)
    across_extent = np.ptp(outline @ np.stack([-along[:, 1], along[:, 0]]), axis=0)
    best = int((along_extent * across_extent).argmin())
    return float(along_extent[best]), float(across_extent[best])
