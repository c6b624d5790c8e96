"""Results folders of nnU-Net v2.

`test_the_architecture_that_plans_describe` needs dynamic-network-architectures; the others put a
layer of known weights in its place.

Beside nnU-Net's own predictor (nnunetv2 2.8.1, not needed here): four sets of five random images
were planned, preprocessed and trained for one short epoch by nnunetv2 (PlainConvUNet with
ZScoreNormalization, 3d_fullres and 2d; PlainConvUNet with CTNormalization and transpose_forward
[2, 0, 1]; ResidualEncoderUNet with CTNormalization), and a new random image was segmented by
`nnUNetPredictor.predict_single_npy_array` and by `pipeline.model_adapters.segment`. One fold, no
mirrors, one window, no resampling: 99.99 % of the voxels equal for 2d, 99.997 % with
transpose_forward, 99.88 to 99.97 % for 3d_fullres, 99.85 % for ResidualEncoderUNet. After one epoch
most voxels are near a tie, so each stated departure shows: two folds 99.5 %; several windows as
well 99.4 %; two folds and eight mirrors 99.2 %; all of these and resampling 97.7 %. One fold, odd
padding on the other side 88 % (2d: 87 %); one window where nnU-Net takes several 91 %.
"""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import model_adapters
from pipeline.errors import ImageError, ReadError, SettingsError
from pipeline.geometry import same_grid
from pipeline.model_adapters import nnunet
from pipeline.model_adapters.nnunet import adapt, read_recipe
from pipeline.preprocess.orientation import AxisMove, move_data, move_grid
from pipeline.segment.predict import PredictSettings
from pipeline.types import Geometry, Volume

DATASET = {
    "channel_names": {"0": "MRI"}, "labels": {"background": 0, "shell": 1, "core": 2},
    "numTraining": 4, "file_ending": ".nii.gz",
}  # fmt: skip

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2, "features_per_stage": [4, 8], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 4]],
        "n_conv_per_stage": [1, 1], "n_conv_per_stage_decoder": [1], "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None,
        "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}  # fmt: skip

SPACING = (1.1, 0.9, 1.5)
SHAPE = (12, 10, 8)


def plans(**changes):
    configuration = {
        "patch_size": [8, 10, 12], "spacing": [1.5, 0.9, 1.1], "architecture": ARCHITECTURE,
        "normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [False],
    } | changes  # fmt: skip
    return {
        "transpose_forward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "configurations": {"base": configuration, "3d_fullres": {"inherits_from": "base"}},
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 50.0, "std": 20.0, "percentile_00_5": 10.0, "percentile_99_5": 90.0}
        },
    }


class Layer(nn.Module):
    """In the place of nnU-Net's: one convolution, so that direction matters."""

    def __init__(self, input_channels, num_classes, deep_supervision, conv_op, **_):
        super().__init__()
        assert not deep_supervision
        self.layer = conv_op(input_channels, num_classes, 3, padding=1)

    def forward(self, x):
        return self.layer(x)


@pytest.fixture(autouse=True)
def layer(monkeypatch):
    monkeypatch.setattr(nnunet, "_class", lambda name: Layer)


def weights(seed, axes=3):
    torch.manual_seed(seed)
    layer = nn.Conv3d(1, 3, 3, padding=1) if axes == 3 else nn.Conv2d(1, 3, 3, padding=1)
    return {f"layer.{name}": 3 * value.detach() for name, value in layer.named_parameters()}


def checkpoint(state, **changes):
    return {
        "network_weights": state, "init_args": {"configuration": "3d_fullres", "fold": 0},
        "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": (0, 2),
        "logging": {"ema_fg_dice": [np.float64(0.5)]}, "_best_ema": np.float32(0.5),
    } | changes  # fmt: skip


