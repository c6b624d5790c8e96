"""Which patches are drawn, and what augmentation does to them."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.errors import SettingsError
from pipeline.io.scratch import put_aside
from pipeline.segment.plan import Intensity, Plan
from pipeline.segment.training import augment
from pipeline.segment.training.augment import Augmentation, augmentation_of, make_batch
from pipeline.segment.training.cache import Cache, Prepared
from pipeline.segment.training.sampling import Draw, crop, draw_patches
from pipeline.segment.window import spans

CPU = torch.device("cpu")
STILL = Augmentation(spatial=0.0, flip_axes=(), brightness=0, contrast=0, gamma=0, noise=0, blur=0)


def case_of(shape, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.zeros(shape, np.uint8)
    classes[1:3, 2:4, 1:3] = 1
    classes[-2, -2, -2] = 2
    centres = tuple(np.argwhere(classes == number) for number in (1, 2))
    return Prepared("x", rng.standard_normal(shape).astype(np.float32), classes, centres)


def plan_of(patch, spacing=(1.0, 1.0, 1.0), dimensions=3):
    return Plan("unet", {"a": 1, "b": 2}, spacing, patch, Intensity("image", 0, 100),
                dimensions=dimensions)  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_first_part_of_a_batch_is_on_foreground_and_all_lie_inside():
    case = case_of((20, 22, 24))
    rng = np.random.default_rng(0)
    for _ in range(30):
        draws = draw_patches([case], (5, 6, 7), batch=3, foreground=1 / 3, rng=rng)
        for place, draw in enumerate(draws):
            start = np.asarray(draw.centre) - (np.array([5, 6, 7]) - 1) / 2
            assert (start == np.round(start)).all()
            assert (start >= 0).all()
            assert (start + np.array([5, 6, 7]) <= case.image.shape).all()
            if place == 0:
                box = crop(case.classes, start.astype(int).tolist(), (5, 6, 7))
                assert box.any()


def test_both_classes_are_drawn_alike_however_small():
    case = case_of((20, 22, 24))
    rng = np.random.default_rng(0)
    draws = [
        d
        for _ in range(200)
        for d in draw_patches([case], (1, 1, 1), batch=1, foreground=1.0, rng=rng)
    ]
    classes = [int(case.classes[tuple(int(c) for c in d.centre)]) for d in draws]
    assert set(classes) == {1, 2}
    assert 70 < classes.count(2) < 130


def test_a_small_image_lies_in_a_patch_as_it_does_in_a_window():
    case = case_of((7, 8, 9))
    (draw,) = draw_patches(
        [case], (12, 12, 12), batch=1, foreground=0.0, rng=np.random.default_rng(0)
    )
    image, target = make_batch([case], [draw], plan_of((12, 12, 12)), None, generator(), CPU)
    (before,) = (tuple(spans(n, 12, 0.5)[0].before for n in (7, 8, 9)),)
    found = image[0, 0].numpy()[
        tuple(slice(b, b + n) for b, n in zip(before, (7, 8, 9), strict=True))
    ]
    np.testing.assert_array_equal(found, case.image)
    assert int((target > 0).sum()) == int((case.classes > 0).sum())


def test_a_crop_reaches_over_every_border():
    array = np.arange(27).reshape(3, 3, 3)
    padded = np.pad(array, 4)
    for start in ((-2, 0, 1), (-4, 3, 2), (1, 1, 1), (5, 5, 5)):
        box = tuple(slice(s + 4, s + 6) for s in start)
        wanted = padded[box] if max(start) < 5 else np.zeros((2, 2, 2))
        np.testing.assert_array_equal(crop(array, start, (2, 2, 2)), wanted)


def test_a_moved_patch_is_what_scipy_reads_there():
    case = case_of((16, 14, 12), seed=3)
    plan = plan_of((9, 8, 7), spacing=(1.0, 1.5, 2.0))
    draw = Draw(0, (5.0, 9.5, 4.0))
    offsets = augment._offsets(plan, Augmentation(spatial=1.0, elastic=1.0), generator(5), CPU)
    image, classes = augment._cut(case, draw, plan.patch, offsets, CPU)
    where = np.moveaxis(offsets.numpy().astype(np.float64) + draw.centre, -1, 0)
    wanted = ndimage.map_coordinates(
        case.image.astype(np.float64), where, order=1, mode="grid-constant", cval=0.0
    )
    np.testing.assert_allclose(image.numpy(), wanted, atol=2e-5)
    nearest = ndimage.map_coordinates(case.classes, where, order=0, mode="grid-constant", cval=0)
    assert (classes.numpy() != nearest).mean() < 0.002  # voxels half way between two


def test_a_rotation_keeps_distances_in_mm():
    spacing = np.array([0.7, 1.0, 3.0])
    plan = plan_of((8, 8, 8), spacing=tuple(spacing))
    still = Augmentation(spatial=1.0, elastic=0.0, scaling=1.0, translation=0.0, rotation_deg=40.0)
    offsets = augment._offsets(plan, still, generator(1), CPU).numpy()
    own = np.moveaxis(np.indices((8, 8, 8)), 0, -1) - 3.5
    np.testing.assert_allclose(
        np.linalg.norm(offsets * spacing, axis=-1),
        np.linalg.norm(own * spacing, axis=-1),
        rtol=1e-4,
    )
    assert np.abs(offsets - own).max() > 0.5


def test_a_slice_stays_in_its_plane():
    plan = plan_of((8, 8, 1), dimensions=2)
    moved = augment._offsets(plan, Augmentation(spatial=1.0, elastic=1.0), generator(2), CPU)
    assert float(moved[..., 2].abs().max()) == 0.0
    assert float(moved[..., :2].abs().max()) > 1.0
    image, target = make_batch(
        [case_of((12, 12, 6))],
        [Draw(0, (5.5, 5.5, 2.0))] * 2,
        plan,
        Augmentation(),
        generator(),
        CPU,
    )
    assert image.shape == (2, 1, 8, 8)
    assert target.shape == (2, 8, 8)


def test_bending_never_folds():
    plan = plan_of((24, 24, 24))
    for seed in range(5):
        drawn = augment._bent(plan.patch, Augmentation(bend=0.15), False, generator(seed)).numpy()
        slopes = np.stack([np.stack(np.gradient(drawn[..., c]), -1) for c in range(3)], -2)
        assert np.linalg.det(np.eye(3) + slopes).min() > 0.0


def test_mirroring_moves_image_and_classes_alike():
    case = case_of((8, 8, 8))
    flips = Augmentation(**{**vars(STILL), "flip_axes": (0, 2)})
    seen = set()
    for seed in range(12):
        image, target = make_batch(
            [case], [Draw(0, (3.5,) * 3)], plan_of((8, 8, 8)), flips, generator(seed), CPU
        )
        for axes in ((), (0,), (2,), (0, 2)):
            if np.array_equal(image[0, 0].numpy(), np.flip(case.image, axes)):
                np.testing.assert_array_equal(target[0].numpy(), np.flip(case.classes, axes))
                seen.add(axes)
    assert seen == {(), (0,), (2,), (0, 2)}


def test_blur_is_a_gaussian():
    data = np.random.default_rng(0).standard_normal((9, 10, 11)).astype(np.float32)
    found = augment._blurred(torch.from_numpy(data)[None], 0.8)[0].numpy()
    np.testing.assert_allclose(
        found, ndimage.gaussian_filter(data, 0.8, mode="nearest", radius=2), atol=1e-6
    )


def test_gamma_keeps_mean_and_sd_and_the_order_of_values():
    data = torch.from_numpy(
        np.random.default_rng(0).standard_normal((1, 6, 6, 6)).astype(np.float32)
    )
    found = augment._gamma(data, 1.5)
    assert float(found.mean()) == pytest.approx(float(data.mean()), abs=1e-5)
    assert float(found.std()) == pytest.approx(float(data.std()), rel=1e-4)
    assert torch.equal(found.flatten().argsort(), data.flatten().argsort())
    assert torch.isfinite(augment._gamma(torch.zeros(1, 3, 3, 3), 0.7)).all()


def test_the_generator_alone_decides():
    case, plan = case_of((14, 14, 14)), plan_of((8, 8, 8))
    draws = [Draw(0, (6.5,) * 3)] * 2
    one, again, other = (
        make_batch([case], draws, plan, Augmentation(), generator(seed), CPU)[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_strengths_of_augmentation():
    assert augmentation_of("none", (0,)) is None
    assert augmentation_of("usual", (0,)) == Augmentation()
    usual = Augmentation(flip_axes=(1,))
    light, strong = (augmentation_of(name, (1,)) for name in ("light", "strong"))
    for field in dataclasses.fields(Augmentation):
        values = [getattr(a, field.name) for a in (light, usual, strong)]
        assert values == sorted(values), field.name
    assert light != usual != strong
    with pytest.raises(SettingsError, match="augment 'wild': unknown; use one of none, light"):
        augmentation_of("wild", ())


def test_arrays_beyond_the_limit_lie_on_disk_without_a_name(tmp_path):
    cache = Cache(1000, partial(put_aside, folder=tmp_path))
    small, large = np.arange(100, dtype=np.uint8), np.arange(600, dtype=np.float32).reshape(20, 30)
    assert cache.keep(small) is small
    kept = cache.keep(large)
    assert kept is not large
    np.testing.assert_array_equal(kept, large)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 1.0
