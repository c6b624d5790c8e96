"""Mean, LoG, Laws and wavelet maps against closed forms, scipy and PyWavelets."""

import itertools

import numpy as np
import pytest
import pywt
from scipy import ndimage

from pipeline.errors import GeometryError, ImageError, SettingsError
from pipeline.radiomics.ibsi_filters import (
    LawsSettings,
    LogSettings,
    MeanSettings,
    WaveletSettings,
    response,
)
from pipeline.radiomics.ibsi_filters.kernels import LAWS, wavelet_kernel

SCIPY = {"zero": "constant", "nearest": "nearest", "periodic": "wrap", "mirror": "reflect"}


@pytest.mark.parametrize("boundary", sorted(SCIPY))
@pytest.mark.parametrize("by_slice", [False, True])
def test_the_mean_is_scipys_uniform_filter(noise, boundary, by_slice):
    found = response(noise, MeanSettings(support=5, boundary=boundary, by_slice=by_slice))
    size = (5, 5, 1) if by_slice else 5
    expected = ndimage.uniform_filter(noise.data, size, mode=SCIPY[boundary])
    np.testing.assert_allclose(found.data, expected, atol=1e-11)
    assert found.data.dtype == np.float64
    assert found.grid is noise.grid


def test_the_response_to_an_impulse_is_the_kernel_not_its_mirror_image(impulse):
    settings = LawsSettings(kernels="E5L3W5", boundary="zero")
    found = response(impulse, settings).data
    kernel = np.einsum("i,j,k->ijk", LAWS["E5"], LAWS["L3"], LAWS["W5"])
    np.testing.assert_allclose(found[8:13, 9:12, 8:13], kernel, atol=1e-15)
    assert np.count_nonzero(found) == np.count_nonzero(kernel)


def test_the_first_kernel_lies_along_the_first_axis(make_volume):
    ramp = make_volume(np.indices((9, 9, 9))[0] * 3.0)
    along_i = response(ramp, LawsSettings(kernels="E3L3", by_slice=True)).data[4, 4, 4]
    along_j = response(ramp, LawsSettings(kernels="L3E3", by_slice=True)).data[4, 4, 4]
    # Convolution turns E3 = (-1, 0, 1) about: a rising ramp gives a negative response.
    assert along_i == pytest.approx(-6.0 / np.sqrt(2.0) * 4.0 / np.sqrt(6.0))
    assert along_j == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        LogSettings(sigma_mm=1.7),
        LogSettings(sigma_mm=1.7, cutoff=2.0, by_slice=True),
        LawsSettings(kernels="L5E5S5", rotation_invariant=True),
        WaveletSettings(family="db3", subband="LLH"),
        WaveletSettings(family="coif1", subband="HL", level=2, by_slice=True),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_a_constant_maps_to_zero(make_volume, settings):
    found = response(make_volume(np.full((14, 13, 12), -1000.0)), settings)
    np.testing.assert_allclose(found.data, 0.0, atol=1e-9)


def test_a_constant_stays_under_the_mean_and_grows_under_low_passes(make_volume):
    flat = make_volume(np.full((10, 10, 10), 7.0))
    np.testing.assert_allclose(response(flat, MeanSettings(support=3)).data, 7.0)
    low = WaveletSettings(family="db2", subband="LLL", level=2)
    np.testing.assert_allclose(response(flat, low).data, 7.0 * 2.0**3)


def test_the_log_of_a_gaussian_is_the_log_of_a_wider_one(make_volume):
    # Deviations add in squares: a closed form, in mm on voxels of 2 mm.
    own, scale, voxel = 5.0, 6.0, 2.0
    at = (np.indices((41, 41, 41)) - 20.0) * voxel
    radius2 = (at**2).sum(axis=0)
    image = make_volume(np.exp(-radius2 / (2 * own**2)), (voxel,) * 3)
    found = response(image, LogSettings(sigma_mm=scale, cutoff=6.0)).data
    wide2 = own**2 + scale**2
    gaussian = (own**2 / wide2) ** 1.5 * np.exp(-radius2 / (2 * wide2))
    expected = voxel**2 * (radius2 / wide2 - 3.0) / wide2 * gaussian
    inner = (slice(8, 33),) * 3
    np.testing.assert_allclose(found[inner], expected[inner], atol=2e-6 * abs(expected).max())


@pytest.mark.parametrize("by_slice", [False, True])
def test_the_log_is_scipys_but_for_the_sum_that_the_cut_leaves(noise, by_slice):
    found = response(noise, LogSettings(sigma_mm=1.5, cutoff=6.0, by_slice=by_slice)).data
    sigma = (1.5, 1.5, 0.0) if by_slice else (1.5,) * 3
    smooth = [
        ndimage.gaussian_filter(noise.data, sigma, order=order, truncate=6.0, mode="reflect")
        for order in ([(2, 0, 0), (0, 2, 0)] + [(0, 0, 2)] * (not by_slice))
    ]
    expected = sum(smooth)
    np.testing.assert_allclose(found, expected, atol=3e-5 * abs(expected).max())


def test_rotated_laws_maps_do_not_change_when_the_image_turns(noise, make_volume):
    settings = LawsSettings(
        kernels="E3W5R5", boundary="mirror", rotation_invariant=True, energy_distance=1
    )
    plain = response(noise, settings).data
    for axes in ((0, 1), (0, 2), (1, 2)):
        turned = response(make_volume(np.rot90(noise.data, axes=axes)), settings).data
        np.testing.assert_allclose(turned, np.rot90(plain, axes=axes), atol=1e-9)
    alone = LawsSettings(kernels="E3W5R5", boundary="mirror")
    turned = response(make_volume(np.rot90(noise.data)), alone).data
    assert not np.allclose(turned, np.rot90(response(noise, alone).data))


