"""Deletion: against refits without the row, tightly converged."""

import tracemalloc

import cases
import numpy as np
import pytest
import reference
from cases import load
from reference import relative_error
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import f1_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from skinfluence import InfluenceExplainer
from skinfluence.exceptions import (
    RankDeficientWarning,
    SeparableDeletionWarning,
    UnidentifiedDeletionError,
    UnidentifiedDeletionWarning,
)

every_case = pytest.mark.parametrize("case", cases.CASES, ids=str)
few_cases = pytest.mark.parametrize("case", cases.FEW, ids=str)
quadratic_cases = pytest.mark.parametrize("case", cases.QUADRATIC, ids=str)
logistic_cases = pytest.mark.parametrize("case", cases.LOGISTIC, ids=str)
every_deletion = pytest.mark.parametrize("deletion", ["jackknife", "newton", "exact"])


def deltas(case, explainer, rows=None):
    """``loo_params`` as (rows, K, q)."""
    return cases.rows_of(explainer.loo_params(rows=rows), case)


def tolerance(case):
    return 1e-9 if case.quadratic else 1e-6


# --- parameters ---


@quadratic_cases
def test_newton_deletion_of_a_quadratic_loss_is_the_refit(case, explain):
    truth = cases.refits_of(case) - cases.minimum_of(case)
    assert relative_error(deltas(case, explain(case)), truth) < 1e-9


@every_case
def test_exact_deletion_is_the_refit(case, explain):
    truth = cases.refits_of(case) - cases.minimum_of(case)
    found = deltas(case, explain(case, deletion="exact"))
    assert relative_error(found, truth) < tolerance(case)


@logistic_cases
def test_newton_deletion_is_one_newton_step_without_the_row(case, explain):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    truth = [
        reference.newton_without(problem, theta, row) - theta
        for row in range(len(problem.X))
    ]
    assert relative_error(deltas(case, explain(case)), np.array(truth)) < 1e-9


@every_case
def test_jackknife_is_the_influence_at_the_weight_of_the_row(case, explain):
    """``delta_i = -(s_i / S) I_up``, and the influence is proved elsewhere."""
    explainer = explain(case, deletion="jackknife")
    weight = cases.problem_of(case).weight
    influences = cases.rows_of(explainer.param_influence(), case)
    truth = -(weight / weight.sum())[:, None, None] * influences
    assert relative_error(deltas(case, explainer), truth) < 1e-10


@few_cases
@every_deletion
def test_rows_select_from_all_rows(case, deletion, explain):
    explainer, rows = explain(case, deletion=deletion), [7, 0, 5]
    found, everything = deltas(case, explainer, rows), deltas(case, explainer)
    assert relative_error(found, everything[rows]) < 1e-8


@every_case
def test_deltas_have_the_shapes_of_the_parameters(case, explain):
    model = cases.last_step(cases.fitted(case))
    params = explain(case).loo_params(rows=[2, 8])
    assert params.coef.shape == (2, *np.shape(model.coef_))
    assert params.intercept.shape == (2, *np.shape(model.intercept_))
    assert np.shape(params.n_steps) == np.shape(params.error_bound) == (2,)


@pytest.mark.parametrize("case", [c for c in cases.CASES if c.weighted], ids=str)
@every_deletion
def test_a_row_without_weight_changes_nothing(case, deletion, explain):
    explainer = explain(case, deletion=deletion)
    nothing = np.flatnonzero(load(case.data).sample_weight == 0)
    some = deltas(case, explainer)
    assert np.abs(some[nothing]).max() < 1e-12 * np.abs(some).max()


@logistic_cases
def test_no_delta_moves_all_classes_together(case, explain):
    """The gauge: what F does not see stays still, in each column that it cannot see."""
    ridge = cases.problem_of(case).ridge
    if len(ridge) > 1:
        for deletion in ("newton", "exact"):
            found = deltas(case, explain(case, deletion=deletion))
            assert np.abs(found.sum(axis=1)).max() < 1e-8 * np.abs(found).max()


# --- the certificate ---


@few_cases
@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-8])
def test_the_error_bound_holds_and_is_not_empty(case, tol, explain):
    explainer = explain(case, deletion="exact", tol=tol)
    params = explainer.loo_params()
    truth = cases.refits_of(case) - cases.minimum_of(case)
    wrong = cases.rows_of(params, case) - truth
    error = np.linalg.norm(wrong.reshape(len(wrong), -1), axis=1)
    size = np.linalg.norm(truth.reshape(len(truth), -1), axis=1).max()
    rounding = 1e-13 * np.linalg.norm(cases.minimum_of(case))
    assert np.all(error <= params.error_bound + rounding)
    assert np.max(params.error_bound) < 100 * tol * size


