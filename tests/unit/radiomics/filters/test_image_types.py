"""Filters on a part of the image against PyRadiomics' own functions on the whole, bit for bit."""

import math
import sys
import types

import numpy as np
import pytest
import SimpleITK as sitk
from radiomics import imageoperations
from scipy.ndimage import gaussian_filter
from scipy.special import lpmv

from pipeline.errors import SettingsError
from pipeline.geometry import from_sitk, to_sitk
from pipeline.radiomics.calculate import TextureSettings
from pipeline.radiomics.filters import filtered, source_of, support_voxels
from pipeline.radiomics.filters.patterns_3d import sphere
from pipeline.radiomics.filters.recursive import Pass, matrix, run
from pipeline.radiomics.profile import ImageType, Normalisation
from pipeline.types import Geometry, Volume

SHAPE = (31, 36, 27)
BOXES = {
    "inside": np.s_[12:17, 14:19, 9:14],
    "odd": np.s_[11:18, 13:20, 8:14],
    "corner": np.s_[0:4, 30:36, 20:27],
    "whole": np.s_[0:31, 0:36, 0:27],
}
FLAT = TextureSettings(force_2d=True, force_2d_axis=1)
CASES = {
    "wavelet": (ImageType("wavelet"), "Wavelet", {}),
    "two levels": (
        ImageType("wavelet", wavelet="db2", level=2, start_level=1), "Wavelet",
        {"wavelet": "db2", "level": 2, "start_level": 1},
    ),
    "flat wavelet": (
        ImageType("wavelet", texture=FLAT), "Wavelet", {"force2D": True, "force2Ddimension": 1}
    ),
    "log": (ImageType("log", sigma_mm=(0.7, 1, 2.5)), "LoG", {"sigma": [0.7, 1, 2.5]}),
    "square": (ImageType("square"), "Square", {}),
    "squareroot": (ImageType("squareroot"), "SquareRoot", {}),
    "logarithm": (ImageType("logarithm"), "Logarithm", {}),
    "exponential": (ImageType("exponential"), "Exponential", {}),
    "gradient": (ImageType("gradient"), "Gradient", {}),
    "gradient per voxel": (
        ImageType("gradient", gradient_uses_spacing=False), "Gradient",
        {"gradientUseSpacing": False},
    ),
}  # fmt: skip


def volume(dtype=np.int16, shape=SHAPE, spacing_mm=(0.8, 1.1, 2.5), seed=0):
    rng = np.random.default_rng(seed)
    data = gaussian_filter(rng.normal(0, 300, shape), 0.7) * 3 - 100
    return Volume(data.astype(dtype), Geometry(shape, spacing_mm, (1.0, 2.0, 3.0), np.eye(3)))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_a_part_has_the_values_of_the_whole_bit_for_bit(name, dtype):
    image = volume(dtype)
    image_type, function, settings = CASES[name]
    mask = to_sitk(Volume(np.ones(SHAPE, np.uint8), image.grid))
    make = getattr(imageoperations, f"get{function}Image")
    expected = {key: from_sitk(one).data for one, key, _ in make(to_sitk(image), mask, **settings)}
    assert tuple(expected) == image_type.names
    for place, box in BOXES.items():
        found = {one.name: one.image for one in filtered(source_of(image), box, image_type)}
        assert tuple(found) == image_type.names
        for key, one in found.items():
            assert one.data.dtype == expected[key].dtype
            assert np.array_equal(one.data, expected[key][box]), (place, key)
            assert one.grid.origin_mm[0] == pytest.approx(1.0 + 0.8 * box[0].start)


@pytest.mark.parametrize("kind", ["wavelet", "log", "gradient", "lbp2d", "lbp3d"])
def test_what_lies_beyond_the_support_changes_nothing_and_what_lies_within_does(kind):
    image = volume(shape=(90, 12, 12), spacing_mm=(1.0, 1.0, 1.0))
    box = np.s_[60:64, 4:8, 4:8]
    image_type = ImageType(kind, sigma_mm=(1.0,))
    reach = support_voxels(image_type, source_of(image))[0]
    assert 0 < reach < 50

    def changed(end):
        data = image.data.copy()
        data[:end] = -1000
        found = filtered(source_of(Volume(data, image.grid)), box, image_type)
        return [one.image.data for one in found]

    untouched = changed(0)
    assert all(map(np.array_equal, changed(60 - reach), untouched))
    assert not all(map(np.array_equal, changed(60), untouched))


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("sigma_mm", [0.5, 2.0, 6.0])
def test_a_recursive_pass_has_the_bits_of_itk(order, sigma_mm):
    data = volume(shape=(40, 50, 60)).data
    for axis, spacing_mm in enumerate((0.8, 1.1, 2.5)):
        recursive = sitk.RecursiveGaussianImageFilter()
        recursive.SetSigma(sigma_mm)
        recursive.SetNormalizeAcrossScale(True)
        recursive.SetOrder(recursive.SecondOrder if order else recursive.ZeroOrder)
        recursive.SetDirection(axis)
        image = to_sitk(Volume(data, Geometry(data.shape, (0.8, 1.1, 2.5), (0, 0, 0), np.eye(3))))
        expected = from_sitk(recursive.Execute(image)).data
        found = run(data, Pass(axis, (3, 30), sigma_mm, spacing_mm, order))
        assert np.array_equal(found, np.take(expected, range(3, 30), axis=axis))


