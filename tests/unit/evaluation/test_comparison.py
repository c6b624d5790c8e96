"""The headline tables of the two studies, from summaries with hand-worked numbers."""

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.case import measure_case
from pipeline.evaluation.comparison import Compared, comparison_table
from pipeline.evaluation.structures import Structure
from pipeline.evaluation.summary import summary_table
from pipeline.evaluation.tables import CaseResult, case_table, slice_table
from pipeline.types import Geometry, Volume

GRID = Geometry((12, 12, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))
THING = Structure("thing", (1,))


def box(first, last, slices):
    """A box of rows `first` to `last` (without), 4 voxels wide, in some slices."""
    data = np.zeros(GRID.shape, dtype=np.uint8)
    data[first:last, 2:6, slices] = 1
    return Volume(data, GRID)


def summarised(pairs):
    results = [
        CaseResult(f"s{n}", "r", "p", measure_case(reference, prediction, [THING]))
        for n, (reference, prediction) in enumerate(pairs)
    ]
    cases = case_table(results, [THING], tolerance_mm=2.0)
    return summary_table(cases, slice_table(results, [THING]), draws=100, seed=1)


@pytest.fixture(scope="module")
def summary():
    """Rows 2 to 6 in slices 1 and 2, found two rows off, too small, and not at all.

    Dice: 2 (2 x 4) / (4 x 4 + 4 x 4) = 0.5 in both slices; 2 x 8 / (16 + 8) = 2/3 in slice 1 and
    nothing in slice 2: 2 x 8 / (32 + 8) = 0.4; 0.
    """
    reference = box(2, 6, [1, 2])
    return summarised(
        [
            (reference, box(4, 8, [1, 2])),
            (reference, box(2, 4, [1])),
            (reference, box(0, 0, [])),
        ]
    )


def table(summary, layout):
    row = Compared("folds", "unet", "U-Net", "from scratch", summary)
    return comparison_table([row], layout).iloc[0]


def test_the_columns_of_psnet(summary):
    row = table(summary, "psnet")
    assert (row["method"], row["weights"], row["structure"]) == ("unet", "from scratch", "thing")
    assert (row["n"], row["n_distances"]) == (3, 2)
    dice = [50.0, 40.0, 0.0]
    assert row["dsc_percent_mean"] == pytest.approx(30.0)
    assert row["dsc_percent_sd"] == pytest.approx(np.std(dice, ddof=1))
    # 32 over 32, 32 over 8; undefined for the empty one.
    assert row["rvd_percent_mean"] == pytest.approx((0.0 + 300.0) / 2)
    assert row["rvd_percent_sd"] == pytest.approx(300.0 / np.sqrt(2))
    # Two rows of 1 mm; the far corner of the lower slice: 2 rows and one slice of 3 mm.
    assert row["hd_mm_mean"] == pytest.approx((2.0 + np.sqrt(4.0 + 9.0)) / 2)


def test_asd_pools_both_directions():
    """One voxel against a column of three: distances 0, and 0, 1, 2."""
    one, three = np.zeros((2, *GRID.shape), dtype=np.uint8)
    one[2, 2, 1] = 1
    three[2:5, 2, 1] = 1
    row = table(summarised([(Volume(one, GRID), Volume(three, GRID))] * 2), "psnet")
    assert row["asd_mm_mean"] == pytest.approx((0 + 0 + 1 + 2) / 4)
    assert row["asd_mm_sd"] == 0.0


def test_the_columns_of_lungtumor(summary):
    row = table(summary, "lungtumor")
    assert row["n"] == 3
    assert row["dice_3d_mean"] == pytest.approx(0.3)
    quartiles = [row[f"dice_3d_{q}"] for q in ("q1", "median", "q3")]
    assert quartiles == pytest.approx([0.2, 0.4, 0.45])
    # Six slices hold the thing: 0.5 and 0.5, 2/3 and 0, 0 and 0.
    slices = [0.5, 0.5, 2 / 3, 0.0, 0.0, 0.0]
    assert row["n_slices"] == 6
    assert row["dice_2d_mean"] == pytest.approx(np.mean(slices))
    assert row["dice_2d_q1"] == pytest.approx(0.0)
    assert row["dice_2d_median"] == pytest.approx(0.25)
    assert row["dice_2d_q3"] == pytest.approx(0.5)
    # Three slices in both; three missed; none too many.
    assert (row["tp_slices"], row["fn_slices"], row["fp_slices"]) == (3, 3, 0)
    assert row["tp_dice_2d_mean"] == pytest.approx((0.5 + 0.5 + 2 / 3) / 3)


def test_rows_keep_their_order_and_counts_stay_whole(summary):
    rows = [Compared(s, n, n, "", summary) for s in ("test", "folds") for n in ("b", "a")]
    found = comparison_table(rows, "lungtumor")
    assert found["method"].tolist() == ["b", "a", "b", "a"]
    assert found["scheme"].tolist() == ["test", "test", "folds", "folds"]
    assert isinstance(found["fn_slices"].dtype, pd.Int64Dtype)
