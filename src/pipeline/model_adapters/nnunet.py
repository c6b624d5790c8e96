"""A results folder of nnU-Net v2: dataset.json, plans.json and fold_N/checkpoint_final.pth.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 2021; the files are those of the package nnunetv2 2.x.

What is the same as there: the image's own voxel order, the cut to what is not zero, the
normalisation, spacing, patch, padding, Gaussian weights, the folds and the mirrored axes. What
differs: images are resampled by a Lanczos kernel (there: cubic splines) onto a grid that covers the
whole image, windows follow our lattice, an image of up to two patches is one window, and folds,
mirrors and windows are averaged as probabilities (there: as logits, in 16 bits). Where an image
smaller than the patch is filled up by an odd number of voxels, the odd one lies on the side of L, P
and S whichever way the image's own axes run. Mirroring is off unless it is asked for (there: on).
"""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from torch import nn

from pipeline.errors import ImageError, ReadError, SettingsError
from pipeline.io.checkpoints import read_checkpoint
from pipeline.io.documents import read_json
from pipeline.model_adapters import intensities
from pipeline.model_adapters.adapted import AS_IT_COMES, Adapted, Box, cut
from pipeline.model_adapters.axes import Axes, TurnedNetwork, named_axes, own_axes
from pipeline.model_adapters.weights import load_into, state_dict_in
from pipeline.preprocess.checks import check_finite
from pipeline.preprocess.orientation import canonical_move, move_grid
from pipeline.provenance import sha256
from pipeline.segment.plan import Plan
from pipeline.segment.trained import Model
from pipeline.types import Array3D, Geometry, Mask3D, Volume

CHECKPOINT = "checkpoint_final.pth"

_PACKAGE = "dynamic_network_architectures"
_NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
_HOMES = (f"{_PACKAGE}.architectures.unet", f"{_PACKAGE}.architectures.residual_unet")

#: Classes that plans may name as parts of a network; all of torch.nn.
_PARTS = frozenset(
    {
        "Conv2d", "Conv3d", "InstanceNorm2d", "InstanceNorm3d", "BatchNorm2d", "BatchNorm3d",
        "Dropout2d", "Dropout3d", "LeakyReLU", "ReLU", "GELU", "ELU",
    }
)  # fmt: skip

#: The reader that turns every image before it is seen; the others keep its own voxel order.
_READER_THAT_TURNS = "NibabelIOWithReorient"


@dataclass(frozen=True)
class Recipe:
    """What the documents of a results folder say about one configuration.

    Attributes
    ----------
    network : str
        Name of the class.
    arguments : mapping
        What it is built with; classes still by name.
    parts : texts
        Which of these arguments name a class of torch.nn.
    spacing_mm, patch, divisor : sequences
        Along the network's two or three axes.
    transpose : three ints
        Axis n of the network is axis ``transpose[n]`` of the array in slice, row, column order.
    scheme : str
        Name of the normalisation.
    within_mask : bool
        Only what is not zero is normalised.
    properties : mapping
        Intensities of the training set's foreground.
    labels : mapping of str to int
        In the order of the classes, background left out.
    turned : bool
        Images are turned to R, A, S first.
    """

    network: str
    arguments: Mapping[str, Any]
    parts: tuple[str, ...]
    spacing_mm: tuple[float, ...]
    patch: tuple[int, ...]
    divisor: tuple[int, ...]
    transpose: tuple[int, int, int]
    scheme: str
    within_mask: bool
    properties: Mapping[str, float]
    labels: Mapping[str, int]
    turned: bool


