"""Influence: against its definition by hand, and refits with changed weights."""

import tracemalloc
from dataclasses import replace

import cases
import numpy as np
import pytest
import reference
from cases import load
from reference import relative_error
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss

from skinfluence import InfluenceExplainer

every_case = pytest.mark.parametrize("case", cases.CASES, ids=str)
few_cases = pytest.mark.parametrize("case", cases.FEW, ids=str)


def by_definition(case, on):
    """``-grad' H_bar^-1 g_i`` for the test rows; several outputs side by side."""
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    blocks = [
        reference.influence(problem, theta, gradients)
        for gradients in cases.gradients_at_test(case, on)
    ]
    return np.hstack(blocks)


# --- the definition ---


@every_case
def test_influence_on_the_loss(case, explain):
    data = load(case.data)
    found = explain(case).influence(data.X_test, data.y_test)
    assert relative_error(found, by_definition(case, "loss")) < 1e-9


@every_case
def test_influence_on_the_output(case, explain):
    found = explain(case).influence(load(case.data).X_test, on=case.on)
    assert relative_error(found, by_definition(case, case.on)) < 1e-9


@every_case
def test_influence_on_the_parameters(case, explain):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    truth = reference.influence_on_parameters(problem, theta)
    found = cases.rows_of(explain(case).param_influence(), case)
    assert relative_error(found, truth.reshape(found.shape)) < 1e-9


@every_case
def test_self_influence(case, explain):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    g = reference.row_gradients(problem, theta, problem.X, problem.targets)
    truth = np.diag(reference.influence(problem, theta, g))
    assert relative_error(explain(case).self_influence(), truth) < 1e-9


@every_case
def test_score_samples_is_the_self_influence_of_the_given_rows(case, explain):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    H_bar = reference.curvature(problem, theta) / problem.weight.sum()
    g = cases.gradients_at_test(case, "loss")[0]
    truth = -np.sum(g * reference.solve(H_bar, g.T).T, axis=1)
    data = load(case.data)
    found = explain(case).score_samples(data.X_test, data.y_test)
    assert relative_error(found, truth) < 1e-9


def test_score_samples_without_labels_is_minus_a_leverage(explain):
    """Of unweighted least squares: the diagonal of the hat matrix, times -n."""
    (case,) = cases.pick("linear")
    problem = cases.problem_of(case)
    A, B = problem.design, problem.rows_of(load(case.data).X_test)
    truth = -len(A) * np.sum(B * np.linalg.solve(A.T @ A, B.T).T, axis=1)
    found = explain(case).score_samples(load(case.data).X_test)
    assert relative_error(found, truth) < 1e-9


@every_case
def test_weighted_sum_of_influences_is_the_pull_of_the_penalty(case, explain):
    """``sum_i s_i g_i = -penalty'``: 0 without a penalty, liblinear's intercept in."""
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    influences = cases.rows_of(explain(case).param_influence(), case)
    total = np.einsum("n,nkq->kq", problem.weight, influences)
    pull = reference.solve(
        reference.curvature(problem, theta), (problem.ridge * theta).ravel()
    )
    truth = problem.weight.sum() * pull.reshape(theta.shape)
    size = np.einsum("n,nkq->kq", problem.weight, np.abs(influences))
    assert np.abs(total - truth).max() < 1e-9 * size.max()


def test_softmax_without_penalty_moves_no_class_alone(explain):
    """The gauge: what F does not see, a constant added to all classes, stays still."""
    (case,) = cases.pick("softmax, C=inf")
    params = explain(case).param_influence()
    for part in (params.coef, params.intercept):
        assert np.abs(part.sum(axis=1)).max() < 1e-9 * np.abs(part).max()


def test_effective_dof_is_the_trace_of_the_hat_matrix(explain):
    for case in cases.CASES:
        problem, theta = cases.problem_of(case), cases.minimum_of(case)
        if len(theta) == 1:
            truth = reference.effective_dof(problem, theta)
            assert explain(case).effective_dof_ == pytest.approx(truth, rel=1e-9)


