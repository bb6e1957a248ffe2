"""Weighted Gram matrices, many at once: the same numbers by either way."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from skinfluence import InfluenceExplainer
from skinfluence._kernels import weighted_grams


@pytest.mark.parametrize("n_weights", [1, 3, 14, 15, 45])
@pytest.mark.parametrize("width", [1, 2, 7, 80, 81])
def test_totals_are_sums_of_weighted_products(n_weights, width):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(700, width))
    weights = rng.normal(size=(700, n_weights))  # of both signs
    grams = weighted_grams(rows, n_weights)
    for part in (slice(0, 300), slice(300, 301), slice(301, 700)):
        grams.add(rows[part], weights[part])
    truth = np.einsum("it,ia,ib->tab", weights, rows, rows)
    np.testing.assert_allclose(np.stack(grams.finished()), truth, atol=1e-11)


@pytest.mark.parametrize("n_classes", [3, 7])
def test_half_the_blocks_give_the_softmax_hessian(n_classes):
    """Blocks of an output with itself are what the others leave, for 3 and 21 pairs."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 4))
    y = rng.integers(n_classes, size=500)
    model = LogisticRegression(C=0.5).fit(X, y)
    point = InfluenceExplainer(model).fit(X, y)._study.point
    H = point.curvature.as_matrix()[0]
    design = point.objective.design.block(slice(0, 500))
    p = np.exp(point.outputs)
    p /= p.sum(axis=1, keepdims=True)
    M = p[:, :, None] * (np.eye(n_classes) - p[:, None, :])
    truth = np.einsum("ikj,ia,ib->kajb", M, design, design).reshape(H.shape)
    truth += np.diag(point.curvature.diagonal_part[0])
    np.testing.assert_allclose(H, truth, atol=1e-12 * np.abs(truth).max())
