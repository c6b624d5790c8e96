"""The engines behind one call: NIfTI files in, a displacement field out, cost measured outside.

Each engine runs in a process of its own (`workers/`), so that no engine shares memory or threads
with another, and competing packages stay out of the program's environment: theirs is
`.venv-bench`, made by ``make bench-registration``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]
_WORKERS = Path(__file__).parent / "workers"
_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})

#: Cores that every engine may use.
THREADS = 2

#: name -> worker, options it always gets. The medpipe ones run in the program's own environment.
WORKERS: dict[str, tuple[str, dict[str, str]]] = {
    "greedy": ("greedy.py", {}),
    "demons": ("demons.py", {}),
    "elastix": ("elastix.py", {}),
    "ants": ("ants_syn.py", {}),
    "simpleitk": ("medpipe.py", {"engine": "simpleitk"}),
    "torch": ("medpipe.py", {"engine": "torch"}),
}


class EngineFailedError(Exception):
    """An engine ended without a field."""


@dataclass(frozen=True)
class EngineRun:
    """One registration and what it cost.

    Attributes
    ----------
    field_path : Path
        Displacement x -> x + u(x) on the fixed grid, mm along LPS, affine part included.
    wall_s, cpu_s : float
        From the end of the imports to the end of the process: reading the images, registering,
        writing the field. CPU time is user and system time of all threads.
    peak_mib : float
        Largest resident memory of the process.
    start_s : float
        Wall time of the interpreter and the imports, which the others leave out.
    """

    field_path: Path
    wall_s: float
    cpu_s: float
    peak_mib: float
    start_s: float


def bench_python() -> str:
    """Return the interpreter that has the competing engines: BENCH_PYTHON, or .venv-bench."""
    return os.environ.get("BENCH_PYTHON", str(ROOT / ".venv-bench/bin/python"))


def run_engine(
    name: str,
    fixed: Path,
    moving: Path,
    folder: Path,
    *,
    fixed_compare: Path | None = None,
    moving_compare: Path | None = None,
    options: Mapping[str, str] = _NO_OPTIONS,
) -> EngineRun:
    """Register a pair of NIfTI files with one engine.

    Parameters
    ----------
    name : str
        Key of `WORKERS`.
    fixed, moving : Path
        NIfTI images.
    folder : Path
        Made if missing; gets field.nii, what the engine said (log.txt) and the request.
    fixed_compare, moving_compare : Path, optional
        Masks (above 0) where the images are compared. demons knows none and ignores them.
    options : mapping
        ``affine``: "yes" (default: rigid and affine first) or "no" (the images are aligned;
        medpipe's engines do their affine stage all the same).
        Anything else is for the worker named; each says what it takes. A GPU is hidden unless
        ``device`` is "cuda".

    Raises
    ------
    EngineFailedError
        The process failed or left no field; the message ends with its last words.
    """
    worker, own = WORKERS[name]
    python = sys.executable if worker == "medpipe.py" else bench_python()
    folder.mkdir(parents=True, exist_ok=True)
    field, report = folder / "field.nii", folder / "measured.json"
    for old in (field, report, folder / "started.json"):
        old.unlink(missing_ok=True)
    request = {
        "fixed": str(fixed.resolve()),
        "moving": str(moving.resolve()),
        "fixed_compare": _text(fixed_compare),
        "moving_compare": _text(moving_compare),
        "folder": str(folder.resolve()),
        "threads": THREADS,
        "options": {"affine": "yes", **own, **options},
    }
    (folder / "request.json").write_text(json.dumps(request, indent=1))
    command = [python, str(_WORKERS / worker), str(folder.resolve())]
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_WORKERS / "measure.py"), str(report), *command],
            stdout=log, stderr=subprocess.STDOUT, env=_environment(options.get("device", "cpu")),
            cwd=ROOT, check=False,
        )  # fmt: skip
    if done.returncode or not field.is_file():
        last = "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-5:])
        raise EngineFailedError(f"{name} on {fixed} and {moving} made no field:\n{last}")
    outside = json.loads(report.read_text())
    started = json.loads((folder / "started.json").read_text())
    return EngineRun(
        field_path=field,
        wall_s=outside["end"] - started["monotonic"],
        cpu_s=outside["cpu_s"] - started["cpu_s"],
        peak_mib=outside["peak_mib"],
        start_s=started["monotonic"] - outside["begin"],
    )


def costs(run: EngineRun) -> dict[str, float]:
    """Return the numbers of a run, for a row of a table."""
    return {name: value for name, value in asdict(run).items() if name != "field_path"}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _environment(device: str) -> dict[str, str]:
    """Return the environment of a run: so many threads, and no GPU unless it is asked for."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
             "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")  # fmt: skip
    hidden = {} if device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **dict.fromkeys(names, str(THREADS)), **hidden}