@few_cases
def test_damping_is_added_to_the_mean_curvature(case, explain):
    problem, theta, data = (
        cases.problem_of(case),
        cases.minimum_of(case),
        load(case.data),
    )
    H_bar = reference.curvature(problem, theta) / problem.weight.sum()
    damped = H_bar + 0.3 * np.eye(len(H_bar))
    g = reference.row_gradients(problem, theta, problem.X, problem.targets)
    truth = -cases.gradients_at_test(case, "loss")[0] @ np.linalg.solve(damped, g.T)
    found = explain(case, damping=0.3).influence(data.X_test, data.y_test)
    assert relative_error(found, truth) < 1e-9


# --- refits with changed weights ---


def slope_in_the_weight(values_at, weight, row, step=1e-4):
    """S times the central difference (fourth order) of ``values_at`` in one weight."""
    slope = 0.0
    for steps, factor in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
        moved = weight.copy()
        moved[row] += steps * step
        slope = slope + factor * values_at(moved) / step
    return weight.sum() * slope


@every_case
@pytest.mark.parametrize("row", [4, 9], ids=lambda row: f"row {row}")
def test_influence_is_a_derivative_in_the_weight(case, row, explain):
    """Rows 4 of the weighted cases weigh nothing, and still have an influence."""
    problem, theta, data = (
        cases.problem_of(case),
        cases.minimum_of(case),
        load(case.data),
    )

    def losses(weight):
        moved = reference.minimise(replace(problem, weight=weight), start=theta)
        return cases.values_at_test(case, "loss", moved)[0]

    slope = slope_in_the_weight(losses, problem.weight, row)
    found = explain(case).influence(data.X_test, data.y_test)[:, row]
    assert relative_error(found, slope) < 1e-6


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-12),
        LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12),
    ],
    ids=["C=0.5", "C=inf"],
)
@pytest.mark.parametrize("name", ["two words", "three words"])
def test_influence_predicts_scikit_learns_own_refits(estimator, name):
    data = load(name)
    weight = data.sample_weight + 0.1

    def losses(weight):
        model = clone(estimator).fit(data.X, data.y, sample_weight=weight)
        rows = zip(model.predict_proba(data.X_test), data.y_test, strict=True)
        return np.array([log_loss([y], [p], labels=model.classes_) for p, y in rows])

    explainer = InfluenceExplainer(estimator).fit(data.X, data.y, sample_weight=weight)
    found = explainer.influence(data.X_test, data.y_test)
    for row in (0, 7):
        slope = slope_in_the_weight(losses, weight, row)
        assert relative_error(found[:, row], slope) < 1e-6


def test_a_wrong_label_is_harmful():
    """The sign, in the words of the documentation: positive is harmful."""
    data = load("two classes")
    y = data.y.copy()
    model = LogisticRegression().fit(data.X, y)
    sure = np.argmax(np.abs(model.decision_function(data.X)))
    assert model.predict(data.X)[sure] == y[sure]
    y[sure] = 1 - y[sure]
    explainer = InfluenceExplainer(LogisticRegression()).fit(data.X, y)
    harm = explainer.influence(data.X_test, data.y_test, aggregate="mean")
    assert harm[sure] > 0
    assert np.argmax(harm) == sure


# --- shapes and the other ways to ask ---


@few_cases
@pytest.mark.parametrize("on", ["loss", "output"])
@pytest.mark.parametrize("aggregate", ["mean", "sum"])
def test_aggregates_are_those_of_the_full_matrix(case, on, aggregate, explain):
    data = load(case.data)
    y = data.y_test if on == "loss" else None
    on = case.on if on == "output" else on
    full = explain(case).influence(data.X_test, y, on=on)
    found = explain(case).influence(data.X_test, y, on=on, aggregate=aggregate)
    assert relative_error(found, getattr(np, aggregate)(full, axis=0)) < 1e-9


