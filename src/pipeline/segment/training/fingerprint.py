"""What a data set looks like: sizes, spacings, intensities, classes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import CohortError
from pipeline.preprocess.orientation import canonical_move, move_grid
from pipeline.types import Volume

Kind = Literal["ct", "mr"]

#: Foreground voxels that speak for one image.
_SAMPLE = 5000
#: CT numbers of air and fat lie below this; a normalised or raw MR image does not reach it.
_CT_MINIMUM = -200.0
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, eq=False)
class CaseFingerprint:
    """One image.

    Attributes
    ----------
    shape, spacing_mm : three numbers
        Along the axes nearest to L, P, S.
    minimum, maximum : float
        Of the whole image.
    sample : (n,) float32 array
        Intensities inside the foreground.
    volumes_mm3 : mapping of str to float
        Volume of each label.
    unknown : ints
        Values of the mask that no label has, 0 apart.
    digest, mask_digest : str
        sha256 of the voxels: equal images have equal digests.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    minimum: float
    maximum: float
    sample: npt.NDArray[np.float32]
    volumes_mm3: Mapping[str, float]
    unknown: tuple[int, ...]
    digest: str
    mask_digest: str

    @property
    def foreground_mm3(self) -> float:
        """Volume of all labels."""
        return float(sum(self.volumes_mm3.values()))


@dataclass(frozen=True)
class Fingerprint:
    """A data set.

    Attributes
    ----------
    cases : int
    shapes, spacings_mm : sequences of three numbers
        Of each case, along the axes nearest to L, P, S.
    kind : {"ct", "mr"}
        "mr" stands for every image whose scale has no unit.
    low, high, mean, sd : float
        0.5 and 99.5 % percentiles, mean and SD of the intensities inside the foreground.
    volumes_mm3 : mapping of str to float
        Median volume of each label where it occurs.
    present : mapping of str to int
        Cases with at least one voxel of each label.
    """

    cases: int
    shapes: tuple[tuple[int, int, int], ...]
    spacings_mm: tuple[tuple[float, float, float], ...]
    kind: Kind
    low: float
    high: float
    mean: float
    sd: float
    volumes_mm3: Mapping[str, float]
    present: Mapping[str, int]


def describe_case(image: Volume, mask: Volume, labels: Mapping[str, int]) -> CaseFingerprint:
    """Return the fingerprint of one image and its mask, which share a grid."""
    grid = move_grid(image.grid, canonical_move(image.grid))
    foreground = np.isin(mask.data, list(labels.values()))
    inside = image.data[foreground].astype(np.float32)
    step = max(1, -(-inside.size // _SAMPLE))
    values, counts = np.unique(mask.data, return_counts=True)
    count = dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))
    voxel = image.grid.voxel_volume_mm3
    return CaseFingerprint(
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
        minimum=float(image.data.min()),
        maximum=float(image.data.max()),
        sample=inside[::step],
        volumes_mm3={name: count.get(value, 0) * voxel for name, value in labels.items()},
        unknown=tuple(v for v in sorted(count) if v != 0 and v not in labels.values()),
        digest=_digest(image.data),
        mask_digest=_digest(mask.data),
    )


def combine(cases: Sequence[CaseFingerprint], *, kind: Kind | None = None) -> Fingerprint:
    """Return the fingerprint of a data set.

    Parameters
    ----------
    cases : sequence
        At least one.
    kind : {"ct", "mr"}, optional
        By default told from the values: CT when half of the images reach far below 0.

    Raises
    ------
    CohortError
        When a label occurs nowhere.
    """
    names = list(cases[0].volumes_mm3)
    of = {name: [c.volumes_mm3[name] for c in cases if c.volumes_mm3[name] > 0] for name in names}
    absent = [name for name, volumes in of.items() if not volumes]
    if absent:
        found = ", ".join(str(v) for v in sorted({v for c in cases for v in c.unknown})) or "none"
        raise CohortError(
            [
                f"label {name!r} has no voxel in any mask (values without a name: {found});"
                " correct --labels"
                for name in absent
            ]
        )
    sample = np.concatenate([case.sample for case in cases]).astype(np.float64)
    low, high = np.percentile(sample, _PERCENTILES)
    lowest = float(np.median([case.minimum for case in cases]))
    return Fingerprint(
        cases=len(cases),
        shapes=tuple(case.shape for case in cases),
        spacings_mm=tuple(case.spacing_mm for case in cases),
        kind=kind or ("ct" if lowest < _CT_MINIMUM else "mr"),
        low=float(low),
        high=float(high),
        mean=float(sample.mean()),
        sd=float(sample.std()),
        volumes_mm3={name: float(np.median(volumes)) for name, volumes in of.items()},
        present={name: len(volumes) for name, volumes in of.items()},
    )


def _digest(data: npt.NDArray[Any]) -> str:
    found = hashlib.sha256(f"{data.shape} {data.dtype.str}".encode())
    found.update(np.ascontiguousarray(data).data)
    return found.hexdigest()
