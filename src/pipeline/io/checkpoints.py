"""PyTorch checkpoints of other programs: the only place that opens one.

A checkpoint is a pickle, and a pickle can run code. Only tensors and plain values are taken from
it (`weights_only=True`), plus the numpy scalars that nnU-Net keeps in its training log.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ReadError
from pipeline.io.sources import opened
from pipeline.io.tensors import MAX_WEIGHTS_BYTES

#: Types of the scalars that may be in a checkpoint.
_SCALARS = ("float16", "float32", "float64", "int32", "int64", "bool")

#: Largest pickle inside a checkpoint: it names the tensors, their values lie beside it.
_MAX_PICKLE_BYTES = 64 * 1024**2

_PICKLE = "data.pkl"
_TENSORS_APART = "constants.pkl"


def read_checkpoint(path: Path) -> Any:
    """Read what `torch.save` wrote, on the CPU, without running anything that it holds.

    Parameters
    ----------
    path : Path
        File in the zip layout that `torch.save` has written since PyTorch 1.6.

    Returns
    -------
    dict, list, tensor or plain value
        What was saved.

    Raises
    ------
    ReadError
        Missing, oversized, truncated, no checkpoint, a TorchScript archive, or one that names
        anything besides tensors, plain values and numpy scalars.
    """
    _check_archive(path)
    import torch

    try:
        with torch.serialization.safe_globals(safe_scalars()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise ReadError(f"{path}: does not fit into memory; use a machine with more") from error
    # the reader of pickles fails in as many ways as there are damaged bytes
    except Exception as error:
        raise ReadError(
            f"{path}: not a checkpoint of plain tensors ({_first_line(error)}). Whatever could run "
            "code is refused: save the state_dict alone, or copy the file again if it is damaged"
        ) from error


def safe_scalars() -> list[Any]:
    """Return what rebuilds numpy scalars, under both names that numpy has given it."""
    from numpy._core.multiarray import scalar

    types = [type(np.dtype(name)) for name in _SCALARS]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *types]


def _check_archive(path: Path) -> None:
    """Refuse by the list of members what torch would unpack at length or run."""
    with opened(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise ReadError(
                f"{path}: not a checkpoint of torch.save ({error}): truncated, damaged, or older "
                "than PyTorch 1.6; copy it again or save it anew"
            ) from error
    size = sum(member.file_size for member in members)
    if size > MAX_WEIGHTS_BYTES:
        raise ReadError(f"{path}: {size:,} bytes, more than the limit of {MAX_WEIGHTS_BYTES:,}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ReadError(f"{path}: holds compressed members, which torch.save does not write")
    names = {Path(member.filename).name for member in members}
    if _TENSORS_APART in names:
        raise ReadError(
            f"{path}: a TorchScript archive, which is a program and is not run; save the "
            "network's state_dict with torch.save"
        )
    pickles = [m.file_size for m in members if Path(m.filename).name == _PICKLE]
    if len(pickles) != 1 or pickles[0] > _MAX_PICKLE_BYTES:
        raise ReadError(f"{path}: a zip archive, but no checkpoint of torch.save")


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    named = [line for line in text.splitlines() if "GLOBAL" in line]
    return (named or text.splitlines())[0].strip()[:200]
