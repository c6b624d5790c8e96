"""A MONAI bundle: configs/metadata.json, configs/inference.json (or yaml) and models/*.pt.

Cardoso et al., "MONAI: An open-source framework for deep learning in healthcare",
arXiv 2211.02701, 2022; the layout is that of its bundle specification.

What is the same as there: orientation, spacing, intensities, network, window. What differs:
intensities are normalised before the image is resampled, and by a Lanczos kernel (there: after,
and linearly); the image is not cut to its foreground; an image of up to two windows is one window;
transforms after the network are named in a warning and not run.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline.errors import ReadError, SettingsError
from pipeline.io.checkpoints import read_checkpoint
from pipeline.io.documents import read_json
from pipeline.model_adapters import intensities
from pipeline.model_adapters.adapted import AS_IT_COMES, Adapted, whole_box
from pipeline.model_adapters.axes import Axes, TurnedNetwork, named_axes, own_axes
from pipeline.model_adapters.bundle_config import read_config, resolved
from pipeline.model_adapters.weights import load_into, state_dict_in
from pipeline.preprocess.checks import check_finite
from pipeline.provenance import sha256
from pipeline.segment.plan import Plan, Shape
from pipeline.segment.trained import Model
from pipeline.types import Array3D, Volume

_TARGET = "_target_"

#: Keys under which programs save a network's weights.
_WEIGHT_KEYS = ("model", "state_dict", "network", "net")

#: Preprocessing that changes nothing here: reading, types, devices; cutting that only saves time.
_PASSED_OVER = frozenset(
    {
        "LoadImage", "EnsureChannelFirst", "EnsureType", "CastToType", "ToTensor", "ToDevice",
        "AddChannel", "AsChannelFirst", "CropForeground",
    }
)  # fmt: skip

#: After the network: what `predict` does as well.
_DONE_ANYWAY = frozenset({"Activations", "Invert", "AsDiscrete", "SaveImage", "EnsureType"})


def _from_strides(arguments: Mapping[str, Any]) -> Shape:
    """Return the product of the strides, each one number or three."""
    product = np.ones(3, dtype=int)
    for stride in arguments["strides"]:
        product *= np.array(stride, dtype=int)
    return _shape(product)


def _from_levels(arguments: Mapping[str, Any]) -> Shape:
    levels = len(arguments.get("blocks_down", (1, 2, 2, 4)))
    return _shape(np.full(3, 2 ** (levels - 1)))


#: Networks of monai.networks.nets that may be built -> what an image must be divisible by. They
#: take windows of any size, download nothing and return logits alone.
_NETWORKS: dict[str, Callable[[Mapping[str, Any]], Shape]] = {
    "AttentionUnet": _from_strides,
    "BasicUNet": lambda _: (16, 16, 16),
    "DynUNet": _from_strides,
    "HighResNet": lambda _: (1, 1, 1),
    "SegResNet": _from_levels,
    "SwinUNETR": lambda _: (32, 32, 32),
    "UNet": _from_strides,
    "VNet": lambda _: (16, 16, 16),
}

_ALIASES = {"Unet": "UNet", "unet": "UNet", "BasicUnet": "BasicUNet", "DynUnet": "DynUNet"}

Transform = Callable[[Array3D], Array3D]


@dataclass(frozen=True)
class Preparation:
    """What a bundle's preprocessing asks for.

    Attributes
    ----------
    axes : Axes
        The network's.
    spacing_mm : three floats
        Along the canonical axes.
    intensities : functions
        In their order, each array -> array.
    """

    axes: Axes
    spacing_mm: tuple[float, float, float]
    intensities: tuple[Transform, ...]


def adapt(folder: Path, image: Volume) -> Adapted:
    """Return the network of a bundle, ready for an image.

    Raises
    ------
    ReadError
        Damaged files, weights of another architecture, an expression that would have to be run.
    SettingsError
        A network or a transform that is not supported.
    ImageError
        The image is not finite or constant.
    """
    check_finite(image.data, "segmentation")
    config = read_config(folder)
    metadata = read_json(folder / "configs" / "metadata.json")
    weights = _weights_file(folder)
    try:
        _check_outputs(folder, config)
        preparation = _preparation(folder, config, image)
        name, arguments = _definition(folder, config)
        plan = Plan(
            network=name,
            labels=_labels(folder, metadata, int(arguments["out_channels"])),
            spacing_mm=preparation.spacing_mm,
            patch=preparation.axes.canonical_shape(_window(folder, config, metadata)),
            intensity=AS_IT_COMES,
        )
        divisor = _NETWORKS[name](arguments)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ReadError(
            f"{folder / 'configs'}: does not describe how the bundle is run "
            f"({type(error).__name__}: {error}); copy it again"
        ) from error
    network = _built(folder, name, arguments)
    load_into(network, state_dict_in(weights, read_checkpoint(weights), _WEIGHT_KEYS), weights)
    turned = TurnedNetwork(network, preparation.axes, divisor)
    turned.eval()
    data = image.data.astype(np.float32)
    for transform in preparation.intensities:
        data = transform(data)
    return Adapted(
        models=(Model(plan, turned, dict(metadata), folder.resolve().name),),
        image=Volume(data, image.grid),
        box=whole_box(image.grid),
        weights={str(weights.relative_to(folder)): sha256(weights)},
        documents=tuple(sorted((folder / "configs").glob("*.*"))),
        warnings=_left_out(config),
    )


def _weights_file(folder: Path) -> Path:
    found = sorted((folder / "models").glob("*.pt"))
    named = [path for path in found if path.name == "model.pt"]
    if len(found) == 1 or named:
        return named[0] if named else found[0]
    what = f"{len(found)} files of weights" if found else "no models/*.pt"
    raise ReadError(
        f"{folder / 'models'}: {what} where one is needed; keep the weights to use as model.pt "
        "(TorchScript, *.ts, is a program and is not run)"
    )


def _definition(folder: Path, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the class and the arguments of the network."""
    key = "network_def" if "network_def" in config else "network"
    stated = resolved(config, config[key])
    name = _last_name(stated, "monai.networks.nets")
    name = _ALIASES.get(name, name)
    if name not in _NETWORKS:
        raise SettingsError(
            f"{folder}: the network {stated[_TARGET]} is not run here; these of "
            f"monai.networks.nets are: {', '.join(_NETWORKS)}"
        )
    arguments = {k: v for k, v in stated.items() if not k.startswith("_")}
    _check_plain(folder, arguments)
    if int(arguments.get("spatial_dims", 3)) != 3 or int(arguments.get("in_channels", 1)) != 1:
        raise SettingsError(
            f"{folder}: only networks of three axes and one channel are run here; use MONAI itself"
        )
    return name, arguments