def test_a_smaller_tolerance_takes_more_steps_and_errs_less(explain):
    (case,) = cases.pick("logistic, C=inf")
    truth = cases.refits_of(case) - cases.minimum_of(case)
    loose, tight = (explain(case, deletion="exact", tol=tol) for tol in (1e-2, 1e-10))
    steps = [np.sum(explainer.loo_params().n_steps) for explainer in (loose, tight)]
    assert steps[0] < steps[1]
    errors = [relative_error(deltas(case, each), truth) for each in (loose, tight)]
    assert errors[1] < 1e-9 < errors[0]


HARD = {  # rows, features, classes, C: weak penalties, where chord steps diverge
    "many features": (60, 25, 2, 1e2),
    "hardly penalised": (60, 25, 2, 1e4),
    "more features than rows": (40, 60, 2, 1e3),
    "four classes": (60, 12, 4, 1e4),
}


@pytest.fixture(scope="module", params=HARD)
def hard(request):
    """Deltas of rows whose deletion moves the model far, their truth, and bounds."""
    n, p, K, C = HARD[request.param]
    rng = np.random.default_rng(1)
    X, weight = rng.normal(size=(n, p)), rng.uniform(0.5, 2.0, n)
    logits = 2 * X @ rng.normal(size=(p, K)) / np.sqrt(p)
    y = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    model.fit(X, y, sample_weight=weight)
    hot = (y[:, None] == np.arange(K)).astype(float)[:, 1 if K == 2 else 0 :]
    loss = "binomial" if K == 2 else "multinomial"
    ridge = np.full((hot.shape[1], p + 1), 1 / C)
    ridge[:, -1] = 0.0
    problem = reference.Problem(X, hot, weight, loss, ridge)
    theta, rows = reference.minimise(problem), np.arange(0, n, 2)
    truth = [reference.refit_without(problem, theta, row) - theta for row in rows]
    explainer = InfluenceExplainer(model, deletion="exact")
    params = explainer.fit(X, y, sample_weight=weight).loo_params(rows=rows)
    intercept = params.intercept.reshape(len(rows), -1, 1)
    coef = params.coef.reshape(len(rows), *model.coef_.shape)
    found = np.concatenate([coef, intercept], axis=2)
    return found, np.array(truth), params.error_bound


def test_hard_rows_are_deleted_exactly(hard):
    found, truth, _ = hard
    assert relative_error(found, truth) < 1e-6


def test_the_error_bound_holds_for_hard_rows(hard):
    found, truth, bound = hard
    error = np.linalg.norm((found - truth).reshape(len(truth), -1), axis=1)
    assert np.all(error <= bound)
    assert np.max(bound) < 1e-5 * np.abs(truth).max()


# --- losses and outputs at other rows ---


@every_case
@every_deletion
@pytest.mark.parametrize("on", ["loss", "output"])
def test_loo_delta(case, deletion, on, explain):
    """Without minus with: at the new parameters, or linearised by the jackknife."""
    data, explainer = load(case.data), explain(case, deletion=deletion)
    y = data.y_test if on == "loss" else None
    on = case.on if on == "output" else on
    found = explainer.loo_delta(data.X_test, y, on=on)
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    if deletion == "jackknife":
        share = problem.weight / problem.weight.sum()
        gradients = cases.gradients_at_test(case, on)
        blocks = [-share * reference.influence(problem, theta, g) for g in gradients]
        assert relative_error(found, np.hstack(blocks)) < 1e-9
        return
    if deletion == "exact" or case.quadratic:
        moved = cases.refits_of(case)
    else:
        rows = range(len(problem.X))
        moved = [reference.newton_without(problem, theta, row) for row in rows]
    before = cases.values_at_test(case, on, theta)
    after = [cases.values_at_test(case, on, new) for new in moved]  # [row][block]
    blocks = [
        np.stack([new[b] - before[b] for new in after], axis=1)
        for b in range(len(before))
    ]
    limit = 1e-6 if deletion == "exact" else 1e-9
    assert relative_error(found, np.hstack(blocks)) < limit


