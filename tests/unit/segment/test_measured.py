"""Against truth that this block has no part in: the simulated cohort, and a published map."""

import numpy as np
import pytest

from pipeline.demo.plan import draw_plan
from pipeline.demo.subject import simulate_subject
from pipeline.io import read_mask, read_series, read_volume
from pipeline.segment.lesion import segment_lesion


def test_lesions_of_the_demo_cohort(dice):
    seeded, peaked = [], []
    for plan in draw_plan(20210322, size=4):
        subject = simulate_subject(plan, seed=20210322)
        for visit in (subject.baseline, subject.followup):
            true = visit.mask.data > 0
            seeded.append(dice(segment_lesion(visit.series, seed_mm=visit.seed_mm)[0], true))
            peaked.append(dice(segment_lesion(visit.series)[0], true))
        # the reader's click at baseline serves for the follow-up too
        again, _ = segment_lesion(subject.followup.series, seed_mm=subject.baseline.seed_mm)
        assert dice(again, subject.followup.mask.data > 0) == pytest.approx(seeded[-1], abs=0.01)
    for scores in (seeded, peaked):
        assert np.median(scores) > 0.95
        assert min(scores) > 0.90


@pytest.mark.data
def test_real_breast_agrees_with_the_published_enhancement_map(medpipe_data, dice):
    folder = medpipe_data / "breast_dce" / "UCSF-BR-06"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    series = read_series(folder / "image_dce_3dfgre_orig")
    breast = read_mask(folder / "mask", like=series.grid).data > 0
    # functional tumour: early enhancement of 70 % or more, as the map's authors have it
    enhancing = (read_volume(folder / "image_dce_pe1").data >= 70) & breast
    mask, record = segment_lesion(series, within=breast)
    assert record.status == "found"
    assert not (mask & ~breast).any()
    assert dice(mask, enhancing) > 0.85
    assert enhancing[mask].mean() > 0.95