def test_the_recursive_matrix_keeps_a_constant_and_takes_a_parabola_to_its_curvature():
    x = np.arange(400) * 0.8
    smooth = matrix(400, (180, 220), 3.0, 0.8, 0)
    curved = matrix(400, (180, 220), 3.0, 0.8, 2)
    assert smooth @ np.full(400, 7.0) == pytest.approx(7.0, rel=1e-12)
    assert curved @ np.full(400, 7.0) == pytest.approx(0.0, abs=1e-11)
    # per voxel: ITK divides by the squared spacing afterwards
    assert curved @ x**2 == pytest.approx(2 * 3.0**2 * 0.8**2, rel=1e-6)


def test_normalised_and_limited_images_come_in_parts():
    image = volume()
    how = Normalisation(scale=100, outliers=1.5)
    expected = imageoperations.normalizeImage(
        to_sitk(image), normalizeScale=100, removeOutliers=1.5
    )
    source = source_of(image, normalisation=how)
    box = BOXES["inside"]
    assert np.array_equal(source.cut(box).data, from_sitk(expected).data[box])
    assert source.largest == np.abs(from_sitk(expected).data).max()
    limited = source_of(image, clip=(-50.0, 20.0))
    assert limited.largest == 50.0
    assert limited.cut(box).data.max() <= 20.0


def test_an_image_that_cannot_be_filtered_says_why():
    thin = volume(shape=(31, 36, 3))
    (found,) = filtered(source_of(thin), np.s_[3:9, 3:9, 0:3], ImageType("log", sigma_mm=(1.0,)))
    assert found.image is None
    assert "needs 4 along each axis" in found.reason
    (wide,) = filtered(source_of(volume()), BOXES["inside"], ImageType("log", sigma_mm=(200.0,)))
    assert "narrower than sigma, 200 mm" in wide.reason
    blank = Volume(np.zeros(SHAPE, np.int16), volume().grid)
    for kind in ("square", "squareroot", "logarithm", "exponential"):
        (empty,) = filtered(source_of(blank), BOXES["inside"], ImageType(kind))
        assert empty.image is None
        assert "0" in empty.reason
    holed = volume(np.float32)
    holed.data[0, 0, 0] = np.nan
    (broken,) = filtered(source_of(holed), BOXES["inside"], ImageType("square"))
    assert "not finite" in broken.reason


