"""PSNet with the weights of a small VGG-16 that is built here as torchvision builds it."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from pipeline.errors import SettingsError
from pipeline.io.tensors import read_tensors, write_tensors
from pipeline.segment.networks import build
from pipeline.segment.networks.psnet import load_vgg16

WIDTH = 1 / 16
PRETRAINED = {"width": WIDTH, "pretrained": True}


def vgg16(width=WIDTH):
    """Return the layers of torchvision's vgg16 at a part of its width, names included."""
    features, inputs = [], 3
    for stage in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for channels in (round(c * width) for c in stage):
            features += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU()]
            inputs = channels
        features.append(nn.MaxPool2d(2))
    wide = round(4096 * width)
    classifier = [
        nn.Linear(inputs * 49, wide), nn.ReLU(), nn.Dropout(),
        nn.Linear(wide, wide), nn.ReLU(), nn.Dropout(),
        nn.Linear(wide, 10),
    ]  # fmt: skip
    parts = [("features", nn.Sequential(*features)), ("classifier", nn.Sequential(*classifier))]
    return nn.Sequential(OrderedDict(parts))


def psnet(**options):
    return build("psnet", channels=1, classes=2, options={**PRETRAINED, **options})


@pytest.fixture
def weights():
    torch.manual_seed(3)
    return dict(vgg16().state_dict())


def test_the_network_computes_what_vgg16_does():
    torch.manual_seed(3)
    theirs = vgg16().eval()
    network = psnet(padding=1, intensities="plain").eval()
    load_vgg16(network, theirs.state_dict())
    x, found = torch.randn(1, 1, 224, 224), []
    network.layers["conv5"].register_forward_hook(lambda _m, _i, out: found.append(out))
    network.layers["fc7"].register_forward_hook(lambda _m, _i, out: found.append(out))
    with torch.no_grad():
        network(x)
        features = theirs.features(x.repeat(1, 3, 1, 1))
        expected = theirs.classifier[:5](features.flatten(1))
    torch.testing.assert_close(found[0], features)
    # fc6 pads by 3 here: its middle sees the whole map, as the classifier does.
    torch.testing.assert_close(found[1][:, :, 3, 3], expected)


def test_only_the_last_three_layers_train(weights):
    network = psnet()
    load_vgg16(network, weights)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # scores start at zero: what lies below moves from the second step on
        optimiser.zero_grad()
        logits = network(torch.randn(2, 1, 24, 24))
        (logits[:, 1] - logits[:, 0]).mean().add(logits.square().mean()).backward()
        optimiser.step()
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    parts = {".".join(name.split(".")[:2]) for name in moved}
    assert parts == {"layers.fc6", "layers.fc7", "layers.score", "skips.conv4", "skips.conv3"}


def test_from_scratch_everything_trains():
    network = build("psnet", channels=1, classes=2, options={"width": WIDTH})
    assert all(p.requires_grad for p in network.parameters())
    assert network.intensities == "plain"
    assert psnet().intensities == "torchvision"
    assert psnet(intensities="caffe").intensities == "caffe"
    assert all(p.requires_grad for p in psnet(freeze_until="conv1").parameters())


def test_weights_from_a_file(tmp_path, weights):
    digest = write_tensors(tmp_path / "vgg16.safetensors", weights)
    network = psnet()
    load_vgg16(network, read_tensors(tmp_path / "vgg16.safetensors", sha256=digest))
    assert torch.equal(network.layers["conv3"][2].weight, weights["features.12.weight"])
    assert torch.equal(network.layers["fc6"][0].weight.flatten(1), weights["classifier.0.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("classifier.3.bias"), r"no tensor classifier\.3\.bias"),
        (lambda w: w.update({"features.0.weight": torch.zeros(64, 3, 3, 3)}),
         r"features\.0\.weight of shape \(64, 3, 3, 3\) where the network takes \(4, 3, 3, 3\)"),
        (lambda w: w.update({"classifier.0.weight": torch.zeros(256, 100)}),
         r"classifier\.0\.weight of shape \(256, 100\) where the network takes \(256, 1568\)"),
        (lambda w: w["classifier.0.bias"].fill_(torch.nan), r"classifier\.0\.bias is not finite"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_change_nothing(weights, change, message):
    network = psnet()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    change(weights)
    with pytest.raises(SettingsError, match=f"weights of VGG-16: {message}"):
        load_vgg16(network, weights)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_other_networks_take_no_such_weights(weights):
    other = build("densehighres3dnet", channels=1, classes=2)
    with pytest.raises(SettingsError, match="psnet and fcn8s only"):
        load_vgg16(other, weights)


def test_full_width_has_the_shapes_of_vgg16():
    with torch.device("meta"):
        network = build("psnet", channels=1, classes=2, options={"pretrained": True})
        theirs = vgg16(1)
    ours = sorted(p.numel() for p in network.layers.parameters())
    last = {"classifier.6.weight", "classifier.6.bias"}
    expected = [t.numel() for name, t in theirs.state_dict().items() if name not in last]
    assert ours == sorted([*expected, 4096 * 2, 2])
