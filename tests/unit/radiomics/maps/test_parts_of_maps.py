"""The parts that maps are made of: sorting, sums, eigenvalues, tiles."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from pipeline.errors import EmptyRegionError, SettingsError
from pipeline.radiomics.engine.settings import TextureSettings
from pipeline.radiomics.maps.eigen import largest_absolute_eigenvalue
from pipeline.radiomics.maps.measure import feature_maps, measure, plan_maps
from pipeline.radiomics.maps.ordered import numpy_sum, percentile
from pipeline.radiomics.maps.settings import MapSettings
from pipeline.radiomics.maps.sorting import comparators, run_lengths, sort_columns
from pipeline.types import Volume


@pytest.mark.parametrize("count", range(1, 11))
def test_the_network_sorts_all_columns_of_zeros_and_ones(count):
    """A network that sorts these sorts anything (Knuth's zero-one principle)."""
    columns = torch.tensor(list(product((0, 1), repeat=count)), dtype=torch.int16).T.clone()
    wanted = columns.sort(0).values
    assert torch.equal(sort_columns(columns), wanted)


@pytest.mark.parametrize("count", [18, 27, 36, 54, 125, 343])
def test_the_network_sorts_longer_columns(count):
    columns = torch.randint(0, 60, (count, 200), dtype=torch.int32)
    wanted = columns.sort(0).values
    assert torch.equal(sort_columns(columns), wanted)
    assert len(comparators(18)) < 18 * 17 / 2


def test_runs_are_counted_at_their_last_entry_and_not_beyond_the_limit():
    columns = torch.tensor([[1, 1, 4, 4, 4, 9, 9], [2, 3, 4, 5, 6, 7, 7]], dtype=torch.int16).T
    lengths = run_lengths(columns.contiguous(), limit=9)
    assert lengths[:, 0].tolist() == [0, 2, 0, 0, 3, 0, 0]
    assert lengths[:, 1].tolist() == [1, 1, 1, 1, 1, 0, 2]


@pytest.mark.parametrize("count", [1, 5, 8, 27, 125, 343])
def test_sums_are_rounded_as_numpy_rounds_them(count):
    values = np.random.default_rng(0).normal(size=(50, count))
    ours = numpy_sum(torch.from_numpy(values.T.copy())).numpy()
    assert np.array_equal(ours, values.sum(axis=1))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_percentiles_are_numpys(share):
    values = np.sort(np.random.default_rng(0).normal(size=(27, 40)), axis=0)
    count = torch.arange(1, 28).repeat(2)[:40].double()
    ours = percentile(torch.from_numpy(values), count, share).numpy()
    wanted = [np.percentile(values[: int(n), c], share * 100) for c, n in enumerate(count)]
    np.testing.assert_allclose(ours, wanted, rtol=1e-15)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 12, 26])
def test_eigenvalues_are_lapacks(size):
    rng = np.random.default_rng(size)
    matrices = rng.normal(size=(500, size, size))
    matrices = matrices + matrices.transpose(0, 2, 1)
    matrices /= 1.01 * np.abs(np.linalg.eigvalsh(matrices)).max(axis=1)[:, None, None]
    assert _largest(matrices) == pytest.approx(_lapack(matrices), abs=1e-14)


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("sign", [1, -1])
def test_close_and_multiple_eigenvalues_are_found(gap, sign):
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.normal(size=(300, 6, 6)))[0]
    values = sign * np.array([0.9, 0.9 - gap, 0.9 - gap, 0.2, -0.1, -0.3])
    matrices = (vectors * values) @ vectors.transpose(0, 2, 1)
    assert _largest(matrices) == pytest.approx(np.full(300, 0.9), abs=3e-14)


@pytest.mark.parametrize(
    "matrix", [np.zeros((5, 5)), np.eye(5), -np.eye(5), np.diag([1.0, 0, 0, 0, -1])]
)
def test_degenerate_matrices_are_solved(matrix):
    assert _largest(matrix[None]) == pytest.approx(_lapack(matrix[None]), abs=1e-14)


def test_bytes_do_not_depend_on_the_memory(make_region):
    image, mask = make_region(levels=12, sigma=0.8, shape=(10, 9, 9), filled=0.9)
    classes = ["firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
    plan = plan_maps(image, mask, classes, settings=MapSettings())
    whole = measure(plan, plan.pieces[0])
    for windows in (1, 97, 203):
        part = slice(40, 60) if windows == 1 else plan.pieces[0]
        tiled = measure(replace(plan, windows=windows), part)
        assert tiled.tobytes() == np.ascontiguousarray(whole[:, part]).tobytes()


def test_more_memory_takes_more_windows_and_too_little_is_refused(make_region):
    image, mask = make_region()
    small, large = (
        plan_maps(image, mask, ["glcm"], settings=MapSettings(), memory_mb=memory).windows
        for memory in (120, 150)
    )
    assert small < large
    with pytest.raises(SettingsError, match=r"memory_mb is 1; .* need at least 10\d"):
        plan_maps(image, mask, ["glcm"], settings=MapSettings(), memory_mb=1)


def test_progress_is_told(make_region, monkeypatch):
    monkeypatch.setattr("pipeline.radiomics.maps.measure.PIECE_VOXELS", 50)
    image, mask = make_region()
    seen: list[tuple[int, int]] = []
    feature_maps(
        image, mask, ["gldm"], settings=MapSettings(), on_piece=lambda *done: seen.append(done)
    )
    number = -(-int(mask.data.sum()) // 50)
    assert seen == [(done, number) for done in range(1, number + 1)]


def test_what_has_no_map_is_refused(make_region):
    image, mask = make_region()
    with pytest.raises(SettingsError, match="'shape' has no maps; choose from firstorder"):
        feature_maps(image, mask, ["shape"], settings=MapSettings())
    empty = Volume(np.zeros_like(mask.data), mask.grid)
    with pytest.raises(EmptyRegionError, match="marks no voxel"):
        feature_maps(image, empty, ["glcm"], settings=MapSettings())
    fine = MapSettings(texture=TextureSettings(bin_width=1e-3))
    with pytest.raises(SettingsError, match="grey levels, and maps take up to 16384"):
        feature_maps(image, mask, ["glcm"], settings=fine)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kernel_radius": 0}, "kernel_radius is 0"),
        ({"voxel_batch": 0}, "voxel_batch is 0"),
        ({"texture": TextureSettings(bin_width=0)}, "bin_width is 0"),
        ({"texture": TextureSettings(weighting="euclidean")}, "weighting is 'euclidean'"),
        ({"texture": TextureSettings(symmetrical_glcm=False)}, "symmetrical_glcm"),
    ],
)
def test_settings_without_meaning_are_refused(settings, says):
    with pytest.raises(SettingsError, match=says):
        MapSettings(**settings)


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(make_region):
    image, mask = make_region(levels=12, sigma=0.8, shape=(20, 20, 20), filled=0.9)
    classes = ["firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
    cpu = feature_maps(image, mask, classes, settings=MapSettings())
    gpu = feature_maps(image, mask, classes, settings=MapSettings(), device="cuda")
    for column, volume in cpu.items():
        atol = 1e-8 if column == "glcm_MCC" else 1e-13
        np.testing.assert_allclose(gpu[column].data, volume.data, rtol=1e-9, atol=atol)


def _largest(matrices):
    batch_last = torch.from_numpy(np.ascontiguousarray(matrices.transpose(1, 2, 0)))
    return largest_absolute_eigenvalue(batch_last).numpy()


def _lapack(matrices):
    return np.abs(np.linalg.eigvalsh(matrices)).max(axis=1)