#: scikit-image 0.26.0, local_binary_pattern of the same 5 x 6 image.
PICTURE = [
    [26, 32, 0, 32, 18, 20], [25, 11, 39, 2, 11, 15], [22, 16, 5, 1, 0, 1], [5, 39, 7, 26, 30, 9],
    [11, 17, 10, 38, 7, 35],
]  # fmt: skip
PATTERNS = {
    ("uniform", 8, 1.0): [
        [1, 0, 8, 0, 9, 0], [2, 8, 0, 7, 4, 2], [9, 9, 7, 7, 8, 9], [5, 0, 7, 9, 0, 3],
        [2, 1, 9, 0, 7, 0],
    ],
    ("default", 8, 1.0): [
        [1, 0, 255, 0, 17, 0], [6, 255, 0, 191, 15, 12], [132, 122, 254, 254, 255, 238],
        [199, 0, 251, 65, 0, 112], [3, 4, 27, 0, 191, 0],
    ],
    ("ror", 8, 1.0): [
        [1, 0, 255, 0, 17, 0], [3, 255, 0, 127, 15, 3], [9, 61, 127, 127, 255, 119],
        [31, 0, 127, 5, 0, 7], [3, 1, 27, 0, 127, 0],
    ],
    ("uniform", 9, 1.5): [
        [0, 1, 9, 0, 1, 0], [2, 10, 0, 8, 10, 1], [10, 10, 7, 8, 9, 6], [6, 0, 8, 0, 0, 4],
        [3, 10, 10, 0, 6, 0],
    ],
}  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("how", PATTERNS)
def test_patterns_in_slices_are_those_of_scikit_image(how, axis):
    method, samples, radius = how
    # PyRadiomics swaps the axis across with z; what is left of (z, y, x) are rows and columns.
    left = {2: (1, 0), 1: (2, 0), 0: (1, 2)}[axis]
    picture = np.array(PICTURE, dtype=np.int16)
    data = np.zeros((7, 7, 7), dtype=np.int16)
    order = [axis, *left]
    turned = np.moveaxis(data, order, (0, 1, 2))
    turned[3, :5, :6] = picture
    part = np.moveaxis(turned[:, :5, :6], (0, 1, 2), order)
    image = Volume(
        np.ascontiguousarray(part), Geometry(part.shape, (1, 1, 1), (0, 0, 0), np.eye(3))
    )
    texture = TextureSettings(force_2d=True, force_2d_axis=axis)
    image_type = ImageType(
        "lbp2d", texture, lbp_2d_method=method, lbp_2d_samples=samples, lbp_2d_radius=radius
    )
    everywhere = tuple(slice(0, n) for n in part.shape)
    (found,) = filtered(source_of(image), everywhere, image_type)
    assert found.image.data.dtype == np.int16
    codes = np.moveaxis(found.image.data, order, (0, 1, 2))[3]
    assert np.array_equal(codes, PATTERNS[how])


def test_patterns_that_cannot_be_stored_are_refused():
    with pytest.raises(SettingsError, match="var is not offered"):
        list(
            filtered(source_of(volume()), BOXES["inside"], ImageType("lbp2d", lbp_2d_method="var"))
        )


@pytest.fixture
def old_scipy(monkeypatch):
    """Let PyRadiomics' 3-D patterns run: what it asks of SciPy and trimesh, under those names."""

    def sph_harm(m, n, theta, phi):
        order = abs(m)
        scale = (2 * n + 1) / (4 * np.pi) * math.factorial(n - order) / math.factorial(n + order)
        value = np.sqrt(scale) * lpmv(order, n, np.cos(phi)) * np.exp(1j * order * theta)
        return value if m >= 0 else (-1) ** order * np.conj(value)

    import scipy.ndimage
    import scipy.special

    modules = {
        "trimesh": {}, "trimesh.creation": {
            "icosphere": lambda n, r: types.SimpleNamespace(vertices=sphere(n, r))
        },
        "scipy.ndimage.interpolation": {"map_coordinates": scipy.ndimage.map_coordinates},
    }  # fmt: skip
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(scipy.special, "sph_harm", sph_harm, raising=False)


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_patterns_on_a_sphere_are_those_of_pyradiomics(old_scipy, dtype):
    image = volume(dtype)
    for box in (BOXES["inside"], BOXES["corner"]):
        mask = np.zeros(SHAPE, np.uint8)
        mask[box] = np.random.default_rng(3).random(mask[box].shape) < 0.7
        image_type = ImageType("lbp3d", lbp_3d_levels=3, lbp_3d_radius=1.5, lbp_3d_subdivision=1)
        expected = imageoperations.getLBP3DImage(
            to_sitk(image), to_sitk(Volume(mask, image.grid)),
            lbp3DLevels=3, lbp3DIcosphereRadius=1.5, lbp3DIcosphereSubdivision=1,
        )  # fmt: skip
        inside = mask[box] != 0
        found = filtered(source_of(image), box, image_type, inside)
        # PyRadiomics writes each image over the last: compare one at a time
        for (theirs, name, _), ours in zip(expected, found, strict=True):
            assert ours.name == name
            values = from_sitk(theirs).data[box][inside]
            assert ours.image.data[inside] == pytest.approx(values, rel=1e-10, abs=1e-12)


def test_the_sphere_has_as_many_vertices_as_it_should_all_at_its_radius():
    for subdivisions, count in ((0, 12), (1, 42), (2, 162)):
        vertices = sphere(subdivisions, 2.0)
        assert vertices.shape == (count, 3)
        assert np.linalg.norm(vertices, axis=1) == pytest.approx(2.0, rel=1e-12)
        assert vertices.sum(axis=0) == pytest.approx(0.0, abs=1e-10)
