"""Influence of single features, and influence relative to a row's own pull."""

from dataclasses import replace

import cases
import numpy as np
import pytest
import reference
from cases import load
from reference import relative_error
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skinfluence import InfluenceExplainer
from skinfluence.exceptions import InvalidParameterError

every_case = pytest.mark.parametrize("case", cases.CASES, ids=str)
few_cases = pytest.mark.parametrize("case", cases.FEW, ids=str)
ROWS = [2, 17, 0]
WEIGHTLESS = 4  # a row of weight 0 in the weighted cases


def mean_test_gradient(case):
    return cases.gradients_at_test(case, "loss")[0].mean(axis=0)


def moved(problem, row, j, step):
    """The rows of X, where x_ij of one row has moved by ``step``."""
    X = problem.X.copy()
    X[row, j] += step
    return X


# --- in the features ---


@every_case
def test_feature_influence_is_the_difference_quotient_of_influence(case, explain):
    """Koh & Liang, equation 5: ``g_i`` moves with ``x_i``; theta and H are held."""
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    H_bar = reference.curvature(problem, theta) / problem.weight.sum()
    V = reference.solve(H_bar, mean_test_gradient(case))

    def influence(row, j, step):
        X = moved(problem, row, j, step)[[row]]
        g = reference.row_gradients(problem, theta, X, problem.targets[[row]])
        return -float(g[0] @ V)

    truth = [
        [
            (influence(row, j, 1e-5) - influence(row, j, -1e-5)) / 2e-5
            for j in range(problem.X.shape[1])
        ]
        for row in ROWS
    ]
    data = load(case.data)
    found = explain(case).feature_influence(data.X_test, data.y_test, ROWS)
    assert relative_error(found, truth) < 1e-8


@few_cases
def test_feature_influence_is_what_a_refit_with_moved_features_does(case, explain):
    """Times ``s_i / S`` it is the derivative of the refitted mean loss in x_ij."""
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    X_test, targets = cases.features_at_test(case), cases.targets_at_test(case)
    row = ROWS[0]

    def loss(j, step):
        refit = reference.minimise(
            replace(problem, X=moved(problem, row, j, step)), start=theta
        )
        u = problem.rows_of(X_test) @ refit.T
        return reference.loss_value(problem, targets, u).mean()

    p = problem.X.shape[1]
    truth = [(loss(j, 1e-4) - loss(j, -1e-4)) / 2e-4 for j in range(p)]
    data = load(case.data)
    found = explain(case).feature_influence(data.X_test, data.y_test, [row])[0]
    share = problem.weight[row] / problem.weight.sum()
    assert relative_error(share * found, truth) < 1e-5


def test_feature_influence_is_in_the_features_of_the_linear_model():
    data = load("one target")
    model = make_pipeline(PolynomialFeatures(2, include_bias=False), LinearRegression())
    explainer = InfluenceExplainer(model).fit(data.X, data.y)
    found = explainer.feature_influence(data.X_test, data.y_test, [1, 2])
    assert found.shape == (2, 14)  # 4 features, 10 products
    plain = InfluenceExplainer(LinearRegression()).fit(
        model[:-1].fit_transform(data.X), data.y
    )
    truth = plain.feature_influence(model[:-1].transform(data.X_test), data.y_test, [1])
    assert relative_error(found[:1], truth) < 1e-9


@pytest.mark.parametrize("rows", [[40], [-41], [], [0.5]], ids=str)
def test_feature_influence_refuses_rows_that_do_not_exist(rows, explain):
    (case,) = cases.pick("linear")
    data = load(case.data)
    with pytest.raises(InvalidParameterError, match="rows"):
        explain(case).feature_influence(data.X_test, data.y_test, rows)


# --- relative ---


def relative_by_definition(case, on):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    g = reference.row_gradients(problem, theta, problem.X, problem.targets)
    own = -np.diag(reference.influence(problem, theta, g))
    blocks = [
        reference.influence(problem, theta, gradients) / np.sqrt(own)
        for gradients in cases.gradients_at_test(case, on)
    ]
    return np.hstack(blocks)


@every_case
@pytest.mark.parametrize("on", ["loss", "decision"])
def test_relative_influence_is_over_the_root_of_self_influence(case, on, explain):
    data = load(case.data)
    y_test = data.y_test if on == "loss" else None
    found = explain(case).influence(data.X_test, y_test, on=on, relative=True)
    assert relative_error(found, relative_by_definition(case, on)) < 1e-8


def test_relative_influence_aggregated(explain):
    (case,) = cases.pick("logistic")
    data = load(case.data)
    found = explain(case).influence(
        data.X_test, data.y_test, aggregate="mean", relative=True
    )
    truth = relative_by_definition(case, "loss").mean(axis=0)
    assert relative_error(found, truth) < 1e-9


def test_relative_influence_has_no_units_of_features():
    data, units = load("two classes"), np.array([1e-3, 1.0, 50.0, 1e4])
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)

    def influence(scale):
        explainer = InfluenceExplainer(model, prefit=False).fit(data.X * scale, data.y)
        return explainer.influence(data.X_test * scale, data.y_test, relative=True)

    assert relative_error(influence(units), influence(1.0)) < 1e-7


def test_no_row_has_more_relative_influence_on_a_point_than_the_point_itself(explain):
    """Cauchy and Schwarz: the bound that makes it a measure of likeness."""
    (case,) = cases.pick("logistic")
    data = load(case.data)
    explainer = explain(case)
    found = explainer.influence(data.X_test, data.y_test, relative=True)
    bound = np.sqrt(-explainer.score_samples(data.X_test, data.y_test))
    assert np.all(np.abs(found) <= bound[:, None] * (1 + 1e-9))


def test_top_influences_ranks_by_relative_influence(explain):
    (case,) = cases.pick("logistic")
    data = load(case.data)
    whole = explain(case).influence(data.X_test, data.y_test, relative=True)
    values, rows = explain(case).top_influences(
        data.X_test, data.y_test, k=5, relative=True
    )
    order = np.argsort(-np.abs(whole), axis=1)[:, :5]
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(values, np.take_along_axis(whole, order, axis=1))
    plain = explain(case).top_influences(data.X_test, data.y_test, k=5)[1]
    assert np.any(rows != plain), "the ranking must differ, or this proves nothing"


def test_a_row_that_is_met_exactly_has_no_relative_influence():
    X, y = np.arange(5.0)[:, None], np.zeros(5)
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    assert not explainer.self_influence().any(), "or the test asks nothing"
    found = explainer.influence([[3.0]], [1.0], relative=True)
    assert not found.any()


def test_relative_deltas_are_refused(explain):
    (case,) = cases.pick("logistic")
    data = load(case.data)
    with pytest.raises(InvalidParameterError, match="quantity='influence'"):
        explain(case).top_influences(
            data.X_test, data.y_test, quantity="loo_delta", relative=True
        )
