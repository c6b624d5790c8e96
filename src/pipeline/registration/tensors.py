"""Images as tensors: the device, filters along axes, and sampling at any point.

Images are float32 tensors indexed ``[..., i, j, k]`` like the arrays of `pipeline.types`;
positions are fractional voxel indices in the same order, their last axis ijk. The same code runs
on the CPU and on a CUDA device.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from pipeline.errors import SettingsError
from pipeline.types import Geometry

if TYPE_CHECKING:
    from pipeline.registration.engine import Device

Matrix = npt.NDArray[np.float64]
#: One (positions, voxels) matrix for each axis.
Matrices = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def pick_device(name: "Device") -> torch.device:
    """Return the device of a name; "auto" is CUDA where there is one.

    Raises
    ------
    SettingsError
        When CUDA is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise SettingsError(
            "device 'cuda': torch finds no CUDA device; use --device cpu, or install the CUDA "
            "build of torch and check with nvidia-smi that the driver sees the card"
        )
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def as_tensor(array: npt.ArrayLike, device: torch.device) -> torch.Tensor:
    """Return a float32 copy on the device; its strides are those of the array order ijk."""
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C")).to(device)


def voxel_to_world(grid: Geometry) -> Matrix:
    """Return the (4, 4) matrix from voxel indices ijk to LPS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = grid.direction * np.asarray(grid.spacing_mm)
    matrix[:3, 3] = grid.origin_mm
    return matrix


def sample(image: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return trilinear values of an image at voxel indices; the nearest edge's outside it.

    Parameters
    ----------
    image : (I, J, K) or (C, I, J, K) tensor
        Each axis has at least two voxels.
    index : (..., 3) tensor
        Fractional voxel indices ijk.

    Returns
    -------
    (...) or (C, ...) tensor
        Can be differentiated with respect to both.
    """
    channels = image if image.ndim == 4 else image[None]
    place = _normalised(index, channels.shape[1:]).reshape(1, 1, 1, -1, 3)
    found = functional.grid_sample(
        channels[None], place, mode="bilinear", padding_mode="border", align_corners=True
    )
    found = found.reshape(len(channels), *index.shape[:-1])
    return found if image.ndim == 4 else found[0]


def slopes(image: torch.Tensor) -> torch.Tensor:
    """Return the derivatives per voxel (3, I, J, K): central differences, one-sided at the ends."""
    return torch.stack(torch.gradient(image))


def inside(index: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return 1 where voxel indices lie in an image's voxels, their outer halves too; else 0."""
    ends = torch.tensor(shape, device=index.device) - 0.5
    return ((index >= -0.5) & (index <= ends)).all(dim=-1).to(torch.float32)


def separable(values: torch.Tensor, matrices: Matrices) -> torch.Tensor:
    """Return values (..., I, J, K) with a matrix (A, I), (B, J), (C, K) applied along each axis."""
    first, second, third = matrices
    found = second @ (values @ third.T)
    flat = first @ found.flatten(-2)
    return flat.unflatten(-1, found.shape[-2:])


def transposed(matrices: Matrices) -> Matrices:
    """Return the matrices of the transposed map."""
    one, two, three = matrices
    return one.T, two.T, three.T


def gaussian_matrix(
    count: int,
    sigma_voxels: float,
    *,
    at: npt.ArrayLike | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Return the matrix (positions, count) of a Gaussian mean along an axis of `count` voxels.

    Parameters
    ----------
    count : int
        Voxels along the axis. Weights that fall beyond its ends are shared by the rest.
    sigma_voxels : float
        SD; 0 smooths nothing.
    at : (positions,) array, optional
        Fractional indices where the smoothed values are wanted (linear between voxels, the
        nearest end's outside); every voxel when missing.
    device : torch.device, optional
        The CPU when missing.
    """
    voxel = np.arange(count, dtype=np.float64)
    weights = np.eye(count)
    if sigma_voxels > 0:
        weights = np.exp(-0.5 * ((voxel[:, None] - voxel) / sigma_voxels) ** 2)
        weights /= weights.sum(axis=1, keepdims=True)
    if at is not None:
        position = np.clip(np.asarray(at, dtype=np.float64), 0, count - 1)
        hat = np.clip(1 - np.abs(position[:, None] - voxel), 0, None)
        weights = hat @ weights
    return torch.as_tensor(weights, dtype=torch.float32, device=device)


def _normalised(index: torch.Tensor, shape: Any) -> torch.Tensor:
    """Return indices ijk as torch wants them: kji, -1 and 1 at the centres of the end voxels."""
    scale = torch.tensor([2.0 / max(n - 1, 1) for n in shape], device=index.device)
    return (index * scale.to(index.dtype) - 1).flip(-1)
