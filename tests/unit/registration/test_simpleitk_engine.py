"""The reference engine on a lesion of 12 mm radius in a texture of 2 mm voxels."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.registration.engine import RegistrationResult, RegistrationSettings, register
from pipeline.types import Volume

FAST = RegistrationSettings(inverse_consistency=False)


def run(case, moving: Volume | None = None, settings=FAST) -> RegistrationResult:
    return register(case.fixed, moving or case.moving, engine="simpleitk", settings=settings)


def test_analytic_lesion_is_recovered(lesion_case):
    case = lesion_case()
    result = run(case)
    true, found = case.jacobian[case.mask], result.jacobian.data[case.mask]
    assert true.mean() == pytest.approx(0.704, abs=0.005)
    assert found.mean() == pytest.approx(true.mean(), rel=0.02)
    assert np.abs(np.log(found / true)).mean() < 0.05
    assert np.corrcoef(found, true)[0, 1] > 0.975
    error = np.linalg.norm(result.displacement.data - case.displacement, axis=-1)
    assert error[case.mask].mean() < 0.2


def test_lesion_that_takes_up_less_is_not_read_as_smaller(lesion_case):
    case = lesion_case(gain=0.9)
    found = run(case).jacobian.data[case.mask].mean()
    assert found == pytest.approx(case.jacobian[case.mask].mean(), rel=0.05)


def test_inverted_contrast_is_no_obstacle(lesion_case):
    case = lesion_case()
    negative = Volume(-case.moving.data, case.moving.grid)
    settings = replace(FAST, affine_metric="mutual-information")
    found = run(case, negative, settings).jacobian.data[case.mask].mean()
    assert found == pytest.approx(case.jacobian[case.mask].mean(), rel=0.03)


def test_images_that_lie_apart_start_from_their_centres(lesion_case):
    case = lesion_case()
    far = Volume(case.moving.data, replace(case.moving.grid, origin_mm=(500.0, 0.0, 0.0)))
    found = run(case, far, replace(FAST, align_centres=True)).jacobian.data[case.mask].mean()
    assert found == pytest.approx(case.jacobian[case.mask].mean(), rel=0.03)
