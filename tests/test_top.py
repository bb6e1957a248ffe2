"""The k largest effects from a stream of blocks, against sorting the whole matrix."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from skinfluence import InfluenceExplainer
from skinfluence.influence import top_blocks

M, N = 5, 100
CUTS = {"one block": [0, N], "blocks": [0, 30, 31, 90, N]}
SCORES = {
    "absolute": lambda values, sign: np.abs(values),
    "harmful": lambda values, sign: sign * values,
    "helpful": lambda values, sign: -sign * values,
}
every_cut = pytest.mark.parametrize("cut", CUTS)
every_order = pytest.mark.parametrize("order", SCORES)


def streamed(values, cut):
    for first, last in pairwise(CUTS[cut]):
        yield slice(first, last), values[:, first:last]


def values_of(seed=0):
    return np.random.default_rng(seed).normal(size=(M, N))


@every_cut
@every_order
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("k", [1, 7, 40, N])
def test_top_rows_are_those_of_the_sorted_matrix(cut, order, sign, k):
    values = values_of()
    ranks = np.argsort(-SCORES[order](values, sign), axis=1)[:, :k]
    found, indices = top_blocks(streamed(values, cut), k, order, sign)
    np.testing.assert_array_equal(indices, ranks)
    np.testing.assert_array_equal(found, np.take_along_axis(values, ranks, axis=1))


@every_cut
@every_order
def test_rows_without_a_value_come_last(cut, order):
    values = values_of()
    values[:, [3, 30, 95]] = np.nan
    found, indices = top_blocks(streamed(values, cut), N, order, 1.0)
    assert np.isfinite(found[:, :-3]).all()
    assert np.sort(indices[:, -3:], axis=1).tolist() == [[3, 30, 95]] * M


@every_order
@pytest.mark.parametrize("k", [2, 9])
def test_rows_with_a_value_replace_those_without(k, order):
    """In blocks that follow a first one of NaN, and one with a point of NaN only."""
    values = values_of()
    values[:, :29] = np.nan
    values[2, 31:90] = np.nan
    score = SCORES[order](values, 1.0)
    ranks = np.argsort(-np.where(np.isnan(score), -np.inf, score), axis=1)[:, :k]
    found, indices = top_blocks(streamed(values, "blocks"), k, order, 1.0)
    np.testing.assert_array_equal(indices, ranks)
    np.testing.assert_array_equal(found, np.take_along_axis(values, ranks, axis=1))


def test_the_explainer_numbers_rows_beyond_the_first_block():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9000, 2))
    y = X @ [1.0, 2.0] + rng.normal(size=9000)
    y[[5000, 8999]] += 100.0
    explainer = InfluenceExplainer(Ridge()).fit(X, y)
    values, indices = explainer.top_influences(X[:3], y[:3], k=5)
    full = explainer.influence(X[:3], y[:3])
    truth = np.argsort(-np.abs(full), axis=1)[:, :5]
    np.testing.assert_array_equal(indices, truth)
    assert set(truth.ravel()) & {5000, 8999}
    np.testing.assert_allclose(values, np.take_along_axis(full, truth, axis=1))
