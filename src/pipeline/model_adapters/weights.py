"""Foreign weights into a network that has been built for them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import ReadError

#: What wrappers put before the names: distributed training, compilation.
_PREFIXES = ("module.", "_orig_mod.")


def state_dict_in(path: Path, document: Any, keys: Iterable[str]) -> dict[str, torch.Tensor]:
    """Return the named tensors of a checkpoint: under one of the keys, or the whole of it.

    Raises
    ------
    ReadError
        If neither holds named tensors.
    """
    found = [document, *(document[k] for k in keys if isinstance(document, dict) and k in document)]
    for candidate in found:
        if isinstance(candidate, Mapping) and candidate and _named_tensors(candidate):
            return {_plain(name): tensor for name, tensor in candidate.items()}
    raise ReadError(
        f"{path}: holds no named tensors, neither at its top nor under {', '.join(keys)}; give "
        "the checkpoint that the program itself saved"
    )


def load_into(network: nn.Module, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Give a network its weights, every one of them.

    Raises
    ------
    ReadError
        If names or shapes differ; says how many and the first.
    """
    wanted = network.state_dict()
    missing = sorted(set(wanted) - set(weights))
    surplus = sorted(set(weights) - set(wanted))
    shaped = sorted(
        name for name in set(wanted) & set(weights) if wanted[name].shape != weights[name].shape
    )
    if missing or surplus or shaped:
        first = next(iter([*missing, *shaped, *surplus]))
        raise ReadError(
            f"{path}: weights of another architecture than {type(network).__name__} as the model's "
            f"files describe it: {len(missing)} tensors missing, {len(surplus)} unknown, "
            f"{len(shaped)} of another shape (first: {first}); they do not belong together"
        )
    network.load_state_dict(weights)


def _named_tensors(candidate: Mapping[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in candidate.items())


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
