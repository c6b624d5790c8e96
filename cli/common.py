"""What every verb shares: thread limits, logging, progress, default output names."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from pipeline.errors import SettingsError

Item = TypeVar("Item")

#: Exit code of a run that finished although some cases could not be measured.
EXIT_FAILED_CASES = 3

#: Endings that belong together; `Path.suffix` would see only ".gz".
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")

Threads = Annotated[
    int, typer.Option(min=1, help="Threads of one process. Same threads, same bytes.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the random generator.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only warnings and errors.")]


def set_up(threads: int = 1, quiet: bool = False) -> None:
    """Limit threads (before numpy and ITK load) and send log lines to stderr."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                 "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):  # fmt: skip
        os.environ[name] = str(threads)
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("matplotlib", "radiomics", "fontTools", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def stem(path: Path) -> str:
    """Return the file name without its (double) image ending."""
    name = path.name
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem if path.is_file() else name


def beside(path: Path, suffix: str) -> Path:
    """Return the default output: in the folder of `path`, its stem followed by `suffix`."""
    resolved = path.resolve()
    return resolved.parent / f"{stem(resolved)}{suffix}"


def progress(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Yield the items under a progress bar that is drawn on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task)


def find_workflow() -> Path:
    """Return the folder with the Snakefile: this one, the source tree, or the installed copy."""
    import pipeline

    package = Path(pipeline.__file__).parent
    candidates = (Path.cwd(), package.parents[1], package / "workflow_files")
    for folder in candidates:
        if (folder / "workflow/rules/common.smk").is_file():
            return folder
    raise SettingsError(
        "no workflow found; run in the folder of medpipe's Snakefile or reinstall medpipe"
    )


def numbers(text: str, flag: str) -> tuple[float, ...]:
    """Return the numbers of a flag such as ``0,90,180``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"{flag} {text}: give numbers with commas between, e.g. 0,90") from None
