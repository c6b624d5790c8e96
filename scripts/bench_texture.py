"""Seconds per feature class of a region: medpipe's engine, PyRadiomics 3.0.1 and Nyxus.

The region is a ball of 237,000 voxels in a cube of 96, or as asked, with smooth structure and
noise in about 55 grey levels. medpipe and PyRadiomics start from the arrays, one class at a time
and then all at once; Nyxus, from an environment of its own, starts from files, so the same files
are read for medpipe in a last row. Nyxus' 3-D set holds other definitions (64 or so levels of
its own, or IBSI's) and some features more. Two pictures are handed to it: the intensities, and
the grey levels themselves, which its co-occurrence matrix works on much faster.

    .venv-bench/bin/pip install nyxus==0.11.0
    python scripts/bench_texture.py
    python scripts/bench_texture.py --radius 13.4 --repeats 10

The engine's values are compared with PyRadiomics' on the way; the exit code tells whether they
agree to 1e-9.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from pipeline.io import read_mask, read_volume, write_volume
from pipeline.radiomics.calculate import TextureSettings, calculate, calculate_by_pyradiomics
from pipeline.radiomics.dictionary import CLASS_COUNTS, OPTIONAL_CLASS_COUNTS
from pipeline.radiomics.engine.levels import bin_edges, discretise
from pipeline.types import Geometry, Volume

CLASSES = (*CLASS_COUNTS, *OPTIONAL_CLASS_COUNTS)
SETTINGS = TextureSettings(bin_width=25.0)
TOLERANCE = 1e-9

#: Run by the interpreter of the other environment: files and group in, best seconds out.
_NYXUS = """
import json, sys, time
from nyxus import Nyxus3D
image, mask, group, ibsi, repeats = sys.argv[1:]
engine = Nyxus3D(features=[group], n_feature_calc_threads=1, ibsi=ibsi == "True")
found = []
for _ in range(int(repeats)):
    cpu, wall = time.process_time(), time.perf_counter()
    columns = engine.featurize_files([image], [mask], False).shape[1]
    found.append((time.process_time() - cpu, time.perf_counter() - wall))
