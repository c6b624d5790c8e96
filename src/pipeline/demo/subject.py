"""One simulated subject: two visits, and the truth that links them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.demo import kinetics
from pipeline.demo.anatomy import Anatomy, draw_anatomy, tissue_fractions
from pipeline.demo.plan import SubjectPlan
from pipeline.demo.protocols import PROTOCOLS, Protocol, acquisition_grid
from pipeline.demo.shrink import (
    Chain,
    PointMap,
    RadialShrink,
    Rigid,
    SoftBumps,
    rotation_matrix,
    solve_strength,
    times,
)
from pipeline.geometry import index_to_world
from pipeline.types import DisplacementField, Geometry, Series, Volume

Points = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

#: S0 of gland at the middle of the field, in stored units.
_GLAND_SIGNAL = 320.0
#: SD of the point spread over the cube root of the voxel volume.
_POINT_SPREAD = 0.42
#: Distance of the lattice on which true volumes and mean Jacobians are summed.
_TRUTH_STEP_MM = 0.6
#: Every how many points of that lattice the strength of the shrink is solved for. A prime, so
#: that the thinned points do not line up with the lattice.
_SOLVE_EVERY = 23
#: Uptake of normal gland falls under chemotherapy.
_BACKGROUND_CHANGE = 0.8
_SEED_JITTER_MM = 1.1
_SEED_LIMIT_MM = 2.5


@dataclass(frozen=True, eq=False)
class Visit:
    """What one session yields.

    Attributes
    ----------
    series : Series
        int16 images, S0 first.
    mask : Volume
        True tumour on the same grid.
    seed_mm : (3,) tuple
        A reader's click near the middle of the tumour, LPS.
    """

    series: Series
    mask: Volume
    seed_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class SimulatedSubject:
    """Two visits and their truth.

    Attributes
    ----------
    plan : SubjectPlan
        Outcome and covariates.
    baseline, followup : Visit
        Each on its own grid.
    jacobian : Volume
        det dT/dx on the baseline grid; float64.
    displacement : DisplacementField
        T(x) - x in mm (LPS) on the baseline grid; float64.
    mean_jacobian : float
        Mean of the Jacobian over the true tumour at baseline.
    volume_baseline_mm3, volume_followup_mm3 : float
        True tumour volumes; their ratio is `mean_jacobian`.
    anatomy : Anatomy
        The breast at baseline.
    mapping : PointMap
        T, baseline point to follow-up point.
    """

    plan: SubjectPlan
    baseline: Visit
    followup: Visit
    jacobian: Volume
    displacement: DisplacementField
    mean_jacobian: float
    volume_baseline_mm3: float
    volume_followup_mm3: float
    anatomy: Anatomy
    mapping: PointMap


def simulate_subject(
    plan: SubjectPlan, *, seed: int, full_resolution: bool = False
) -> SimulatedSubject:
    """Return one subject; the same for the same seed and subject, whatever the cohort.

    Parameters
    ----------
    plan : SubjectPlan
        From `plan.draw_plan`.
    seed : int
        Seed of the cohort; the subject's number selects its own stream.
    full_resolution : bool
        Acquire with the study's voxels in place of the demo's.

    Returns
    -------
    SimulatedSubject
        Follow-up anatomy at y is baseline anatomy at T^-1(y), evaluated, not interpolated.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(1, int(plan.subject)))
    shape, change, first, second = (np.random.default_rng(s) for s in sequence.spawn(4))
    protocol = PROTOCOLS[plan.centre]
    anatomy = draw_anatomy(shape)
    inside, cell_mm3 = _lattice_inside(anatomy)
    mapping = draw_mapping(change, anatomy, inside, mean_jacobian=plan.mean_jacobian)
    view = anatomy.to_world(np.array([[0.0, 19.0, 0.0]]))[0]
    grids = [
        acquisition_grid(protocol, _triple(view + shift), full_resolution=full_resolution)
        for shift in (np.zeros(3), change.uniform(-1.5, 1.5, 3))
    ]
    points = index_to_world(grids[0], _indices(grids[0]))
    moved = mapping.forward(points)
    back = mapping.inverse(index_to_world(grids[1], _indices(grids[1])))
    determinant = mapping.determinant(inside)
    centre = anatomy.lesion.centre_mm
    return SimulatedSubject(
        plan=plan,
        baseline=_visit(anatomy, protocol, grids[0], points, centre, rng=first),
        followup=_visit(
            anatomy, protocol, grids[1], back, mapping.forward(centre[None])[0],
            rng=second, uptake=plan.uptake_change, background=_BACKGROUND_CHANGE,
        ),
        jacobian=Volume(mapping.determinant(points).reshape(grids[0].shape), grids[0]),
        displacement=DisplacementField(
            (moved - points).reshape((*grids[0].shape, 3)), grids[0]
        ),
        mean_jacobian=float(determinant.mean()),
        volume_baseline_mm3=len(inside) * cell_mm3,
        volume_followup_mm3=float(determinant.sum()) * cell_mm3,
        anatomy=anatomy,
        mapping=mapping,
    )  # fmt: skip


