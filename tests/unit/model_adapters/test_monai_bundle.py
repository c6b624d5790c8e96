"""MONAI bundles beside MONAI's own transforms and inferer."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
import yaml
from scipy import ndimage

from pipeline import model_adapters
from pipeline.errors import ReadError, SettingsError
from pipeline.geometry import same_grid
from pipeline.model_adapters import monai_bundle
from pipeline.model_adapters.bundle_config import resolved
from pipeline.model_adapters.monai_bundle import adapt
from pipeline.preprocess.orientation import AxisMove, move_data, move_grid
from pipeline.segment.predict import PredictSettings
from pipeline.types import Geometry, Volume
from tests.unit.model_adapters.bundles import NETWORK, config, transform, write_bundle
from tests.unit.segment.stub_network import Threshold

SHAPE = (22, 26, 18)
SPACING = (1.2, 0.9, 1.5)
_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


@pytest.fixture(scope="module")
def network():
    from monai.networks.nets import UNet

    torch.manual_seed(3)
    arguments = {k: v for k, v in NETWORK.items() if k != "_target_"}
    return UNet(**arguments).eval()


@pytest.fixture
def image():
    """Random and smooth, its axes towards A, L, I: none is where MONAI or we would have it."""
    rng = np.random.default_rng(5)
    data = rng.normal(60, 50, (9, 9, 9)).repeat(3, 0).repeat(3, 1).repeat(2, 2)
    data = data[: SHAPE[0], : SHAPE[1], : SHAPE[2]] + rng.normal(0, 5, SHAPE)
    grid = Geometry(SHAPE, SPACING, (-20.0, 7.0, 31.0), np.eye(3))
    move = AxisMove((1, 0, 2), (True, False, True))
    return Volume(move_data(data.astype(np.float32), move), move_grid(grid, move))


def affine(grid):
    """The RAS affine that MONAI takes."""
    matrix = np.eye(4)
    matrix[:3, :3] = grid.direction * grid.spacing_mm
    matrix[:3, 3] = grid.origin_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def scaled(image):
    return np.clip((image.data + 57) / 221, 0, 1)


def by_monai(network, image, steps, roi, data=None):
    """Run MONAI's transforms, inferer and their inverses on an image."""
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import Compose

    data = image.data.copy() if data is None else data
    tensor = MetaTensor(torch.from_numpy(data)[None], affine=affine(image.grid))
    chain = Compose(steps)
    seen = chain(tensor)
    with torch.no_grad():
        found = SlidingWindowInferer(roi, overlap=0.5, mode="gaussian")(seen[None], network)[0]
    found = torch.softmax(found, dim=0)
    carried = MetaTensor(found, meta=seen.meta, applied_operations=seen.applied_operations)
    back = chain.inverse(carried) if steps else carried
    return back.argmax(dim=0).numpy()


RANGE = {"a_min": -57, "a_max": 164, "b_min": 0.0, "b_max": 1.0, "clip": True}


def test_the_same_labels_as_monai_where_no_voxel_is_resampled(tmp_path, network, image):
    from monai.transforms import Orientation, ScaleIntensityRange

    steps = [transform("Orientationd", axcodes="RAS"), transform("ScaleIntensityRanged", **RANGE)]
    roi = (24, 28, 20)
    document = config(*steps, inferer={"roi_size": list(roi)})
    folder = write_bundle(tmp_path / "tiny", document, network.state_dict())
    outcome = model_adapters.segment(str(folder), image, PredictSettings())
    truth = by_monai(
        network, image, [Orientation("RAS", labels=_LABELS), ScaleIntensityRange(**RANGE)], roi
    )
    assert len(np.unique(truth)) == 3
    assert np.mean(outcome.prediction.labels.data == truth) > 0.9999
    assert same_grid(outcome.prediction.labels.grid, image.grid)
    assert outcome.labels == {"spleen": 1, "liver": 2}
    assert list(outcome.weights) == ["models/model.pt"]


def test_the_networks_axes_matter(tmp_path, network, image):
    own = transform("ScaleIntensityRanged", **RANGE)
    inferer = {"roi_size": [28, 24, 20]}
    document = config(own, inferer=inferer)
    folder = write_bundle(tmp_path / "tiny", document, network.state_dict())
    found = model_adapters.segment(str(folder), image, PredictSettings()).prediction.labels.data
    truth = by_monai(network, image, [], (28, 24, 20), scaled(image))
    assert np.mean(found == truth) > 0.9999
    document = config(transform("Orientationd", axcodes="SPR"), own, inferer=inferer)
    folder = write_bundle(tmp_path / "turned", document, network.state_dict())
    other = model_adapters.segment(str(folder), image, PredictSettings()).prediction.labels.data
    assert np.mean(other == truth) < 0.99


