"""The Newton step with third derivatives: closer by digits, and honest where it is not."""

import numpy as np
import pytest
from objectives import SETTINGS, N, build
from reference import relative_error
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_class_weight

from skinfluence import InfluenceExplainer, refit_leave_one_out
from skinfluence.deletion._halley import ThirdDerivative, tensor_of
from skinfluence.deletion._leaving import OneByOne
from skinfluence.exceptions import InvalidParameterError, NotConvergedWarning
from skinfluence.solvers import Cholesky, expand


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


def classes(name):
    """Rows, classes and weights: iris, or a part of the digits with more entries."""
    X, y = (load_iris if name == "iris" else load_digits)(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[:250], y[:250]
    return X, y, np.random.default_rng(0).uniform(0.5, 2.0, len(X))


@pytest.mark.parametrize(
    ("name", "C", "closer"), [("iris", 0.1, 0.02), ("digits", 0.01, 0.05)]
)
def test_softmax_with_weights_is_closer_to_refits(name, C, closer):
    """Weights of rows and classes; third derivatives formed, and row by row."""
    X, y, weight = classes(name)
    balanced = compute_class_weight("balanced", classes=np.unique(y), y=y)
    fixed = dict(enumerate(balanced.tolist()))
    model = LogisticRegression(
        C=C, class_weight=fixed, solver="newton-cholesky", tol=1e-10
    ).fit(X, y, sample_weight=weight)
    rows = np.arange(0, len(X), 12)
    refits = refit_leave_one_out(model, X, y, rows=rows, sample_weight=weight).coef
    newton, halley = (
        np.abs(coefficients(deletion, model, X, y, weight)[rows] - refits).max((1, 2))
        for deletion in ("newton", "halley")
    )
    assert np.all(halley <= newton)
    assert np.median(halley) < closer * np.median(newton)


def test_the_error_is_of_the_second_order_in_the_effect_of_a_row():
    """Four times the rows, a quarter of a row's effect: Newton's error a quarter too."""
    rng = np.random.default_rng(0)
    errors = []
    for n in (400, 1600):
        X = rng.normal(size=(n, 4))
        y = np.argmax(X[:, :3] + rng.gumbel(size=(n, 3)), axis=1)
        model = LogisticRegression(C=100, solver="newton-cholesky", tol=1e-12).fit(X, y)
        truth = coefficients("exact", model, X, y)
        found = [coefficients(d, model, X, y) for d in ("newton", "halley")]
        size = np.median(np.abs(truth).max(axis=(1, 2)))
        errors.append([np.median(np.abs(f - truth).max((1, 2))) / size for f in found])
    newton, halley = np.array(errors[0]) / np.array(errors[1])
    assert 2.5 < newton < 6.5
    assert 8 < halley < 32


@pytest.mark.parametrize("name", ["binary, mean form", "softmax, mean form"])
def test_third_derivatives_formed_and_row_by_row_agree(name):
    objective, theta, _ = build(SETTINGS[name])
    point = expand(objective, theta, Cholesky())
    left, right = np.random.default_rng(0).normal(size=(2, N, *theta.shape))
    formed = ThirdDerivative(point, tensor_of(point))
    leaving = OneByOne.of(point, slice(0, N))
    found, truth = (
        third.product(leaving, left, right)
        for third in (ThirdDerivative(point, None), formed)
    )
    assert relative_error(found, truth) < 1e-12


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 300))
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    model = LogisticRegression(C=1e-3, solver="newton-cholesky", tol=1e-12).fit(X, y)
    truth = coefficients("exact", model, X, y)
    newton, halley = (
        np.abs(coefficients(deletion, model, X, y) - truth).max(axis=(1, 2))
        for deletion in ("newton", "halley")
    )
    assert np.median(halley) < 0.05 * np.median(newton)


def test_losses_whose_second_derivatives_jump_are_refused():
    _, X, y, _ = fitted()
    explainer = InfluenceExplainer(LinearSVC(), deletion="halley").fit(X, y)
    with pytest.raises(InvalidParameterError, match="SquaredHinge"):
        explainer.loo_params()
