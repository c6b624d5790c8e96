"""Cohort extraction beside PyRadiomics' own batch command, and the memory of a large CT.

    python scripts/bench_radiomics.py cohort --data ../shared/data/nsclc --cores 2
    python scripts/bench_radiomics.py memory

`cohort` runs both programs on the same images, one after the other, with 107 features (the original
image, all classes) and with 1,130 (also wavelet and Laplacian of Gaussian of 1, 2 and 3 mm), and
compares every value. CPU seconds are those of all processes. `memory` measures a CT of 512 x 512 x
300 voxels with a lesion of 10 ml and every image type.
"""

import argparse
import csv
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OURS = [sys.executable, "-m", "cli.main"]
THEIRS = [str(Path(sys.executable).with_name("pyradiomics"))]
FILTERS = "original,wavelet,log"
ALL = "original,wavelet,log,square,squareroot,logarithm,exponential,gradient,lbp2d,lbp3d"
CLASSES = "shape,firstorder,glcm,glrlm,glszm,gldm,ngtdm"
THREADS = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    )
}  # fmt: skip
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER


def main() -> None:
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cohort = commands.add_parser("cohort")
    cohort.add_argument("--data", type=Path, default=Path("../shared/data/nsclc"))
    cohort.add_argument("--cases", type=int, default=60)
    cohort.add_argument("--cores", type=int, default=2)
    cohort.add_argument("--features", choices=("107", "1130", "both"), default="both")
    commands.add_parser("memory")
    worker = commands.add_parser("measure")
    worker.add_argument("shape", nargs=3, type=int)
    asked = parser.parse_args()
    if asked.command == "cohort":
        for features in ("107", "1130") if asked.features == "both" else (asked.features,):
            compare(asked.data, asked.cases, asked.cores, features)
    elif asked.command == "memory":
        memory()
    else:
        measure(tuple(asked.shape))


def compare(data: Path, cases: int, cores: int, features: str) -> None:
    """Run both programs on the first cases and print time and agreement."""
    names = sorted(path.name for path in (data / "images").glob("*.nii.gz"))[:cases]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = [(name[:-7], data / "images" / name, data / "masks" / name) for name in names]
        sheet, batch, params = write_inputs(folder, rows, features)
        ours, theirs = folder / "ours.tsv", folder / "theirs.csv"
        filters = ["--images", FILTERS, "--log-sigma", "1,2,3"] if features == "1130" else []
        command = [*OURS, "radiomics-cohort", str(sheet), "--kind", "ct", "--classes", CLASSES]
        command += [*filters, "--cores", str(cores), "--out", str(ours), "--quiet"]
        own = timed(command)
        peer = timed([
            *THEIRS, str(batch), "-o", str(theirs), "-f", "csv", "--jobs", str(cores),
            "--param", str(params), "--verbosity", "1",
        ])  # fmt: skip
        print(f"{len(names)} images, {features} features, {cores} cores")
        for name, (wall, cpu) in (("medpipe", own), ("pyradiomics", peer)):
            print(f"  {name:12s} {wall:7.1f} s {cpu:7.1f} CPU s")
        print(f"  ratio        {peer[0] / own[0]:7.2f}   {peer[1] / own[1]:7.2f}")
        print(f"  {agreement(ours, theirs)}")


def write_inputs(folder: Path, rows: list, features: str) -> tuple[Path, Path, Path]:
    """Write the sheet, PyRadiomics' batch table and its parameter file."""
    sheet, batch, params = folder / "images.tsv", folder / "batch.csv", folder / "params.yaml"
    lines = ["subject\timage\tmask"]
    lines += [f"{name}\t{image.resolve()}\t{mask.resolve()}" for name, image, mask in rows]
    sheet.write_text("\n".join(lines) + "\n")
    lines = ["ID,Image,Mask"]
    lines += [f"{name},{image.resolve()},{mask.resolve()}" for name, image, mask in rows]
    batch.write_text("\n".join(lines) + "\n")
    more = "  Wavelet: {}\n  LoG: {sigma: [1.0, 2.0, 3.0]}\n" if features == "1130" else ""
    kinds = "".join(f"  {name}:\n" for name in CLASSES.split(","))
    params.write_text(
        f"setting:\n  binWidth: 25\nimageType:\n  Original: {{}}\n{more}featureClass:\n{kinds}"
    )
    return sheet, batch, params


def timed(command: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a command with all that it starts."""
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **THREADS}, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def agreement(ours: Path, theirs: Path) -> str:
    """Return the largest relative difference over all values that both have."""
    from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES

    columns = {(f.feature_class, f.pyradiomics): f.column for f in (*FEATURES, *OPTIONAL_FEATURES)}
    with ours.open() as stream:
        own = {row["subject"]: row for row in csv.DictReader(stream, delimiter="\t")}
    compared, worst, where = 0, 0.0, ""
    with theirs.open() as stream:
        for row in csv.DictReader(stream):
            for name, text in row.items():
                image, _, rest = name.partition("_")
                column = columns.get(tuple(rest.split("_", 1)))
                if column is None or not text:
                    continue
                column = column if image == "original" else f"{image}_{column}"
                found, expected = float(own[row["ID"]][column] or "nan"), float(text)
                difference = abs(found - expected) / max(abs(expected), 1e-12)
                compared += 1
                if not difference <= worst:
                    worst, where = difference, f"{row['ID']} {column}: {found!r}, {expected!r}"
    return f"{compared} values compared, largest relative difference {worst:.1e} ({where})"


def memory() -> None:
    """Print the peak memory of a large CT, and of reading it alone."""
    for shape in ((512, 512, 300),):
        done = subprocess.run(
            [sys.executable, __file__, "measure", *map(str, shape)],
            env={**os.environ, **THREADS}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        print(done.stdout.strip() or done.stderr[-2000:])


def measure(shape: tuple[int, int, int]) -> None:
    """Write a CT of int16 with a lesion of 10 ml, then measure it in a process of its own."""
    from pipeline.io import write_volume
    from pipeline.types import Geometry, Volume

    spacing_mm = (0.8, 0.8, 1.0)
    grid = Geometry(shape, spacing_mm, (0.0, 0.0, 0.0), np.eye(3))
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = rng.integers(-1000, 400, shape, dtype=np.int16)
        write_volume(folder / "ct.nii.gz", Volume(data, grid))
        del data
        centre = [n // 2 for n in shape]
        axes = np.ogrid[tuple(slice(0, n) for n in shape)]
        far = sum(((a - c) * s) ** 2 for a, c, s in zip(axes, centre, spacing_mm, strict=True))
        inside = far <= (10_000 * 3 / 4 / np.pi) ** (2 / 3)
        write_volume(folder / "mask.nii.gz", Volume(inside.astype(np.uint8), grid))
        voxels = int(inside.sum())
        del far, inside
        options = ["--kind", "ct", "--images", ALL, "--log-sigma", "1,2,3,4,5", "--quiet"]
        command = [*OURS, "radiomics", str(folder / "ct.nii.gz"), str(folder / "mask.nii.gz")]
        start = time.perf_counter()
        child = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit(f"exit status {status}")
        print(
            f"{' x '.join(map(str, shape))}, {voxels} voxels inside, every image type: "
            f"{used.ru_maxrss / 1024:.0f} MiB, {seconds:.1f} s, "
            f"{used.ru_utime + used.ru_stime:.1f} CPU s"
        )


if __name__ == "__main__":
    main()