@few_cases
def test_on_auto_is_the_loss_with_labels_and_the_output_without(case, explain):
    data, explainer = load(case.data), explain(case)
    np.testing.assert_array_equal(
        explainer.influence(data.X_test, data.y_test),
        explainer.influence(data.X_test, data.y_test, on="loss"),
    )
    np.testing.assert_array_equal(
        explainer.influence(data.X_test), explainer.influence(data.X_test, on=case.on)
    )


@few_cases
def test_transform_is_the_influence(case, explain):
    data, explainer = load(case.data), explain(case)
    for y in (None, data.y_test):
        expected = explainer.influence(data.X_test, y)
        found = explainer.transform(data.X_test, y)
        assert relative_error(found, expected) < 1e-12


@few_cases
def test_fit_transform_is_the_training_set_on_itself_without_labels(case, explain):
    data = load(case.data)
    found = InfluenceExplainer(cases.fitted(case)).fit_transform(
        data.X, data.y, **case.fit_params
    )
    assert relative_error(found, explain(case).transform(data.X)) < 1e-12


@every_case
def test_outputs_stand_side_by_side(case, explain):
    """All training rows for output 0, then all for output 1; classifiers have one."""
    blocks = 1 if case.is_classifier else len(cases.minimum_of(case))
    data = load(case.data)
    shape = explain(case).transform(data.X_test).shape
    assert shape == (len(data.X_test), blocks * len(data.X))


@every_case
def test_parameter_influences_have_the_shapes_of_the_parameters(case, explain):
    model = cases.last_step(cases.fitted(case))
    for rows in (None, [3], [7, 0, 5]):
        params = explain(case).param_influence(rows=rows)
        n = len(load(case.data).X) if rows is None else len(rows)
        assert params.coef.shape == (n, *np.shape(model.coef_))
        assert params.intercept.shape == (n, *np.shape(model.intercept_))


def test_parameters_of_a_single_column_of_targets_keep_their_axis():
    data = load("one target")
    model = LinearRegression().fit(data.X, data.y[:, None])
    explainer = InfluenceExplainer(model).fit(data.X, data.y[:, None])
    for params in (explainer.param_influence(), explainer.loo_params()):
        assert params.coef.shape == (len(data.X), *model.coef_.shape)
        assert params.intercept.shape == (len(data.X), *model.intercept_.shape)


@few_cases
def test_rows_select_from_all_rows(case, explain):
    rows = [7, 0, 5]
    some, everything = (
        cases.rows_of(explain(case).param_influence(rows=rows), case),
        cases.rows_of(explain(case).param_influence(), case),
    )
    assert relative_error(some, everything[rows]) < 1e-12


@every_case
def test_self_influence_is_never_positive(case, explain):
    assert explain(case).self_influence().max() <= 0


@few_cases
def test_fitted_attributes(case, explain):
    data, explainer = load(case.data), explain(case)
    assert explainer.n_train_ == len(data.X)
    assert explainer.n_features_in_ == data.X.shape[1]
    np.testing.assert_array_equal(explainer.train_index_, np.arange(len(data.X)))
    assert isinstance(explainer.solver_, str)
    assert np.isfinite(explainer.condition_)
    assert explainer.condition_ >= 1
    if case.is_classifier:
        np.testing.assert_array_equal(explainer.classes_, np.unique(data.y))
    else:
        assert not hasattr(explainer, "classes_")


# --- top_influences ---

BEST_FIRST = {
    "absolute": lambda values: -np.abs(values),
    "harmful": lambda values: -values,
    "helpful": lambda values: values,
}


