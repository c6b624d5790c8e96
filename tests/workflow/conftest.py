"""A small simulated cohort, and a way to run the graph on it for real."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen simulated subjects and the generator's faulty ones; returns the folder."""
    folder = tmp_path_factory.mktemp("cohort") / "nact"
    subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "nact", "--subjects", "18", "--faults",
         "--out", str(folder)],
        check=True, env=ENVIRONMENT, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def configure() -> Callable[[Path, Path], Path]:
    """Write a config.yaml for a cohort into a working folder, with a coarse model grid."""

    def write(folder: Path, cohort: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        study = {
            "images": str(cohort / "images.tsv"),
            "subjects": str(cohort / "subjects.tsv"),
            "truth": str(cohort / "truth.tsv"),
            "preprocess": {"spacing_mm": 2.5},
            "model": {
                "folds": 3,
                "max_features": 3,
                "c_log2": [-3, 3, 3],
                "gamma_log2": [-9, 0, 3],
            },
            "compare": {"bootstrap": 100},
        }
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump({"studies": {"nact": study}}), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start Snakemake in a folder that has a config.yaml, as a user would."""

    def launch(folder: Path, cores: int = 2) -> subprocess.Popen[str]:
        # A file, not a pipe: children of a killed run would keep a pipe open.
        with (folder / "snakemake.log").open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
                 "--directory", str(folder), "--configfile", str(folder / "config.yaml"),
                 "--cores", str(cores), "--workflow-profile", str(ROOT / "profiles/default"),
                 "--", "results/nact_auc.tsv"],
                env=ENVIRONMENT, text=True, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    return launch


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """sha256 of every result but the sidecars, which carry time stamps."""

    def collect(folder: Path) -> dict[str, str]:
        results = folder / "results"
        return {
            str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(results.rglob("*"))
            if path.is_file() and not path.name.endswith(".prov.json")
        }

    return collect