cpu, wall = (min(part) for part in zip(*found))
print("MEASURED", json.dumps({"cpu": cpu, "wall": wall, "features": columns - 4}))
"""
_NYXUS_GROUPS = {
    "shape": "*3D_ALL_MORPHOLOGY*", "firstorder": "*3D_ALL_INTENSITY*", "glcm": "*3D_GLCM*",
    "glrlm": "*3D_GLRLM*", "glszm": "*3D_GLSZM*", "gldm": "*3D_GLDM*", "ngtdm": "*3D_NGTDM*",
    "all": "*3D_ALL*",
}  # fmt: skip


def main() -> int:
    """Measure each side, print the table, and compare the values."""
    options = _options()
    image, mask = _region(options.size, options.radius)
    region = _on_box(image, mask)
    levels = calculate(*region, ("firstorder",), settings=SETTINGS).occupied_levels
    print(f"{np.count_nonzero(mask.data):,} voxels, {levels} grey levels; best of", end=" ")
    print(f"{options.repeats}, one thread each\n")
    with tempfile.TemporaryDirectory() as folder:
        with threadpool_limits(1):
            rows = _measured(region, options.repeats)
            from_files = _from_files(Path(folder), image, mask, options.repeats)
        rows["all, from files"] = {"ours": from_files}
        nyxus = _nyxus_rows(options, Path(folder), image, mask)
    _print_table(rows, nyxus)
    return _agreement(region)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--radius", type=float, default=38.4, help="of the ball, in voxels")
    parser.add_argument("--size", type=int, default=96, help="of the cube, in voxels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--nyxus-python", type=Path, default=Path(".venv-bench/bin/python"), metavar="PROGRAM"
    )
    return parser.parse_args()


def _region(size: int, radius: float) -> tuple[Volume, Volume]:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(size,) * 3), 3)
    data = smooth / smooth.std() * 150 + rng.normal(size=(size,) * 3) * 60
    centre = (size - 1) / 2
    distance = np.sqrt(sum((axis - centre) ** 2 for axis in np.indices((size,) * 3)))
    grid = Geometry((size,) * 3, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    # Whole numbers from 0: what every side can read.
    whole = np.rint(data - data.min())
    return Volume(whole, grid), Volume((distance <= radius).astype(np.uint8), grid)


def _on_box(image: Volume, mask: Volume) -> tuple[Volume, Volume]:
    at = np.argwhere(mask.data)
    box = tuple(slice(a, b) for a, b in zip(at.min(0), at.max(0) + 1, strict=True))
    shape = mask.data[box].shape
    grid = Geometry(shape, mask.grid.spacing_mm, mask.grid.origin_mm, mask.grid.direction)
    return Volume(image.data[box].copy(), grid), Volume(mask.data[box].copy(), grid)


def _best(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    found = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = (min(part) for part in zip(*found, strict=True))
    return {"cpu": cpu, "wall": wall}


def _measured(
    region: tuple[Volume, Volume], repeats: int
) -> dict[str, dict[str, dict[str, float]]]:
    rows = {}
    for name, classes in [*((name, (name,)) for name in CLASSES), ("all", CLASSES)]:
        rows[name] = {
            side: _best(lambda run=run, c=classes: run(*region, c, settings=SETTINGS), repeats)
            for side, run in (("ours", calculate), ("pyradiomics", calculate_by_pyradiomics))
        }
    return rows


def _from_files(folder: Path, image: Volume, mask: Volume, repeats: int) -> dict[str, float]:
    paths = folder / "image.nii", folder / "mask.nii"
    write_volume(paths[0], image)
    write_volume(paths[1], mask)

    def run() -> None:
        region = _on_box(read_volume(paths[0]), read_mask(paths[1]))
        calculate(*region, CLASSES, settings=SETTINGS)

    return _best(run, repeats)


def _nyxus_rows(
    options: argparse.Namespace, folder: Path, image: Volume, mask: Volume
) -> dict[str, dict[str, dict[str, float]]]:
    """Return its seconds by picture and class; nothing where it is not installed."""
    program = options.nyxus_python.absolute()
    if subprocess.run([program, "-c", "import nyxus"], capture_output=True).returncode:
        print(f"no Nyxus in {program}: pip install nyxus==0.11.0 there to see it beside\n")
        return {}
    values = image.data.ravel()
    levels = discretise(values, bin_edges(values, SETTINGS.bin_width, None))
    pictures = {"intensities": image.data, "levels": levels.reshape(image.data.shape)}
    for name, data in pictures.items():
        write_volume(folder / f"{name}.nii", Volume(data.astype(np.uint16), image.grid))
    return {
        f"{name}{', ibsi' if ibsi else ''}": {
            row: _nyxus(program, folder, name, group, ibsi, options.repeats)
            for row, group in _NYXUS_GROUPS.items()
        }
        for name, ibsi in (("intensities", False), ("levels", False), ("levels", True))
    }


def _nyxus(
    program: Path, folder: Path, picture: str, group: str, ibsi: bool, repeats: int
) -> dict[str, float]:
    files = [str(folder / f"{picture}.nii"), str(folder / "mask.nii")]
    command = [str(program), "-c", _NYXUS, *files, group, str(ibsi), str(repeats)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("MEASURED"))
    found: dict[str, float] = json.loads(line.split(" ", 1)[1])
    return found


def _print_table(
    rows: dict[str, dict[str, dict[str, float]]], nyxus: dict[str, dict[str, dict[str, float]]]
) -> None:
    for what in ("cpu", "wall"):
        print(
            f"{what} ms".ljust(18)
            + "ours  PyRadiomics  ratio"
            + "".join(f"  Nyxus on {name}" for name in nyxus)
        )
        for row, sides in rows.items():
            print(_line(row, sides, nyxus, what))
        print()


def _line(
    row: str,
    sides: dict[str, dict[str, float]],
    nyxus: dict[str, dict[str, dict[str, float]]],
    what: str,
) -> str:
    ours, theirs = sides["ours"][what], sides.get("pyradiomics", {}).get(what)
    line = f"{row:15}{1e3 * ours:7.1f}"
    line += f"{1e3 * theirs:13.1f}{theirs / ours:7.1f}" if theirs else " " * 20
    for name, found in nyxus.items():
        # Nyxus always starts from files: its whole set stands beside ours that does too.
        known = found.get("all" if row == "all, from files" else row)
        shown = f"{1e3 * known[what]:.1f}" if known and row != "all" else ""
        line += shown.rjust(len(f"  Nyxus on {name}"))
    return line


def _agreement(region: tuple[Volume, Volume]) -> int:
    ours = calculate(*region, CLASSES, settings=SETTINGS).values
    theirs = calculate_by_pyradiomics(*region, CLASSES, settings=SETTINGS).values
    apart = {c: abs(ours[c] - v) / abs(v) if v else abs(ours[c]) for c, v in theirs.items()}
    worst = max(apart, key=lambda column: apart[column])
    met = apart[worst] <= TOLERANCE
    print(
        f"{len(ours)} features; largest relative difference from PyRadiomics "
        f"{apart[worst]:.1e} ({worst}), limit {TOLERANCE:g}: {'met' if met else 'missed'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
