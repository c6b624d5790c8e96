"""The process that TotalSegmentator runs in: no network, no download, no code from weights."""

import importlib
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from pipeline.io.checkpoints import safe_scalars
from pipeline.io.documents import write_json

#: What the process says before it ends, when a file of weights is missing.
NO_WEIGHTS = "medpipe: weights are missing"


def main(source: str, mask: str, classes: str, task: str, device: str) -> None:
    """Segment one image file; write the mask and a JSON document name -> value."""
    _close_the_network()
    import torch

    python_api = importlib.import_module("totalsegmentator.python_api")
    names = importlib.import_module("totalsegmentator.map_to_binary").class_map[task]
    torch.serialization.add_safe_globals(safe_scalars())
    _leave_weights_alone(python_api)
    python_api.totalsegmentator(
        Path(source), Path(mask), ml=True, task=task, device=device, quiet=True
    )
    write_json(Path(classes), {name: value for value, name in names.items()})


def _close_the_network() -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("medpipe runs TotalSegmentator without a network")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.socket.connect_ex = refuse  # type: ignore[method-assign]
    socket.create_connection = refuse


def _leave_weights_alone(python_api: ModuleType) -> None:
    """Let the program's own check find its weights; neither fetch new ones nor delete old ones."""
    libs = importlib.import_module("totalsegmentator.libs")

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise FileNotFoundError(NO_WEIGHTS)

    def nothing(*_: Any, **__: Any) -> None:
        return None

    replaced = (
        (libs, "download_url_and_unpack", refuse),
        (libs, "download_model_with_license_and_unpack", refuse),
        (libs, "robust_rmtree", nothing),  # of weights that it holds to be out of date
        (python_api, "send_usage_stats", nothing),
    )
    for module, name, function in replaced:
        if not hasattr(module, name):
            raise RuntimeError(f"this version of TotalSegmentator has no {name}; 2.18 has")
        setattr(module, name, function)


if __name__ == "__main__":
    main(*sys.argv[1:])
