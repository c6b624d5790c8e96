"""Named tensors in and out, as safetensors: bytes that are data only and can run nothing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ReadError
from pipeline.io.atomic import write_bytes
from pipeline.io.sources import opened

if TYPE_CHECKING:
    import torch

#: Largest file of weights that is read.
MAX_WEIGHTS_BYTES = 4 * 1024**3


def write_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"]) -> str:
    """Write named tensors atomically; return the sha256 of the file. Same tensors, same bytes."""
    from safetensors.torch import save

    plain = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    # Tensors that share memory (tied weights) are stored each by itself.
    content = save({name: tensor.clone() for name, tensor in plain.items()})
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def read_tensors(path: Path, *, sha256: str | None = None) -> dict[str, "torch.Tensor"]:
    """Read the tensors of a safetensors file, on the CPU.

    Parameters
    ----------
    path : Path
        File.
    sha256 : str, optional
        What the file must hash to; looked at before anything is parsed.

    Raises
    ------
    ReadError
        Missing, oversized, another sha256, truncated or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    with opened(path) as stream:
        size = path.stat().st_size
        if size > MAX_WEIGHTS_BYTES:
            raise ReadError(f"{path}: {size:,} bytes, more than the limit of {MAX_WEIGHTS_BYTES:,}")
        content = stream.read()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ReadError(
            f"{path}: its sha256 is {found[:12]}… where {sha256[:12]}… is stated: truncated, "
            "damaged or exchanged; copy or import the model again"
        )
    try:
        return dict(load(content))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ReadError(
            f"{path}: not a safetensors file ({error}); weights in other formats are not read, "
            "since they can run code. Get the model again"
        ) from error
