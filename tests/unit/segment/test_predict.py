"""Networks with a known answer on images in every orientation."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from pipeline.errors import SettingsError
from pipeline.geometry import index_to_world, same_grid
from pipeline.preprocess.orientation import AxisMove, canonical_move, move_data, move_grid, restore
from pipeline.segment.label_rules import LabelRules
from pipeline.segment.network_grid import prepare
from pipeline.segment.plan import Intensity
from pipeline.segment.predict import PredictSettings, predict
from pipeline.segment.window import slabs
from pipeline.types import Geometry, Volume
from tests.unit.segment.stub_network import Constant, Convolution, Threshold, make_model

MOVES = [
    AxisMove(order, flip)
    for order in itertools.permutations(range(3))
    for flip in itertools.product((False, True), repeat=3)
]
TURN = Rotation.from_euler("xyz", [12, -9, 20], degrees=True).as_matrix()
CENTRE_MM = np.array([-31.0, 12.0, 55.0])


def ball(direction, spacing=(1.0, 1.0, 1.0), shape=(22, 20, 18), radius=5.0):
    """A ball of 1 in a wider one of 0.5, off the middle of its grid."""
    middle = (np.array(shape) - 1) / 2 * spacing - [1.7, -1.2, 0.6]
    grid = Geometry(shape, spacing, tuple(CENTRE_MM - direction @ middle), direction)
    points = index_to_world(grid, np.moveaxis(np.indices(shape), 0, -1))
    depth = np.linalg.norm(points - CENTRE_MM, axis=-1)
    image = np.clip(radius - depth + 0.5, 0, 1) * 0.5 + np.clip(radius + 2 - depth, 0, 1) * 0.5
    return Volume(image.astype(np.float32), grid)


def centroid(volume, value):
    return index_to_world(volume.grid, np.argwhere(volume.data == value)).mean(axis=0)


@pytest.mark.parametrize("direction", [np.eye(3), TURN], ids=["straight", "oblique"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.3, 1.3, 1.3)], ids=["same", "resampled"])
def test_the_centroid_is_right_in_all_48_orientations(direction, spacing):
    image = ball(direction)
    model = make_model(Threshold((0.25, 0.75)), spacing_mm=spacing)
    expected = predict(image, [model]).labels
    truth = Volume(np.select([image.data > 0.75, image.data > 0.25], [9, 5]), image.grid)
    for value in (5, 9):
        if spacing == (1.0, 1.0, 1.0):
            assert np.array_equal(expected.data == value, truth.data == value)
        off = np.linalg.norm(centroid(expected, value) - centroid(truth, value))
        assert off < (1e-9 if spacing == (1.0, 1.0, 1.0) else 0.3)
    for move in MOVES:
        moved = Volume(move_data(image.data, move), move_grid(image.grid, move))
        found = predict(moved, [model]).labels
        assert same_grid(found.grid, moved.grid)
        assert found.data.dtype == np.uint8
        for value in (5, 9):
            np.testing.assert_allclose(centroid(found, value), centroid(expected, value), atol=1e-3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 1.9), (2.1, 0.7, 1.0)])
def test_slab_by_slab_equals_all_at_once(spacing):
    """Against the same windows in one piece, resampled whole by scipy, then the arg-max."""
    from pipeline.segment.network_grid import prepare
    from tests.unit.segment.test_window import joined, one_member

    image = ball(TURN, shape=(30, 17, 21))
    network = Convolution()
    model = make_model(network, spacing_mm=spacing, patch=(8, 12, 8))
    found = predict(image, [model], PredictSettings(uncertainty=True))
    prepared = prepare(image, model.plan)
    whole = joined(torch.from_numpy(prepared.data), one_member(network), (8, 12, 8),
                   passes=[1], classes=3)[0].numpy()  # fmt: skip
    ratio = np.array(image.grid.spacing_mm) / prepared.grid.spacing_mm
    axes = [
        (m - 1) / 2 + r * (np.arange(n) - (n - 1) / 2)
        for m, n, r in zip(prepared.grid.shape, image.grid.shape, ratio, strict=True)
    ]
    if (ratio <= 1).all():
        places = np.meshgrid(*axes, indexing="ij")
        own = np.stack([ndimage.map_coordinates(c, places, order=1, mode="nearest") for c in whole])
        entropy = -(own * np.log(np.maximum(own, 1e-30))).sum(axis=0)
        np.testing.assert_allclose(found.entropy.data, entropy, atol=1e-5)
    else:
        from pipeline.segment.network_grid import back_to_image

        own = np.stack([back_to_image(c, prepared.grid, image.grid) for c in whole])
    ranked = np.sort(own, axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5  # elsewhere rounding decides
    values = np.array([0, 5, 9])[own.argmax(axis=0)]
    assert clear.mean() > 0.99
    assert np.array_equal(found.labels.data[clear], values[clear])


def test_a_constant_network():
    image = ball(np.eye(3))
    model = make_model(Constant((0.0, 1.0, -1.0)), patch=(8, 8, 8))
    found = predict(image, [model], PredictSettings(uncertainty=True))
    assert (found.labels.data == 5).all()
    share = np.exp([0.0, 1.0, -1.0]) / np.exp([0.0, 1.0, -1.0]).sum()
    np.testing.assert_allclose(found.entropy.data, -(share * np.log(share)).sum(), atol=1e-5)
    assert found.spread is None
    assert found.volume_cv == {}
    assert found.volume_mm3 == {"shell": 22 * 20 * 18.0, "core": 0.0}
    assert found.warnings == ("no voxel of core was found",)


def test_mirrors_average_over_every_set_of_axes():
    image = ball(np.eye(3), shape=(12, 12, 12))
    network = Convolution()
    model = make_model(network)
    found = predict(image, [model], PredictSettings(mirror=True, uncertainty=True))
    x = torch.from_numpy(image.data)[None, None]
    with torch.inference_mode():
        answers = []
        for count in range(4):
            for axes in itertools.combinations((2, 3, 4), count):
                answers.append(torch.softmax(network(x.flip(axes)), dim=1).flip(axes)[0])
        each = torch.stack(answers)
    assert len(each) == 8
    mean = each.mean(dim=0)
    entropy = -(mean * mean.log()).sum(dim=0)
    np.testing.assert_allclose(found.entropy.data, entropy, atol=1e-5)
    assert np.array_equal(found.labels.data, np.array([0, 5, 9])[mean.argmax(dim=0)])
    chosen = each.gather(1, mean.argmax(dim=0).expand(8, 1, 12, 12, 12))[:, 0]
    np.testing.assert_allclose(found.spread.data, chosen.std(dim=0, correction=0), atol=1e-5)
    counts = torch.stack([(each.argmax(dim=1) == c).sum(dim=(1, 2, 3)) for c in (1, 2)]).double()
    expected = counts.std(dim=1, correction=1) / counts.mean(dim=1)
    np.testing.assert_allclose(list(found.volume_cv.values()), expected, rtol=1e-5)


def test_a_card_forbids_mirrors():
    image = ball(np.eye(3), shape=(12, 12, 12))
    plain = predict(image, [make_model(Convolution())])
    card = {"mirror_axes": []}
    kept = predict(image, [make_model(Convolution(), card=card)], PredictSettings(mirror=True))
    assert np.array_equal(plain.labels.data, kept.labels.data)
    assert kept.volume_cv == {}


def test_an_ensemble_is_the_mean_of_probabilities():
    image = ball(np.eye(3), shape=(20, 9, 10))
    networks = [Constant((0.0, 2.0, 0.0)), Constant((1.5, 0.0, 0.0)), Constant((0.0, 0.0, 1.0))]
    models = [make_model(n, name=str(i), patch=(8, 8, 8)) for i, n in enumerate(networks)]
    found = predict(image, models, PredictSettings(uncertainty=True))
    each = torch.stack([torch.softmax(n.logits, dim=0) for n in networks]).detach()
    mean = each.mean(dim=0)
    np.testing.assert_allclose(found.entropy.data, float(-(mean * mean.log()).sum()), atol=1e-5)
    winner = int(mean.argmax())
    np.testing.assert_allclose(
        found.spread.data, float(each[:, winner].std(correction=0)), atol=1e-5
    )
    assert (found.labels.data == (0, 5, 9)[winner]).all()
    # each label is found whole by one member of three and not at all by the others
    assert found.volume_cv["shell"] == pytest.approx(math.sqrt(3.0))
    without = predict(image, models)
    assert without.volume_cv == pytest.approx(found.volume_cv)
    assert np.array_equal(without.labels.data, found.labels.data)


def test_members_of_other_intensities_each_see_their_own():
    """Folds of a CT training have other means and clipping values: their mean is by hand here."""
    image = ball(TURN)
    rules = [Intensity("dataset", -5.0, 5.0, mean, sd) for mean, sd in ((0.1, 0.5), (0.4, 2.0))]
    models = [
        make_model(Convolution(seed=n), name=str(n), intensity=rules[n % 2], patch=(8, 8, 8))
        for n in range(3)
    ]
    found = predict(image, models, PredictSettings(uncertainty=True, overlap=0.25))
    alone = [probabilities(image, model, PredictSettings(overlap=0.25)) for model in models]
    mean = np.mean(alone, axis=0)
    entropy = -(mean * np.log(mean)).sum(axis=0)
    np.testing.assert_allclose(found.entropy.data, entropy, atol=1e-5)
    spread = np.take_along_axis(np.array(alone), mean.argmax(axis=0)[None, None], axis=1)[:, 0]
    np.testing.assert_allclose(found.spread.data, spread.std(axis=0), atol=1e-5)
    same = predict(image, [models[0], models[0]], PredictSettings(overlap=0.25))
    once = predict(image, [models[0]], PredictSettings(overlap=0.25))
    assert np.array_equal(same.labels.data, once.labels.data)


def probabilities(image, model, settings):
    """Return (C, I, J, K) of one model on the image's own grid, from slabs of its own."""

    def members(window):
        yield 0, torch.softmax(model.network(window), dim=1)[0]

    ready = prepare(image, model.plan)
    with torch.inference_mode():
        parts = [
            (slab.axis, slab.data[0].clone())
            for slab in slabs(torch.from_numpy(ready.data), members, model.plan.patch, passes=[1],
                              classes=model.plan.classes, overlap=settings.overlap)
        ]  # fmt: skip
    whole = torch.cat([data for _, data in parts], dim=parts[0][0] + 1).numpy()
    canonical = move_grid(image.grid, canonical_move(image.grid))
    return np.array([restore(one, canonical, image.grid)[0] for one in whole])