def adapt(folder: Path, image: Volume) -> Adapted:
    """Return the folds of a results folder, ready for an image.

    Raises
    ------
    ReadError
        Documents or checkpoints that are damaged or do not belong together.
    SettingsError
        A model that is not supported (several channels, regions, a cascade, another
        architecture), or the package with nnU-Net's architectures is not installed.
    ImageError
        The image is not finite, empty or constant.
    """
    check_finite(image.data, "segmentation")
    paths = _checkpoints(folder)
    documents = {path: read_checkpoint(path) for path in paths}
    configuration = _configuration(documents)
    recipe = read_recipe(folder, configuration)
    box = _box(image.data)
    part = cut(image, box)
    axes = _axes(recipe, part.grid)
    plan = _plan(recipe, axes, part.grid)
    models = tuple(
        Model(plan, _network(recipe, axes, path, document), _card(axes, document), _name(path))
        for path, document in documents.items()
    )
    return Adapted(
        models=models,
        image=Volume(_normalised(part.data, recipe), part.grid),
        box=box,
        weights={str(path.relative_to(folder)): sha256(path) for path in paths},
        documents=(folder / "dataset.json", folder / "plans.json"),
    )


def read_recipe(folder: Path, configuration: str) -> Recipe:
    """Return what dataset.json and plans.json say about a configuration.

    Raises
    ------
    ReadError
        If one of them is damaged or lacks something.
    SettingsError
        If they ask for what is not supported.
    """
    dataset, plans = (read_json(folder / name) for name in ("dataset.json", "plans.json"))
    try:
        settings = _inherited(plans["configurations"], configuration)
        _check_supported(folder, dataset, settings)
        network, arguments, parts = _architecture(settings)
        a, b, c = (int(axis) for axis in plans.get("transpose_forward", (0, 1, 2)))
        properties = plans.get("foreground_intensity_properties_per_channel", {}).get("0", {})
        strides = np.array(arguments["strides"], dtype=int)
        recipe = Recipe(
            network=network,
            arguments=arguments,
            parts=parts,
            spacing_mm=tuple(float(mm) for mm in settings["spacing"]),
            patch=tuple(int(n) for n in settings["patch_size"]),
            divisor=tuple(int(n) for n in strides.prod(axis=0)),
            transpose=(a, b, c),
            scheme=str(settings["normalization_schemes"][0]),
            within_mask=bool(settings["use_mask_for_norm"][0]),
            properties={key: float(value) for key, value in properties.items()},
            labels=_labels(folder, dataset["labels"]),
            turned=str(plans.get("image_reader_writer", "")) == _READER_THAT_TURNS,
        )
        _check_axes(recipe)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ReadError(
            f"{folder}: dataset.json and plans.json do not describe a configuration "
            f"{configuration!r} of nnU-Net v2 ({type(error).__name__}: {error}); copy them again"
        ) from error
    return recipe


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of the numbered folds, or that of the fold of all cases."""
    found = sorted(folder.glob(f"fold_[0-9]*/{CHECKPOINT}"))
    found = found or sorted(folder.glob(f"fold_all/{CHECKPOINT}"))
    if not found:
        raise ReadError(
            f"{folder}: no fold holds a {CHECKPOINT}, which nnU-Net writes when a training ends; "
            "finish the training or give another folder"
        )
    return found


def _configuration(documents: Mapping[Path, Any]) -> str:
    """Return the one configuration that all folds were trained with."""
    found = {}
    for path, document in documents.items():
        try:
            found[path] = str(document["init_args"]["configuration"])
        except (KeyError, TypeError) as error:
            raise ReadError(
                f"{path}: does not name its configuration, so it is no checkpoint of nnU-Net v2"
            ) from error
    if len(set(found.values())) > 1:
        raise ReadError(
            f"{next(iter(found)).parent.parent}: folds of different configurations "
            f"({', '.join(sorted(set(found.values())))}) form no ensemble; keep those of one"
        )
    return next(iter(found.values()))


def _inherited(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of a configuration with those that it inherits."""
    chain: list[Mapping[str, Any]] = []
    current: str | None = name
    while current is not None:
        if len(chain) > len(configurations):
            raise ValueError(f"configuration {name!r} inherits from itself")
        chain.append(configurations[current])
        current = configurations[current].get("inherits_from")
    merged: dict[str, Any] = {}
    for settings in reversed(chain):
        merged |= settings
    return merged