def write(folder, documents=None, *, dataset=None, states=None):
    """Write a results folder; a checkpoint for each fold."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(dataset or DATASET))
    (folder / "plans.json").write_text(json.dumps(documents or plans()))
    for fold, state in enumerate(states or [checkpoint(weights(1))]):
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(state, folder / f"fold_{fold}" / nnunet.CHECKPOINT)
    return folder


@pytest.fixture
def image():
    data = np.random.default_rng(2).normal(50, 20, SHAPE).astype(np.float32)
    return Volume(data, Geometry(SHAPE, SPACING, (3.0, -8.0, 11.0), np.eye(3)))


def expected(data, state, transpose=(0, 1, 2)):
    """By torch alone: slices, rows, columns; transposed; convolved; back."""
    order = [2 - axis for axis in transpose]
    x = torch.from_numpy(data.transpose(order).copy())
    x = (x - x.mean()) / x.std(correction=0)
    found = nn.functional.conv3d(
        x[None, None], state["layer.weight"], state["layer.bias"], padding=1
    )
    return found[0].argmax(dim=0).numpy().transpose(np.argsort(order))


def segment(folder, image, **settings):
    return model_adapters.segment(str(folder), image, PredictSettings(**settings))


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flip", [(False, False, False), (True, True, False)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_the_network_sees_the_images_own_voxel_order(tmp_path, image, transpose, flip, order):
    """As nnU-Net, whatever the directions: the same array gives the same labels."""
    move = AxisMove(order, flip)
    turned = Volume(move_data(image.data, move), move_grid(image.grid, move))
    array = [turned.grid.spacing_mm[2 - axis] for axis in transpose]
    shape = [turned.grid.shape[2 - axis] for axis in transpose]
    patch = [-(-n // d) * d for n, d in zip(shape, (1, 2, 4), strict=True)]
    documents = plans(spacing=array, patch_size=patch)
    documents["transpose_forward"] = list(transpose)
    state = weights(1)
    folder = write(tmp_path / "results", documents, states=[checkpoint(state)])
    found = segment(folder, turned).prediction.labels
    assert same_grid(found.grid, turned.grid)
    truth = expected(turned.data, state, transpose)
    assert len(np.unique(truth)) == 3
    # a window padded with zeros meets the same zeros as the convolution
    assert np.array_equal(found.data, truth)


def test_the_plan_and_its_axes(tmp_path, image):
    documents = plans()
    documents["transpose_forward"] = [2, 0, 1]
    folder = write(tmp_path / "results", documents)
    (model,) = adapt(folder, image).models
    # network axes: columns (L), slices (S), rows (P)
    assert model.plan.spacing_mm == (1.5, 1.1, 0.9)
    assert model.plan.patch == (8, 12, 10)
    assert model.network.divisor == (1, 4, 2)
    assert model.card["mirror_axes"] == [0, 1]
    assert dict(model.plan.labels) == {"shell": 1, "core": 2}
    assert model.name == "results/fold_0"


def test_a_reader_that_turns_images(tmp_path, image):
    documents = plans()
    documents["image_reader_writer"] = "NibabelIOWithReorient"
    state = weights(1)
    folder = write(tmp_path / "results", documents, states=[checkpoint(state)])
    found = segment(folder, image).prediction.labels.data
    ras = np.flip(image.data, (0, 1)).copy()
    assert np.array_equal(found, np.flip(expected(ras, state), (0, 1)))


def test_folds_are_an_ensemble(tmp_path, image):
    states = [checkpoint(weights(seed)) for seed in (1, 2, 3)]
    folder = write(tmp_path / "results", states=states)
    outcome = segment(folder, image, uncertainty=True)
    assert set(outcome.prediction.volume_cv) == {"shell", "core"}
    assert outcome.prediction.spread is not None
    assert sorted(outcome.weights) == [f"fold_{n}/checkpoint_final.pth" for n in range(3)]


def test_what_is_zero_all_round_is_cut_off(tmp_path, image):
    state = weights(1)
    folder = write(tmp_path / "results", states=[checkpoint(state)])
    alone = segment(folder, image).prediction.labels.data
    data = np.zeros((16, 13, 12), dtype=np.float32)
    data[2:14, 1:11, 3:11] = image.data
    wider = Volume(data, Geometry(data.shape, SPACING, (0.0, 0.0, 0.0), np.eye(3)))
    found = segment(folder, wider, uncertainty=True).prediction
    assert np.array_equal(found.labels.data[2:14, 1:11, 3:11], alone)
    assert np.count_nonzero(found.labels.data) == np.count_nonzero(alone)
    assert found.entropy.data.shape == data.shape


def test_slices(tmp_path, image):
    arguments = {
        **ARCHITECTURE["arch_kwargs"], "conv_op": "torch.nn.Conv2d", "strides": [[1, 1], [2, 4]],
        "norm_op": "torch.nn.InstanceNorm2d",
    }  # fmt: skip
    documents = plans(
        patch_size=[10, 12], spacing=[0.9, 1.1],
        architecture={**ARCHITECTURE, "arch_kwargs": arguments},
    )  # fmt: skip
    state = weights(4, axes=2)
    saved = checkpoint(state, inference_allowed_mirroring_axes=(0, 1))
    folder = write(tmp_path / "results", documents, states=[saved])
    (model,) = adapt(folder, image).models
    assert model.plan.patch == (12, 10, 1)
    assert model.plan.spacing_mm == SPACING
    assert model.network.divisor == (4, 2, 1)
    assert model.card["mirror_axes"] == [0, 1]
    x = torch.from_numpy(image.data.transpose(2, 1, 0).copy())
    x = ((x - x.mean()) / x.std(correction=0))[:, None]
    truth = nn.functional.conv2d(x, state["layer.weight"], state["layer.bias"], padding=1)
    found = segment(folder, image).prediction.labels.data
    assert np.array_equal(found, truth.argmax(dim=1).numpy().transpose(2, 1, 0))


# --- intensities ---


@pytest.mark.parametrize(
    ("scheme", "masked", "truth"),
    [
        ("CTNormalization", False, lambda x: (np.clip(x, 10, 90) - 50) / 20),
        ("ZScoreNormalization", False, lambda x: (x - x.mean()) / x.std()),
        ("ZScoreNormalization", True,
         lambda x: np.where(x != 0, (x - x[x != 0].mean()) / x[x != 0].std(), 0)),
        ("RescaleTo01Normalization", False, lambda x: (x - x.min()) / (x.max() - x.min())),
        ("NoNormalization", False, lambda x: x),
    ],
)  # fmt: skip
def test_normalisation(tmp_path, image, scheme, masked, truth):
    image.data[0, :4] = 0.0  # at the border: no hole
    documents = plans(normalization_schemes=[scheme], use_mask_for_norm=[masked])
    folder = write(tmp_path / "results", documents)
    found = adapt(folder, image).image.data
    np.testing.assert_allclose(found, truth(image.data.astype(np.float64)), rtol=1e-4, atol=1e-5)


def test_images_that_cannot_be_normalised(tmp_path, image):
    folder = write(tmp_path / "results")
    with pytest.raises(ImageError, match="every voxel is zero"):
        adapt(folder, Volume(np.zeros(SHAPE, np.float32), image.grid))
    with pytest.raises(ImageError, match="constant image"):
        adapt(folder, Volume(np.ones(SHAPE, np.float32), image.grid))


# --- plans of older versions, the package ---


def test_plans_before_the_architecture_was_stated(tmp_path):
    old = plans(
        UNet_class_name="PlainConvUNet", n_conv_per_stage_encoder=[2, 2, 2],
        n_conv_per_stage_decoder=[2, 2], UNet_base_num_features=32, unet_max_num_features=100,
        conv_kernel_sizes=[[3, 3, 3]] * 3, pool_op_kernel_sizes=[[1, 1, 1], [2, 2, 2], [1, 2, 2]],
    )  # fmt: skip
    del old["configurations"]["base"]["architecture"]
    recipe = read_recipe(write(tmp_path / "results", old), "3d_fullres")
    assert recipe.arguments["features_per_stage"] == [32, 64, 100]
    assert recipe.arguments["conv_op"] == "torch.nn.Conv3d"
    assert recipe.divisor == (2, 4, 4)


def test_the_architecture_that_plans_describe(tmp_path, image, monkeypatch):
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    monkeypatch.undo()
    torch.manual_seed(0)
    arguments = {
        **ARCHITECTURE["arch_kwargs"], "conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d,
        "nonlin": nn.LeakyReLU,
    }  # fmt: skip
    network = unet.PlainConvUNet(1, num_classes=3, deep_supervision=False, **arguments).eval()
    saved = checkpoint(network.state_dict())
    folder = write(tmp_path / "results", states=[saved])
    x = torch.from_numpy(image.data.transpose(2, 1, 0).copy())
    x = (x - x.mean()) / x.std(correction=0)
    with torch.no_grad():
        truth = network(x[None, None])[0].argmax(dim=0).numpy().transpose(2, 1, 0)
    assert np.array_equal(segment(folder, image).prediction.labels.data, truth)


def test_the_absent_package_is_told(tmp_path, image, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(nnunet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install dynamic-network-architectures"):
        adapt(write(tmp_path / "results"), image)


# --- what is refused ---


def without(*keys):
    documents = plans()
    for key in keys:
        del documents["configurations"]["base"][key]
    return documents


def architecture(**changes):
    return plans(architecture={**ARCHITECTURE, **changes})


REFUSED = {
    "two channels": (
        {"dataset": {**DATASET, "channel_names": {"0": "T1", "1": "T2"}}},
        SettingsError, r"2 channels \(T1, T2\)",
    ),
    "regions": (
        {"dataset": {**DATASET, "labels": {"background": 0, "whole": [1, 2], "core": [2]}}},
        SettingsError, "regions that overlap",
    ),
    "a cascade": (
        {"documents": plans(previous_stage="3d_lowres")}, SettingsError, "second stage",
    ),
    "another network": (
        {"documents": architecture(network_class_name="os.mkdir")},
        SettingsError, "names the network mkdir",
    ),
    "another part": (
        {"documents": architecture(
            arch_kwargs={**ARCHITECTURE["arch_kwargs"], "norm_op": "os.mkdir"})},
        SettingsError, r"names os\.mkdir as a part",
    ),
    "no spacing": ({"documents": without("spacing")}, ReadError, r"KeyError: 'spacing'"),
    "an unknown scheme": (
        {"documents": plans(normalization_schemes=["Mine"])}, SettingsError, "'Mine' is not known",
    ),
    "gaps between labels": (
        {"dataset": {**DATASET, "labels": {"background": 0, "a": 3}}},
        ReadError, "not numbered",
    ),
    "other weights": (
        {"states": [checkpoint({"layer.weight": torch.zeros(2)})]},
        ReadError, "of another architecture",
    ),
    "no configuration": (
        {"states": [checkpoint(weights(1), init_args={})]}, ReadError, "no checkpoint of nnU-Net",
    ),
    "two configurations": (
        {"states": [checkpoint(weights(1)),
                    checkpoint(weights(1), init_args={"configuration": "2d"})]},
        ReadError, "form no ensemble",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_said(case, tmp_path, image):
    options, error, message = REFUSED[case]
    folder = write(tmp_path / "results", **options)
    with pytest.raises(error, match=message):
        adapt(folder, image)


def test_a_label_to_ignore_is_no_class(tmp_path, image):
    dataset = {**DATASET, "labels": {**DATASET["labels"], "ignore": 3}}
    (model,) = adapt(write(tmp_path / "results", dataset=dataset), image).models
    assert model.plan.classes == 3


def test_a_training_that_has_not_ended(tmp_path, image):
    folder = write(tmp_path / "results")
    (folder / "fold_0" / nnunet.CHECKPOINT).rename(folder / "fold_0" / "checkpoint_latest.pth")
    with pytest.raises(ReadError, match=r"no fold holds a checkpoint_final\.pth"):
        adapt(folder, image)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_would_run_code(tmp_path, image):
    canary = tmp_path / "canary"
    state = checkpoint(weights(1), logging=Evil(canary))
    with pytest.raises(ReadError, match="Whatever could run code is refused"):
        adapt(write(tmp_path / "results", states=[state]), image)
    assert not canary.exists()
