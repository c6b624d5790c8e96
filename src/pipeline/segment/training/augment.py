"""Patches moved, bent, scaled, mirrored and given other intensities, all in torch.

Everything spatial (rotation, scaling, translation, elastic deformation) is one map, so that an
image is interpolated once. The map decides which box of the image is read: no border appears
inside a patch that the image does not have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from pipeline.errors import SettingsError
from pipeline.segment.plan import Plan, Shape
from pipeline.segment.training.cache import Prepared
from pipeline.segment.training.sampling import Draw, crop


@dataclass(frozen=True)
class Augmentation:
    """How patches are varied; a chance of 0 leaves a part out.

    Attributes
    ----------
    spatial, elastic : float
        Chance that a patch is moved, and that a moved patch is bent as well.
    rotation_deg : float
        Largest angle about each axis, each drawn evenly; for slices about the third axis alone.
    scaling : float
        Largest factor; its inverse is the smallest. One factor for all axes.
    translation : float
        Largest shift, in parts of the patch.
    bend : float
        Largest displacement of a knot, in parts of the distance of two knots.
    knots : int
        Knots along each axis of a patch.
    flip_axes : ints
        Axes (0: left-right, 1: front-back, 2: up-down) along which half of the patches are
        mirrored.
    brightness, contrast, gamma, noise, blur : float
        Chance of each.
    """

    spatial: float = 0.7
    elastic: float = 0.5
    rotation_deg: float = 15.0
    scaling: float = 1.25
    translation: float = 0.05
    bend: float = 0.15
    knots: int = 4
    flip_axes: tuple[int, ...] = (0,)
    brightness: float = 0.2
    contrast: float = 0.2
    gamma: float = 0.3
    noise: float = 0.15
    blur: float = 0.15


#: What `--augment` offers besides none: how far from the defaults above.
STRENGTHS: dict[str, dict[str, float]] = {
    "light": {
        "spatial": 0.5, "elastic": 0.0, "rotation_deg": 8.0, "scaling": 1.1,
        "brightness": 0.1, "contrast": 0.1, "gamma": 0.15, "noise": 0.1, "blur": 0.1,
    },
    "usual": {},
    "strong": {
        "spatial": 0.9, "elastic": 0.7, "rotation_deg": 30.0, "scaling": 1.4, "bend": 0.25,
        "brightness": 0.3, "contrast": 0.3, "gamma": 0.4, "noise": 0.2, "blur": 0.2,
    },
}  # fmt: skip


def augmentation_of(strength: str, flip_axes: tuple[int, ...]) -> Augmentation | None:
    """Return the augmentation of a strength: none, or a key of `STRENGTHS`.

    Raises
    ------
    SettingsError
        Another word.
    """
    if strength == "none":
        return None
    if strength not in STRENGTHS:
        known = ", ".join(["none", *STRENGTHS])
        raise SettingsError(f"augment {strength!r}: unknown; use one of {known}")
    values: dict[str, Any] = {**STRENGTHS[strength]}
    return Augmentation(flip_axes=flip_axes, **values)


#: The ranges of intensity: factors, exponents, SD of noise and of blur in voxels.
_BRIGHTNESS, _CONTRAST, _GAMMA = (0.75, 1.25), (0.7, 1.3), (0.7, 1.5)
_NOISE, _BLUR = (0.0, 0.3), (0.4, 1.0)


def make_batch(
    cases: Sequence[Prepared],
    draws: Sequence[Draw],
    plan: Plan,
    augmentation: Augmentation | None,
    generator: torch.Generator,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut out patches and vary them.

    Parameters
    ----------
    cases, draws
        See `sampling.draw_patches`.
    plan : Plan
        Patch, spacing and dimensions.
    augmentation : Augmentation or None
        None: patches as they are.
    generator : torch.Generator
        On the CPU; all that is random comes from it.
    device : torch.device
        Where the work is done and the batch lies.

    Returns
    -------
    images : (N, 1, I, J, K) float32 tensor
        (N, 1, I, J) for a network of slices.
    classes : (N, I, J, K) int64 tensor
        Without K likewise.
    """
    images, classes = [], []
    for draw in draws:
        moved = _offsets(plan, augmentation, generator, device) if augmentation else None
        image, label = _cut(cases[draw.case], draw, plan.patch, moved, device)
        for axis in augmentation.flip_axes if augmentation else ():
            if plan.patch[axis] > 1 and _chance(0.5, generator):
                image, label = image.flip(axis), label.flip(axis)
        images.append(image)
        classes.append(label)
    batch = torch.stack(images).unsqueeze(1)
    if augmentation:
        batch = vary_intensities(batch, augmentation, generator)
    target = torch.stack(classes).long()
    return (batch[..., 0], target[..., 0]) if plan.dimensions == 2 else (batch, target)