def test_models_that_form_no_ensemble():
    models = [make_model(Convolution(), spacing_mm=(s, 1.0, 1.0)) for s in (1.0, 2.0)]
    with pytest.raises(SettingsError, match=r"no ensemble: spacing_mm \(1.0, 1.0, 1.0\)"):
        predict(ball(np.eye(3)), models)
    with pytest.raises(SettingsError, match="no model"):
        predict(ball(np.eye(3)), [])


def test_slices_go_one_by_one_through_a_network_of_slices():
    image = ball(TURN)
    network = Threshold((0.25, 0.75), dimensions=2)
    model = make_model(network, dimensions=2, patch=(16, 16, 1))
    flat = predict(image, [model], PredictSettings(mirror=True)).labels
    solid = predict(image, [make_model(Threshold((0.25, 0.75)))]).labels
    assert np.array_equal(flat.data, solid.data)


def test_windows_are_multiples_of_the_divisor():
    seen = []

    class Recording(Constant):
        def forward(self, x):
            seen.append(tuple(x.shape[2:]))
            return super().forward(x)

    model = make_model(Recording((0.0, 1.0, 0.0), divisor=(8, 4, 16)), patch=(12, 12, 12))
    found = predict(ball(np.eye(3)), [model])
    assert set(seen) == {(16, 12, 16)}
    assert found.patch == (16, 12, 16)


