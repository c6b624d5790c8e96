import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.change import measure_change, rank_correlation
from pipeline.io import read_mask, read_volume
from pipeline.registration.engine import ENGINES, RegistrationSettings, register

DATA = Path(os.environ.get("MEDPIPE_DATA", Path(__file__).parents[4] / "shared/data"))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_glioma_jacobians_rank_like_the_ratios_of_the_masks(engine):
    folder = DATA / "glioma_longitudinal"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set MEDPIPE_DATA")
    settings = RegistrationSettings(inverse_consistency=False)
    changes = []
    for case in sorted(folder.iterdir()):
        masks = [read_mask(case / f"{visit}_Mask.nii.gz") for visit in ("Pre", "Post")]
        images = [read_volume(case / f"{visit}_Scan_T1.nii.gz") for visit in ("Pre", "Post")]
        found = register(*images, engine=engine, settings=settings)
        changes.append(measure_change(found.jacobian, *masks))
        assert np.isfinite(found.jacobian.data).all()
        assert found.metrics["folding_fraction"] == 0
    rho = rank_correlation(changes)
    assert rho is not None
    assert rho >= 0.8  # 0.886 on the six pairs