def _cut(
    case: Prepared,
    draw: Draw,
    patch: Shape,
    offsets: torch.Tensor | None,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image and classes of one patch, read at the voxels `centre + offsets`."""
    centre = np.asarray(draw.centre)
    if offsets is None:
        start = np.round(centre - (np.asarray(patch) - 1) / 2.0).astype(int).tolist()
        image, classes = (crop(a, start, patch) for a in (case.image, case.classes))
        return _tensor(image, device), _tensor(classes, device)
    points = offsets + torch.as_tensor(centre, dtype=torch.float32, device=device)
    flat = points.reshape(-1, 3)
    low = np.floor(flat.amin(0).cpu().numpy()).astype(int)
    high = np.ceil(flat.amax(0).cpu().numpy()).astype(int) + 1
    # nothing is read beyond one voxel of zeros round the image
    low = np.clip(low, -1, np.asarray(case.image.shape))
    high = np.clip(high, low + 1, np.asarray(case.image.shape) + 1)
    start, size = low.tolist(), (high - low).tolist()
    image = _tensor(crop(case.image, start, size), device)
    classes = _tensor(crop(case.classes, start, size), device).float()
    # grid_sample counts the axes from the last and puts -1 and 1 at the outer faces of the box
    box = torch.as_tensor(size, dtype=torch.float32, device=device)
    corner = torch.as_tensor(start, dtype=torch.float32, device=device)
    where = ((2.0 * (points - corner) + 1.0) / box - 1.0).flip(-1).unsqueeze(0)

    def read(source: torch.Tensor, mode: str) -> torch.Tensor:
        return functional.grid_sample(
            source[None, None], where, mode=mode, padding_mode="zeros", align_corners=False
        )[0, 0]

    return read(image, "bilinear"), read(classes, "nearest")


def _offsets(
    plan: Plan, augmentation: Augmentation, generator: torch.Generator, device: torch.device
) -> torch.Tensor | None:
    """Return where each voxel of a patch is read, (I, J, K, 3) voxels from the centre."""
    if not _chance(augmentation.spatial, generator):
        return None
    planar = plan.dimensions == 2
    spacing = torch.tensor(plan.spacing_mm, dtype=torch.float32)
    matrix = _rotation(augmentation.rotation_deg, planar, generator)
    scale = math.exp(_between(-1.0, 1.0, generator) * math.log(augmentation.scaling))
    matrix = matrix * (torch.tensor([scale, scale, 1.0]) if planar else scale)
    # a rotation in millimetres, written for voxels
    in_voxels = (matrix * spacing).T / spacing
    size = torch.tensor(plan.patch, dtype=torch.float32)
    reach = augmentation.translation * size * torch.tensor([1.0, 1.0, 0.0 if planar else 1.0])
    shift = (2 * torch.rand(3, generator=generator) - 1) * reach
    axes = [torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in plan.patch]
    own = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    offsets = own @ in_voxels.to(device) + shift.to(device)
    if _chance(augmentation.elastic, generator):
        offsets = offsets + _bent(plan.patch, augmentation, planar, generator).to(device)
    return offsets


def _rotation(limit_deg: float, planar: bool, generator: torch.Generator) -> torch.Tensor:
    """Return a 3x3 rotation about the three axes, or about the third alone."""
    matrix = torch.eye(3)
    for axis in (2,) if planar else (0, 1, 2):
        angle = math.radians(limit_deg * _between(-1.0, 1.0, generator))
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3)
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    return matrix


def _bent(
    patch: Shape, augmentation: Augmentation, planar: bool, generator: torch.Generator
) -> torch.Tensor:
    """Return a smooth displacement (I, J, K, 3) in voxels, interpolated between random knots."""
    knots = [min(augmentation.knots, n) for n in patch]
    drawn = 2 * torch.rand((1, 3, *knots), generator=generator) - 1
    apart = torch.tensor(
        [(n - 1) / max(k - 1, 1) for n, k in zip(patch, knots, strict=True)], dtype=torch.float32
    )
    if planar:
        apart[2] = 0.0
    field = functional.interpolate(drawn, size=patch, mode="trilinear", align_corners=True)
    return field[0].movedim(0, -1) * (augmentation.bend * apart)


def vary_intensities(
    batch: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Return the batch (N, C, ...) with other intensities; each patch has its own draw."""
    return torch.stack([_varied(patch, augmentation, generator) for patch in batch])


def _varied(
    patch: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    if _chance(augmentation.blur, generator):
        patch = _blurred(patch, _between(*_BLUR, generator))
    if _chance(augmentation.brightness, generator):
        patch = patch * _between(*_BRIGHTNESS, generator)
    if _chance(augmentation.contrast, generator):
        mean = patch.mean()
        changed = (patch - mean) * _between(*_CONTRAST, generator) + mean
        patch = changed.clamp(patch.min(), patch.max())
    if _chance(augmentation.gamma, generator):
        patch = _gamma(patch, _between(*_GAMMA, generator))
    if _chance(augmentation.noise, generator):
        there = torch.Generator(patch.device)
        there.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        noise = torch.randn(patch.shape, generator=there, device=patch.device)
        patch = patch + _between(*_NOISE, generator) * noise
    return patch


def _gamma(patch: torch.Tensor, exponent: float) -> torch.Tensor:
    """Return the range of the patch bent by a power; mean and SD stay."""
    low, high = patch.min(), patch.max()
    width = (high - low).clamp_min(1e-7)
    bent = ((patch - low) / width) ** exponent * width + low
    deviation = bent.std().clamp_min(1e-7)
    return (bent - bent.mean()) / deviation * patch.std() + patch.mean()


def _blurred(patch: torch.Tensor, sd: float) -> torch.Tensor:
    """Return the patch (C, ...) smoothed by a Gaussian of `sd` voxels."""
    radius = max(1, math.ceil(2.5 * sd))
    taps = torch.arange(-radius, radius + 1, dtype=patch.dtype, device=patch.device)
    weights = torch.exp(-0.5 * (taps / sd) ** 2)
    weights = weights / weights.sum()
    for axis in range(1, patch.ndim):
        if patch.shape[axis] == 1:
            continue
        lines = patch.movedim(axis, -1)
        flat = functional.pad(lines.reshape(-1, 1, lines.shape[-1]), (radius,) * 2, "replicate")
        smooth = functional.conv1d(flat, weights.view(1, 1, -1))
        patch = smooth.reshape(lines.shape).movedim(-1, axis)
    return patch


def _tensor(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(device)


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