def _check_supported(folder: Path, dataset: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    channels = dataset.get("channel_names") or dataset["modality"]
    if len(channels) != 1:
        raise SettingsError(
            f"{folder}: the model takes {len(channels)} channels ({', '.join(channels.values())}); "
            "only models of one channel are run here: use nnU-Net itself"
        )
    if settings.get("previous_stage"):
        raise SettingsError(
            f"{folder}: the second stage of a cascade needs the first one's result; give the "
            "folder of 3d_lowres or 3d_fullres, or use nnU-Net itself"
        )


def _labels(folder: Path, stated: Mapping[str, Any]) -> dict[str, int]:
    """Return the labels by class; class c is the c-th of them."""
    if any(isinstance(value, list) for value in stated.values()):
        raise SettingsError(
            f"{folder}: its labels are regions that overlap; only labels that exclude each other "
            "are run here: use nnU-Net itself"
        )
    by_value = sorted((int(value), name) for name, value in stated.items() if name != "ignore")
    if [value for value, _ in by_value] != list(range(len(by_value))):
        raise ValueError(f"labels {dict(stated)} are not numbered 0, 1, 2, ...")
    return {name: value for value, name in by_value[1:]}


def _architecture(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return the network's class, its arguments and which of them name classes."""
    stated = settings.get("architecture")
    if stated is None:
        return _older_architecture(settings)
    name = str(stated["network_class_name"]).rsplit(".", 1)[-1]
    return name, dict(stated["arch_kwargs"]), tuple(stated["_kw_requires_import"])


def _older_architecture(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return the same of plans before nnU-Net 2.3, which state only what varied then."""
    axes = len(settings["patch_size"])
    name = str(settings["UNet_class_name"])
    counts = settings["n_conv_per_stage_encoder"]
    filters, most = settings["UNet_base_num_features"], settings["unet_max_num_features"]
    arguments = {
        "n_stages": len(counts),
        "features_per_stage": [min(filters * 2**stage, most) for stage in range(len(counts))],
        "conv_op": f"torch.nn.Conv{axes}d",
        "kernel_sizes": settings["conv_kernel_sizes"],
        "strides": settings["pool_op_kernel_sizes"],
        "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage": counts,
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"torch.nn.InstanceNorm{axes}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return name, arguments, ("conv_op", "norm_op", "dropout_op", "nonlin")


def _check_axes(recipe: Recipe) -> None:
    count = len(recipe.patch)
    if count not in (2, 3) or len(recipe.divisor) != count or len(recipe.spacing_mm) != count:
        raise ValueError(f"patch {recipe.patch}, spacing {recipe.spacing_mm} and strides differ")
    if sorted(recipe.transpose) != [0, 1, 2]:
        raise ValueError(f"transpose_forward {recipe.transpose}")
    if min(recipe.patch) < 1 or not min(recipe.spacing_mm) > 0:
        raise ValueError(f"patch {recipe.patch}, spacing {recipe.spacing_mm}")


def _axes(recipe: Recipe, grid: Geometry) -> Axes:
    """Return the network's axes: the array in slice, row, column order, then transposed."""
    image = named_axes("RAS") if recipe.turned else own_axes(grid)
    return image.along((2, 1, 0)).along(recipe.transpose)


def _plan(recipe: Recipe, axes: Axes, grid: Geometry) -> Plan:
    spacing, patch = recipe.spacing_mm, recipe.patch
    if len(patch) == 2:  # slices keep their distance
        canonical = move_grid(grid, canonical_move(grid))
        spacing = (canonical.spacing_mm[axes.order[0]], *spacing)
        patch = (1, *patch)
    return Plan(
        network=recipe.network,
        labels=recipe.labels,
        spacing_mm=axes.canonical(spacing),
        patch=axes.canonical_shape(patch),
        intensity=AS_IT_COMES,
    )


def _card(axes: Axes, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return which canonical axes may be mirrored, from the network's own."""
    stated = document.get("inference_allowed_mirroring_axes") or ()
    # a network of slices counts its own two axes, which follow that of the slices
    first = 3 - _spatial_axes(document)
    return {"mirror_axes": sorted(axes.order[first + int(axis)] for axis in stated)}


def _spatial_axes(document: Mapping[str, Any]) -> int:
    kernels = [t.ndim for t in document["network_weights"].values() if t.ndim >= 4]
    return max(kernels, default=5) - 2


def _name(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.parent.name}"


def _network(recipe: Recipe, axes: Axes, path: Path, document: Any) -> TurnedNetwork:
    network = _built(recipe)
    load_into(network, state_dict_in(path, document, ("network_weights",)), path)
    flat = len(recipe.patch) == 2
    divisor = (1, *recipe.divisor) if flat else recipe.divisor
    turned = TurnedNetwork(network, axes, divisor, slices=flat)
    turned.eval()
    return turned


def _built(recipe: Recipe) -> nn.Module:
    if recipe.network not in _NETWORKS:
        raise SettingsError(
            f"plans.json names the network {recipe.network}; only {' and '.join(_NETWORKS)} are "
            "run here: use nnU-Net itself"
        )
    arguments = dict(recipe.arguments)
    for part in recipe.parts:
        if arguments.get(part) is not None:
            arguments[part] = _part(str(arguments[part]))
    try:
        built: nn.Module = _class(recipe.network)(
            input_channels=1,
            num_classes=len(recipe.labels) + 1,
            deep_supervision=False,
            **{key: value for key, value in arguments.items() if key != "deep_supervision"},
        )
    except (TypeError, ValueError, AssertionError, RuntimeError, AttributeError) as error:
        raise ReadError(
            f"plans.json: {recipe.network} cannot be built as it says ({error}); copy it again, or "
            f"bring the package {_PACKAGE} to the version that nnU-Net used"
        ) from error
    return built


def _part(name: str) -> Any:
    module, _, last = name.rpartition(".")
    if last not in _PARTS or not (module == "torch.nn" or module.startswith("torch.nn.modules")):
        raise SettingsError(
            f"plans.json names {name} as a part of the network; only these of torch.nn are "
            f"built: {', '.join(sorted(_PARTS))}"
        )
    return getattr(nn, last)


def _class(name: str) -> Any:
    """Return a class of the package with nnU-Net's architectures."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise SettingsError(
            f"{name} of nnU-Net needs the package {_PACKAGE.replace('_', '-')}, which is not "
            "installed; `pip install dynamic-network-architectures` adds it"
        )
    for home in _HOMES:
        if importlib.util.find_spec(home) is not None:
            module = importlib.import_module(home)
            if hasattr(module, name):
                return getattr(module, name)
    raise SettingsError(f"the package {_PACKAGE} that is installed has no {name}; renew it")


def _box(data: Array3D) -> Box:
    """Return the box round all that is not zero."""
    there = data != 0
    if not there.any():
        raise ImageError("segmentation: every voxel is zero; give another image")
    found: Sequence[Box] = ndimage.find_objects(there.astype(np.int8))
    return found[0]


def _normalised(data: Array3D, recipe: Recipe) -> Array3D:
    if recipe.scheme == "CTNormalization":
        of = recipe.properties
        return intensities.shifted(
            data, of["percentile_00_5"], of["percentile_99_5"], of["mean"], of["std"]
        )
    if recipe.scheme == "ZScoreNormalization":
        return intensities.standardised(data, _head(data) if recipe.within_mask else None)
    if recipe.scheme == "RescaleTo01Normalization":
        bounds = (float(data.min()), float(data.max()))
        return intensities.ranged(data, bounds, (0.0, 1.0), clip=False)
    if recipe.scheme == "NoNormalization":
        return data.astype(np.float32)
    raise SettingsError(
        f"plans.json: normalisation {recipe.scheme!r} is not known here; use nnU-Net itself"
    )


def _head(data: Array3D) -> Mask3D:
    """Return what is not zero, its holes filled."""
    return np.asarray(ndimage.binary_fill_holes(data != 0), dtype=np.bool_)
