"""Real pairs of the registration benchmark: what is fixed, what is moving, what is known of it.

Every pair is written once as NIfTI files, so that all engines read the same voxels. The images are
those of MEDPIPE_DATA; see its README for where they come from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.io import read_mask, read_series, read_table, read_volume, write_volume
from pipeline.types import Volume

Study = Literal["lung_ct_pair", "glioma_longitudinal", "hippocampus", "breast_dce"]
Points = npt.NDArray[np.float64]

#: Air, in HU. What lies below it is no measurement: the scanners fill the corners with -2048.
_AIR_HU = -1024
#: Percentiles of a hippocampus image that become 0 and 1000: its scale differs 15,000-fold.
_RANGE_PERCENT = (1, 99)
_BREAST_CASE = "UCSF-BR-06"
#: Every ninth case of the sorted list, paired half the list apart: neighbours in it may be the
#: two sides of one head.
_HIPPOCAMPUS_PAIRS = (
    ("001", "197"), ("020", "222"), ("042", "242"), ("058", "260"), ("088", "286"),
    ("105", "301"), ("126", "316"), ("145", "331"), ("162", "341"), ("177", "359"),
)  # fmt: skip


@dataclass(frozen=True)
class RealPair:
    """One pair by its names in the data set.

    Attributes
    ----------
    study : str
        Folder in MEDPIPE_DATA.
    fixed, moving : str
        Names of the two images within the study.
    masked : bool
        Whether the images are compared inside their regions only.
    both_ways : bool
        Whether the inverse consistency is wanted: a second run with the roles exchanged.
    """

    study: Study
    fixed: str
    moving: str
    masked: bool = False
    both_ways: bool = False

    @property
    def name(self) -> str:
        """Name of the pair's folder and rows."""
        return f"{self.study}-{self.fixed}-{self.moving}{'-masked' if self.masked else ''}"


#: The lungs come twice: with the images alone, and compared inside the lung masks.
PAIRS: tuple[RealPair, ...] = (
    RealPair("lung_ct_pair", "baseline", "followup"),
    RealPair("lung_ct_pair", "baseline", "followup", masked=True),
    *(
        RealPair("glioma_longitudinal", f"{case}pre", f"{case}post")
        for case in ("01", "02", "04", "06", "08", "10")
    ),
    *(RealPair("hippocampus", fixed, moving) for fixed, moving in _HIPPOCAMPUS_PAIRS),
    RealPair("breast_dce", "phase0", "phase2", both_ways=True),
)


@dataclass(frozen=True, eq=False)
class PreparedPair:
    """A pair as files.

    Attributes
    ----------
    pair : RealPair
        Which one.
    fixed, moving : Path
        Images.
    fixed_region, moving_region : Path
        Masks (0/1) or labels on the images' grids: what the scores are taken in.
    labels : mapping of str to int
        The structures that are compared by Dice and distance; none where the region is a lesion
        that changes, or was drawn once for both images.
    fixed_points_mm, moving_points_mm : (n, 3) arrays, optional
        Corresponding landmarks, LPS.
    """

    pair: RealPair
    fixed: Path
    moving: Path
    fixed_region: Path
    moving_region: Path
    labels: dict[str, int] = field(default_factory=dict)
    fixed_points_mm: Points | None = None
    moving_points_mm: Points | None = None

    @property
    def fixed_compare(self) -> Path | None:
        """Where an engine is to compare the fixed image; None for everywhere."""
        return self.fixed_region if self.pair.masked else None

    @property
    def moving_compare(self) -> Path | None:
        """Where an engine is to compare the moving image; None for everywhere."""
        return self.moving_region if self.pair.masked else None


def prepare(pair: RealPair, data: Path, folder: Path) -> PreparedPair:
    """Write a pair's files into a folder of its own and return where they are.

    Parameters
    ----------
    pair : RealPair
        One of `PAIRS`.
    data : Path
        MEDPIPE_DATA.
    folder : Path
        Work folder; the pair gets a subfolder.

    Raises
    ------
    ReadError
        When an image is missing or broken.
    """
    source, target = data / pair.study, folder / pair.name
    for role, name in (("fixed", pair.fixed), ("moving", pair.moving)):
        image, region = _READERS[pair.study](source, name)
        write_volume(target / f"{role}.nii.gz", image)
        write_volume(target / f"{role}_region.nii.gz", region)
    marked = pair.study == "lung_ct_pair"
    return PreparedPair(
        pair,
        fixed=target / "fixed.nii.gz",
        moving=target / "moving.nii.gz",
        fixed_region=target / "fixed_region.nii.gz",
        moving_region=target / "moving_region.nii.gz",
        labels=_LABELS.get(pair.study, {}),
        fixed_points_mm=_landmarks(source, pair.fixed) if marked else None,
        moving_points_mm=_landmarks(source, pair.moving) if marked else None,
    )


def _lung(source: Path, name: str) -> tuple[Volume, Volume]:
    image = read_volume(source / f"3DCT_lung_{name}.mha")
    padded = Volume(np.maximum(image.data, _AIR_HU), image.grid)
    return padded, read_mask(source / f"3DCT_lung_{name}_mask.mha")


def _glioma(source: Path, name: str) -> tuple[Volume, Volume]:
    case, visit = name[:2], name[2:].capitalize()
    image = read_volume(source / case / f"{visit}_Scan_T1.nii.gz")
    return image, read_mask(source / case / f"{visit}_Mask.nii.gz")


def _hippocampus(source: Path, name: str) -> tuple[Volume, Volume]:
    image = read_volume(source / "images" / f"hippocampus_{name}.nii.gz")
    labels = read_volume(source / "labels" / f"hippocampus_{name}.nii.gz")
    low, high = np.percentile(image.data, _RANGE_PERCENT)
    scaled = 1000 * np.clip((image.data - low) / (high - low), 0, 1)
    return (
        Volume(scaled.astype(np.float32), image.grid),
        Volume(labels.data.astype(np.uint8), labels.grid),
    )


def _breast(source: Path, name: str) -> tuple[Volume, Volume]:
    series = read_series(source / _BREAST_CASE / "image_dce_3dfgre_orig")
    region = read_mask(source / _BREAST_CASE / "mask", like=series.grid)
    return series.image(int(name.removeprefix("phase"))), region


def _landmarks(source: Path, name: str) -> Points:
    table = read_table(source / f"landmarks_{name}.tsv")
    return np.asarray(table[["x_mm", "y_mm", "z_mm"]], dtype=np.float64)


_READERS: dict[Study, Callable[[Path, str], tuple[Volume, Volume]]] = {
    "lung_ct_pair": _lung,
    "glioma_longitudinal": _glioma,
    "hippocampus": _hippocampus,
    "breast_dce": _breast,
}
_LABELS: dict[Study, dict[str, int]] = {
    "lung_ct_pair": {"lungs": 1},
    "hippocampus": {"anterior": 1, "posterior": 2},
}
