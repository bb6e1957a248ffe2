"""The Newton step with third derivatives: closer by digits, and honest where it is not."""

import numpy as np
import pytest
from reference import relative_error
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer
from skinfluence.exceptions import InvalidParameterError, NotConvergedWarning


def fitted(n=1500, p=6, C=1.0, fit_intercept=True, seed=0):
    rng = np.random.default_rng(seed)
    X, weight = rng.normal(size=(n, p)), rng.uniform(0.5, 2.0, n)
    y = (X[:, 0] - X[:, 1] + rng.logistic(size=n) > 0.5).astype(int)
    model = LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, fit_intercept=fit_intercept
    )
    return model.fit(X, y, sample_weight=weight), X, y, weight


def coefficients(deletion, model, X, y, weight=None):
    explainer = InfluenceExplainer(model, deletion=deletion, tol=1e-11)
    return explainer.fit(X, y, sample_weight=weight).loo_params().coef


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_halley_is_a_thousand_times_closer_than_newton(fit_intercept):
    problem = fitted(fit_intercept=fit_intercept)
    truth = coefficients("exact", *problem)
    newton, halley = (
        np.abs(coefficients(deletion, *problem) - truth).max(axis=(1, 2))
        for deletion in ("newton", "halley")
    )
    assert np.median(halley) < 1e-3 * np.median(newton)
    assert np.max(halley) < 1e-2 * np.max(newton)


def test_halley_is_newton_for_a_quadratic_loss():
    _, X, y, _ = fitted()
    found = [coefficients(d, Ridge().fit(X, y), X, y) for d in ("newton", "halley")]
    np.testing.assert_array_equal(*found)


def test_loo_predict_and_loss_deltas_see_the_correction():
    model, X, y, weight = fitted()
    halley, exact = (
        InfluenceExplainer(model, deletion=d).fit(X, y, sample_weight=weight)
        for d in ("halley", "exact")
    )
    predictions = [e.loo_predict(method="decision_function") for e in (halley, exact)]
    assert relative_error(*predictions) < 1e-4
    deltas = [e.loo_delta(X[:9], y[:9]) for e in (halley, exact)]
    assert relative_error(*deltas) < 1e-4


def test_rows_whose_series_does_not_settle_keep_their_newton_step():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = LogisticRegression(C=100, solver="newton-cholesky", tol=1e-10).fit(X, y)
    newton, truth = (coefficients(d, model, X, y) for d in ("newton", "exact"))
    explainer = InfluenceExplainer(model, deletion="halley").fit(X, y)
    with pytest.warns(NotConvergedWarning, match="kept their Newton step"):
        found = explainer.loo_params()
    kept = found.n_steps == 1
    assert 0 < np.sum(kept) < 200
    np.testing.assert_allclose(found.coef[kept], newton[kept])
    error = np.abs(found.coef - truth).max(axis=(1, 2))
    before = np.abs(newton - truth).max(axis=(1, 2))
    moved = ~kept & (before > 1e-6 * np.abs(truth).max())
    assert np.sum(moved) > 20
    assert np.mean(error[moved] < 0.2 * before[moved]) > 0.95


def test_coupled_outputs_and_many_columns_are_refused():
    _, X, y, _ = fitted()
    softmax = LogisticRegression().fit(X, y + (X[:, 0] > 1))
    explainer = InfluenceExplainer(softmax, deletion="halley").fit(X, y + (X[:, 0] > 1))
    with pytest.raises(InvalidParameterError, match="HalfMultinomialLoss"):
        explainer.loo_params()
    wide = np.random.default_rng(0).normal(size=(40, 300))
    model = LogisticRegression().fit(wide, y[:40])
    explainer = InfluenceExplainer(model, deletion="halley").fit(wide, y[:40])
    with pytest.raises(InvalidParameterError, match="at most 256 columns"):
        explainer.loo_predict()