def test_the_spacing_follows_the_axes_it_is_stated_in(tmp_path, network, image):
    steps = [
        transform("Orientationd", axcodes="SAR"),
        transform("Spacingd", pixdim=[2.0, 1.0, 1.5], mode="bilinear"),
    ]
    folder = write_bundle(tmp_path / "tiny", config(*steps), network.state_dict())
    (model,) = adapt(folder, image).models
    assert model.plan.spacing_mm == (1.5, 1.0, 2.0)
    assert model.plan.patch == (12, 20, 16)
    assert model.network.divisor == (4, 4, 4)
    before = config(*reversed(steps))
    (model,) = adapt(write_bundle(tmp_path / "before", before, network.state_dict()), image).models
    assert model.plan.spacing_mm == (1.0, 2.0, 1.5)  # of the image's own axes: A, L, I


def test_close_to_monai_where_the_image_is_resampled(tmp_path, image, monkeypatch):
    """A network that looks at single voxels: what differs is the interpolation alone."""
    from monai.transforms import Orientation, ScaleIntensityRange, Spacing

    network = Threshold((0.5, 0.56))
    monkeypatch.setattr(monai_bundle, "_built", lambda *_: network)
    smooth = ndimage.gaussian_filter(image.data, 2)
    image = Volume(smooth, image.grid)
    pixdim = [1.0, 1.0, 1.25]
    steps = [
        transform("Orientationd", axcodes="RAS"),
        transform("Spacingd", pixdim=pixdim, mode="bilinear"),
        transform("ScaleIntensityRanged", **RANGE),
    ]
    folder = write_bundle(tmp_path / "tiny", config(*steps), network.state_dict())
    found = model_adapters.segment(str(folder), image, PredictSettings()).prediction.labels.data
    chain = [Orientation("RAS", labels=_LABELS), Spacing(pixdim), ScaleIntensityRange(**RANGE)]
    truth = by_monai(network, image, chain, (16, 20, 12))
    for c in range(3):
        both = ((found == c) & (truth == c)).sum()
        assert 2 * both / ((found == c).sum() + (truth == c).sum()) > 0.95


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ScaleIntensityRange", RANGE),
        ("ScaleIntensityRange", {**RANGE, "b_min": -1.0, "clip": False}),
        ("NormalizeIntensity", {}),
        ("NormalizeIntensity", {"nonzero": True, "channel_wise": True}),
        ("NormalizeIntensity", {"subtrahend": 40.0, "divisor": 12.5}),
        ("ScaleIntensity", {}),
        ("ScaleIntensity", {"minv": -1.0, "maxv": 1.0}),
        ("ScaleIntensity", {"minv": None, "maxv": None, "factor": 0.5}),
        ("ScaleIntensityRangePercentiles",
         {"lower": 1, "upper": 99, "b_min": 0, "b_max": 1, "clip": True}),
    ],
)  # fmt: skip
def test_intensities_are_monais(tmp_path, network, image, name, arguments):
    from monai import transforms

    image.data[:4] = 0.0
    document = config(transform(f"{name}d", **arguments))
    folder = write_bundle(tmp_path / "tiny", document, network.state_dict())
    found = adapt(folder, image).image.data
    truth = getattr(transforms, name)(**arguments)(torch.from_numpy(image.data)[None])[0].numpy()
    np.testing.assert_allclose(found, truth, rtol=2e-4, atol=2e-4)


def test_yaml_and_wrapped_weights(tmp_path, network, image):
    folder = write_bundle(tmp_path / "tiny", config(), {"model": network.state_dict()})
    first = adapt(folder, image)
    document = json.loads((folder / "configs" / "inference.json").read_text())
    (folder / "configs" / "inference.json").unlink()
    (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(document))
    second = adapt(folder, image)
    assert first.models[0].plan == second.models[0].plan
    for one, other in zip(first.models[0].network.state_dict().values(),
                          network.state_dict().values(), strict=True):  # fmt: skip
        assert torch.equal(one, other)


