"""Clusters of features: correlations as scipy and pandas have them, clusters worked by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from pipeline.errors import SettingsError
from pipeline.radiomics.clusters import MIN_ROWS, cluster_features, spearman


def test_correlations_are_scipys_with_ties_too():
    rng = np.random.default_rng(1)
    values = np.round(rng.normal(size=(40, 6)), 1)
    np.testing.assert_allclose(spearman(values), spearmanr(values).statistic, atol=1e-12)


def test_with_missing_values_they_are_those_of_the_common_rows():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(30, 7)) + rng.normal(size=(30, 1))
    values[rng.random(values.shape) < 0.15] = np.nan
    values[:, 5] = np.nan
    values[:, 6] = 3.0
    expected = pd.DataFrame(values).corr(method="spearman", min_periods=MIN_ROWS)
    found = spearman(values)
    np.testing.assert_allclose(found[:5, :5], expected.to_numpy()[:5, :5], atol=1e-12)
    assert np.isnan(found[5:]).all()
    assert np.isnan(found[:, 5:]).all()


def test_too_few_common_rows_are_unknown():
    values = np.full((2 * MIN_ROWS, 2), np.nan)
    values[: MIN_ROWS + 1, 0] = np.arange(MIN_ROWS + 1)
    values[2:, 1] = np.arange(2 * MIN_ROWS - 2)
    assert np.isnan(spearman(values)[0, 1])
    values[1:, 1] = np.arange(2 * MIN_ROWS - 1)
    assert spearman(values)[0, 1] == 1.0


def test_what_rises_or_falls_together_is_one_cluster():
    x = np.arange(20.0)
    noise = np.random.default_rng(0).permutation(20)
    found = cluster_features(np.column_stack([x, noise, -(x**3), np.exp(x / 5)]))
    assert found.cluster[0] == found.cluster[2] == found.cluster[3] != found.cluster[1]
    assert found.order.tolist() == [0, 2, 3, 1]
    assert found.cluster.tolist() == [1, 2, 1, 1]
    assert found.representative.tolist() == [True, True, False, False]
    assert found.rho[0, 2] == pytest.approx(-1.0)


def test_every_pair_of_a_cluster_reaches_the_threshold_and_clusters_lie_together():
    rng = np.random.default_rng(5)
    latent = rng.normal(size=(50, 4))
    values = latent[:, rng.integers(0, 4, 40)] + 0.25 * rng.normal(size=(50, 40))
    for threshold in (0.7, 0.9, 1.0):
        found = cluster_features(values, threshold=threshold)
        same = found.cluster[:, None] == found.cluster[None]
        assert np.abs(found.rho)[same].min() >= threshold - 1e-8
        assert (np.diff(found.cluster[found.order]) >= 0).all()
        assert found.representative.sum() == found.cluster.max()
        for number in range(1, found.cluster.max() + 1):
            members = np.flatnonzero(found.cluster == number)
            means = np.abs(found.rho[np.ix_(members, members)]).mean(axis=1)
            assert found.representative[members[means.argmax()]]


def test_the_order_of_rows_changes_nothing_and_that_of_columns_no_cluster():
    rng = np.random.default_rng(6)
    values = rng.normal(size=(60, 5))[:, rng.integers(0, 5, 30)] + 0.2 * rng.normal(size=(60, 30))
    first = cluster_features(values)
    turned = cluster_features(values[rng.permutation(60)])
    assert np.array_equal(first.order, turned.order)
    assert np.array_equal(first.cluster, turned.cluster)
    columns = rng.permutation(30)
    moved = cluster_features(values[:, columns])
    groups = {frozenset(np.flatnonzero(first.cluster == n)) for n in set(first.cluster)}
    assert groups == {frozenset(columns[moved.cluster == n]) for n in set(moved.cluster)}


def test_none_one_and_a_threshold_without_sense():
    assert cluster_features(np.empty((9, 0))).cluster.size == 0
    assert cluster_features(np.arange(9.0)[:, None]).cluster.tolist() == [1]
    for threshold in (0.0, 1.1, float("nan")):
        with pytest.raises(SettingsError, match="threshold"):
            cluster_features(np.ones((9, 2)), threshold=threshold)
