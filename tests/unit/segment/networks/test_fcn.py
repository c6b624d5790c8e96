"""The fully convolutional network, held against the authors' own numbers."""

import pytest
import torch
from torch.nn import functional

from pipeline.segment.networks import build
from pipeline.segment.networks.fcn import LAYERS, as_bytes, bilinear_up

SMALL = {"width": 1 / 32}
#: VGG-16 without its last layer of 1000 classes.
VGG16 = 138_357_544 - (4096 * 1000 + 1000)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def meta(**options):
    with torch.device("meta"):
        return build("fcn8s", channels=1, classes=2, options=options)


def drawn(name="fcn8s", **options):
    """Return a network whose scores are not zero."""
    torch.manual_seed(0)
    network = build(name, channels=1, classes=2, options={**SMALL, **options}).eval()
    for layer in (network.layers["score"], *network.skips.values()):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return network


def test_layer_by_layer_parameters():
    nine = 9
    table = {
        "conv1": nine * (3 * 64 + 64 * 64) + 2 * 64,
        "conv2": nine * (64 * 128 + 128 * 128) + 2 * 128,
        "conv3": nine * (128 * 256 + 2 * 256 * 256) + 3 * 256,
        "conv4": nine * (256 * 512 + 2 * 512 * 512) + 3 * 512,
        "conv5": nine * (3 * 512 * 512) + 3 * 512,
        "fc6": 49 * 512 * 4096 + 4096,
        "fc7": 4096 * 4096 + 4096,
        "score": 4096 * 2 + 2,
    }
    network = meta()
    assert {name: parameters(part) for name, part in network.layers.items()} == table
    assert sum(table.values()) - table["score"] == VGG16
    skips = {name: parameters(part) for name, part in network.skips.items()}
    assert skips == {"conv4": 512 * 2 + 2, "conv3": 256 * 2 + 2}
    # The weights of the upsampling are fixed: nothing else trains.
    assert parameters(network) == VGG16 + table["score"] + sum(skips.values())


def test_layer_by_layer_shapes_of_the_published_slice():
    """A slice of 500 x 500 in the authors' network: 698 after the first padding, then halves."""
    network, found = meta(), {}
    for name, part in network.layers.items():
        part.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out.shape}))
    logits = network(torch.empty(1, 1, 500, 500, device="meta"))
    channels = (64, 128, 256, 512, 512, 4096, 4096, 2)
    sizes = (349, 175, 88, 44, 22, 16, 16, 16)
    assert {name: tuple(shape) for name, shape in found.items()} == {
        name: (1, c, n, n) for name, c, n in zip(LAYERS, channels, sizes, strict=True)
    }
    assert tuple(logits.shape) == (1, 2, 500, 500)


def transposed(x, size, stride):
    """Caffe's upsampling: a full matrix of kernels, each class only onto itself."""
    centre = size / 2 - 0.5
    line = torch.tensor([1 - abs(i - centre) / stride for i in range(size)])
    kernel = torch.zeros(x.shape[1], x.shape[1], size, size)
    for channel in range(x.shape[1]):
        kernel[channel, channel] = line[:, None] * line[None]
    return functional.conv_transpose2d(x, kernel, stride=stride)


def crop(x, like, offset):
    i, j = like.shape[2:]
    return x[:, :, offset : offset + i, offset : offset + j]


def published(network, x):
    """Return what the authors' networks compute, with the offsets that they print."""
    maps, features = {}, x.expand(-1, 3, -1, -1)
    for name, layer in network.layers.items():
        features = maps[name] = layer(features)
    if network.form == "fcn32s":
        return crop(transposed(features, 64, 32), x, 19)
    features = transposed(features, 4, 2)
    features = features + crop(network.skips["conv4"](maps["conv4"]), features, 5)
    if network.form == "fcn16s":
        return crop(transposed(features, 32, 16), x, 27)
    features = transposed(features, 4, 2)
    features = features + crop(network.skips["conv3"](maps["conv3"]), features, 9)
    return crop(transposed(features, 16, 8), x, 31)


@pytest.mark.parametrize("variant", [8, 16, 32])
@pytest.mark.parametrize("size", [(40, 40), (61, 33), (1, 2)])
def test_crops_are_those_of_the_published_networks(variant, size):
    network = drawn(variant=variant)
    x = torch.randn(1, 1, *size)
    with torch.no_grad():
        torch.testing.assert_close(network(x), published(network, x))
    assert network.form == f"fcn{variant}s"


