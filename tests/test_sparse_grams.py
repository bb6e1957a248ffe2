"""Weighted Gram matrices of sparse rows are those of the same rows made dense."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from skinfluence import InfluenceExplainer
from skinfluence._design import Design
from skinfluence._kernels import _sparse_grams, weighted_grams
from skinfluence._kernels._sparse_grams import SparseGrams
from skinfluence._sources import source_of

N, P = 90, 300


def rows_of(kind, seed=0):
    """Rare columns, and of ``kind`` "frequent" some that are full, half full and far."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.uniform(size=(N, P)) < 0.03, rng.normal(size=(N, P)) + 1, 0.0)
    X[:, 11] = 0.0
    if kind == "frequent":
        X[:, 5] = 1e4 + rng.normal(size=N)
        X[:, [0, 120, P - 1]] = np.where(
            rng.uniform(size=(N, 3)) < 0.5, rng.normal(size=(N, 3)), 0.0
        )
    return sparse.csr_array(X)


def design_of(X, intercept):
    centre = X.mean(axis=0) if intercept else np.zeros(P)
    return Design(source_of(X), centre, intercept)


def grams_of(design, weights, *, size=40):
    first = design.block(slice(0, 1))
    grams = weighted_grams(first, weights.shape[1])
    assert isinstance(grams, SparseGrams)
    for start in range(0, N, size):
        part = slice(start, min(start + size, N))
        grams.add(design.block(part), weights[part])
    return grams


def dense_grams(design, weights):
    rows = design.block(slice(0, N)).dense()
    return [rows.T @ (w[:, None] * rows) for w in weights.T]


def agree(found, truth, tol=1e-12):
    assert len(found) == len(truth)
    for own, other in zip(found, truth, strict=True):
        scale = np.sqrt(np.outer(np.diagonal(other), np.diagonal(other)))
        np.testing.assert_array_less(np.abs(own - other), tol * scale.max())


def is_symmetric(found):
    return all(np.array_equal(part, part.T) for part in found)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", ["rare", "frequent"])
@pytest.mark.parametrize("waiting", [1, 10**9])
def test_grams_are_those_of_dense_rows(monkeypatch, kind, intercept, waiting):
    monkeypatch.setattr(_sparse_grams, "_LEAST_WAITING", waiting)
    design = design_of(rows_of(kind), intercept)
    weights = np.random.default_rng(1).uniform(size=(N, 3))
    found = grams_of(design, weights).finished()
    truth = dense_grams(design, weights)
    agree(found, truth)
    assert is_symmetric(found)
    both = grams_of(design, weights[:, :1]) + grams_of(design, weights[:, 1:2])
    agree(both.finished(), [truth[0] + truth[1]])


def test_weights_may_have_any_sign():
    design = design_of(rows_of("frequent"), True)
    weights = np.random.default_rng(1).normal(size=(N, 2))
    found, truth = grams_of(design, weights).finished(), dense_grams(design, weights)
    size = max(np.abs(part).max() for part in truth)
    np.testing.assert_allclose(found, truth, atol=1e-12 * size)


def test_a_column_far_from_zero_keeps_its_digits():
    """Its spread is 1e-4 of its mean: squares would keep half of the digits."""
    design = design_of(rows_of("frequent"), True)
    weights = np.ones((N, 1))
    (found,), (truth,) = (
        grams_of(design, weights).finished(),
        dense_grams(design, weights),
    )
    scale = np.sqrt(np.outer(np.diagonal(truth), np.diagonal(truth)))
    scale[scale == 0] = 1.0
    assert np.abs((found - truth) / scale).max() < 1e-11


def test_totals_of_runs_of_rows_add_up():
    design = design_of(rows_of("frequent"), True)
    weights = np.random.default_rng(1).uniform(size=(N, 2))
    first, last = weights.copy(), weights.copy()
    first[40:], last[:40] = 0.0, 0.0
    both = grams_of(design, first) + grams_of(design, last)
    agree(both.finished(), dense_grams(design, weights))


@pytest.mark.parametrize("solver", ["direct", "dual"])
def test_answers_keep_the_digits_of_a_column_far_from_zero(solver):
    X = rows_of("frequent")
    y = X[:, [0, 120]].sum(axis=1) + 0.1 * np.arange(N)
    model = Ridge(2.0).fit(X, y)
    found, truth = (
        InfluenceExplainer(model, solver=solver).fit(A, y).loo_predict()
        for A in (X, X.toarray())
    )
    # Outputs are differences of numbers 1e4 times as large.
    np.testing.assert_allclose(found, truth, atol=1e-9 * np.abs(truth).max())
