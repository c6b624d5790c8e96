"""An image and its region as another scan, position or observer might have given them.

Image perturbation stands in for test-retest scans (Zwanenburg et al., Sci Rep 2019;9:614,
doi:10.1038/s41598-018-36938-4); the chain of noise, translation, volume and contour came closest
to them there.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.grid_difference import check_same_grid
from pipeline.preprocess.kernels import Interpolation
from pipeline.radiomics.stability.chain import Chain, Perturbation
from pipeline.radiomics.stability.crop import crop_image, crop_mask, region_box, wider
from pipeline.radiomics.stability.noise import add_noise, estimate_noise
from pipeline.radiomics.stability.outline import grow, randomise_contour
from pipeline.radiomics.stability.placement import plan, sample
from pipeline.types import Volume

#: Surroundings in which noise is estimated and supervoxels are sought.
_SURROUNDINGS_MM = 10.0


@dataclass(frozen=True, eq=False)
class Perturbed:
    """What came of a perturbation: image and mask on a crop, and the noise that was added."""

    perturbation: Perturbation
    image: Volume
    mask: Volume
    noise_sd: float


def perturb(
    image: Volume,
    mask: Volume,
    chain: Chain,
    perturbation: Perturbation,
    rng: np.random.Generator,
    *,
    noise_sd: float = 0.0,
    spacing_mm: float | None = None,
    interpolation: Interpolation = "bspline3",
    context_mm: float = 0.0,
) -> tuple[Volume, Volume]:
    """Return image and mask after one perturbation, cropped round the region.

    Parameters
    ----------
    image, mask : Volume
        On one grid; the mask is not 0 inside the region.
    chain : Chain
        Its steps are applied in the order noise, placement, volume, contour.
    perturbation : Perturbation
        The levels.
    rng : Generator
        Of noise, ties and supervoxels.
    noise_sd : float
        In intensity units; used when the chain has noise.
    spacing_mm : float, optional
        Isotropic grid onto which the placement also resamples.
    interpolation : Interpolation
        Of the image, where the placement needs one.
    context_mm : float
        Surroundings to return on each side, for filters.

    Returns
    -------
    (Volume, Volume)
        With no step that does anything, the crop of the image itself.
    """
    check_same_grid(image.grid, mask.grid, ("the image", "the mask"))
    room = _room_mm(mask, perturbation.volume_fraction) if "grow" in chain.steps else 0.0
    margin = room + max(context_mm, _SURROUNDINGS_MM if "contour" in chain.steps else 0.0)
    target, source = plan(mask, perturbation.placement, spacing_mm=spacing_mm, margin_mm=margin)
    picture, region = crop_image(image, source), crop_mask(mask, source)
    if "noise" in chain.steps:
        picture = add_noise(picture, noise_sd, rng)
    picture, region = sample(picture, region, target, interpolation=interpolation)
    if "grow" in chain.steps:
        region = grow(region, perturbation.volume_fraction, rng)
    if "contour" in chain.steps:
        region = randomise_contour(picture, region, rng, supervoxel_mm3=chain.supervoxel_mm3)
    return _surroundings(picture, region, context_mm)


def perturb_all(
    image: Volume,
    mask: Volume,
    chain: Chain,
    drawn: Sequence[Perturbation],
    *,
    key: int = 0,
    spacing_mm: float | None = None,
    interpolation: Interpolation = "bspline3",
    context_mm: float = 0.0,
) -> Iterator[Perturbed]:
    """Yield the image and mask of each perturbation, one in memory at a time.

    Parameters
    ----------
    drawn : sequence of Perturbation
        From `pipeline.radiomics.stability.chain.perturbations`.
    key : int
        Names the image, so that two images do not get the same noise.
    image, mask, chain, spacing_mm, interpolation, context_mm
        As for `perturb`. Noise that the chain does not state is estimated once, in the region and
        its surroundings.
    """
    sd = 0.0
    if "noise" in chain.steps:
        near = _surroundings(image, mask, _SURROUNDINGS_MM)[0]
        sd = estimate_noise(near) if chain.noise_sd is None else chain.noise_sd
    for one in drawn:
        picture, region = perturb(
            image, mask, chain, one, np.random.default_rng([one.seed, key]),
            noise_sd=sd, spacing_mm=spacing_mm, interpolation=interpolation,
            context_mm=context_mm,
        )  # fmt: skip
        yield Perturbed(one, picture, region, sd)


def _surroundings(image: Volume, mask: Volume, margin_mm: float) -> tuple[Volume, Volume]:
    """Return image and mask, cropped to the region and a margin that the image may not have."""
    i, j, k = (math.ceil(margin_mm / s) for s in image.grid.spacing_mm)
    box = wider(region_box(mask), (i, j, k))
    return crop_image(image, box), crop_mask(mask, box)


def _room_mm(mask: Volume, fraction: float) -> float:
    """Return how far a region can reach at most when its volume grows by a fraction.

    Of all shapes the ball has the least surface, so that it moves its surface the farthest.
    """
    if fraction <= 0:
        return 0.0
    volume = float(np.count_nonzero(mask.data)) * mask.grid.voxel_volume_mm3
    radius = math.cbrt(3 * volume / (4 * math.pi))
    return radius * (math.cbrt(1 + fraction) - 1) + 2 * max(mask.grid.spacing_mm)
