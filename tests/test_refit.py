"""The brute-force refits that users check us with, checked themselves."""

import cases
import joblib
import numpy as np
import pytest
from cases import load
from reference import loss_value, relative_error
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer, check_leave_one_out, refit_leave_one_out

ROWS = [11, 0, 5]  # in no order; the first weighs nothing where there are weights
REFITTED = cases.FEW + cases.pick(
    "ridge, sag",
    "linear, two targets",
    "logistic, default",
    "logistic, pipeline, weighted",
    "softmax, default",
    "softmax, saga, balanced",
)


@pytest.mark.parametrize("case", REFITTED, ids=str)
def test_refits_without_a_row_minus_the_fit_with_it(case):
    data = load(case.data)
    refits = refit_leave_one_out(
        cases.fitted(case),
        data.X,
        data.y,
        rows=ROWS,
        preprocessing="held",
        **case.fit_params,
    )
    truth = cases.refits_of(case)[ROWS] - cases.minimum_of(case)
    assert relative_error(cases.rows_of(refits, case), truth) < 1e-8


def test_all_rows_are_refitted_by_default():
    (case,) = cases.pick("linear")
    data = load(case.data)
    refits = refit_leave_one_out(cases.fitted(case), data.X, data.y)
    truth = cases.refits_of(case) - cases.minimum_of(case)
    assert relative_error(cases.rows_of(refits, case), truth) < 1e-9


def test_an_unfitted_estimator_is_fitted_first():
    (case,) = cases.pick("logistic, default")
    data = load(case.data)
    refits = refit_leave_one_out(clone(case.estimator), data.X, data.y, rows=ROWS)
    truth = cases.refits_of(case)[ROWS] - cases.minimum_of(case)
    assert relative_error(cases.rows_of(refits, case), truth) < 1e-8


def test_without_polish_refits_are_the_estimators_own():
    """With its weights, which a polish would put right had they been forgotten."""
    data, estimator = load("one target"), Ridge(2.0)
    weight = data.sample_weight
    base = clone(estimator).fit(data.X, data.y, sample_weight=weight)
    truth = []
    for row in ROWS:
        rest = np.arange(len(data.y)) != row
        refit = clone(estimator).fit(data.X[rest], data.y[rest], weight[rest])
        truth.append(refit.coef_ - base.coef_)
    refits = refit_leave_one_out(
        estimator, data.X, data.y, rows=ROWS, sample_weight=weight, polish=False
    )
    assert relative_error(refits.coef, np.array(truth)) < 1e-9


def test_preprocessing_is_held_as_it_was_fitted():
    """The refit sees the features that the first fit saw, not features of its own."""
    data = load("two classes")
    X = data.X * [1, 10, 100, 1000] + 5
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, data.y)
    held = refit_leave_one_out(model, X, data.y, rows=ROWS, preprocessing="held")
    inner = refit_leave_one_out(model[-1], model[0].transform(X), data.y, rows=ROWS)
    assert relative_error(held.coef, inner.coef) < 1e-9


def test_several_workers_change_nothing():
    data = load("one target")
    model = Ridge().fit(data.X, data.y)
    with joblib.parallel_config(backend="threading"):
        several = refit_leave_one_out(model, data.X, data.y, rows=ROWS, n_jobs=2)
    one = refit_leave_one_out(model, data.X, data.y, rows=ROWS)
    assert relative_error(several.coef, one.coef) < 1e-12


def test_the_estimator_and_the_data_are_left_alone():
    (case,) = cases.pick("logistic, default")
    data, model = load(case.data), cases.fitted(case)
    before = joblib.hash((model, data.X, data.y))
    refit_leave_one_out(model, data.X, data.y, rows=ROWS)
    assert joblib.hash((model, data.X, data.y)) == before


# --- check_leave_one_out ---


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X, y, LogisticRegression().fit(X, y)


def check(cancer, deletion):
    X, y, model = cancer
    explainer = InfluenceExplainer(model, deletion=deletion, random_state=0).fit(X, y)
    return check_leave_one_out(explainer, X, y, rows=100)


def test_exact_deletions_of_a_default_fit_agree_with_refits(cancer):
    agreement = check(cancer, "exact")
    assert len(agreement.predicted) == len(agreement.refit) == 100
    assert agreement.pearson == pytest.approx(1, abs=1e-6)
    assert agreement.slope == pytest.approx(1, abs=1e-6)
    assert agreement.param_error < 1e-6
    assert agreement.max_abs_error < 1e-6 * np.abs(agreement.refit).max()


def test_newton_deletions_of_a_default_fit_agree_with_refits(cancer):
    agreement = check(cancer, "newton")
    assert 0.99 < agreement.pearson < 1 - 1e-9
    assert agreement.spearman > 0.99


def test_the_check_sees_what_is_wrong_with_the_jackknife(cancer):
    exact, jackknife = check(cancer, "exact"), check(cancer, "jackknife")
    assert abs(jackknife.slope - 1) > 0.01
    assert jackknife.max_abs_error > 1e3 * exact.max_abs_error
    assert jackknife.param_error > 1e3 * exact.param_error


def everything(case, explain, **test):
    """The check over all rows, whose order does not matter here."""
    data = load(case.data)
    explainer = explain(case, deletion="exact")
    return check_leave_one_out(explainer, data.X, data.y, rows=len(data.X), **test)


CHECKED = cases.pick(
    "ridge, alphas, no intercept",
    "logistic, default",
    "softmax, newton-cholesky, weighted",
)


@pytest.mark.parametrize("case", CHECKED, ids=str)
def test_the_check_compares_each_rows_own_loss(case, explain):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)

    def own(theta, row):
        u = problem.design[[row]] @ theta.T
        return loss_value(problem, problem.targets[[row]], u)[0]

    pairs = enumerate(cases.refits_of(case))
    truth = [own(moved, row) - own(theta, row) for row, moved in pairs]
    found = everything(case, explain)
    assert relative_error(np.sort(found.refit), np.sort(truth)) < 1e-8
    assert relative_error(np.sort(found.predicted), np.sort(truth)) < 1e-6


@pytest.mark.parametrize("case", CHECKED, ids=str)
def test_the_check_compares_the_mean_loss_of_a_test_set(case, explain):
    def mean(theta):
        return np.mean(cases.values_at_test(case, "loss", theta)[0])

    before = mean(cases.minimum_of(case))
    truth = [mean(moved) - before for moved in cases.refits_of(case)]
    data = load(case.data)
    found = everything(case, explain, X_test=data.X_test, y_test=data.y_test)
    assert relative_error(np.sort(found.refit), np.sort(truth)) < 1e-8
    assert relative_error(np.sort(found.predicted), np.sort(truth)) < 1e-6


def test_the_numbers_of_the_check_follow_from_its_points(cancer):
    found = check(cancer, "newton")
    errors = np.abs(found.predicted - found.refit)
    assert found.max_abs_error == pytest.approx(errors.max(), rel=1e-12)
    pearson = np.corrcoef(found.predicted, found.refit)[0, 1]
    assert found.pearson == pytest.approx(pearson, abs=1e-12)


def test_the_check_leaves_the_explainer_alone(cancer):
    X, y, model = cancer
    explainer = InfluenceExplainer(model).fit(X, y)
    before = explainer.loo_predict(method="decision_function")
    check_leave_one_out(explainer, X, y, rows=3)
    after = explainer.loo_predict(method="decision_function")
    np.testing.assert_array_equal(before, after)
