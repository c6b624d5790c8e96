"""The fully convolutional network of VGG-16 with bilinear upsampling: FCN-32s, 16s and 8s.

Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015. As
in the authors' networks the first convolution pads by 100, pooling rounds up and nothing else
pads, so that slices of any size pass and the logits are cropped back onto the slice.
"""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from pipeline.segment.networks.network import Network, require, scaled

Intensities = Literal["plain", "caffe", "torchvision"]

#: In the order of the data; `freeze_until` names one of them.
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "score")

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_FC = 4096
_COLOURS = 3
_PADDING = 100
#: Last upsampling -> maps scored beside it, the deepest first.
_SKIPS: dict[int, tuple[str, ...]] = {32: (), 16: ("conv4",), 8: ("conv4", "conv3")}
#: Mean and SD of red, green and blue on a scale of 0 to 255.
_RANGES = {
    "caffe": ((122.679, 116.669, 104.007), (1.0, 1.0, 1.0)),
    "torchvision": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
_PERCENTILES = (0.5, 99.5)


class FCN(Network):
    """See the module.

    `layers` holds the convolutions by their names in `LAYERS`, `skips` the scores of pooled maps.
    """

    dimensions = 2

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        variant: int,
        width: float,
        dropout: float,
        padding: int,
        intensities: Intensities,
    ) -> None:
        super().__init__()
        require(channels in (1, _COLOURS), f"fcn: {channels} channels; use 1 (grey) or 3")
        require(variant in _SKIPS, f"fcn: variant {variant!r}; use 8, 16 or 32")
        require(padding in (1, _PADDING), f"fcn: padding {padding!r}; use 100, or 1 for speed")
        require(0 <= dropout < 1, f"fcn: dropout {dropout}; use 0 to below 1")
        require(
            intensities in ("plain", *_RANGES),
            f"fcn: intensities {intensities!r}; use plain, {' or '.join(_RANGES)}",
        )
        self.form = f"fcn{variant}s"
        self.factor, self.padding, self.intensities = variant, padding, intensities
        # Where the map of fc6 begins on the last pooled map, which it covers whole if it pads.
        self.begin, fc6_padding = (3, 0) if padding == _PADDING else (0, 3)
        self.layers = nn.ModuleDict()
        inputs = _COLOURS
        for name, stage in zip(LAYERS, _STAGES, strict=False):
            widths = [scaled(n, width) for n in stage]
            self.layers[name] = _stage(inputs, widths, padding if name == "conv1" else 1)
            inputs = widths[-1]
        wide = scaled(_FC, width)
        self.layers["fc6"] = _fully(inputs, wide, 7, fc6_padding, dropout)
        self.layers["fc7"] = _fully(wide, wide, 1, 0, dropout)
        self.layers["score"] = _score(wide, classes)
        self.skips = nn.ModuleDict(
            {
                name: _score(scaled(_STAGES[LAYERS.index(name)][-1], width), classes)
                for name in _SKIPS[variant]
            }
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of slices (N, 1 or 3, I, J)."""
        size, maps = x.shape[2:], {}
        features = self._colours(x)
        for name, layer in self.layers.items():
            features = maps[name] = layer(features)
        begin = self.begin
        for name, score in self.skips.items():
            features, begin = _add(bilinear_up(features, 2), score(maps[name]), 2 * begin - 1)
        # A voxel of the map is `factor` wide, its kernel twice that.
        offset = self.padding - 1 + self.factor // 2 - self.factor * begin
        return _crop(bilinear_up(features, self.factor), offset, size)

    def freeze_until(self, name: str) -> None:
        """Train this layer, those after it and the scores of skips only.

        Raises
        ------
        SettingsError
            When there is no such layer.
        """
        require(name in LAYERS, f"freeze_until {name!r}: use one of {', '.join(LAYERS)}")
        for number, layer in enumerate(LAYERS):
            self.layers[layer].requires_grad_(number >= LAYERS.index(name))

    def _colours(self, x: torch.Tensor) -> torch.Tensor:
        """Return three channels in the range that the first layers were trained on."""
        if self.intensities != "plain":
            mean, sd = (
                x.new_tensor(values, dtype=torch.float32)[:, None, None]
                for values in _RANGES[self.intensities]
            )
            return (as_bytes(x) - mean) / sd
        return x.expand(-1, _COLOURS, -1, -1)


def as_bytes(x: torch.Tensor) -> torch.Tensor:
    """Return slices (N, C, I, J) scaled so that their percentiles 0.5 and 99.5 are 0 and 255.

    Values beyond are clipped; a constant slice becomes 0.
    """
    x = x.float()
    shares = x.new_tensor(_PERCENTILES) / 100
    # One by one: torch.quantile takes no more than 16 million values at once.
    low, high = torch.stack([torch.quantile(s.flatten(), shares) for s in x]).T[
        :, :, None, None, None
    ]
    span = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    return 255 * ((x - low) / span).clamp(0, 1)


def bilinear_up(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Return maps (N, C, I, J) upsampled by a transposed convolution with bilinear weights.

    The kernel is 2 `factor` wide and nothing is cropped: (N, C, (I + 1) factor, (J + 1) factor),
    where value o lies at (o + 0.5) / factor - 1 voxels of the input. The outermost `factor`
    values fade to zero.
    """
    channels = x.shape[1]
    places = torch.arange(2 * factor, device=x.device, dtype=x.dtype)
    triangle = 1 - (places - (factor - 0.5)).abs() / factor
    kernel = torch.outer(triangle, triangle).expand(channels, 1, -1, -1)
    return functional.conv_transpose2d(x, kernel, stride=factor, groups=channels)


def build(
    *,
    channels: int,
    classes: int,
    variant: int = 8,
    width: float = 1.0,
    dropout: float = 0.5,
    padding: int = 100,
    intensities: Intensities = "plain",
    freeze_until: str | None = None,
) -> FCN:
    """Return a fully convolutional network of slices.

    Parameters
    ----------
    channels : {1, 3}
        A grey slice is given to all three channels.
    classes : int
    variant : {8, 16, 32}
        Factor of the last upsampling: 8 adds the scores of pool4 and pool3, 16 those of pool4.
    width : float
        Factor of the channels; 1 is VGG-16 with 134 million parameters.
    dropout : float
        After fc6 and fc7.
    padding : {100, 1}
        Of the first convolution. 1 (and 3 in fc6) spends nothing outside the slice; the maps
        lie on the slice just the same, but the logits fade in its outermost voxels.
    intensities : {"plain", "caffe", "torchvision"}
        "plain": as given. The others rescale each slice to 0 to 255 between its percentiles 0.5
        and 99.5, then take off the mean colour ("caffe") and divide by the SD ("torchvision"):
        the range in which such pretrained weights were found.
    freeze_until : str, optional
        Name in `LAYERS` of the first layer that trains; all train when left out.
    """
    network = FCN(
        channels,
        classes,
        variant=variant,
        width=width,
        dropout=dropout,
        padding=padding,
        intensities=intensities,
    )
    if freeze_until is not None:
        network.freeze_until(freeze_until)
    return network


def _stage(inputs: int, widths: list[int], first_padding: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        layers += [
            _started(nn.Conv2d(inputs, width, 3, padding=1 if number else first_padding)),
            nn.ReLU(inplace=True),
        ]
        inputs = width
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))


def _fully(inputs: int, outputs: int, size: int, padding: int, dropout: float) -> nn.Sequential:
    layer = _started(nn.Conv2d(inputs, outputs, size, padding=padding))
    return nn.Sequential(layer, nn.ReLU(inplace=True), nn.Dropout(dropout))


def _started(layer: nn.Conv2d) -> nn.Conv2d:
    """Keep the variance through sixteen layers that have no normalisation."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _score(inputs: int, classes: int) -> nn.Conv2d:
    """Return a score that starts at zero, as in the authors' networks."""
    layer = nn.Conv2d(inputs, classes, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _crop(x: torch.Tensor, offset: int, size: torch.Size) -> torch.Tensor:
    return x[..., offset : offset + size[0], offset : offset + size[1]]


def _add(up: torch.Tensor, skip: torch.Tensor, offset: int) -> tuple[torch.Tensor, int]:
    """Return the sum where both are, and where it begins on the map of the skip.

    `offset` is where `up` begins on it: negative where `up` reaches beyond.
    """
    if offset >= 0:
        return up + _crop(skip, offset, up.shape[2:]), offset
    return _crop(up, -offset, skip.shape[2:]) + skip, 0
