"""Fingerprint and plan: hand-worked data sets, and the plan that nnU-Net is published with."""

import numpy as np
import pytest

from pipeline.errors import CohortError, SettingsError
from pipeline.segment.training.fingerprint import Fingerprint, combine, describe_case
from pipeline.segment.training.planning import (
    intensity_rule,
    largest_patch,
    make_plan,
    memory_guess,
    on_meta,
    parameters,
    target_spacing,
    topology,
)
from pipeline.types import Geometry, Volume


def fingerprint(shapes, spacings, kind="mr"):
    return Fingerprint(
        cases=len(shapes), shapes=tuple(shapes), spacings_mm=tuple(spacings), kind=kind,
        low=-150.0, high=250.0, mean=40.0, sd=30.0, volumes_mm3={"a": 1.0}, present={"a": 1},
    )  # fmt: skip


def test_a_case_is_described_along_the_axes_of_the_patient():
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    mask = np.zeros((2, 3, 4), np.uint8)
    mask[0, 0, :2] = 3
    mask[1, 2, 3] = 7
    turned = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # array axes run to P, S, L
    grid = Geometry((2, 3, 4), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), turned)
    found = describe_case(Volume(data, grid), Volume(mask, grid), {"a": 3, "b": 1})
    assert found.shape == (4, 2, 3)
    assert found.spacing_mm == (3.0, 1.0, 2.0)
    assert found.volumes_mm3 == {"a": 12.0, "b": 0.0}
    assert found.unknown == (7,)
    assert found.sample.tolist() == [0.0, 1.0]
    assert (
        found.digest != describe_case(Volume(data + 1, grid), Volume(mask, grid), {"a": 3}).digest
    )
    with pytest.raises(CohortError, match=r"label 'b' has no voxel .*: 7"):
        combine([found])


def test_intensities_inside_the_foreground_and_the_kind(make_case):
    cases = [describe_case(*make_case(n), {"shell": 1, "core": 2}) for n in range(3)]
    found = combine(cases)
    inside = np.concatenate([make_case(n)[0].data[make_case(n)[1].data > 0] for n in range(3)])
    assert found.mean == pytest.approx(inside.mean(), rel=1e-6)
    assert found.sd == pytest.approx(inside.std(), rel=1e-5)
    assert found.high == pytest.approx(np.percentile(inside, 99.5), rel=1e-6)
    assert found.kind == "mr"
    image, mask = make_case(0)
    air = Volume(image.data - 1000.0, image.grid)
    assert combine([describe_case(air, mask, {"shell": 1})]).kind == "ct"
    assert combine([describe_case(air, mask, {"shell": 1})], kind="mr").kind == "mr"


def test_the_published_plan_of_the_hippocampus():
    """nnU-Net, 3d_fullres of Task04: patch 40 x 56 x 40, three poolings of every axis."""
    found = fingerprint([(35, 50, 35)], [(1.0, 1.0, 1.0)])
    plan = make_plan(found, network="unet", labels={"anterior": 1, "posterior": 2})
    assert plan.patch == (40, 56, 40)
    assert plan.options["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert plan.options["kernels"] == [[3, 3, 3]] * 4
    assert plan.batch == 2
    assert plan.intensity.kind == "image"
    assert parameters(on_meta("unet", 3, plan.options)) <= 2_000_000


def test_pooling_of_thick_slices():
    """3.6 mm against 0.6: 1.2 and 2.4 in plane before both axes are within a factor of two."""
    strides, kernels = topology((320, 256, 20), (0.6, 0.6, 3.6))
    assert strides == [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 1]]
    assert kernels == [[3, 3, 1], [3, 3, 1], [3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]


def test_spacing_is_the_median_unless_one_axis_is_of_slices():
    same = fingerprint([(100, 100, 60)] * 3, [(1, 1, 1.5), (1, 1, 2.0), (2, 2, 2.5)])
    assert target_spacing(same) == (1.0, 1.0, 2.0)
    slices = fingerprint([(200, 200, 20)] * 3, [(0.5, 0.5, 5.0), (0.5, 0.5, 4.0), (0.5, 0.5, 2.0)])
    # 10 % percentile of 2, 4, 5
    assert target_spacing(slices) == (0.5, 0.5, 2.4)
    few = fingerprint([(50, 50, 20)] * 3, slices.spacings_mm)
    assert target_spacing(few) == (0.5, 0.5, 4.0)


def test_a_patch_is_a_cube_in_mm_within_the_budget_and_the_image():
    assert largest_patch((35, 50, 35), (1.0, 1.0, 1.0), 10**6) == (35, 50, 35)
    assert largest_patch((500, 500, 500), (1.0, 1.0, 1.0), 64**3) == (64, 64, 64)
    # 32 mm: 32 x 32 x 8 voxels
    assert largest_patch((500, 500, 500), (1.0, 1.0, 4.0), 32 * 32 * 8) == (32, 32, 8)
    # a thin image leaves more for the other axes
    assert largest_patch((500, 500, 16), (1.0, 1.0, 1.0), 128 * 128 * 16) == (128, 128, 16)


def test_the_cap_on_parameters_sets_the_width():
    found = fingerprint([(35, 50, 35)], [(1.0, 1.0, 1.0)])
    widths = [
        make_plan(found, network="unet", labels={"a": 1}, max_parameters=cap).options["width"]
        for cap in (10**8, 2 * 10**6, 10**5)
    ]
    assert widths == [32, 16, 4]
    with pytest.raises(SettingsError, match="--max-parameters 100"):
        make_plan(found, network="unet", labels={"a": 1}, max_parameters=100)


@pytest.mark.parametrize(
    ("network", "patch", "dimensions", "batch"),
    [("densehighres3dnet", (192, 192, 48), 3, 2), ("fcn8s", (320, 300, 1), 2, 4)],
)
def test_other_networks_take_the_patch_of_their_paper_or_the_image(
    network, patch, dimensions, batch
):
    found = fingerprint([(320, 300, 90)], [(0.7, 0.7, 0.7)], kind="ct")
    plan = make_plan(found, network=network, labels={"a": 1})
    assert (plan.patch, plan.dimensions, plan.batch) == (patch, dimensions, batch)
    assert plan.intensity.kind == "dataset"
    assert (plan.intensity.low, plan.intensity.mean) == (-150.0, 40.0)


def test_what_is_given_is_kept_and_padded_to_what_the_network_takes():
    found = fingerprint([(35, 50, 35)], [(1.0, 1.0, 1.0)])
    plan = make_plan(
        found, network="unet", labels={"a": 1}, spacing_mm=(2.0, 2.0, 2.0), patch=(30, 33, 18),
        batch=3, options={"width": 8, "residual": True},
    )  # fmt: skip
    assert plan.spacing_mm == (2.0, 2.0, 2.0)
    assert plan.patch == (32, 40, 20)  # 18 is halved twice, to 9 and 5; the others thrice
    assert plan.batch == 3
    assert plan.options["width"] == 8
    assert plan.options["residual"] is True
    assert intensity_rule(found).kind == "image"
    assert memory_guess(plan) > 4 * 3 * 32 * 40 * 20 * 8