def _last_name(stated: Mapping[str, Any], home: str) -> str:
    """Return the name of the class to build, which must come from MONAI."""
    target = str(stated[_TARGET])
    module, _, name = target.rpartition(".")
    if module and module != home and not module.startswith(f"{home}."):
        raise SettingsError(
            f"configuration of a bundle: {target} is not of {home}; nothing else is built"
        )
    return name


def _check_plain(folder: Path, value: Any) -> None:
    """Refuse objects to be built as arguments of others."""
    if isinstance(value, Mapping):
        if _TARGET in value:
            raise SettingsError(
                f"{folder}: {value[_TARGET]} as an argument of the network is not built here"
            )
        for item in value.values():
            _check_plain(folder, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(folder, item)


def _built(folder: Path, name: str, arguments: Mapping[str, Any]) -> nn.Module:
    from monai.networks import nets

    wanted = getattr(nets, name)
    known = set(inspect.signature(wanted).parameters)
    unknown = sorted(set(arguments) - known - {"pretrained"})
    if unknown:
        raise ReadError(f"{folder}: MONAI's {name} has no argument {', '.join(unknown)}")
    try:
        network: nn.Module = wanted(**arguments)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise ReadError(
            f"{folder}: MONAI's {name} cannot be built as the bundle says ({error})"
        ) from error
    return network


def _transforms(config: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the steps of a Compose, each a mapping; expressions in them unresolved."""
    stated = config.get(key)
    if isinstance(stated, str):
        stated = resolved(config, stated)
    if stated is None:
        return []
    steps = stated["transforms"] if isinstance(stated, Mapping) else stated
    if isinstance(steps, str):
        steps = resolved(config, steps)
    return [step for step in steps if not step.get("_disabled_", False)]


def _preparation(folder: Path, config: Mapping[str, Any], image: Volume) -> Preparation:
    axes, functions = own_axes(image.grid), []
    spacing = tuple(axes.canonical_shape((0, 1, 2)))
    spacing_mm = tuple(image.grid.spacing_mm[axis] for axis in spacing)
    for step in _transforms(config, "preprocessing"):
        name = _last_name(step, "monai.transforms").removesuffix("D").removesuffix("d")
        name = name.removesuffix("Dict")
        if name in _PASSED_OVER:
            continue
        arguments = resolved(config, {k: v for k, v in step.items() if k != _TARGET})
        if name == "Orientation":
            axes = named_axes(str(arguments["axcodes"]))
        elif name == "Spacing":
            spacing_mm = _spacing(axes, arguments["pixdim"])
        else:
            functions.append(_intensity(folder, name, arguments))
    a, b, c = spacing_mm
    return Preparation(axes, (a, b, c), tuple(functions))


def _spacing(axes: Axes, pixdim: Any) -> tuple[float, float, float]:
    values = pixdim if isinstance(pixdim, list | tuple) else [pixdim] * 3
    numbers = [float(value) for value in values]
    if len(numbers) != 3 or not all(0 < mm < math.inf for mm in numbers):
        raise ValueError(f"pixdim {pixdim}: three spacings in mm are needed")
    return axes.canonical(numbers)


def _intensity(folder: Path, name: str, arguments: Mapping[str, Any]) -> Transform:
    maker = _INTENSITIES.get(name)
    if maker is None:
        known = ("Orientation", "Spacing", *_INTENSITIES, *sorted(_PASSED_OVER))
        raise SettingsError(
            f"{folder}: the transform {name} is not known here, and leaving it out would change "
            f"the result; known are {', '.join(known)}"
        )
    function, defaults = maker
    given = {k: v for k, v in arguments.items() if k not in ("keys", "dtype", "allow_missing_keys")}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise SettingsError(f"{folder}: {name} with {', '.join(unknown)} is not known here")
    values = {**defaults, **given}
    return lambda data: function(data, values)


def _scale_range(data: Array3D, of: Mapping[str, Any]) -> Array3D:
    low, high = float(of["a_min"]), float(of["a_max"])
    if of["b_min"] is None or of["b_max"] is None:
        target = (0.0, 1.0)
    else:
        target = (float(of["b_min"]), float(of["b_max"]))
    return intensities.ranged(data, (low, high), target, clip=bool(of["clip"]))


def _scale_percentiles(data: Array3D, of: Mapping[str, Any]) -> Array3D:
    low, high = (float(v) for v in np.percentile(data, (float(of["lower"]), float(of["upper"]))))
    target = (float(of["b_min"]), float(of["b_max"]))
    return intensities.ranged(data, (low, high), target, clip=bool(of["clip"]))


def _scale(data: Array3D, of: Mapping[str, Any]) -> Array3D:
    if of["factor"] is not None:
        return data * np.float32(1.0 + float(of["factor"]))
    target = (float(of["minv"]), float(of["maxv"]))
    return intensities.ranged(data, (float(data.min()), float(data.max())), target, clip=False)


def _normalise(data: Array3D, of: Mapping[str, Any]) -> Array3D:
    where = data != 0 if of["nonzero"] else None
    if of["subtrahend"] is None and of["divisor"] is None:
        return intensities.standardised(data, where)
    inside = data if where is None else data[where]
    mean = float(inside.mean() if of["subtrahend"] is None else of["subtrahend"])
    sd = float(inside.std() if of["divisor"] is None else of["divisor"])
    found = intensities.shifted(data, -math.inf, math.inf, mean, sd)
    return found if where is None else np.where(where, found, data)


#: Name -> function of array and arguments, and the defaults of these arguments in MONAI.
_INTENSITIES: dict[
    str, tuple[Callable[[Array3D, Mapping[str, Any]], Array3D], Mapping[str, Any]]
] = {
    "ScaleIntensityRange": (
        _scale_range,
        {"a_min": None, "a_max": None, "b_min": None, "b_max": None, "clip": False},
    ),
    "ScaleIntensityRangePercentiles": (
        _scale_percentiles,
        {"lower": None, "upper": None, "b_min": None, "b_max": None, "clip": False,
         "channel_wise": False},
    ),
    "ScaleIntensity": (
        _scale, {"minv": 0.0, "maxv": 1.0, "factor": None, "channel_wise": False}
    ),
    "NormalizeIntensity": (
        _normalise,
        {"subtrahend": None, "divisor": None, "nonzero": False, "channel_wise": False},
    ),
}  # fmt: skip


def _window(folder: Path, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> Shape:
    """Return the window along the network's axes: the inferer's, or the stated image's."""
    inferer = config.get("inferer")
    inferer = resolved(config, inferer) if isinstance(inferer, str) else inferer
    stated = inferer.get("roi_size") if isinstance(inferer, Mapping) else None
    if stated is None:
        inputs = metadata["network_data_format"]["inputs"]
        stated = next(iter(inputs.values())).get("spatial_shape")
    window = resolved(config, stated)
    window = [window] * 3 if isinstance(window, int) else window
    whole = isinstance(window, list | tuple) and len(window) == 3
    if not whole or not all(isinstance(n, int) and n > 0 for n in window):
        raise SettingsError(
            f"{folder}: no window of three sizes is stated (inferer: roi_size {window!r}); write "
            "one into configs/inference.json"
        )
    return _shape(window)


def _labels(folder: Path, metadata: Mapping[str, Any], classes: int) -> dict[str, int]:
    """Return name -> value of the classes after the background."""
    if classes < 2:
        raise SettingsError(
            f"{folder}: a network of one output decides by a threshold; only those with a class "
            "for the background are run here"
        )
    outputs = metadata["network_data_format"]["outputs"]
    stated = next(iter(outputs.values())).get("channel_def") or {}
    return {str(stated.get(str(c), f"label_{c}")): c for c in range(1, classes)}


def _check_outputs(folder: Path, config: Mapping[str, Any]) -> None:
    for step in _transforms(config, "postprocessing"):
        name = str(step[_TARGET])
        if step.get("sigmoid") or ("AsDiscrete" in name and step.get("threshold") is not None):
            raise SettingsError(
                f"{folder}: its outputs overlap ({name.rsplit('.', 1)[-1]}: sigmoid or threshold); "
                "only labels that exclude each other are run here: use MONAI itself"
            )


def _left_out(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = [
        str(step[_TARGET]).rsplit(".", 1)[-1] for step in _transforms(config, "postprocessing")
    ]
    left = [n for n in names if n.removesuffix("D").removesuffix("d") not in _DONE_ANYWAY]
    return (f"not run after the network: {', '.join(left)}",) if left else ()


def _shape(values: Any) -> Shape:
    a, b, c = (int(value) for value in values)
    return a, b, c
