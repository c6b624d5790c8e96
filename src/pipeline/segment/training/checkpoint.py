"""The state of training as named tensors and back, bound to the settings and data it is of.

There are no random states in it: see `pipeline.segment.training.loop`.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from pipeline.errors import ReadError, SettingsError
from pipeline.segment.training.loop import Record, Trainer

_FORMAT = 1
#: Settings and numbers, as the bytes of a JSON text.
_DOCUMENT = "document"
_PARTS = ("network", "average", "best")


def identity(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings and data as the JSON values that a checkpoint is compared by."""
    return dict(json.loads(json.dumps(asked, sort_keys=True)))


def digest(asked: Mapping[str, Any]) -> str:
    """Return the sha256 of settings and data."""
    text = json.dumps(identity(asked), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def pack(trainer: Trainer, asked: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return all that is needed to go on.

    Parameters
    ----------
    trainer : Trainer
    asked : mapping of JSON values
        Plan, settings and data; `unpack` refuses any other.
    """
    state = trainer.state
    tensors = _named("network", trainer.network.state_dict())
    if trainer.average is not None:
        tensors |= _named("average", trainer.average.state_dict())
    if state.best is not None:
        tensors |= _named("best", state.best)
    for number, values in trainer.optimiser.state_dict()["state"].items():
        found = {name: v for name, v in values.items() if isinstance(v, torch.Tensor)}
        tensors |= _named(f"optimiser.{number}", found)
    document = {
        "format": _FORMAT,
        "asked": identity(asked),
        "digest": digest(asked),
        "iteration": state.iteration,
        "seconds": state.seconds,
        "history": [asdict(record) for record in state.history],
        "best_iteration": state.best_iteration,
        "best_score": None if math.isinf(state.best_score) else state.best_score,
        "stopped": state.stopped,
        "scaler": trainer.scaler.state_dict(),
    }
    text = json.dumps(document, sort_keys=True).encode()
    tensors[_DOCUMENT] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return tensors


def unpack(tensors: Mapping[str, torch.Tensor], trainer: Trainer, asked: Mapping[str, Any]) -> None:
    """Bring a new trainer to the state of a checkpoint.

    Raises
    ------
    ReadError
        No checkpoint of this program.
    SettingsError
        A checkpoint of other settings or data; says which.
    """
    document = _document(tensors)
    if document["digest"] != digest(asked):
        raise SettingsError(_difference(document["asked"], identity(asked)))
    parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in _PARTS}
    optimiser: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        if part in parts:
            parts[part][rest] = value
        elif part == "optimiser":
            number, _, what = rest.partition(".")
            optimiser.setdefault(int(number), {})[what] = value
    trainer.network.load_state_dict(parts["network"])
    if trainer.average is not None:
        trainer.average.load_state_dict(parts["average"])
    groups = trainer.optimiser.state_dict()["param_groups"]
    trainer.optimiser.load_state_dict({"state": optimiser, "param_groups": groups})
    trainer.scaler.load_state_dict(document["scaler"] if trainer.scaler.is_enabled() else {})
    state, best = trainer.state, document["best_score"]
    state.iteration, state.seconds = document["iteration"], document["seconds"]
    state.history = [
        Record(**{**record, "dice": tuple(record["dice"])}) for record in document["history"]
    ]
    state.best = parts["best"] or None
    state.best_iteration = document["best_iteration"]
    state.best_score = -math.inf if best is None else best
    state.stopped = document["stopped"]


def _document(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    try:
        document = dict(json.loads(bytes(tensors[_DOCUMENT].numpy())))
        if document["format"] != _FORMAT:
            raise ReadError(f"a checkpoint of format {document['format']}: this reads {_FORMAT}")
        return document
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(
            f"no checkpoint of medpipe ({type(error).__name__}: {error}); remove the file"
        ) from None


def _named(part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": value for name, value in tensors.items()}


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name the settings that differ, at most five of them."""
    before, after = _flat(old), _flat(new)
    changed = [
        f"{name} {before.get(name)!s:.60} there, {after.get(name)!s:.60} now"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    more = f"; and {len(changed) - 5} more" if len(changed) > 5 else ""
    return f"a checkpoint of other settings or data ({'; '.join(changed[:5])}{more})"


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat
