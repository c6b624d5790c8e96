"""A tiny data set: a bright ball with a brighter core in noise, one for each subject."""

from pathlib import Path

import numpy as np

from pipeline.io import write_volume
from pipeline.types import Geometry, Volume

LABELS = {"shell": 1, "core": 2}
SHAPE = (18, 20, 16)


def make_case(seed: int, *, shape=SHAPE, spacing_mm=(1.0, 1.0, 1.0)) -> tuple[Volume, Volume]:
    """Return image and mask on an LPS grid."""
    rng = np.random.default_rng(seed)
    centre = np.asarray(shape) / 2.0 - 0.5 + rng.uniform(-1.5, 1.5, 3)
    apart = np.moveaxis(np.indices(shape), 0, -1) - centre
    distance = np.linalg.norm(apart, axis=-1)
    mask = (distance < 6).astype(np.uint8) + (distance < 3.2)
    image = 100.0 * mask + 20.0 * rng.standard_normal(shape) + 300.0
    grid = Geometry(shape, spacing_mm, (0.0, 0.0, 0.0), np.eye(3))
    return Volume(image.astype(np.float32), grid), Volume(mask.astype(np.uint8), grid)


def write_sheet(
    folder: Path, count: int = 6, *, column: dict[str, list[str]] | None = None
) -> Path:
    """Write images, masks and the sheet; `column` adds columns to it."""
    extra = column or {}
    lines = ["\t".join(["subject", "image", "mask", *extra])]
    for number in range(count):
        image, mask = make_case(number)
        write_volume(folder / f"images/s{number}.nii.gz", image)
        write_volume(folder / f"masks/s{number}.nii.gz", mask)
        cells = [f"s{number}", f"images/s{number}.nii.gz", f"masks/s{number}.nii.gz"]
        lines.append("\t".join([*cells, *(values[number] for values in extra.values())]))
    path = folder / "sheet.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
