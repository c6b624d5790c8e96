"""Texture matrices worked by hand, loops of the definitions, and the ways of aggregation."""

from itertools import chain

import numpy as np
import pytest

from pipeline.radiomics.ibsi.cooccurrence import cooccurrence
from pipeline.radiomics.ibsi.entries import collect, directions
from pipeline.radiomics.ibsi.neighbours import (
    MAX_COARSENESS,
    dependence,
    neighbourhood,
    tone_difference,
)
from pipeline.radiomics.ibsi.runs import run_lengths
from pipeline.radiomics.ibsi.zones import border_distance, zone_features, zones

#: The example slice of the reference manual (chapter 3): 4 x 4 voxels, levels 1 to 4.
SLICE = np.array([[1, 2, 2, 3], [1, 2, 3, 3], [4, 2, 4, 1], [4, 1, 2, 3]])[:, :, None]
RNG = np.random.default_rng(8)


def flat(lists) -> list:
    return list(chain.from_iterable(lists))


def volume(shape=(6, 5, 4), levels=4, empty=0.25) -> np.ndarray:
    data = RNG.integers(1, levels + 1, shape)
    return np.where(RNG.random(shape) < empty, 0, data)


def gaps(data: np.ndarray, step) -> list[tuple[int, int]]:
    """Pairs of levels along a step, by a loop."""
    found = []
    for at in np.argwhere(data > 0):
        to = at + step
        if (to >= 0).all() and (to < data.shape).all() and data[tuple(to)] > 0:
            found.append((data[tuple(at)], data[tuple(to)]))
    return found


def test_directions_are_half_of_the_neighbours():
    for in_slice, count in ((True, 4), (False, 13)):
        steps = directions(in_slice=in_slice)
        everything = {*steps, *((-i, -j, -k) for i, j, k in steps)}
        assert len(steps) == count
        assert len(everything) == 2 * count
        assert all(k == 0 for _, _, k in steps) or not in_slice


def test_dense_and_sorted_counting_are_the_same(monkeypatch):
    group, i, j = (RNG.integers(1, 6, 300) for _ in range(3))
    dense = collect(group, i, j, 6)
    monkeypatch.setattr("pipeline.radiomics.ibsi.entries._DENSE_CELLS", 0)
    far = collect(group, i * 10_000, j, 6)
    for name in ("group", "j", "count"):
        np.testing.assert_array_equal(getattr(dense, name), getattr(far, name))
    np.testing.assert_array_equal(dense.i * 10_000, far.i)


def test_cooccurrence_of_one_row_by_hand():
    # 1 2 2 4 beside each other: pairs 12 22 24, and back: six counts.
    found = cooccurrence(np.array([1, 2, 2, 4])[:, None, None], 4, "2_5D")
    assert found["contrast_2_5D_comb"] == pytest.approx((1 + 0 + 4) / 3)
    assert found["joint_avg_2_5D_comb"] == pytest.approx((1 + 2 + 2 + 2 + 2 + 4) / 6)
    assert found["joint_max_2_5D_comb"] == pytest.approx(2 / 6)
    assert found["energy_2_5D_comb"] == pytest.approx((4 * 1 + 4) / 36)
    assert found["inv_diff_2_5D_comb"] == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
    assert found["inv_diff_norm_2_5D_comb"] == pytest.approx((1 / 1.25 + 1 + 1 / 1.5) / 3)
    assert found["inv_var_2_5D_comb"] == pytest.approx((1 + 0 + 1 / 4) / 3)
    assert found["auto_corr_2_5D_comb"] == pytest.approx((2 + 4 + 8) / 3)
    assert found["joint_entr_2_5D_comb"] == pytest.approx(
        -(4 / 6 * np.log2(1 / 6) + 2 / 6 * np.log2(2 / 6))
    )
    assert found["diff_entr_2_5D_comb"] == pytest.approx(np.log2(3))


