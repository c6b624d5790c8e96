"""Rings around a region: worked by hand for one voxel, against analytic balls, and cut."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

from pipeline.errors import EmptyRegionError, GeometryError, SettingsError
from pipeline.geometry import from_sitk, to_sitk
from pipeline.radiomics.distance import signed_distance_mm
from pipeline.radiomics.rings import Band, parse_bands, rings
from pipeline.types import Geometry, Volume


def volume(data, spacing=(1.0, 1.0, 1.0)):
    return Volume(np.asarray(data), Geometry(data.shape, spacing, (5.0, -3.0, 8.0), np.eye(3)))


def one_voxel(shape=(9, 9, 9), at=(4, 4, 4), spacing=(1.0, 1.0, 1.0)):
    data = np.zeros(shape, np.uint8)
    data[at] = 1
    return volume(data, spacing)


def ball(radius_mm, spacing, margin_mm):
    half = [int(np.ceil((radius_mm + margin_mm) / s)) for s in spacing]
    shift = (0.13, 0.21, 0.37)  # of a voxel: no symmetry to hide behind
    axes = [(np.arange(-h, h + 1) + f) * s for h, f, s in zip(half, shift, spacing, strict=True)]
    i, j, k = np.meshgrid(*axes, indexing="ij", sparse=True)
    return volume((i**2 + j**2 + k**2 <= radius_mm**2).astype(np.uint8), spacing)


def shell_mm3(inner_mm, outer_mm):
    return 4 / 3 * np.pi * (outer_mm**3 - inner_mm**3)


def test_around_one_voxel_by_hand():
    # Centres: faces 1, edges 1.41, corners 1.73, next ones 2. Surface: means with the distance to
    # the middle of the nearest face: .75, 1.27, 1.62, 1.75.
    for edge in ("centres", "surface"):
        labels, rows = rings(one_voxel(), parse_bands("0-1,1-1.5,1.5-2"), edge=edge)
        assert [row.voxels for row in rows] == [6, 12, 14]
        assert labels.data[5, 4, 4] == 1
        assert labels.data[5, 5, 4] == 2
        assert labels.data[5, 5, 5] == labels.data[6, 4, 4] == 3
        assert labels.data[4, 4, 4] == 0
        assert np.count_nonzero(labels.data) == 32


def test_around_one_thick_voxel_by_hand():
    # 1 x 1 x 3 mm: along k the next centre lies at 3 mm, half-way at 1.5, their mean is 2.25.
    thick = one_voxel(spacing=(1.0, 1.0, 3.0))
    labels, rows = rings(thick, [Band(0, 2.25)], edge="surface")
    assert labels.data[4, 4, 5] == labels.data[4, 4, 3] == 1
    assert rows[0].volume_mm3 == 3.0 * rows[0].voxels
    labels, rows = rings(thick, [Band(0, 2.25)], edge="centres")
    assert not labels.data[:, :, [3, 5]].any()
    assert rows[0].voxels == 20  # (1, 0), (1, 1), (2, 0) and (2, 1): 4 + 4 + 4 + 8
    assert rings(thick, [Band(0, 3)], edge="centres")[0].data[4, 4, 5] == 1


def test_distances_are_those_of_the_nearest_pair_of_voxels():
    rng = np.random.default_rng(3)
    region = rng.random((6, 7, 5)) > 0.8
    spacing = (0.7, 1.1, 2.5)
    index = np.argwhere(np.ones_like(region)) * spacing
    there = region.ravel()
    distances = np.linalg.norm(index[:, None] - index[None], axis=-1)
    nearest = np.where(there, -distances[:, ~there].min(1), distances[:, there].min(1))
    found = signed_distance_mm(region, spacing, edge="centres")
    np.testing.assert_allclose(found.ravel(), nearest, rtol=1e-12)
    middles = [
        (a + b) / 2
        for n, a in enumerate(index)
        for m, b in enumerate(index)
        if there[n] and not there[m] and np.isclose(np.abs((a - b) / spacing).sum(), 1)
    ]
    to_middle = np.linalg.norm(index[:, None] - np.array(middles)[None], axis=-1).min(1)
    found = signed_distance_mm(region, spacing, edge="surface")
    np.testing.assert_allclose(np.abs(found.ravel()), (np.abs(nearest) + to_middle) / 2, rtol=1e-12)
    assert (np.sign(found) == np.where(region, -1, 1)).all()


def test_distances_from_centre_to_centre_are_those_of_itk():
    rng = np.random.default_rng(11)
    region = volume((rng.random((14, 12, 9)) > 0.97).astype(np.uint8), (0.7, 1.3, 2.9))
    itk = sitk.SignedMaurerDistanceMap(
        to_sitk(region), insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    outside = region.data == 0
    np.testing.assert_allclose(
        signed_distance_mm(~outside, region.grid.spacing_mm, edge="centres")[outside],
        from_sitk(itk).data[outside],
        rtol=1e-5,  # ITK sums steps in single precision
    )


@pytest.mark.parametrize(
    ("spacing", "limit"),
    [((0.5, 0.5, 0.5), 0.01), ((1.0, 1.0, 1.0), 0.02), ((0.5, 0.5, 1.0), 0.02),
     ((1.0, 1.0, 3.0), 0.06)],
)  # fmt: skip
def test_volumes_around_a_ball(spacing, limit):
    _, rows = rings(ball(10.0, spacing, 8.0), parse_bands("0-3,3-6,-3-0"))
    wanted = [shell_mm3(10, 13), shell_mm3(13, 16), shell_mm3(7, 10)]
    for row, volume_mm3 in zip(rows, wanted, strict=True):
        assert row.volume_mm3 == pytest.approx(volume_mm3, rel=limit)
        assert (row.outside_image, row.outside_within, row.excluded) == (0, 0, 0)


def test_from_centre_to_centre_the_volume_is_right_at_fine_spacing_only():
    fine, coarse = (ball(4.0, (s, s, s), 3.2) for s in (0.1, 1.0))
    (row,) = rings(fine, [Band(0, 3)], edge="centres")[1]
    assert row.volume_mm3 == pytest.approx(shell_mm3(4, 7), rel=0.01)
    (row,) = rings(coarse, [Band(0, 3)], edge="centres")[1]
    assert row.volume_mm3 < 0.95 * shell_mm3(4, 7)


def test_the_crop_changes_no_voxel():
    rng = np.random.default_rng(7)
    data = np.zeros((40, 36, 30), np.uint8)
    data[18:23, 15:19, 12:17] = rng.random((5, 4, 5)) > 0.5
    region = volume(data, (0.8, 1.2, 2.0))
    for edge in ("centres", "surface"):
        whole = signed_distance_mm(data != 0, region.grid.spacing_mm, edge=edge)
        labels, _ = rings(region, parse_bands("0-3,3-7.5"), edge=edge)
        assert np.array_equal(labels.data == 1, (whole > 0) & (whole <= 3 + 1e-6))
        assert np.array_equal(labels.data == 2, (whole > 3 + 1e-6) & (whole <= 7.5 + 1e-6))
    expected = distance_transform_edt(data == 0, sampling=region.grid.spacing_mm)
    np.testing.assert_array_equal(
        expected[data == 0],
        signed_distance_mm(data != 0, (0.8, 1.2, 2.0), edge="centres")[data == 0],
    )


def test_what_is_lost_adds_up():
    region = one_voxel(at=(0, 4, 4))
    body, other = (Volume(np.ones_like(region.data), region.grid) for _ in range(2))
    body.data[:, 5:] = 0
    other.data[:] = 0
    other.data[0, 4, 3:5] = 7  # one face neighbour, and the region itself: that does not count
    labels, (row,) = rings(region, [Band(0, 1)], within=body, exclude=other)
    shares = (row.outside_image, row.outside_within, row.excluded)
    assert shares == pytest.approx((1 / 6, 1 / 6, 1 / 6))
    assert row.voxels == 3
    assert labels.data[0, 5, 4] == labels.data[0, 4, 3] == labels.data[0, 4, 4] == 0


def test_the_share_beyond_the_field_of_view():
    # One voxel from the border: of 26 + 6 voxels within 2 mm, the plane of one is outside.
    _, (row,) = rings(one_voxel(at=(1, 4, 4)), [Band(0, 2)], edge="centres")
    assert row.outside_image == pytest.approx(1 / 32)
    assert row.voxels == 31


def test_the_border_of_the_image_makes_no_rim():
    data = np.zeros((9, 9, 9), np.uint8)
    data[:5, :, :] = 1
    labels, (row,) = rings(volume(data), [Band(-1, 0)], edge="centres")
    assert row.voxels == 81
    assert (labels.data[4] == 1).all()
    with pytest.raises(EmptyRegionError, match="nowhere deeper than 1 mm"):
        rings(one_voxel(), [Band(-9, -2)], edge="centres")
    with pytest.raises(EmptyRegionError, match="fills the image"):
        rings(volume(np.ones((4, 4, 4), np.uint8)), [Band(-1, 0)])


def test_a_shell_across_the_surface_and_several_pieces():
    data = np.zeros((15, 9, 9), np.uint8)
    data[3, 4, 4] = data[11, 4, 4] = 1
    labels, (row,) = rings(volume(data), [Band(-1, 1)], edge="centres")
    assert row.name == "shell_-1_1mm"
    assert row.voxels == 14
    assert labels.data[3, 4, 4] == 1


def test_steps_of_a_tenth_are_whole():
    line = one_voxel(shape=(21, 1, 1), at=(10, 0, 0), spacing=(0.1, 0.1, 0.1))
    _, rows = rings(line, parse_bands("0-0.3,0.3-0.7"), edge="centres")
    assert [row.voxels for row in rows] == [6, 8]


def test_an_empty_ring_says_why():
    region = one_voxel()
    labels, rows = rings(region, parse_bands("0-0.5,0.5-1"))
    assert [row.status for row in rows] == ["empty", "ok"]
    assert "no voxel centre lies 0 to 0.5 mm from the surface" in rows[0].reason
    assert set(np.unique(labels.data)) == {0, 2}
    nobody = Volume(np.zeros_like(region.data), region.grid)
    with pytest.raises(EmptyRegionError, match="100% outside the body or organ"):
        rings(region, [Band(0, 1)], within=nobody)
    with pytest.raises(EmptyRegionError, match="no voxel is marked"):
        rings(nobody, [Band(0, 1)])


def test_masks_on_other_grids_are_refused():
    region = one_voxel()
    off = Volume(region.data, replace(region.grid, origin_mm=(5.5, -3.0, 8.0)))
    with pytest.raises(GeometryError, match=r"m\.nii and b\.nii lie up to 0\.5 mm apart"):
        rings(region, [Band(0, 1)], within=off, names=("m.nii", "b.nii", "e.nii"))
    with pytest.raises(GeometryError, match=r"e\.nii"):
        rings(region, [Band(0, 1)], exclude=off, names=("m.nii", "b.nii", "e.nii"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0-3,3-6", ["ring_0_3mm", "ring_3_6mm"]),
        ("-3-0, 0-2.5", ["rim_3_0mm", "ring_0_2p5mm"]),
        ("-5--2", ["rim_5_2mm"]),
        ("-2-3", ["shell_-2_3mm"]),
    ],
)
def test_bands_are_named(text, names):
    assert [band.name for band in parse_bands(text)] == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "INNER-OUTER"), ("0-3,", "INNER-OUTER"), ("a-b", "INNER-OUTER"),
        ("3-3", "no width"), ("6-3", "no width"), ("0-3,2-6", "overlap"), ("0-3,0-3", "overlap"),
        ("0-300", "at most 200 mm"),
    ],
)  # fmt: skip
def test_bands_without_sense_are_refused(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_bands(text)
