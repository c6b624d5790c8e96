"""The sidecar of every result: inputs with sha256, settings, versions, seed, time and memory."""

import datetime
import hashlib
import json
import platform
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from pipeline.io.atomic import write_text
from pipeline.versions import BLOCK_VERSIONS

#: Packages whose version can move a number.
_PACKAGES = (
    "medpipe", "numpy", "scipy", "pandas", "SimpleITK", "nibabel", "pyradiomics", "scikit-learn",
    "scikit-survival", "xgboost", "lifelines", "torch",
)  # fmt: skip


def write_sidecars(
    outputs: Iterable[Path],
    *,
    block: str,
    inputs: Iterable[Path],
    settings: Mapping[str, Any],
    seed: int | None = None,
    measured: Mapping[str, Any] | None = None,
) -> None:
    """Write ``<output>.prov.json`` beside each output.

    Parameters
    ----------
    outputs : paths
        Results already in place.
    block : str
        Key of `BLOCK_VERSIONS`.
    inputs : paths
        Files, or folders of files, that the results were made from.
    settings : mapping
        What was asked for, with units in the names.
    seed : int, optional
        Seed of the random generator, when one was used.
    measured : mapping, optional
        What the block found on the way (sizes, counts, choices).
    """
    record = {
        "block": block,
        "block_version": BLOCK_VERSIONS[block],
        "inputs": [_describe(path) for path in inputs],
        "settings": dict(settings),
        "seed": seed,
        "measured": dict(measured or {}),
        "versions": package_versions(),
        "seconds": round(time.time() - psutil.Process().create_time(), 3),
        "cpu_seconds": round(time.process_time(), 3),
        "peak_memory_mib": round(_peak_memory_mib(), 1),
        "written_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    for output in outputs:
        described = {"output": output.name, "output_sha256": sha256(output), **record}
        text = json.dumps(described, indent=2, default=str, ensure_ascii=False)
        write_text(output.with_name(output.name + ".prov.json"), text + "\n")


def _peak_memory_mib() -> float:
    """Return the largest resident set of this process so far (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def sha256(path: Path) -> str:
    """Return the sha256 of a file, or of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    if path.is_dir():
        for member in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{member.relative_to(path)} {sha256(member)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can move a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _describe(path: Path) -> dict[str, str]:
    return {"path": path.name, "sha256": sha256(path)}