def test_cooccurrence_agrees_with_loops_in_all_six_ways():
    data = volume()
    plane = directions(in_slice=True)

    def mean_gap(found):
        return np.mean([abs(a - b) for a, b in found]) if found else np.nan

    by_slice = [[gaps(data[:, :, [k]], s) for s in plane] for k in range(data.shape[2])]
    in_space = [gaps(data, s) for s in directions(in_slice=False)]
    expected = {
        "2D_avg": np.nanmean([[mean_gap(p) for p in row] for row in by_slice]),
        "2D_comb": np.nanmean([mean_gap(flat(row)) for row in by_slice]),
        "2_5D_avg": np.nanmean([mean_gap(flat(col)) for col in zip(*by_slice, strict=True)]),
        "2_5D_comb": mean_gap(flat(flat(row) for row in by_slice)),
        "3D_avg": np.nanmean([mean_gap(p) for p in in_space]),
        "3D_comb": mean_gap(flat(in_space)),
    }
    for way, value in expected.items():
        found = cooccurrence(data, 4, way.rsplit("_", 1)[0])
        assert found[f"dissimilarity_{way}"] == pytest.approx(value), way
    assert len(set(np.round(list(expected.values()), 9))) == 6


def test_cooccurrence_moments_agree_with_numpy():
    data = volume(levels=6)
    pairs = np.array(flat(gaps(data, s) for s in directions(in_slice=False)), dtype=float)
    i, j = np.vstack([pairs, pairs[:, ::-1]]).T
    found = cooccurrence(data, 6, "3D")
    assert found["corr_3D_comb"] == pytest.approx(np.corrcoef(i, j)[0, 1])
    assert found["joint_var_3D_comb"] == pytest.approx(i.var())
    assert found["sum_var_3D_comb"] == pytest.approx((i + j).var())
    assert found["diff_var_3D_comb"] == pytest.approx(np.abs(i - j).var())
    assert found["clust_shade_3D_comb"] == pytest.approx(((i + j - 2 * i.mean()) ** 3).mean())
    assert found["clust_prom_3D_comb"] == pytest.approx(((i + j - 2 * i.mean()) ** 4).mean())


def test_one_level_has_its_constant_values_and_a_lone_voxel_none():
    found = cooccurrence(np.ones((3, 3, 3), dtype=int), 1, "3D")
    assert found["corr_3D_comb"] == 1.0
    assert (found["info_corr1_3D_comb"], found["info_corr2_3D_comb"]) == (0.0, 0.0)
    assert (found["energy_3D_comb"], found["contrast_3D_comb"]) == (1.0, 0.0)
    assert all(np.isnan(v) for v in cooccurrence(np.ones((1, 1, 1), dtype=int), 1, "3D").values())


def test_run_lengths_of_the_manuals_slice():
    # Along the first axis, column by column: 1 1 | 4 4 ; 2 2 2 | 1 ; 2 | 3 | 4 | 2 ; 3 3 | 1 | 3
    first = run_lengths(SLICE, "2_5D")
    runs = [(1, 2), (4, 2), (2, 3), (1, 1), (2, 1), (3, 1), (4, 1), (2, 1), (3, 2), (1, 1), (3, 1)]
    lone = run_lengths_of(SLICE, (1, 0, 0))
    assert sorted(lone) == sorted(runs)
    every = flat(run_lengths_of(SLICE, s) for s in directions(in_slice=True))
    length = np.array([n for _, n in every], dtype=float)
    level = np.array([g for g, _ in every], dtype=float)
    assert first["sre_2_5D_comb"] == pytest.approx((1 / length**2).mean())
    assert first["lrhge_2_5D_comb"] == pytest.approx((length**2 * level**2).mean())
    assert first["gl_var_2_5D_comb"] == pytest.approx(level.var())
    assert first["rl_var_2_5D_comb"] == pytest.approx(length.var())
    assert first["r_perc_2_5D_comb"] == pytest.approx(len(every) / (4 * 16))


