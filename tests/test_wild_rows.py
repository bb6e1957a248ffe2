"""Rows of leverage near 1, such as a value in the wrong unit, against refits."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from skinfluence import InfluenceExplainer

TIGHT = {"tol": 1e-13, "max_iter": 100_000}
REGRESSORS = {
    "least squares": LinearRegression(),
    "ridge": Ridge(1.0),
    "lasso": Lasso(1e-3, **TIGHT),
    "elastic net": ElasticNet(1e-3, **TIGHT),
    "positive": LinearRegression(positive=True),
}
# The deletions of the last three move the active set, which "newton" only flags.
ASKED = [
    pytest.param(model, deletion, id=f"{name}, {deletion}")
    for name, model in REGRESSORS.items()
    for deletion in ("newton", "exact")
    if deletion == "exact" or name in ("least squares", "ridge")
]
WILD, OTHERS = 7, np.arange(50) != 7


def one_wild_cell(value, columns=1):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, columns))
    y = 2 * X[:, 0] + rng.normal(size=50)
    X[WILD, 0] = value
    return X, y


@pytest.mark.filterwarnings("ignore:Objective did not converge")
@pytest.mark.parametrize("value, columns", [(1e4, 3), (6e5, 3), (1e8, 1)])
@pytest.mark.parametrize("model, deletion", ASKED)
def test_a_wild_cell_is_deleted_as_by_a_refit(model, value, columns, deletion):
    # Beside 1e8, LinearRegression itself takes other columns for rounding.
    X, y = one_wild_cell(value, columns)
    explainer = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    refit = clone(model).fit(X[OTHERS], y[OTHERS])
    delta = explainer.loo_params(rows=[WILD])
    base = explainer.estimator_.coef_
    np.testing.assert_allclose(base + delta.coef[0], refit.coef_, rtol=1e-8, atol=1e-9)
    own = explainer.loo_predict()[WILD]
    np.testing.assert_allclose(own, refit.predict(X[[WILD]])[0], rtol=1e-8)


@pytest.mark.parametrize("size", [1, 3, 30])
def test_a_group_that_holds_a_wild_cell_is_deleted_as_by_a_refit(size):
    X, y = one_wild_cell(6e5, columns=3)
    rows = np.arange(WILD, WILD + size)
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    refit = LinearRegression().fit(np.delete(X, rows, 0), np.delete(y, rows))
    delta = explainer.group_delta(X[:5], groups=[rows])[:, 0]
    truth = refit.predict(X[:5]) - explainer.predict(X[:5])
    np.testing.assert_allclose(delta, truth, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("deletion", ["newton", "halley", "exact"])
def test_a_wild_cell_of_a_poisson_model(deletion):
    X, _ = one_wild_cell(1e5, columns=2)
    y = np.random.default_rng(1).poisson(1.5, size=50)
    model = PoissonRegressor(
        alpha=0.1, tol=1e-12, solver="newton-cholesky", max_iter=1000
    )
    explainer = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    refit = clone(model).fit(X[OTHERS], y[OTHERS])
    delta = explainer.loo_params(rows=[WILD]).coef[0]
    truth = refit.coef_ - explainer.estimator_.coef_
    np.testing.assert_allclose(delta, truth, rtol=1e-6, atol=1e-9)


def test_a_wild_cell_of_a_logistic_model():
    X, y = one_wild_cell(1e7, columns=2)
    labels = y > 0
    model = LogisticRegression(C=10.0, tol=1e-12, solver="newton-cholesky")
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, labels)
    refit = clone(model).fit(X[OTHERS], labels[OTHERS])
    delta = explainer.loo_params(rows=[WILD]).coef[0]
    truth = refit.coef_ - explainer.estimator_.coef_
    np.testing.assert_allclose(delta, truth, rtol=1e-5)
