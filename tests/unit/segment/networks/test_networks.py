"""What holds for every network."""

import ast
import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.errors import GeometryError, SettingsError
from pipeline.segment.losses import deep, dice_ce
from pipeline.segment.networks import NETWORKS, Network, build

REPOSITORY = Path(__file__).parents[4]
THREE, TWO = (2, 1, 16, 16, 16), (2, 1, 19, 22)
UNET = {"width": 4, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 1]], "deep_supervision": 1}
FLAT = {"width": 4, "strides": [[1, 1], [2, 2], [2, 1]]}
#: Name, options, shape of an input, divisor, heads. Every network of NETWORKS is here.
CASES = [
    ("unet", UNET, THREE, (4, 4, 2), 2),
    ("unet", {**UNET, "residual": True, "deep_supervision": 0}, THREE, (4, 4, 2), 1),
    ("unet", FLAT, (2, 1, 16, 18), (4, 2, 1), 2),
    ("vnet", {"dropout": 0.1}, (2, 1, 16, 16, 16), (16, 16, 16), 1),
    ("highres3dnet", {"width": 0.25}, THREE, (2, 2, 2), 1),
    ("highres3dnet", {"width": 0.25, "shortcut": "project"}, THREE, (2, 2, 2), 1),
    ("densehighres3dnet", {}, THREE, (2, 2, 2), 1),
    ("densehighres3dnet", {"version": 2, "shortcut": "project"}, THREE, (2, 2, 2), 1),
    ("fcn8s", {"width": 1 / 32}, TWO, (1, 1, 1), 1),
    ("fcn8s", {"width": 1 / 32, "variant": 32, "padding": 1}, TWO, (1, 1, 1), 1),
    ("psnet", {"width": 1 / 32}, TWO, (1, 1, 1), 1),
    ("psnet", {"width": 1 / 32, "pretrained": True, "variant": 16}, TWO, (1, 1, 1), 1),
]


def test_every_network_has_a_case():
    assert {name for name, *_ in CASES} == set(NETWORKS)


@pytest.mark.parametrize(("name", "options", "shape", "divisor", "heads"), CASES)
def test_a_network_runs_forward_and_backward(name, options, shape, divisor, heads):
    torch.manual_seed(0)
    network = build(name, channels=1, classes=3, options=options)
    assert isinstance(network, Network)
    assert network.divisor == divisor
    assert network.dimensions == len(shape) - 2
    assert network.form.startswith(name[:3])  # fcn8s can be told to be fcn32s
    before = copy.deepcopy(network.state_dict())
    outputs = network.forward_all(torch.randn(shape))
    assert len(outputs) == heads
    assert outputs[0].shape == (2, 3, *shape[2:])
    sum(output.square().mean() + output.mean() for output in outputs).backward()
    trained = [p for p in network.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    assert any(p.grad.abs().sum() > 0 for p in trained)
    copy.deepcopy(network)  # also after a pass, as a moving average does
    network.load_state_dict(before)


@pytest.mark.parametrize(("name", "options", "shape", "divisor", "heads"), CASES)
def test_forward_is_the_finest_head(name, options, shape, divisor, heads):
    torch.manual_seed(0)
    network = build(name, channels=1, classes=2, options=options).eval()
    x = torch.randn(shape)
    with torch.no_grad():
        outputs = network.forward_all(x)
        torch.testing.assert_close(network(x), outputs[0])
    sizes = [output[0, 0].numel() for output in outputs]
    assert sizes == sorted(set(sizes), reverse=True)
    # Training gives a full-resolution map too.
    assert network.train()(x).shape == (2, 2, *shape[2:])


@pytest.mark.parametrize(("name", "options", "shape", "divisor", "heads"), CASES)
def test_a_file_of_weights_holds_every_tensor_once(name, options, shape, divisor, heads):
    network = build(name, channels=1, classes=2, options=options)
    tensors = [t for t in network.state_dict().values() if t.numel()]
    assert len({t.data_ptr() for t in tensors}) == len(tensors)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [(name, options, shape) for name, options, shape, divisor, _ in CASES if max(divisor) > 1],
)
def test_a_grid_that_does_not_fit_is_told(name, options, shape):
    network = build(name, channels=1, classes=2, options=options)
    with pytest.raises(GeometryError, match=r"takes multiples of .*pad"):
        network(torch.zeros(*shape[:2], shape[2] + 1, *shape[3:]))
    with pytest.raises(GeometryError, match="spatial axes"):
        network.forward_all(torch.zeros(1, 1, 16))


