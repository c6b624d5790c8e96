"""`medpipe doctor` and `medpipe info`: is the installation whole, and what is in it."""

import json
import shutil
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated

import typer

from cli.common import EXIT_FAILED_CASES, find_workflow
from pipeline.errors import MedpipeError

#: import name -> distribution name
_PACKAGES = {
    "numpy": "numpy", "scipy": "scipy", "pandas": "pandas", "SimpleITK": "SimpleITK",
    "nibabel": "nibabel", "radiomics": "pyradiomics", "sklearn": "scikit-learn",
    "lifelines": "lifelines", "xgboost": "xgboost", "torch": "torch", "snakemake": "snakemake",
    "pydicom": "pydicom", "highdicom": "highdicom", "matplotlib": "matplotlib",
    "jinja2": "jinja2", "pydantic": "pydantic", "typer": "typer",
}  # fmt: skip


def doctor() -> None:
    """Check the installation; say what is wrong and what to do. Exit code 2 when something is.

    Example: medpipe doctor
    """
    findings = [_python(), *_packages(), _radiomics(), _command("snakemake"), _workflow()]
    for good, text in findings:
        typer.echo(f"{'ok  ' if good else 'FAIL'}  {text}")
    typer.echo(f"note  {_device()}")
    failed = sum(not good for good, _ in findings)
    if failed:
        raise MedpipeError(f"{failed} finding(s) above; mend them, or run `make install` again")


def info(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print versions, verbs, studies and exit codes.

    Example: medpipe info --json
    """
    from cli.main import EXIT_BUG, EXIT_OK, EXIT_USER, VERBS
    from pipeline.provenance import package_versions
    from pipeline.versions import BLOCK_VERSIONS

    root = find_workflow()
    facts = {
        "version": metadata.version("medpipe"),
        "versions": package_versions(),
        "block_versions": BLOCK_VERSIONS,
        "verbs": sorted(VERBS),
        "studies": sorted(path.stem for path in (root / "workflow/studies").glob("*.yaml")),
        "workflow": str(root),
        "exit_codes": {
            "ok": EXIT_OK,
            "bug": EXIT_BUG,
            "user": EXIT_USER,
            "failed_cases": EXIT_FAILED_CASES,
        },
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2, sort_keys=True))
        return
    for name, value in facts.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name}: {', '.join(text) if isinstance(text, list) else text}")


def _python() -> tuple[bool, str]:
    good = (3, 11) <= sys.version_info < (3, 13)
    version = ".".join(str(n) for n in sys.version_info[:3])
    return good, f"Python {version}" + ("" if good else ": medpipe needs 3.11 or 3.12")


def _packages() -> list[tuple[bool, str]]:
    pins = _pins()
    found = []
    for module, name in _PACKAGES.items():
        try:
            import_module(module)
            version = metadata.version(name)
        except (ImportError, metadata.PackageNotFoundError) as error:
            found.append((False, f"{name}: {error}; run `make install`"))
            continue
        pin = pins.get(name.lower())
        same = pin is None or version.split("+")[0] == pin
        found.append((same, f"{name} {version}" + ("" if same else f": {pin} is pinned")))
    return found


def _pins() -> dict[str, str]:
    """Return the exact versions of the lock file, by lower-case name."""
    lock = find_workflow() / "envs/requirements.txt"
    lines = lock.read_text("utf-8").splitlines() if lock.is_file() else []
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {name.strip().lower(): version.strip() for name, version in pairs}


def _radiomics() -> tuple[bool, str]:
    try:
        import_module("radiomics._cmatrices")
    except ImportError as error:
        return False, f"PyRadiomics' C code: {error}; reinstall it with --no-build-isolation"
    return True, "PyRadiomics' C code loads"


def _command(name: str) -> tuple[bool, str]:
    beside = Path(sys.executable).parent / name
    path = shutil.which(name) or (str(beside) if beside.exists() else None)
    return path is not None, f"{name} on PATH" if path else f"{name} not found: run `make install`"


def _workflow() -> tuple[bool, str]:
    try:
        return True, f"workflow in {find_workflow()}"
    except MedpipeError as error:
        return False, str(error)


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"GPU: {torch.cuda.get_device_name(0)}"
    return "no GPU: everything runs on the CPU"
