"""One breast in continuous coordinates: what fraction of each tissue lies at any point.

Surfaces are signed distances, edges are Gaussian steps (the first-order partial volume of a
point spread of that width), texture is a smooth random field. Nothing is stored on a grid, so a
follow-up is the same anatomy evaluated at warped points, without interpolation blur.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from pipeline.demo.fields import SmoothField, draw_field
from pipeline.demo.kinetics import TISSUES
from pipeline.demo.lesion import RADIUS_MM, Lesion, draw_lesion
from pipeline.demo.shrink import lengths

Points = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

SKIN_MM = 2.2
MUSCLE_MM = 10.0
RIB_MM = 9.0
#: No lesion comes nearer to the skin or the muscle than this, and none leaves the field.
_CLEARANCE_MM = 5.0
_SUBCUTANEOUS_MM = 13.0
_UNION_MM = 14.0
_RIB_EVERY_MM = 27.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Parameters of one breast. Local axes: lateral, anterior from the chest wall, superior.

    Attributes
    ----------
    side : int
        1 left (+x in LPS), -1 right.
    base_mm : (3,) array
        LPS point on the chest wall behind the nipple.
    semi_axes_mm : (3,) array
        Of the breast ellipsoid, lateral, anterior, superior.
    sag : float
        How far the breast hangs per mm of anterior distance.
    gland_level : float
        Amount of fibro-glandular tissue; higher is denser.
    coarse, fine, strands : SmoothField
        Texture of the gland and of the ligaments in fat.
    vessel_phases : (3, 4) array
        Shape of three vessels.
    lesion : Lesion
        The tumour.
    """

    side: int
    base_mm: Values
    semi_axes_mm: Values
    sag: float
    gland_level: float
    coarse: SmoothField
    fine: SmoothField
    strands: SmoothField
    vessel_phases: npt.NDArray[np.float64]
    lesion: Lesion

    def to_local(self, points_mm: Points) -> Points:
        """Return (lateral, anterior, superior) mm of LPS points (n, 3)."""
        x, y, z = (points_mm - self.base_mm).T
        return np.stack([self.side * x, -y, z], axis=1)

    def to_world(self, local_mm: Points) -> Points:
        """Return LPS points (n, 3) of local coordinates."""
        lateral, anterior, superior = np.asarray(local_mm).T
        return np.stack([self.side * lateral, -anterior, superior], axis=1) + self.base_mm


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Return a random breast with its lesion."""
    side = 1 if rng.random() < 0.5 else -1
    lesion = draw_lesion(rng, np.zeros(3), radius_mm=float(rng.uniform(*RADIUS_MM)))
    breast = Anatomy(
        side=side,
        base_mm=np.array([side * 78.0, -60.0, 0.0]) + rng.uniform(-3, 3, 3),
        semi_axes_mm=np.array([rng.uniform(43, 48), rng.uniform(53, 59), rng.uniform(37, 41)]),
        sag=float(rng.uniform(0.02, 0.12)),
        gland_level=float(rng.uniform(-0.15, 0.35)),
        coarse=draw_field(rng, (7.0, 9.0, 7.0)),
        fine=draw_field(rng, 3.6),
        strands=draw_field(rng, (9.0, 13.0, 9.0)),
        vessel_phases=rng.uniform(0.0, 1.0, (3, 4)),
        lesion=lesion,
    )
    return replace(breast, lesion=replace(lesion, centre_mm=_place(rng, breast)))


def skin_depth(anatomy: Anatomy, local_mm: Points) -> Values:
    """Return the distance in mm below the skin (positive inside) of local points (n, 3)."""
    lateral, anterior, superior = local_mm.T
    hung = np.stack([lateral, anterior, superior + anatomy.sag * anterior], axis=1)
    scaled = lengths(hung / anatomy.semi_axes_mm)
    steep = lengths(hung / anatomy.semi_axes_mm**2)
    # First-order distance to an ellipsoid: level over gradient, finite at the centre.
    breast = scaled * (1.0 - scaled) / np.maximum(steep, 1e-6)
    breast = np.where(scaled < 1e-6, float(anatomy.semi_axes_mm.min()), breast)
    nipple = np.array([0.0, anatomy.semi_axes_mm[1] - 1.0, 0.0])
    nipple[2] = -anatomy.sag * nipple[1]
    tip = 4.5 - lengths(local_mm - nipple)
    trunk = chest_wall(lateral) + _SUBCUTANEOUS_MM - anterior
    return _smooth_max(_smooth_max(breast, tip, 3.0), trunk, _UNION_MM)


def chest_wall(lateral_mm: Values) -> Values:
    """Return how far anterior the chest wall lies: it falls back to the side."""
    return np.asarray(-0.22 * lateral_mm - lateral_mm**2 / 260.0)


def tissue_fractions(anatomy: Anatomy, points_mm: Points, *, blur_mm: float) -> Values:
    """Return the tissue fractions at points.

    Parameters
    ----------
    anatomy : Anatomy
        The breast.
    points_mm : (n, 3) array
        LPS points of the baseline visit.
    blur_mm : float
        SD of the point spread.

    Returns
    -------
    (n, 8) array
        Fractions in the order of `kinetics.TISSUES`, each in 0..1; the rest to 1 is air.
    """
    local = anatomy.to_local(points_mm)
    depth = skin_depth(anatomy, local)
    fractions = np.zeros((len(points_mm), len(TISSUES)))
    inside = np.flatnonzero(depth > -4.0 * blur_mm)
    part = _inside_fractions(anatomy, points_mm[inside], local[inside], depth[inside], blur_mm)
    fractions[inside] = part
    return fractions


def _inside_fractions(
    anatomy: Anatomy, points_mm: Points, local_mm: Points, depth_mm: Values, blur_mm: float
) -> Values:
    below_skin = _step(depth_mm - SKIN_MM, blur_mm)
    lateral, anterior, superior = local_mm.T
    behind = chest_wall(lateral) - anterior
    muscle = _step(behind, blur_mm)
    lung = _step(behind - MUSCLE_MM - RIB_MM, blur_mm)
    # Ribs run obliquely, one every 27 mm; between them lies muscle again.
    along = np.mod(superior + 0.35 * lateral, _RIB_EVERY_MM) - 0.5 * _RIB_EVERY_MM
    across = behind - MUSCLE_MM - 0.5 * RIB_MM
    rib = _step(0.5 * RIB_MM - np.hypot(across, 0.7 * along), blur_mm)
    sheets = anatomy.strands(local_mm)
    strand = 0.06 * (1.0 + np.tanh(sheets))
    soft = below_skin * (1.0 - muscle)
    lesion = _step(_lesion_depth(anatomy.lesion, points_mm), blur_mm)
    vessel = soft * _vessels(anatomy, local_mm, blur_mm) * (1.0 - lesion)
    gland = _gland(anatomy, local_mm, depth_mm, sheets)
    room = soft * (1.0 - lesion) - vessel
    columns = {
        "skin": _step(depth_mm, blur_mm) - below_skin,
        "fat": room * (1.0 - gland) + below_skin * strand * (muscle - lung - rib),
        "gland": room * gland,
        "muscle": below_skin * (1.0 - strand) * (muscle - lung - rib),
        "rib": below_skin * rib,
        "lung": below_skin * lung,
        "vessel": vessel,
        "lesion": lesion * soft,
    }
    return np.clip(np.stack([columns[name] for name in TISSUES], axis=1), 0.0, 1.0)


def _gland(anatomy: Anatomy, local_mm: Points, depth_mm: Values, sheets: Values) -> Values:
    """Return the fibro-glandular fraction: a textured cone behind the nipple, and ligaments."""
    a, b, c = anatomy.semi_axes_mm
    middle = np.array([0.10 * a, 0.46 * b, -0.46 * b * anatomy.sag])
    envelope = 1.0 - lengths((local_mm - middle) / (0.68 * a, 0.50 * b, 0.68 * c))
    fine = anatomy.fine(local_mm)
    texture = 0.42 * anatomy.coarse(local_mm) + 0.17 * fine
    level = 1.3 * envelope + texture + anatomy.gland_level - 0.2
    lobules = _step(level, 0.14) * _step(depth_mm - 7.0, 1.5) * _step(envelope + 0.25, 0.12)
    lobules *= 0.88 + 0.1 * np.tanh(fine)
    ligaments = 0.5 * np.exp(-((sheets / 0.16) ** 2)) * _step(depth_mm - 3.0, 1.0)
    return np.asarray(np.maximum(lobules, ligaments))


def _vessels(anatomy: Anatomy, local_mm: Points, blur_mm: float) -> Values:
    """Return the fraction of vessel: three wavy tubes that run from the wall to the nipple."""
    a, b, c = anatomy.semi_axes_mm
    lateral, anterior, superior = local_mm.T
    way = anterior / b
    found = np.zeros(len(local_mm))
    for turn, (p, q, r, s) in enumerate(anatomy.vessel_phases):
        angle = 2 * np.pi * (turn + 0.8 * p) / 3.0
        spread = 0.78 * np.sqrt(np.clip(1.0 - way**2, 0.02, None))
        middle_x = a * spread * np.cos(angle) + 3.0 * np.sin(2 * np.pi * (1.3 * way + q))
        middle_z = c * spread * np.sin(angle) + 3.0 * np.cos(2 * np.pi * (1.1 * way + r))
        distance = np.hypot(lateral - middle_x, superior - middle_z + anatomy.sag * anterior)
        # The tube leans, so the distance across it is shorter than that in its plane.
        found = np.maximum(found, _step(1.0 + 0.6 * s - 0.85 * distance, blur_mm))
    return found


def _lesion_depth(lesion: Lesion, points_mm: Points) -> Values:
    depth = np.full(len(points_mm), -1e3)
    near = np.flatnonzero(lengths(points_mm - lesion.centre_mm) < 1.3 * lesion.extent_mm() + 6.0)
    depth[near] = lesion.radius_mm * (1.0 - lesion.relative_radius(points_mm[near]))
    return depth


def _place(rng: np.random.Generator, anatomy: Anatomy) -> Values:
    """Return a centre with the clearance all round, or else the roomiest of 1000 tries."""
    a, b, c = anatomy.semi_axes_mm
    reach = anatomy.lesion.extent_mm() + _CLEARANCE_MM
    tries = rng.uniform(-1, 1, (1000, 3)) * (0.45 * a, 0.35 * b, 0.40 * c) + (0.05 * a, 0.42 * b, 0)
    wall = tries[:, 1] - chest_wall(tries[:, 0])
    room = np.minimum(skin_depth(anatomy, tries), 0.95 * wall) - reach
    fits = np.flatnonzero(room > 0)
    chosen = int(fits[0]) if fits.size else int(np.argmax(room))
    return np.asarray(anatomy.to_world(tries[chosen][None])[0])


def _step(distance_mm: Values, blur_mm: float) -> Values:
    """Return a Gaussian-blurred step: 0 far outside, 1 far inside."""
    return np.asarray(special.ndtr(np.asarray(distance_mm) / blur_mm))


def _smooth_max(first: Values, second: Values, width_mm: float) -> Values:
    """Return a maximum rounded within `width_mm` (polynomial blend, C1)."""
    blend = np.clip(0.5 + 0.5 * (first - second) / width_mm, 0.0, 1.0)
    return np.asarray(second + blend * (first - second) + width_mm * blend * (1.0 - blend))
