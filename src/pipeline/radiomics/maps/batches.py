"""What PyRadiomics leaves out because it takes many voxels together.

A direction that is empty in one window but not in all of a batch stays in the batch's matrices, as
NaN. Most means pass over it; GLCM's JointAverage does not, and for MCC numpy refuses the whole
batch. Without any batch there is nothing to do here, unless there is but one direction.
"""

import torch
from torch import Tensor

from pipeline.radiomics.maps.pairs import neighbours
from pipeline.radiomics.maps.region import Region

_CHUNK = 1 << 15


def lost_to_batches(region: Region) -> tuple[Tensor, Tensor]:
    """Return which voxels lose JointAverage (to NaN) and MCC (to the initial value): (N,) each."""
    number = len(region.positions)
    batch = region.settings.voxel_batch
    batch = number if batch == -1 else batch
    present = _present(region)
    index = torch.arange(number, device=present.device) // batch
    batches = int(index[-1]) + 1
    kept = torch.zeros((batches, present.shape[1]), dtype=torch.int32, device=present.device)
    kept.index_add_(0, index, present.to(torch.int32))
    kept_here = (kept > 0)[index] if len(region.directions) > 1 else torch.ones_like(present)
    hurt = (kept_here & ~present).any(1)
    failed = torch.zeros(batches, dtype=torch.int32, device=present.device)
    failed.index_add_(0, index, hurt.to(torch.int32))
    return hurt, (failed > 0)[index]


def matters(region: Region) -> bool:
    """Return whether a batch can make a difference."""
    return region.settings.voxel_batch != 1 or len(region.directions) == 1


def _present(region: Region) -> Tensor:
    """Return whether each window has pairs along each direction (N, directions)."""
    ends = [neighbours(region, direction) for direction in region.directions]
    rows = []
    for start in range(0, len(region.positions), _CHUNK):
        there = region.window_levels(slice(start, start + _CHUNK)) > 0
        rows.append(torch.stack([(there[one] & there[other]).any(0) for one, other in ends], 1))
    return torch.cat(rows)
