"""Time of voxel-wise GLCM maps: medpipe against PyRadiomics' voxel mode, one thread each.

Both get the same made-up image and region in one process, in turns, the clock being CPU time.
medpipe maps the whole region. PyRadiomics maps a block of it, in the batches that suit it best of
those tried; its time per voxel, which does not depend on the size of the block, is multiplied by
the voxels of the region. --whole runs it on all voxels instead. Values are compared on the block.

    python scripts/bench_maps.py                        # 64 x 64 x 64 voxels, bin width 25
    python scripts/bench_maps.py --classes gldm --levels 16
    python scripts/bench_maps.py --whole                # minutes to an hour
"""

import argparse
import importlib
import logging
import time
import warnings
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from pipeline.radiomics.engine.settings import TextureSettings
from pipeline.radiomics.maps.measure import MEASURES, measure, plan_maps
from pipeline.radiomics.maps.settings import MapSettings
from pipeline.types import Geometry, Volume

_THEIRS = {
    "firstorder": "RadiomicsFirstOrder", "glcm": "RadiomicsGLCM", "glrlm": "RadiomicsGLRLM",
    "glszm": "RadiomicsGLSZM", "gldm": "RadiomicsGLDM", "ngtdm": "RadiomicsNGTDM",
}  # fmt: skip
_BATCHES = (50, 200, 1000)


def main() -> None:
    """Run both sides and print a table."""
    options = _options()
    threadpool_limits(1)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    image, mask = _phantom(options)
    for name in options.classes.split(","):
        _compare(name, image, mask, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=64, help="edge of the region in voxels")
    parser.add_argument("--levels", type=float, default=32, help="grey levels of the image")
    parser.add_argument("--sigma", type=float, default=1.0, help="smoothness of the image, voxels")
    parser.add_argument("--radius", type=int, default=1)
    parser.add_argument("--classes", default="glcm", help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--block", type=int, default=12, help="edge of PyRadiomics' block")
    parser.add_argument("--whole", action="store_true", help="PyRadiomics maps all voxels too")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _phantom(options: argparse.Namespace) -> tuple[Volume, Volume]:
    """Return smoothed noise over the asked number of levels, and a cube within it."""
    shape = (options.size + 4,) * 3
    grid = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    noise = np.random.default_rng(options.seed).normal(size=shape)
    smooth = gaussian_filter(noise, options.sigma) if options.sigma else noise
    inside = np.zeros(shape, bool)
    inside[2:-2, 2:-2, 2:-2] = True
    smooth -= smooth[inside].min()
    smooth *= options.levels * 25 * 0.9999 / smooth[inside].max()
    return Volume(smooth, grid), Volume(inside, grid)


def _compare(name: Any, image: Volume, mask: Volume, options: argparse.Namespace) -> None:
    settings = MapSettings(kernel_radius=options.radius, voxel_batch=-1, texture=TextureSettings())
    ours, theirs = [], []
    for _ in range(options.repeats):
        start = time.process_time()
        plan = plan_maps(image, mask, [name], settings=settings)
        values = np.concatenate([measure(plan, part) for part in plan.pieces], axis=1)
        ours.append(time.process_time() - start)
        if not (options.whole and theirs):
            theirs.append(_theirs(name, image, plan.region.voxels, options))
    seconds, batch, wanted, chosen = min(theirs, key=lambda one: one[0])
    total = len(plan.region.voxels)
    scaled = seconds * total / len(chosen)
    how = "measured" if len(chosen) == total else f"extrapolated from {len(chosen)} voxels"
    print(
        f"{name}: {total} voxels, radius {options.radius}, {plan.region.grey_levels} grey levels "
        f"({len(plan.region.occupied_levels)} occupied), CPU seconds, one thread\n"
        f"  medpipe      {min(ours):10.2f}  whole region\n"
        f"  PyRadiomics  {scaled:10.2f}  {how}, batches of {batch}\n"
        f"  ratio        {scaled / min(ours):10.1f}"
    )
    for column, row in zip(plan.columns, values[:, chosen], strict=True):
        want = wanted[column.split("_")[1]]
        gaps = int((np.isnan(row) != np.isnan(want)).sum())
        relative = np.abs(row - want) / np.maximum(np.abs(want), 1e-6)
        print(f"  {column:44} largest difference {np.nanmax(relative):8.1e}, NaN unlike: {gaps}")


def _theirs(
    name: str, image: Volume, voxels: np.ndarray, options: argparse.Namespace
) -> tuple[float, int, dict[str, np.ndarray], np.ndarray]:
    """Return PyRadiomics' seconds, its batch, its values, and the ranks of the voxels it had."""
    side = options.size if options.whole else min(options.block, options.size)
    first = 2 + (options.size - side) // 2
    chosen = np.flatnonzero(((voxels >= first) & (voxels < first + side)).all(axis=1))
    batches = (200,) if options.whole else _BATCHES
    found = []
    for batch in batches:
        calculator = _calculator(name, image, voxels, batch, options.radius)
        # The levels come from the whole region, the voxels from the block.
        calculator.labelledVoxelCoordinates = (voxels[chosen, ::-1] - 2).T.copy()
        start = time.process_time()
        maps = calculator.execute()
        seconds = time.process_time() - start
        at = tuple(calculator.labelledVoxelCoordinates)
        values = {key: sitk.GetArrayFromImage(one)[at] for key, one in maps.items()}
        found.append((seconds, batch, values, chosen))
    return min(found, key=lambda one: one[0])


def _calculator(name: str, image: Volume, voxels: np.ndarray, batch: int, radius: int) -> Any:
    """Return PyRadiomics' class for the region, cropped to it."""
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    crop = image.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    picture = sitk.GetImageFromArray(np.ascontiguousarray(crop.T))
    region = sitk.GetImageFromArray(np.ones(crop.T.shape, np.uint8))
    module = importlib.import_module(f"radiomics.{name}")
    return getattr(module, _THEIRS[name])(
        picture, region, voxelBased=True, kernelRadius=radius, voxelBatch=batch, binWidth=25
    )


if __name__ == "__main__":
    main()