@few_cases
@pytest.mark.parametrize("order", BEST_FIRST)
@pytest.mark.parametrize("k", [1, 10, "all"])
def test_top_influences_are_those_of_the_sorted_matrix(case, order, k, explain):
    data, explainer = load(case.data), explain(case)
    k = len(data.X) if k == "all" else k
    values, indices = explainer.top_influences(
        data.X_test, data.y_test, k=k, order=order
    )
    full = explainer.influence(data.X_test, data.y_test)
    expected = np.argsort(BEST_FIRST[order](full), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, expected)
    assert relative_error(values, np.take_along_axis(full, expected, axis=1)) < 1e-12


@few_cases
@pytest.mark.parametrize("order", BEST_FIRST)
def test_top_deletions_are_those_of_the_sorted_matrix(case, order, explain):
    """A row that is harmful lowers the loss when it goes: the other sign."""
    data, explainer = load(case.data), explain(case)
    values, indices = explainer.top_influences(
        data.X_test, data.y_test, k=10, order=order, quantity="loo_delta"
    )
    full = explainer.loo_delta(data.X_test, data.y_test)
    expected = np.argsort(BEST_FIRST[order](-full), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(indices, expected)
    assert relative_error(values, np.take_along_axis(full, expected, axis=1)) < 1e-9


@pytest.mark.parametrize("order", BEST_FIRST)
def test_top_influences_of_many_rows_never_hold_the_matrix(order):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=4000)
    explainer = InfluenceExplainer(Ridge()).fit(X, y)
    with config_context(working_memory=1):
        tracemalloc.start()
        values, indices = explainer.top_influences(X, y, k=4, order=order)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16e6  # the whole matrix: 128e6 bytes
    some = np.arange(0, 4000, 97)
    full = explainer.influence(X[some], y[some])
    expected = np.argsort(BEST_FIRST[order](full), axis=1)[:, :4]
    np.testing.assert_array_equal(indices[some], expected)
    expected_values = np.take_along_axis(full, expected, axis=1)
    assert relative_error(values[some], expected_values) < 1e-12


# --- prefit ---


@every_case
def test_an_unfitted_estimator_is_fitted_first(case, explain):
    data = load(case.data)
    explainer = InfluenceExplainer(clone(case.estimator), preprocessing="held")
    explainer.fit(data.X, data.y, **case.fit_params)
    expected = explain(case).self_influence()
    assert relative_error(explainer.self_influence(), expected) < 1e-9


@pytest.mark.parametrize("prefit", ["auto", True])
def test_a_fitted_estimator_is_explained_as_it_is(prefit):
    data = load("one target")
    model = Ridge(1.0, solver="sag", random_state=0).fit(data.X, data.y)
    model.random_state = 1  # a refit would take other steps
    explainer = InfluenceExplainer(model, prefit=prefit).fit(data.X, data.y)
    np.testing.assert_array_equal(explainer.estimator_.coef_, model.coef_)
    np.testing.assert_array_equal(explainer.predict(data.X), model.predict(data.X))


def test_prefit_false_fits_a_clone_to_the_given_rows():
    data = load("one target")
    model = Ridge().fit(data.X[:20], data.y[:20])
    before = model.coef_.copy()
    explainer = InfluenceExplainer(model, prefit=False).fit(data.X, data.y)
    expected = clone(model).fit(data.X, data.y)
    np.testing.assert_allclose(explainer.estimator_.coef_, expected.coef_, rtol=1e-12)
    np.testing.assert_array_equal(model.coef_, before)


@pytest.mark.parametrize(
    "case", cases.FEW + cases.pick("logistic, pipeline, weighted"), ids=str
)
def test_predictions_and_score_are_the_estimators_own(case, explain):
    data, model, explainer = load(case.data), cases.fitted(case), explain(case)
    for method in ("predict", "predict_proba", "decision_function"):
        assert hasattr(explainer, method) == hasattr(model, method)
        if hasattr(model, method):
            np.testing.assert_array_equal(
                getattr(explainer, method)(data.X_test),
                getattr(model, method)(data.X_test),
            )
    assert explainer.score(data.X_test, data.y_test) == model.score(
        data.X_test, data.y_test
    )
