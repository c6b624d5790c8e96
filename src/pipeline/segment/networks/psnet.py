"""PSNet: the fully convolutional network of VGG-16, of which only the last layers train.

Tian et al., "PSNet: prostate segmentation on MRI based on a convolutional neural network",
Journal of Medical Imaging 5(2), 2018, doi 10.1117/1.JMI.5.2.021208. It starts from the weights of
VGG-16 when there are any; without them it is trained from scratch.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from pipeline.segment.networks.fcn import FCN, Intensities
from pipeline.segment.networks.fcn import build as build_fcn
from pipeline.segment.networks.network import Network, require

#: Place of each convolution of a stage among torchvision's `features`.
_FEATURES = {
    "conv1": (0, 2),
    "conv2": (5, 7),
    "conv3": (10, 12, 14),
    "conv4": (17, 19, 21),
    "conv5": (24, 26, 28),
}
#: Place of each fully connected layer among torchvision's `classifier`.
_CLASSIFIER = {"fc6": 0, "fc7": 3}


def build(
    *,
    channels: int,
    classes: int,
    variant: int = 8,
    width: float = 1.0,
    dropout: float = 0.5,
    padding: int = 100,
    pretrained: bool = False,
    intensities: Intensities | None = None,
    freeze_until: str | None = None,
) -> FCN:
    """Return a PSNet.

    Parameters
    ----------
    channels, classes, variant, width, dropout, padding
        As `pipeline.segment.networks.fcn.build`.
    pretrained : bool
        For weights of VGG-16, given to `load_vgg16`: slices are rescaled to the range in which
        torchvision trained them, and only fc6, fc7 and the scores train. Else all layers do,
        and intensities are taken as given.
    intensities : {"plain", "caffe", "torchvision"}, optional
        Instead of that. "caffe" is the range of the original weights, with values some 57
        times larger: they ask for a much lower learning rate.
    freeze_until : str, optional
        Instead of fc6: the first layer that trains; conv1 for all.
    """
    network = build_fcn(
        channels=channels,
        classes=classes,
        variant=variant,
        width=width,
        dropout=dropout,
        padding=padding,
        intensities=intensities or ("torchvision" if pretrained else "plain"),
        freeze_until=freeze_until or ("fc6" if pretrained else None),
    )
    network.form = f"psnet ({network.form})"
    return network


def load_vgg16(network: Network, weights: Mapping[str, torch.Tensor]) -> None:
    """Fill all layers but the scores with weights of VGG-16; nothing changes on an error.

    Parameters
    ----------
    network : Network
        `psnet`, built with `pretrained` and full width, or `fcn8s`.
    weights : mapping of str to tensor
        Named as in torchvision's state dictionary, as `pipeline.io.tensors.read_tensors` gives:
        `features.N.weight` and `.bias` of the convolutions; `classifier.0` and `classifier.3`,
        whose matrices become the kernels of fc6 (7x7) and fc7 (1x1). Others are left alone.

    Raises
    ------
    SettingsError
        When the network is of another family, or a tensor is missing, of another shape or not
        finite.
    """
    require(isinstance(network, FCN), "weights of VGG-16 fit the networks psnet and fcn8s only")
    found = [
        (parameter, _fitting(weights, f"{name}.{kind}", parameter))
        for name, layer in _named_layers(network)
        for kind, parameter in (("weight", layer.weight), ("bias", layer.bias))
    ]
    with torch.no_grad():
        for parameter, value in found:
            parameter.copy_(value)


def _named_layers(network: Network) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield torchvision's name and the convolution of each layer but the scores."""
    for stage, places in _FEATURES.items():
        convolutions = [m for m in network.layers[stage] if isinstance(m, nn.Conv2d)]
        for place, convolution in zip(places, convolutions, strict=True):
            yield f"features.{place}", convolution
    for stage, place in _CLASSIFIER.items():
        yield f"classifier.{place}", network.layers[stage][0]


def _fitting(
    weights: Mapping[str, torch.Tensor], name: str, parameter: torch.Tensor
) -> torch.Tensor:
    """Return the tensor of that name in the shape of the parameter."""
    require(
        name in weights,
        f"weights of VGG-16: no tensor {name}; give those of torchvision's vgg16 (without BN)",
    )
    value = weights[name]
    # A matrix on flattened maps is a convolution with a kernel as large as the map.
    is_matrix = name.startswith("classifier") and parameter.ndim > 1
    asked = tuple((parameter.flatten(1) if is_matrix else parameter).shape)
    require(
        tuple(value.shape) == asked,
        f"weights of VGG-16: {name} of shape {tuple(value.shape)} where the network takes {asked}; "
        "give those of vgg16 and build the network with width 1",
    )
    require(bool(torch.isfinite(value).all()), f"weights of VGG-16: {name} is not finite")
    return value.reshape(parameter.shape)