def test_the_same_seed_gives_the_same_weights():
    first, second = ([*_weights(7)], [*_weights(7)])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def _weights(seed):
    torch.manual_seed(seed)
    return build("densehighres3dnet", channels=1, classes=2).parameters()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet", {}, "choose one of densehighres3dnet"),
        ("unet", {"depth": 3}, "no option depth; it has deep_supervision"),
        ("unet", {"strides": [[1, 1, 1], [2, 2, 2]]}, "at least three rows"),
        ("unet", {"strides": [[2, 2, 2], [2, 2, 2], [2, 2, 2]]}, "first row must be all 1"),
        ("unet", {"strides": [[1, 1, 1], [2, 2, 2], [2, 2]]}, "3 rows of 3 numbers"),
        ("unet", {"kernels": [[3, 3, 3]]}, "4 rows of 3 numbers"),
        ("unet", {"kernels": [[2, 2, 2]] * 4}, "odd numbers"),
        ("unet", {"filters": [8, 16]}, "4 numbers"),
        ("unet", {"deep_supervision": 3}, "use 0 to 2"),
        ("unet", {"width": "wide"}, "wide"),
        ("vnet", {"dropout": 1.0}, "use 0 to below 1"),
        ("highres3dnet", {"width": 0}, "above 0"),
        ("densehighres3dnet", {"version": 3}, "use 1 or 2"),
        ("densehighres3dnet", {"shortcut": "none"}, "use pad or project"),
        ("fcn8s", {"variant": 4}, "use 8, 16 or 32"),
        ("fcn8s", {"padding": 50}, "use 100, or 1"),
        ("fcn8s", {"width": 0.01, "freeze_until": "conv9"}, "use one of conv1"),
        ("psnet", {"width": 0.01, "intensities": "hsv"}, "use plain, caffe or torchvision"),
    ],
)
def test_what_a_network_cannot_take_is_named(name, options, message):
    with pytest.raises(SettingsError, match=message):
        build(name, channels=1, classes=2, options=options)


@pytest.mark.parametrize(("name", "channels"), [("vnet", 3), ("fcn8s", 2), ("unet", 0)])
def test_channels_that_do_not_fit_are_named(name, channels):
    with pytest.raises(SettingsError, match=f"{channels} channels"):
        build(name, channels=channels, classes=2)


def test_one_class_is_refused():
    with pytest.raises(SettingsError, match="background is a class"):
        build("unet", channels=1, classes=1)


def test_the_list_of_networks_needs_no_torch():
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'src')!r})\n"
        "from pipeline.segment.networks import NETWORKS\n"
        "print(sorted({'torch', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "options", "shape", "divisor", "heads"), CASES)
def test_mixed_precision_on_cuda(name, options, shape, divisor, heads):
    """Forward and backward in float16 with a scaled loss, near to float32 on the CPU."""
    torch.manual_seed(0)
    network = build(name, channels=1, classes=3, options=options).eval()
    x, target = torch.randn(shape), torch.randint(0, 3, (shape[0], *shape[2:]))
    with torch.no_grad():
        expected = network(x)
    network.cuda()
    with torch.autocast("cuda", dtype=torch.float16):
        outputs = network.forward_all(x.cuda())
        loss = deep(dice_ce, outputs, target.cuda())
    (1024 * loss).backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
    torch.testing.assert_close(outputs[0].float().cpu(), expected, rtol=0.05, atol=0.05)