@few_cases
@every_deletion
@pytest.mark.parametrize("aggregate", ["mean", "sum"])
def test_aggregates_are_those_of_the_full_matrix(case, deletion, aggregate, explain):
    data, explainer = load(case.data), explain(case, deletion=deletion)
    full = explainer.loo_delta(data.X_test, data.y_test)
    found = explainer.loo_delta(data.X_test, data.y_test, aggregate=aggregate)
    assert relative_error(found, getattr(np, aggregate)(full, axis=0)) < 1e-9


def test_deleting_a_row_that_helps_raises_the_loss():
    """The sign, in the words of the documentation: positive means it was helping."""
    data = load("one target")
    explainer = InfluenceExplainer(Ridge()).fit(data.X, data.y)
    own = np.diag(explainer.loo_delta(data.X, data.y))
    assert np.all(own > 0)


# --- leave-one-out predictions ---


def refitted_outputs(case):
    """Linear outputs of each row by the refit without it, (n, K)."""
    design, moved = cases.problem_of(case).design, cases.refits_of(case)
    return np.einsum("nq,nkq->nk", design, moved)


@every_case
def test_leave_one_out_outputs_are_those_of_the_refits(case, explain):
    explainer = explain(case, deletion="newton" if case.quadratic else "exact")
    method = "decision_function" if case.is_classifier else "predict"
    truth = refitted_outputs(case)
    found = explainer.loo_predict(method=method)
    expected_shape = np.shape(getattr(cases.fitted(case), method)(load(case.data).X))
    assert found.shape == expected_shape
    assert relative_error(found.reshape(truth.shape), truth) < tolerance(case)


@logistic_cases
def test_leave_one_out_outputs_by_one_newton_step(case, explain):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    moved = [reference.newton_without(problem, theta, i) for i in range(len(problem.X))]
    truth = np.einsum("nq,nkq->nk", problem.design, np.array(moved))
    found = explain(case).loo_predict(method="decision_function")
    assert relative_error(found.reshape(truth.shape), truth) < 1e-9


# Pipelines, searches and "balanced" are held as they were fitted, and so are left out.
LITERAL_QUADRATIC = cases.pick(
    "linear",
    "linear, weighted",
    "linear, no intercept",
    "linear, two targets",
    "linear, pipeline",  # unpenalised: a refitted scaler changes nothing
    "ridge, weighted",
    "ridge, alphas",
    "ridge, wide",
    "RidgeClassifier",
    "RidgeClassifier, class weights",
)
LITERAL_LOGISTIC = [
    cases.logistic(name, data, LogisticRegression(C=C, **options), weighted=weighted)
    for name, data, C, weighted, options in [
        ("binary", "two words", 1.0, False, {}),
        ("binary, C=inf", "two classes", np.inf, True, {}),
        ("class weights", "two classes", 1.0, False, {"class_weight": {0: 4}}),
        ("no intercept", "two classes", 1.0, False, {"fit_intercept": False}),
        ("softmax", "three words", 1.0, True, {}),
        ("softmax, C=inf", "three classes", np.inf, False, {}),
    ]
]
for each in LITERAL_LOGISTIC:
    each.estimator.set_params(solver="newton-cholesky", tol=1e-12)


def by_scikit_learn(case, method):
    data, params = load(case.data), None
    if case.weighted:
        params = {"sample_weight": case.sample_weight}
    return cross_val_predict(
        case.estimator, data.X, data.y, cv=LeaveOneOut(), method=method, params=params
    )


@pytest.mark.parametrize("case", LITERAL_QUADRATIC, ids=str)
def test_loo_predict_of_least_squares_is_cross_val_predict(case, explain):
    methods = ["predict"] + ["decision_function"] * case.is_classifier
    for method in methods:
        truth = by_scikit_learn(case, method)
        found = explain(case).loo_predict(method=method)
        if case.is_classifier and method == "predict":
            np.testing.assert_array_equal(found, truth)
            assert found.dtype == truth.dtype
        else:
            assert relative_error(found, truth) < 1e-9


@pytest.mark.parametrize("case", LITERAL_LOGISTIC, ids=str)
@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba"])
def test_loo_predict_of_logistic_is_cross_val_predict(case, method, explain):
    truth = by_scikit_learn(case, method)
    found = explain(case, deletion="exact").loo_predict(method=method)
    assert relative_error(found, truth) < 1e-6


