"""The dual's own shortcuts give what the matrix H itself gives, in few passes over X."""

from types import SimpleNamespace

import numpy as np
import pytest
from reference import relative_error
from sklearn.linear_model import HuberRegressor, LogisticRegression, Ridge
from test_solvers import MODELS, WIDE, explained

from skinfluence import InfluenceExplainer
from skinfluence._kernels._centred import AbstractCentredRows
from skinfluence.solvers import (
    _woodbury,
    gradient_lengths,
    row_gradients,
    row_terms,
)
from skinfluence.study import study_of


@pytest.mark.parametrize("weighted", [True, False], ids=["weights", "no weights"])
@pytest.mark.parametrize("name", MODELS)
def test_lengths_are_those_of_the_direct_solver(name, weighted):
    points = [
        explained(name, WIDE, solver, weighted)._study.point
        for solver in ("dual", "direct")
    ]
    rows = np.array([0, 3, 4, 17])
    for point in points:
        terms = row_terms(point, rows)
        lifted = row_gradients(point, terms, terms.weight[:, None, None] * terms.slope)
        squared = np.sum(lifted * points[1].factor.steps(lifted), axis=(1, 2))
        truth = np.sqrt(np.maximum(squared, 0))
        found = gradient_lengths(point, rows)
        np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-12 * truth.max())
    slopes = np.random.default_rng(0).normal(size=points[0].outputs.shape)
    if points[0].objective.loss.shift_invariant:
        slopes -= slopes.mean(axis=1, keepdims=True)
    vectors = points[0].objective.lifted_sum(slopes[..., None] * [1.0, 1e-3, 0.0])
    vectors = points[0].factor._within(vectors)
    found, truth = (point.factor.norm(vectors) for point in points)
    np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-12 * truth.max())
    assert found[2] == 0


def problem(n=40, p=300, spread=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 10 ** rng.uniform(-spread, spread, size=p) + 0.5
    return X, X[:, 0] + rng.normal(size=n)


@pytest.mark.parametrize("alpha", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
def test_condition_is_that_of_the_matrix_to_some_per_cent(alpha, spread):
    X, y = problem(spread=spread)
    explainer = InfluenceExplainer(Ridge(alpha).fit(X, y), solver="dual").fit(X, y)
    curvature = explainer._study.point.curvature
    H = curvature.as_matrix()[0]
    scale = np.sqrt(np.diagonal(H))
    scaled = H / scale[:, None] / scale
    least = np.min(alpha / scale[:-1] ** 2)  # what the rows do not see
    truth = np.linalg.eigvalsh(scaled)[-1] / least
    assert 0.9 * truth <= explainer.condition_ <= (1 + 1e-10) * truth


def test_a_fit_passes_over_the_rows_a_few_times(monkeypatch):
    """One product with all rows, and a dozen of them with a vector; leverages are free."""
    X, y = problem()
    multiplied = []

    def watch(name):
        product = getattr(AbstractCentredRows, name)

        def watched(rows, other):
            columns = other.size // (
                other.shape[0] if name == "__matmul__" else len(rows)
            )
            multiplied.append(len(rows) * columns / len(X))
            return product(rows, other)

        monkeypatch.setattr(AbstractCentredRows, name, watched)

    watch("__matmul__")
    watch("__rmatmul__")
    model = Ridge(10.0).fit(X, y)
    InfluenceExplainer(model, solver="dual").fit(X, y).loo_predict()
    assert 3 < sum(multiplied) <= 18


@pytest.mark.parametrize(
    "model",
    [
        Ridge(0.5),
        Ridge(1e-5),
        Ridge(0.5, fit_intercept=False),
        Ridge(np.array([1.0, 3.0])),
        LogisticRegression(C=0.1),
    ],
    ids=str,
)
def test_diagonal_of_the_inverse_is_that_of_the_matrix(model):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 30)), rng.normal(size=(20, 2))
    if isinstance(model, LogisticRegression):
        y = rng.integers(0, 2, 20)
    elif np.ndim(model.alpha) == 0:
        y = y[:, 0]
    factor = study_of(InfluenceExplainer(model, solver="dual").fit(X, y)).point.factor
    matrices = factor.curvature.as_matrix()
    truth = [np.diag(np.linalg.pinv(H, rcond=1e-13)) for H in matrices]
    truth = np.broadcast_to(truth, (factor.layout.n_groups, len(truth[0])))
    assert relative_error(factor.diagonal_of_inverse(), truth) < 1e-6


@pytest.mark.parametrize("value", [1e4, 1e6])
def test_a_column_beside_which_rounding_hides_the_penalty_costs_no_digits(value):
    """Fewer columns than rows: the matrix of the rows is the penalty's along most."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(12, 2))
    y = X[:, 0] + rng.standard_t(2, size=12)
    X[:, 1] *= value
    model = HuberRegressor(alpha=0.01, max_iter=10_000, tol=1e-8).fit(X, y)
    found, truth = (
        InfluenceExplainer(model, solver=solver).fit(X, y).loo_params()
        for solver in ("dual", "direct")
    )
    np.testing.assert_allclose(found.coef, truth.coef, rtol=1e-6, atol=1e-12 / value)
    np.testing.assert_allclose(found.scale, truth.scale, rtol=1e-6, atol=1e-12)


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")
@pytest.mark.parametrize("seed", [122, 176])
def test_weights_of_any_size_are_borne_by_the_dual(seed):
    """The matrix of the rows was not definite to rounding, or its product bent down."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(4, 5)), rng.normal(size=4)
    weight = 10.0 ** rng.uniform(-12, 12, 4)
    found, truth = (
        InfluenceExplainer(Ridge(1e-7, fit_intercept=False), solver=solver)
        .fit(X, y, weight)
        .loo_params()
        for solver in ("dual", "direct")
    )
    gap = np.linalg.norm(found.coef - truth.coef, axis=1)
    assert np.all(gap <= found.error_bound + truth.error_bound)


@pytest.mark.parametrize("largest, held", [(3e10, False), (3e11, True)])
def test_entries_held_by_rows_stand_far_above_the_median(largest, held):
    """Ratios of H to the penalty; of an even number the median is the upper one."""
    ratio = np.array([1.0, 1e6, largest, 1e7])
    curvature = SimpleNamespace(
        diagonal_part=np.ones((1, 4)),
        diagonal=lambda: ratio[None, :],
        layout=SimpleNamespace(group_size=1),
        objective=SimpleNamespace(n_rows=3),
    )
    found = _woodbury._held_by_rows(curvature, 0)
    np.testing.assert_array_equal(found, [False, False, held, False])