def run_lengths_of(data: np.ndarray, step) -> list[tuple[int, int]]:
    """Runs along a step, by a loop: level and length."""
    found = []
    for at in np.argwhere(data > 0):
        level, before = data[tuple(at)], at - step
        inside = (before >= 0).all() and (before < data.shape).all()
        if inside and data[tuple(before)] == level:
            continue
        length, to = 0, at
        while (to >= 0).all() and (to < data.shape).all() and data[tuple(to)] == level:
            length, to = length + 1, to + step
        found.append((int(level), length))
    return found


@pytest.mark.parametrize("way", ["2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb", "3D_avg", "3D_comb"])
def test_run_lengths_agree_with_loops_in_all_six_ways(way):
    data = volume()
    slices = [data[:, :, [k]] for k in range(data.shape[2])]
    plane, space = directions(in_slice=True), directions(in_slice=False)
    matrices = {
        "2D_avg": [run_lengths_of(s, d) for s in slices for d in plane],
        "2D_comb": [flat(run_lengths_of(s, d) for d in plane) for s in slices],
        "2_5D_avg": [flat(run_lengths_of(s, d) for s in slices) for d in plane],
        "2_5D_comb": [flat(run_lengths_of(s, d) for s in slices for d in plane)],
        "3D_avg": [run_lengths_of(data, d) for d in space],
        "3D_comb": [flat(run_lengths_of(data, d) for d in space)],
    }[way]
    found = run_lengths(data, way.rsplit("_", 1)[0])
    mean_length = [np.mean([n**2 for _, n in runs]) for runs in matrices]
    assert found[f"lre_{way}"] == pytest.approx(np.mean(mean_length))
    uneven = [np.sum(np.bincount([n for _, n in runs]) ** 2) / len(runs) for runs in matrices]
    assert found[f"rlnu_{way}"] == pytest.approx(np.mean(uneven))


def test_zones_of_the_manuals_slice():
    found = zones(SLICE, SLICE > 0, in_slice=True)
    sizes = zip(found.level.tolist(), found.size.tolist(), strict=True)
    # The table of the manual: 1 has zones of 2, 1, 1, and so on; all 2s join over corners.
    assert sorted(sizes) == [(1, 1), (1, 1), (1, 2), (2, 5), (3, 1), (3, 3), (4, 1), (4, 2)]


def test_zones_join_over_corners_in_space_and_not_across_slices_in_2d():
    data = np.zeros((2, 2, 2), dtype=int)
    data[0, 0, 0] = data[1, 1, 1] = 3
    assert zones(data, data > 0, in_slice=False).size.tolist() == [2]
    flat = zones(data, data > 0, in_slice=True)
    assert flat.size.tolist() == [1, 1]
    assert sorted(flat.slice.tolist()) == [0, 1]


def test_border_distance_counts_steps_across_faces():
    box = np.ones((5, 5, 5), dtype=bool)
    centre = border_distance(box, in_slice=False)
    assert (centre[2, 2, 2], centre[1, 2, 2], centre[0, 0, 0]) == (3, 2, 1)
    box[2, 2, 0] = False
    assert border_distance(box, in_slice=False)[2, 2, 2] == 2
    flat = border_distance(box, in_slice=True)
    assert flat[2, 2, 2] == 3
    assert flat[2, 1, 0] == 1


def test_distances_start_at_the_border_of_the_shape_not_of_the_intensities():
    levels = np.ones((5, 5, 5), dtype=int)
    levels[2, 2, 2] = 2
    levels[2, 2, 1] = 0  # re-segmented away, still part of the shape
    whole = np.ones((5, 5, 5), dtype=bool)
    found = zones(levels, whole, in_slice=False)
    assert dict(zip(found.level.tolist(), found.distance.tolist(), strict=True)) == {1: 1, 2: 3}


