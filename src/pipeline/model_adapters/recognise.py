"""What a file or folder is that holds no model of medpipe, by names alone; and how it is run."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

#: How far below a folder a foreign model is looked for.
_DEPTH = 3

_CONFIG = re.compile(r"(?P<root>.*/|)configs/[^/]+\.(json|ya?ml)")
_PLANS = re.compile(r"(?P<root>.*/|)plans\.json")
_OLD_PLANS = re.compile(r"(.*/|)plans\.pkl")
_CHECKPOINT = re.compile(r"(.*/|)data\.pkl")
_DICOM = re.compile(r".*\.dcm", re.IGNORECASE)


def foreign_archive(members: Iterable[str]) -> str:
    """Return what an archive holds instead of a model, and which command runs it; else nothing.

    Parameters
    ----------
    members : texts
        Paths of the files in the archive, with slashes.
    """
    names = sorted(members)
    found = _program(names)
    if found:
        program, root = found
        return (
            f"{program}, which is not imported but runs from its folder: unpack the archive, then "
            f"`medpipe segment IMAGE --model {PurePosixPath('FOLDER') / root}`"
        )
    if any(_OLD_PLANS.fullmatch(name) for name in names):
        return "a model of nnU-Net version 1, which does not run here; version 2's results do"
    if any(_CHECKPOINT.fullmatch(name) for name in names):
        return (
            "a checkpoint of PyTorch, which could run code and does not say what network it "
            "belongs to; a MONAI bundle or nnU-Net results folder runs with "
            "`medpipe segment IMAGE --model FOLDER`"
        )
    if any(_DICOM.fullmatch(name) for name in names):
        return "DICOM images; unpack them and give the folder: `medpipe segment FOLDER`"
    return ""


def foreign_folder(folder: Path) -> str:
    """Return which folder below holds a model of another program, and the flag; else nothing."""
    names = [
        path.relative_to(folder).as_posix()
        for depth in range(1, _DEPTH + 2)
        for path in folder.glob("/".join(["*"] * depth))
    ]
    found = _program(sorted(names))
    return f"{found[0]} is below it: `--model {folder / found[1]}`" if found else ""


def _program(names: list[str]) -> tuple[str, str] | None:
    """Return the program and the root of its model among the paths."""
    there = set(names)
    for name in names:
        match = _CONFIG.fullmatch(name)
        if match and any(other.startswith(f"{match['root']}models/") for other in names):
            return "a MONAI bundle", match["root"]
        match = _PLANS.fullmatch(name)
        if match and f"{match['root']}dataset.json" in there:
            return "an nnU-Net results folder", match["root"]
    return None