@pytest.mark.parametrize("pooling", ["max", "mean", "min"])
@pytest.mark.parametrize("level", [1, 2])
def test_pooled_wavelets_are_pooled_over_the_24_turned_images(noise, make_volume, pooling, level):
    plain = WaveletSettings(family="db2", subband="LHL", level=level, boundary="nearest")
    pooled = WaveletSettings(
        family="db2", subband="LHL", level=level, boundary="nearest",
        rotation_invariant=True, pooling=pooling,
    )  # fmt: skip
    maps = []
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            if np.linalg.det(np.eye(3)[list(order)] * np.array(flips)[:, None]) < 0:
                continue
            steps = tuple(slice(None, None, flip) for flip in flips)
            turned = response(make_volume(noise.data.transpose(order)[steps]), plain).data
            maps.append(turned[steps].transpose(np.argsort(order)))
    assert len(maps) == 24
    expected = getattr(np, pooling)(maps, axis=0)
    np.testing.assert_allclose(response(noise, pooled).data, expected, atol=1e-10)


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_by_slice_four_rotations_are_pooled(noise, make_volume, pooling):
    plain = LawsSettings(kernels="L5E3", by_slice=True)
    pooled = LawsSettings(kernels="L5E3", by_slice=True, rotation_invariant=True, pooling=pooling)
    maps = [
        np.rot90(response(make_volume(np.rot90(noise.data, turn)), plain).data, -turn)
        for turn in range(4)
    ]
    expected = getattr(np, pooling)(maps, axis=0)
    np.testing.assert_allclose(response(noise, pooled).data, expected, atol=1e-10)


def test_the_energy_is_the_mean_of_the_absolute_response(noise):
    plain = LawsSettings(kernels="S5E5L5", boundary="mirror")
    energy = LawsSettings(kernels="S5E5L5", boundary="mirror", energy_distance=2)
    absolute = abs(response(noise, plain).data)
    expected = ndimage.uniform_filter(absolute, 5, mode="reflect")
    np.testing.assert_allclose(response(noise, energy).data, expected, atol=1e-10)


@pytest.mark.parametrize("family", ["haar", "db2", "coif1"])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_periodic_wavelets_are_pywavelets_stationary_transform(make_volume, family, level):
    data = np.random.default_rng(3).normal(size=(16, 16, 16))
    coarsest = pywt.swtn(data, family, level=level)[0]
    for subband in ("LLL", "LHL", "HHL", "HHH"):
        settings = WaveletSettings(family=family, subband=subband, level=level, boundary="periodic")
        expected = coarsest[subband.replace("L", "a").replace("H", "d")]
        found = response(make_volume(data), settings).data
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_an_even_kernel_is_centred_right_of_its_middle(impulse):
    # Haar L = (1, 1) / sqrt 2 with a zero at its end: taps at -1 and 0.
    found = response(
        impulse, WaveletSettings(family="haar", subband="LL", by_slice=True, boundary="zero")
    ).data
    np.testing.assert_array_equal(np.unique(np.nonzero(found)[0]), [9, 10])
    np.testing.assert_allclose(found[9:11, 9:11, 10], 0.5)


def test_the_coarse_level_follows_the_low_pass_of_the_finer_one(noise):
    settings = WaveletSettings(family="db3", subband="HLH", level=2, boundary="zero")
    data = noise.data
    for axis in range(3):
        data = ndimage.convolve1d(data, wavelet_kernel("db3", "L", 1), axis, mode="constant")
    for axis, band in enumerate("HLH"):
        data = ndimage.convolve1d(data, wavelet_kernel("db3", band, 2), axis, mode="constant")
    np.testing.assert_allclose(response(noise, settings).data, data, atol=1e-9)


def test_sizes_in_mm_ask_for_cubic_voxels_and_voxel_kernels_do_not(make_volume):
    flat = make_volume(np.zeros((8, 8, 8)), (0.9, 0.9, 3.0))
    with pytest.raises(GeometryError, match=r"0\.9 x 0\.9 x 3 mm.*medpipe preprocess"):
        response(flat, LogSettings(sigma_mm=2.0))
    assert response(flat, LogSettings(sigma_mm=2.0, by_slice=True)).data.shape == (8, 8, 8)
    assert response(flat, LawsSettings(kernels="L5E5E5")).data.shape == (8, 8, 8)


def test_what_is_not_finite_is_refused(make_volume):
    data = np.zeros((6, 6, 6))
    data[1, 2, 3] = np.nan
    with pytest.raises(ImageError, match="1 voxels are not finite"):
        response(make_volume(data), MeanSettings(support=3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeanSettings(support=4), "odd number"),
        (lambda: LogSettings(sigma_mm=0.0), "above 0"),
        (lambda: LogSettings(sigma_mm=float("nan")), "above 0"),
        (lambda: LawsSettings(kernels="L5E5"), "give 3 of"),
        (lambda: LawsSettings(kernels="L5Q5E5"), "give 3 of"),
        (lambda: WaveletSettings(family="db9", subband="LLL"), "one of haar"),
        (lambda: WaveletSettings(family="db2", subband="LLX"), "L or H"),
        (lambda: WaveletSettings(family="db2", subband="LL", level=0, by_slice=True), "level 0"),
        (lambda: MeanSettings(support=3, boundary="wrap"), "one of zero"),
    ],
)
def test_settings_without_meaning_are_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()