@pytest.mark.parametrize("variant", [8, 16, 32])
@pytest.mark.parametrize("padding", [1, 100])
def test_maps_lie_on_the_slice(variant, padding):
    """Scores that are a ramp in space come out as that ramp, voxel by voxel.

    Each scored map gives its own place in voxels of the slice, so that the sum of k maps must
    be k times the place of the voxel: half a voxel of displacement would show.
    """
    network, size = drawn(variant=variant, padding=padding), 320

    def place(stride, first):
        def hook(_module, _inputs, out):
            line = stride * (torch.arange(out.shape[2]) + 0.5) - 0.5 - (padding - 1) + first
            return line[:, None].expand_as(out)

        return hook

    # The map of fc6 begins three pooled voxels in where fc6 does not pad.
    network.layers["score"].register_forward_hook(place(32, 0 if padding == 1 else 96))
    for name, stride in (("conv4", 16), ("conv3", 8)):
        if name in network.skips:
            network.skips[name].register_forward_hook(place(stride, 0))
    with torch.no_grad():
        logits = network(torch.randn(1, 1, size, size))
    expected = (1 + len(network.skips)) * torch.arange(float(size))
    inner = slice(48, -48)
    torch.testing.assert_close(
        logits[0, 0, inner, inner],
        expected[inner, None].expand(size - 96, size - 96),
        rtol=0,
        atol=1e-3,
    )


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_bilinear_upsampling(factor):
    constant = bilinear_up(torch.full((1, 2, 5, 6), 3.0), factor)
    assert constant.shape == (1, 2, 6 * factor, 7 * factor)
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(constant[inner], torch.full_like(constant[inner], 3.0))
    x = torch.randn(1, 2, 5, 6)
    expected = functional.interpolate(x, scale_factor=factor, mode="bilinear")
    half = factor // 2
    found = bilinear_up(x, factor)[..., half:-half, half:-half]
    torch.testing.assert_close(
        found[..., half:-half, half:-half], expected[..., half:-half, half:-half]
    )


@pytest.mark.parametrize("name", LAYERS)
def test_layers_before_a_name_are_frozen(name):
    network = build("fcn8s", channels=1, classes=2, options={**SMALL, "freeze_until": name})
    trained = {
        layer
        for layer, part in network.layers.items()
        if all(p.requires_grad for p in part.parameters())
    }
    assert trained == set(LAYERS[LAYERS.index(name) :])
    assert all(p.requires_grad for p in network.skips.parameters())


def test_a_grey_slice_is_given_to_three_channels():
    grey = drawn()
    torch.manual_seed(0)
    coloured = build("fcn8s", channels=3, classes=2, options=SMALL).eval()
    coloured.load_state_dict(grey.state_dict())
    x = torch.randn(2, 1, 20, 30)
    with torch.no_grad():
        torch.testing.assert_close(grey(x), coloured(x.repeat(1, 3, 1, 1)))


def test_slices_become_bytes_one_by_one():
    ramp = torch.arange(1001.0).reshape(1, 1, 7, 143)
    found = as_bytes(torch.cat([ramp, 10 * ramp - 500]))
    torch.testing.assert_close(found[0], found[1])
    # Percentiles 0.5 and 99.5 of 0 to 1000 are 5 and 995.
    torch.testing.assert_close(found[0], 255 * ((ramp[0] - 5) / 990).clamp(0, 1))
    assert not as_bytes(torch.full((1, 1, 4, 4), 7.0)).any()


@pytest.mark.parametrize(
    ("intensities", "mean", "sd"),
    [
        ("caffe", (122.679, 116.669, 104.007), (1, 1, 1)),
        ("torchvision", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # 255 x 0.485, 0.229
    ],
)
def test_the_range_of_pretrained_weights(intensities, mean, sd):
    network = build("fcn8s", channels=1, classes=2, options={**SMALL, "intensities": intensities})
    seen = []
    network.layers["conv1"].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    x = torch.rand(1, 1, 20, 20) * 3 - 1
    network(x)
    expected = (as_bytes(x) - torch.tensor(mean)[:, None, None]) / torch.tensor(sd)[:, None, None]
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-4)