def test_zone_features_by_hand():
    # Level 1 on the border of a cube of 3 voxels, level 2 within: zones of 26 and of 1.
    levels = np.ones((3, 3, 3), dtype=int)
    levels[1, 1, 1] = 2
    found = zone_features(zones(levels, levels > 0, in_slice=False), "3D")
    assert found["szm"]["sze_3D"] == pytest.approx((1 / 26**2 + 1) / 2)
    assert found["szm"]["lzlge_3D"] == pytest.approx((26**2 + 1 / 4) / 2)
    assert found["szm"]["z_perc_3D"] == pytest.approx(2 / 27)
    assert found["dzm"]["sde_3D"] == pytest.approx((1 + 1 / 4) / 2)
    assert found["dzm"]["ldhge_3D"] == pytest.approx((1 + 16) / 2)
    assert found["dzm"]["zdnu_3D"] == pytest.approx((1 + 1) / 2)
    assert found["dzm"]["zd_entr_3D"] == pytest.approx(1.0)


def test_tone_difference_by_hand():
    # One row 1 2 2: neighbours' means 2, 1.5, 2; differences 1 (level 1) and 0.5 (level 2).
    found = tone_difference(neighbourhood(np.array([1, 2, 2])[:, None, None], in_slice=True), "2D")
    p1, p2, s1, s2 = 1 / 3, 2 / 3, 1.0, 0.5
    assert found["coarseness_2D"] == pytest.approx(1 / (p1 * s1 + p2 * s2))
    assert found["contrast_2D"] == pytest.approx(2 * p1 * p2 / 2 * (s1 + s2) / 3)
    assert found["busyness_2D"] == pytest.approx((p1 * s1 + p2 * s2) / (2 * abs(p1 - 2 * p2)))
    assert found["complexity_2D"] == pytest.approx(2 * (p1 * s1 + p2 * s2) / (p1 + p2) / 3)
    assert found["strength_2D"] == pytest.approx(2 * (p1 + p2) / (s1 + s2))


def test_tone_difference_of_one_level_and_of_a_lone_voxel():
    flat = tone_difference(neighbourhood(np.ones((2, 2, 1), dtype=int), in_slice=False), "3D")
    assert flat == {
        "coarseness_3D": MAX_COARSENESS, "contrast_3D": 0.0, "busyness_3D": 0.0,
        "complexity_3D": 0.0, "strength_3D": 0.0,
    }  # fmt: skip
    lone = tone_difference(neighbourhood(np.ones((1, 1, 1), dtype=int), in_slice=False), "3D")
    assert np.isnan(list(lone.values())).all()


def test_dependence_by_hand():
    # 1 1 2 in a row: voxels depend on 2, 2 and 1 voxels, themselves included.
    found = dependence(neighbourhood(np.array([1, 1, 2])[:, None, None], in_slice=False), "3D")
    assert found["hde_3D"] == pytest.approx((4 + 4 + 1) / 3)
    assert found["ldhge_3D"] == pytest.approx((1 / 4 + 1 / 4 + 4) / 3)
    assert found["dc_energy_3D"] == pytest.approx((4 + 1) / 9)
    assert found["dc_perc_3D"] == 1.0


def test_slices_are_averaged_or_merged():
    one = np.array([1, 1, 2])[:, None, None]
    other = np.array([2, 3, 3])[:, None, None]
    both = np.concatenate([one, other], axis=2)
    around = [neighbourhood(data, in_slice=True) for data in (one, other, both)]
    apart = [dependence(a, "2D")["hgce_2D"] for a in around]
    assert apart[2] == pytest.approx((apart[0] + apart[1]) / 2)
    merged = dependence(around[2], "2_5D")["hgce_2_5D"]
    assert merged == pytest.approx((1 + 1 + 4 + 4 + 9 + 9) / 6)
    tones = [tone_difference(a, "2D")["strength_2D"] for a in around]
    assert tones[2] == pytest.approx((tones[0] + tones[1]) / 2)
    assert tone_difference(around[2], "2_5D")["strength_2_5D"] != pytest.approx(tones[2])