@pytest.mark.parametrize("case", LITERAL_LOGISTIC, ids=str)
def test_loo_predict_of_logistic_gives_labels(case, explain):
    truth = by_scikit_learn(case, "predict")
    found = explain(case, deletion="exact").loo_predict()
    np.testing.assert_array_equal(found, truth)
    assert found.dtype == truth.dtype


@pytest.mark.parametrize(
    "case", [c for c in LITERAL_LOGISTIC if c.name != "softmax, C=inf"], ids=str
)
def test_loo_decisions_of_logistic_are_cross_val_predict(case, explain):
    truth = by_scikit_learn(case, "decision_function")
    found = explain(case, deletion="exact").loo_predict(method="decision_function")
    assert relative_error(found, truth) < 1e-6


def test_loo_predict_of_a_single_column_of_targets_keeps_its_shape():
    data = load("one target")
    explainer = InfluenceExplainer(LinearRegression()).fit(data.X, data.y[:, None])
    truth = cross_val_predict(
        LinearRegression(), data.X, data.y[:, None], cv=LeaveOneOut()
    )
    assert relative_error(explainer.loo_predict(), truth) < 1e-9


def test_loo_predict_of_many_rows_never_holds_a_square():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 5))
    y = (X[:, 0] + rng.logistic(size=20_000) > 0).astype(int)
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    tracemalloc.start()
    found = explainer.loo_predict(method="decision_function")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (20_000,)
    assert peak < 100e6  # n x n would be 3200e6 bytes


# --- leave-one-out scores ---


@pytest.mark.parametrize("case", cases.pick("linear", "ridge, two targets"), ids=str)
def test_loo_score_of_a_regressor_is_r2_of_its_predictions(case, explain):
    truth = r2_score(load(case.data).y, by_scikit_learn(case, "predict"))
    assert explain(case).loo_score() == pytest.approx(truth, rel=1e-9)


def test_loo_score_of_a_classifier_is_its_accuracy(explain):
    ridge = "RidgeClassifier, class weights"
    for case in (LITERAL_LOGISTIC[0], *cases.pick(ridge)):
        truth = np.mean(by_scikit_learn(case, "predict") == load(case.data).y)
        assert explain(case, deletion="exact").loo_score() == truth


SCORINGS = {
    "neg_log_loss": lambda y, case: (
        -log_loss(y, by_scikit_learn(case, "predict_proba"))
    ),
    "roc_auc": lambda y, case: roc_auc_score(
        y, by_scikit_learn(case, "decision_function")
    ),
    "f1": lambda y, case: f1_score(y, by_scikit_learn(case, "predict")),
}


@pytest.mark.parametrize("scoring", SCORINGS)
def test_loo_score_takes_scikit_learns_scorings(scoring, explain):
    case = next(case for case in LITERAL_LOGISTIC if case.name == "no intercept")
    truth = SCORINGS[scoring](load(case.data).y, case)
    found = explain(case, deletion="exact").loo_score(scoring)
    assert found == pytest.approx(truth, rel=1e-6)


def test_loo_score_of_a_regressor_takes_a_scoring(explain):
    (case,) = cases.pick("linear")
    wrong = load(case.data).y - by_scikit_learn(case, "predict")
    found = explain(case).loo_score("neg_mean_squared_error")
    assert found == pytest.approx(-np.mean(wrong**2), rel=1e-9)


# --- rows that alone carry a parameter ---


def alone(row=7):
    """Least squares where one column is zero but in one row: leverage 1."""
    data = load("one target")
    X = np.hstack([data.X, np.zeros((len(data.X), 1))])
    X[row, -1] = 2.0
    return data, X, InfluenceExplainer(LinearRegression()).fit(X, data.y)


def test_what_a_row_of_leverage_one_carries_is_nan_with_one_warning():
    """The others determine all coefficients but one."""
    data, X, explainer = alone()
    with pytest.warns(UnidentifiedDeletionWarning, match="7") as record:
        params = explainer.loo_params()
    assert len(record) == 1
    lost = np.isnan(params.coef).any(axis=1)
    assert np.flatnonzero(lost).tolist() == [7]
    assert np.isnan(params.coef[7]).tolist() == [False] * data.X.shape[1] + [True]
    rest = np.arange(len(X)) != 7
    refit = LinearRegression().fit(X[rest], data.y[rest])
    base = LinearRegression().fit(X, data.y)
    truth = refit.coef_ - base.coef_
    np.testing.assert_allclose(params.coef[7, :-1], truth[:-1], atol=1e-10)
    np.testing.assert_allclose(
        params.intercept[7], refit.intercept_ - base.intercept_, atol=1e-10
    )