@pytest.mark.parametrize(("shape", "window"), [
    ((13, 14, 12), (16, 16, 12)),
    ((24, 12, 12), (24, 12, 12)),
    ((25, 12, 12), (12, 12, 12)),
    ((5, 24, 9), (12, 24, 12)),
])  # fmt: skip
def test_a_volume_little_larger_than_the_patch_goes_at_once(shape, window):
    model = make_model(Constant((0.0, 1.0, 0.0), divisor=(4, 4, 4)), patch=(12, 12, 12))
    assert predict(ball(np.eye(3), shape=shape), [model]).patch == window


def test_same_bytes_twice():
    image = ball(TURN, shape=(30, 17, 21))
    model = make_model(Convolution(), spacing_mm=(1.2, 0.9, 1.0), patch=(8, 8, 8))
    one, two = (predict(image, [model], PredictSettings(uncertainty=True)) for _ in range(2))
    assert one.labels.data.tobytes() == two.labels.data.tobytes()
    assert one.entropy.data.tobytes() == two.entropy.data.tobytes()


def test_rules_apply_on_the_images_own_grid():
    image = ball(np.eye(3), spacing=(1.0, 1.0, 2.0), shape=(22, 20, 12))
    image.data[0, 0, 0] = 1.0
    model = make_model(Threshold((0.25, 0.75)), spacing_mm=(1.0, 1.0, 2.0))
    assert predict(image, [model]).labels.data[0, 0, 0] == 9
    settings = PredictSettings(rules=LabelRules(minimum_mm3=2.5))
    kept = predict(image, [model], settings)
    assert kept.labels.data[0, 0, 0] == 0
    assert kept.volume_mm3["core"] == (kept.labels.data == 9).sum() * 2.0


