"""Chains of perturbations: what they hold, and what comes of an image."""

import numpy as np
import pytest

from pipeline.errors import SettingsError
from pipeline.radiomics.stability.chain import Chain, Perturbation, parse_steps, perturbations
from pipeline.radiomics.stability.crop import crop_image, crop_mask, region_box, wider
from pipeline.radiomics.stability.noise import estimate_noise
from pipeline.radiomics.stability.perturb import perturb, perturb_all
from pipeline.radiomics.stability.placement import Placement
from pipeline.types import Geometry, Volume


@pytest.mark.parametrize("text", ["NTVC", "CVTN", "NTAC", "contour, grow,translate,noise"])
def test_letters_and_words_name_the_same_steps_in_one_order(text):
    assert parse_steps(text) == ("noise", "translate", "grow", "contour")
    assert Chain(steps=parse_steps(text)).letters == "NTVC"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur", "step 'blur' is unknown"),
        ("NX", "step 'X'"),
        ("NN", "each step once"),
        ("", "once"),
    ],
)
def test_words_without_meaning(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_steps(text)


def test_every_combination_once():
    chain = Chain(steps=("translate", "rotate", "grow"), angles_deg=(-5.0, 5.0))
    found = perturbations(chain, seed=1)
    assert len(found) == 8 * 2 * 4
    levels = {(p.placement.translation_voxels, p.placement.angle_deg, p.volume_fraction)
              for p in found}  # fmt: skip
    assert len(levels) == len(found)
    assert [p.number for p in found] == list(range(1, 65))


def test_a_draw_is_without_replacement_and_by_the_seed():
    chain = Chain(steps=("noise", "translate", "grow"))
    found = perturbations(chain, repeats=20, seed=3)
    assert found == perturbations(chain, repeats=20, seed=3)
    assert found != perturbations(chain, repeats=20, seed=4)
    levels = {(p.placement.translation_voxels, p.volume_fraction) for p in found}
    assert len(levels) == 20
    assert len({p.seed for p in found}) == 20


def test_noise_and_contours_repeat_combinations_evenly():
    found = perturbations(Chain(steps=("noise", "grow")), repeats=10, seed=1)
    counts = np.unique([p.volume_fraction for p in found], return_counts=True)[1]
    assert counts.tolist() in ([2, 2, 3, 3], [2, 3, 2, 3], [2, 3, 3, 2], [3, 2, 2, 3],
                               [3, 2, 3, 2], [3, 3, 2, 2])  # fmt: skip
    with pytest.raises(SettingsError, match="only 4 combinations"):
        perturbations(Chain(steps=("grow",)), repeats=10, seed=1)
    with pytest.raises(SettingsError, match="two or more"):
        perturbations(Chain(steps=("noise",)), seed=1)
    with pytest.raises(SettingsError, match="no level"):
        perturbations(Chain(steps=("grow",), volume_fractions=()), seed=1)


def test_axes_of_3d_rotations_differ():
    chain = Chain(steps=("rotate",), rotation="3d")
    axes = {p.placement.axis for p in perturbations(chain, seed=1)}
    assert len(axes) == 6
    assert {p.placement.axis for p in perturbations(Chain(steps=("rotate",)), seed=1)} == {"slice"}


def test_a_chain_that_does_nothing_returns_the_crop(lesion):
    image, mask = lesion
    chain = Chain(steps=("noise", "translate", "rotate", "grow"), noise_sd=0.0)
    picture, region = perturb(image, mask, chain, Perturbation(1), np.random.default_rng(0))
    box = region_box(mask)
    np.testing.assert_array_equal(picture.data, crop_image(image, box).data)
    np.testing.assert_array_equal(region.data, crop_mask(mask, box).data)


def test_steps_come_one_after_the_other(lesion):
    image, mask = lesion
    chain = Chain(steps=("noise", "translate", "rotate", "grow"))
    one = Perturbation(1, Placement((0.25, 0.75, 0.25), 8.0), -0.2, seed=5)
    picture, region = perturb(
        image, mask, chain, one, np.random.default_rng(0), noise_sd=6.0, context_mm=4
    )
    assert region.data.sum() == pytest.approx(0.8 * mask.data.sum(), rel=0.03)
    assert min(picture.data.shape) > 8
    low, high = region_box(region)
    margins = [(a, n - 1 - b) for a, b, n in zip(low, high, region.data.shape, strict=True)]
    assert margins == [(4, 4), (4, 4), (2, 2)]
    steps = Chain(steps=("noise", "translate", "rotate"))
    loud, inside = perturb(image, mask, steps, one, np.random.default_rng(0), noise_sd=6.0)
    quiet, _ = perturb(image, mask, steps, one, np.random.default_rng(0))
    added = (loud.data - quiet.data)[inside.data]
    assert 0.6 * 6 < added.std() < 6  # the interpolation smooths it


def test_large_growth_has_room(lesion):
    image, mask = lesion
    chain = Chain(steps=("grow",), volume_fractions=(2.0,))
    _, region = perturb(image, mask, chain, Perturbation(1, volume_fraction=2.0),
                        np.random.default_rng(0))  # fmt: skip
    assert region.data.sum() == 3 * mask.data.sum()


def test_same_seed_same_bytes_other_key_other_noise(lesion):
    image, mask = lesion
    chain = Chain()
    drawn = perturbations(chain, repeats=3, seed=9)
    first = list(perturb_all(image, mask, chain, drawn, key=1))
    again = list(perturb_all(image, mask, chain, drawn, key=1))
    other = list(perturb_all(image, mask, chain, drawn, key=2))
    for one, same, different in zip(first, again, other, strict=True):
        assert one.image.data.tobytes() == same.image.data.tobytes()
        assert one.mask.data.tobytes() == same.mask.data.tobytes()
        assert one.image.data.tobytes() != different.image.data.tobytes()
        assert one.noise_sd == pytest.approx(8, rel=0.1)
    stated = next(iter(perturb_all(image, mask, Chain(noise_sd=2.5), drawn)))
    assert stated.noise_sd == 2.5


def test_a_large_image_is_cropped_before_anything_else(lesion):
    image, mask = lesion
    grid = Geometry((40, 36, 4000), image.grid.spacing_mm, image.grid.origin_mm, np.eye(3))
    tall = np.broadcast_to(image.data[:, :, :1], grid.shape).copy()
    tall[:, :, :24] = image.data
    inside = np.zeros(grid.shape, dtype=bool)
    inside[:, :, :24] = mask.data
    chain = Chain()
    drawn = perturbations(chain, repeats=2, seed=1)
    one = next(iter(perturb_all(Volume(tall, grid), Volume(inside, grid), chain, drawn)))
    assert one.image.data.size < 40 * 36 * 40
    near = wider(region_box(mask), (10, 10, 5))
    assert one.noise_sd == pytest.approx(estimate_noise(crop_image(image, near)), rel=1e-6)