def draw_mapping(
    rng: np.random.Generator, anatomy: Anatomy, inside_mm: Points, *, mean_jacobian: float
) -> Chain:
    """Return a random T whose mean determinant inside the tumour is `mean_jacobian`.

    Parameters
    ----------
    rng : Generator
        Source of the deformation.
    anatomy : Anatomy
        The breast; places the maps.
    inside_mm : (n, 3) array
        Evenly spread points of the tumour.
    mean_jacobian : float
        Wanted mean.

    Returns
    -------
    Chain
        A main shrink about the tumour, two smaller ones inside it that make the response uneven,
        three soft bumps elsewhere in the breast, and a rigid repositioning.
    """
    lesion = anatomy.lesion
    spots = []
    for _ in range(2):
        offset = lesion.axes_mm @ (rng.normal(size=3) * 0.35)
        reach = float(rng.uniform(0.6, 0.85)) * lesion.radius_mm
        spots.append(
            RadialShrink(lesion.centre_mm + offset, np.eye(3), rng.uniform(-0.10, 0.12), reach)
        )
    reach = float(rng.uniform(1.45, 1.75))
    later: list[PointMap] = [*spots, draw_bumps(rng, anatomy), draw_rigid(rng, anatomy)]
    strength = solve_strength(
        inside_mm[::_SOLVE_EVERY],
        mean_jacobian,
        centre_mm=lesion.centre_mm,
        axes_mm=lesion.axes_mm,
        reach=reach,
        then=later,
    )
    return Chain((RadialShrink(lesion.centre_mm, lesion.axes_mm, strength, reach), *later))


def draw_bumps(rng: np.random.Generator, anatomy: Anatomy) -> SoftBumps:
    """Return three mild soft-tissue shifts away from the tumour."""
    tries = rng.uniform(-1, 1, (60, 3)) * anatomy.semi_axes_mm * (0.9, 0.45, 0.9)
    world = anatomy.to_world(tries + np.array([0.0, 0.5 * anatomy.semi_axes_mm[1], 0.0]))
    distance = np.linalg.norm(world - anatomy.lesion.centre_mm, axis=1)
    far = np.argsort(distance < 30.0, kind="stable")[:3]
    shifts = rng.normal(size=(3, 3))
    shifts *= (rng.uniform(0.8, 2.2, 3) / np.linalg.norm(shifts, axis=1))[:, None]
    return SoftBumps(world[far], shifts, rng.uniform(15.0, 22.0, 3))


def draw_rigid(rng: np.random.Generator, anatomy: Anatomy) -> Rigid:
    """Return a repositioning by a few millimetres and degrees about the breast."""
    angles = np.clip(rng.normal(0.0, np.deg2rad(1.8), 3), -0.08, 0.08)
    shift = np.clip(rng.normal(0.0, 2.0, 3), -4.0, 4.0)
    centre = anatomy.to_world(np.array([[0.0, 20.0, 0.0]]))[0]
    return Rigid(rotation_matrix(angles.tolist()), centre, shift)


