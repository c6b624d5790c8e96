"""Segmentation networks by name. Torch loads when one is built, not before."""

import importlib
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.segment.networks.network import Network

__all__ = ["NETWORKS", "Network", "build"]

#: Name -> module with a function `build(*, channels, classes, **options)`.
NETWORKS: dict[str, str] = {
    "densehighres3dnet": "pipeline.segment.networks.densehighres3dnet",
    "fcn8s": "pipeline.segment.networks.fcn",
    "highres3dnet": "pipeline.segment.networks.highres3dnet",
    "psnet": "pipeline.segment.networks.psnet",
    "unet": "pipeline.segment.networks.unet",
    "vnet": "pipeline.segment.networks.vnet",
}

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def __getattr__(name: str) -> Any:
    if name != "Network":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.network").Network


def build(
    name: str, *, channels: int, classes: int, options: Mapping[str, Any] = _NO_OPTIONS
) -> "Network":
    """Return a new network with random weights, drawn from torch's generator.

    Parameters
    ----------
    name : str
        Key of `NETWORKS`.
    channels : int
        Channels of the input.
    classes : int
        Channels of the output, background included.
    options : mapping
        JSON values; what the `build` of the network's module takes.

    Raises
    ------
    SettingsError
        For an unknown name or option, or a value that the network cannot take.
    """
    if name not in NETWORKS:
        raise SettingsError(f"network {name!r}: choose one of {', '.join(NETWORKS)}")
    if channels < 1 or classes < 2:
        raise SettingsError(
            f"{name}: {channels} channels and {classes} classes; it takes at least 1 and 2, "
            "for the background is a class"
        )
    builder = importlib.import_module(NETWORKS[name]).build
    known = set(inspect.signature(builder).parameters) - {"channels", "classes"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise SettingsError(
            f"{name}: no option {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    try:
        network: Network = builder(channels=channels, classes=classes, **options)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name}: options {dict(options)}: {error}") from error
    return network