# --- configurations as data ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("@a", 7), ("$@a", 7), ("@b::1::c", "x"), ("@b#0", 1), ("$[1, 2.5, None]", [1, 2.5, None]),
        ("$(1, 2)", (1, 2)), ("$'text'", "text"), ("plain", "plain"), ({"k": ["@a"]}, {"k": [7]}),
    ],
)  # fmt: skip
def test_references_and_literals(value, expected):
    assert resolved({"a": 7, "b": [1, {"c": "x"}]}, value) == expected


@pytest.mark.parametrize(
    "value",
    ["$__import__('os').mkdir('canary')", "$@a + 1", "$os.getcwd()", "%inference::a", "@a.to(@b)",
     "$[x for x in (1,)]", "$open('canary', 'w')"],
)  # fmt: skip
def test_other_expressions_are_refused_by_name(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReadError) as caught:
        resolved({"a": 7, "b": 1}, value)
    assert repr(value) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_references_that_lead_nowhere_or_round():
    with pytest.raises(ReadError, match="'@c' refers to nothing"):
        resolved({"a": 1}, "@c")
    with pytest.raises(ReadError, match="lead to themselves"):
        resolved({"a": "@b", "b": "@a"}, "@a")


# --- what is refused ---

REFUSED = {
    "an expression that is needed": (
        config(network_def={**NETWORK, "channels": "$list(range(3))"}),
        ReadError, r"\$list\(range\(3\)\)",
    ),
    "a class of another place": (
        config(network_def={"_target_": "os.mkdir", "path": "canary"}),
        SettingsError, r"os\.mkdir is not of monai\.networks\.nets",
    ),
    "a network that is not listed": (
        config(network_def={"_target_": "FlexibleUNet", "in_channels": 1, "out_channels": 2}),
        SettingsError, "FlexibleUNet is not run here",
    ),
    "an object as an argument": (
        config(network_def={**NETWORK, "act": {"_target_": "os.mkdir", "path": "canary"}}),
        SettingsError, r"os\.mkdir as an argument",
    ),
    "an unknown argument": (
        config(network_def={**NETWORK, "depth": 3}), ReadError, "no argument depth",
    ),
    "an unknown transform": (
        config(transform("RandGaussianNoised")), SettingsError, "RandGaussianNoise is not known",
    ),
    "a transform of another place": (
        config({"_target_": "scripts.mine.Loadd"}), SettingsError, r"is not of monai\.transforms",
    ),
    "two channels": (
        config(network_def={**NETWORK, "in_channels": 2}), SettingsError, "one channel",
    ),
    "overlapping outputs": (
        config(postprocessing={"transforms": [{"_target_": "Activationsd", "sigmoid": True}]}),
        SettingsError, "outputs overlap",
    ),
    "no window": (
        config(inferer={"_target_": "SlidingWindowInferer", "roi_size": [-1, 16, 16]}),
        SettingsError, "no window",
    ),
    "no network": ({"image_key": "image"}, ReadError, "does not describe how the bundle is run"),
    "another architecture": (
        config(network_def={**NETWORK, "channels": [4, 8, 16]}),
        ReadError, r"of another architecture.*of another shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_said(case, tmp_path, network, image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document, error, message = REFUSED[case]
    folder = write_bundle(tmp_path / "tiny", document, network.state_dict())
    with pytest.raises(error, match=message):
        adapt(folder, image)
    assert not (tmp_path / "canary").exists()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_weights_that_would_run_code(tmp_path, network, image):
    canary = tmp_path / "canary"
    weights = {**network.state_dict(), "more": Evil(canary)}
    folder = write_bundle(tmp_path / "tiny", config(), weights)
    with pytest.raises(ReadError, match="Whatever could run code is refused"):
        adapt(folder, image)
    assert not canary.exists()


def test_weights_that_are_not_there(tmp_path, network, image):
    folder = write_bundle(tmp_path / "tiny", config(), network.state_dict())
    shutil.copy(folder / "models" / "model.pt", folder / "models" / "model.ts")
    (folder / "models" / "model.pt").unlink()
    with pytest.raises(ReadError, match=r"no models/\*\.pt where one is needed.*TorchScript"):
        adapt(folder, image)


def test_what_is_left_out_is_told(tmp_path, network, image):
    document = config()
    document["postprocessing"]["transforms"].append(
        {"_target_": "KeepLargestConnectedComponentd", "keys": "pred"}
    )
    folder = write_bundle(tmp_path / "tiny", document, network.state_dict())
    outcome = model_adapters.segment(str(folder), image, PredictSettings())
    assert (
        "not run after the network: KeepLargestConnectedComponentd" in outcome.prediction.warnings
    )