class ShortOfMemory(Constant):
    """A device that holds windows up to a size; everything really runs on the CPU."""

    def __init__(self, most):
        super().__init__((0.0, 1.0, 0.0), divisor=(4, 4, 4))
        self.most, self.where = most, "cpu"

    def to(self, device):
        self.where = str(device)
        return self

    def forward(self, x):
        if self.where != "cpu" and x.numel() > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(x)


@pytest.mark.parametrize(("most", "device", "patch", "words"), [
    (16**3, "cuda", (16, 16, 16), []),
    (8**3, "cuda", (8, 8, 8), ["windows of (8, 8, 8)"]),
    (1, "cpu", (16, 16, 16), ["windows of (8, 8, 8)", "on the CPU"]),
])  # fmt: skip
def test_out_of_memory_halves_the_window_then_goes_to_the_cpu(
    monkeypatch, most, device, patch, words
):
    import pipeline.segment.predict as module

    real = module.slabs
    monkeypatch.setattr(module, "slabs", lambda *a, **k: real(*a, **{**k, "device": "cpu"}))
    model = make_model(ShortOfMemory(most), patch=(16, 16, 16))
    settings = PredictSettings(device="cuda", mixed_precision=False)
    found = predict(ball(np.eye(3)), [model], settings)
    assert (found.device, found.patch) == (device, patch)
    assert (found.labels.data == 5).all()
    told = [warning for warning in found.warnings if "out of memory" in warning]
    assert len(told) == len(words)
    assert all(word in warning for word, warning in zip(words, told, strict=True))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    class Broken(Constant):
        def forward(self, x):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        predict(ball(np.eye(3)), [make_model(Broken((0.0, 1.0, 0.0)))])


@pytest.mark.gpu
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 1.9)])
def test_a_gpu_agrees_with_the_cpu(spacing):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    image = ball(TURN, shape=(40, 31, 27))
    models = [
        make_model(Convolution(seed=s), spacing_mm=spacing, patch=(12, 12, 12)) for s in (0, 1)
    ]
    exact = PredictSettings(uncertainty=True)
    here = predict(image, models, exact)
    there = predict(
        image, models, PredictSettings(device="cuda", uncertainty=True, mixed_precision=False)
    )
    assert there.device == "cuda"
    np.testing.assert_allclose(there.entropy.data, here.entropy.data, atol=5e-3)  # TF32
    assert (there.labels.data != here.labels.data).mean() < 2e-3
    mixed = predict(image, models, PredictSettings(device="cuda"))
    assert (mixed.labels.data != here.labels.data).mean() < 2e-2