def _visit(
    anatomy: Anatomy,
    protocol: Protocol,
    grid: Geometry,
    points_mm: Points,
    centre_mm: Values,
    *,
    rng: np.random.Generator,
    uptake: float = 1.0,
    background: float = 1.0,
) -> Visit:
    """Acquire one session: `points_mm` are where the voxels lie in the baseline anatomy."""
    blur_mm = _POINT_SPREAD * float(np.cbrt(grid.voxel_volume_mm3))
    fractions = tissue_fractions(anatomy, points_mm, blur_mm=blur_mm)
    lesion = np.flatnonzero(fractions[:, kinetics.TISSUES.index("lesion")] > 1e-3)
    ktrans = uptake * anatomy.lesion.ktrans(points_mm[lesion])
    ve = anatomy.lesion.volume_fraction(points_mm[lesion])
    coefficients = np.asarray(protocol.coil) + rng.normal(0.0, 0.05, 9)
    unit = 2.0 * _indices(grid) / (np.asarray(grid.shape) - 1.0) - 1.0
    coil = kinetics.coil_profile(unit * np.diag(grid.direction), coefficients)
    gain = _GLAND_SIGNAL / _signal("gland", protocol, np.zeros(1))[0]
    images = []
    for time_s in protocol.time_s:
        clean = _clean_image(protocol, fractions, time_s, background=background)
        enhanced = kinetics.tissue_concentration(time_s, ktrans_per_min=ktrans, ve=ve)
        share = fractions[lesion, kinetics.TISSUES.index("lesion")]
        clean[lesion] += share * _signal("lesion", protocol, enhanced)
        noisy = kinetics.rician(gain * coil * clean, protocol.noise * _GLAND_SIGNAL, rng)
        images.append(np.round(noisy).astype(np.int16).reshape(grid.shape))
    jitter = rng.normal(0.0, _SEED_JITTER_MM, 3)
    jitter *= min(1.0, _SEED_LIMIT_MM / float(np.linalg.norm(jitter)))
    mask = anatomy.lesion.contains(points_mm).reshape(grid.shape)
    return Visit(
        series=Series(np.stack(images, axis=-1), grid, protocol.time_s),
        mask=Volume(mask, grid),
        seed_mm=_triple(np.round(centre_mm + jitter, 2)),
    )


def _clean_image(
    protocol: Protocol, fractions: Values, time_s: float, *, background: float
) -> Values:
    """Return the noise-free signal of everything but the lesion, before gain and coil."""
    signals = np.zeros(len(kinetics.TISSUES))
    for column, name in enumerate(kinetics.TISSUES):
        tissue = kinetics.PROPERTIES[name]
        if name == "lesion":
            continue
        if name == "vessel":
            held = (1.0 - kinetics.HAEMATOCRIT) * kinetics.plasma_concentration(time_s)
            concentration = np.array([held])
        else:
            ktrans = tissue.ktrans_per_min * (background if name == "gland" else 1.0)
            concentration = kinetics.tissue_concentration(
                time_s, ktrans_per_min=np.array([ktrans]), ve=tissue.ve
            )
        signals[column] = _signal(name, protocol, concentration)[0]
    return times(fractions, signals[:, None])[:, 0]


def _signal(name: str, protocol: Protocol, concentration_mm: Values) -> Values:
    tissue = kinetics.PROPERTIES[name]
    rate = 1000.0 / tissue.t1_ms[protocol.field_t]
    return kinetics.spoiled_gradient_echo(
        rate + kinetics.RELAXIVITY_PER_MM_S[protocol.field_t] * concentration_mm,
        tr_ms=protocol.tr_ms,
        te_ms=protocol.te_ms,
        flip_deg=protocol.flip_deg,
        t2star_ms=tissue.t2star_ms,
        density=tissue.density,
    )


def _lattice_inside(anatomy: Anatomy) -> tuple[Points, float]:
    """Return a fine lattice of points inside the lesion, and the volume each stands for."""
    extent = anatomy.lesion.extent_mm()
    ticks = np.arange(-extent, extent + _TRUTH_STEP_MM, _TRUTH_STEP_MM)
    lattice = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice += anatomy.lesion.centre_mm
    return lattice[anatomy.lesion.contains(lattice)], _TRUTH_STEP_MM**3


def _indices(grid: Geometry) -> Points:
    return np.stack(
        np.meshgrid(*(np.arange(n, dtype=np.float64) for n in grid.shape), indexing="ij"), axis=-1
    ).reshape(-1, 3)


def _triple(values: Values) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c