def test_the_other_rows_beside_leverage_one_are_right():
    data, X, explainer = alone()
    rows = [0, 6, 8, 39]
    params = explainer.loo_params(rows=rows)
    base = LinearRegression().fit(X, data.y)
    truth = []
    for row in rows:
        rest = np.arange(len(X)) != row
        truth.append(LinearRegression().fit(X[rest], data.y[rest]).coef_ - base.coef_)
    assert relative_error(params.coef, np.array(truth)) < 1e-9


def test_asking_for_a_row_of_leverage_one_names_it():
    *_, explainer = alone()
    with pytest.raises(UnidentifiedDeletionError, match="7"):
        explainer.loo_params(rows=[3, 7])


def test_predicting_a_row_of_leverage_one_is_that_of_minimum_norm_with_a_warning():
    data, X, explainer = alone()
    with pytest.warns(UnidentifiedDeletionWarning, match="7"):
        found = explainer.loo_predict()
    truth = cross_val_predict(LinearRegression(), X, data.y, cv=LeaveOneOut())
    np.testing.assert_allclose(found, truth, rtol=1e-9)


@pytest.mark.parametrize("labels", ["two classes", "three classes"])
def test_deleting_the_only_row_of_a_class_is_nan_with_a_warning(labels):
    """Its free intercept would fall for ever, however strong the penalty is."""
    data = load(labels)
    rare = max(data.y)
    keep = (data.y != rare) | (np.arange(len(data.y)) == np.argmax(data.y == rare))
    X, y = data.X[keep], data.y[keep]
    row = np.flatnonzero(y == rare).item()
    explainer = InfluenceExplainer(LogisticRegression(), deletion="exact").fit(X, y)
    with pytest.warns(SeparableDeletionWarning, match=rf"\b{row}\b") as record:
        params = explainer.loo_params()
    assert len(record) == 1
    lost = np.isnan(params.coef).any(axis=(1, 2))
    assert np.flatnonzero(lost).tolist() == [row]


# --- columns that repeat each other ---


@pytest.mark.parametrize("name", ["duplicated column", "duplicated column, doubled"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_rank_deficient_least_squares_is_minimum_norm(name, fit_intercept):
    data = load(name)
    estimator = LinearRegression(fit_intercept=fit_intercept)
    base = estimator.fit(data.X, data.y).coef_
    with pytest.warns(RankDeficientWarning):
        explainer = InfluenceExplainer(estimator).fit(data.X, data.y)
    truth = []
    for row in range(len(data.X)):
        rest = np.arange(len(data.X)) != row
        refit = LinearRegression(fit_intercept=fit_intercept)
        truth.append(refit.fit(data.X[rest], data.y[rest]).coef_ - base)
    assert relative_error(explainer.loo_params().coef, np.array(truth)) < 1e-9


@pytest.mark.parametrize("name", ["duplicated column", "duplicated column, doubled"])
def test_rank_deficient_predictions_are_those_without_the_copy(name):
    data = load(name)
    with pytest.warns(RankDeficientWarning):
        explainer = InfluenceExplainer(LinearRegression()).fit(data.X, data.y)
    lean = InfluenceExplainer(LinearRegression()).fit(data.X[:, :-1], data.y)
    assert relative_error(explainer.loo_predict(), lean.loo_predict()) < 1e-9
    assert (
        relative_error(
            explainer.loo_delta(data.X_test, data.y_test),
            lean.loo_delta(data.X_test[:, :-1], data.y_test),
        )
        < 1e-9
    )


@pytest.mark.parametrize("labels", ["two classes", "three classes"])
def test_rank_deficient_logistic_predicts_as_without_the_copy(labels):
    data = load(labels)
    wide = np.hstack([data.X, data.X[:, [0]]])
    options = {"C": np.inf, "tol": 1e-12, "max_iter": 10_000}
    with pytest.warns(RankDeficientWarning):
        explainer = InfluenceExplainer(
            LogisticRegression(**options), deletion="exact"
        ).fit(wide, data.y)
    lean = InfluenceExplainer(LogisticRegression(**options), deletion="exact")
    lean.fit(data.X, data.y)
    found = explainer.loo_predict(method="predict_proba")
    assert relative_error(found, lean.loo_predict(method="predict_proba")) < 1e-6
