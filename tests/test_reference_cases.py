"""Published and high-precision truths; and the judge of the other tests, judged."""

import json
from pathlib import Path

import cases
import numpy as np
import pytest
from reference import Problem, gradient, minimise, relative_error, row_gradients
from sklearn.linear_model import LinearRegression, LogisticRegression

from skinfluence import InfluenceExplainer, refit_leave_one_out
from skinfluence.exceptions import SeparableDataError, SeparableDeletionWarning

DATA = Path(__file__).parent / "data"
TIGHT = {"solver": "newton-cholesky", "tol": 1e-12}
SEPARATED = 20  # the row of logit_mtcars_am without which no finite optimum exists


class Truth:
    """One file of ``data/``: rows, weights, the fit and the fit without each row."""

    def __init__(self, name):
        content = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
        self.X, self.y = np.array(content["X"]), np.array(content["y"])
        self.weight = np.array(content["prior_weights"], float)
        self.fit = np.array(content["fit"]["coef"])  # (K, 1 + p), intercept first
        loo = content["exact_loo"]
        self.finite = np.array([coef is not None for coef in loo["coef"]])
        nowhere = np.full(self.fit.shape, np.nan).tolist()
        self.loo = np.array([nowhere if c is None else c for c in loo["coef"]])
        self.own_output = np.array(loo.get("eta_i", np.nan), float)

    def explainer(self, estimator, deletion):
        estimator.fit(self.X, self.y, sample_weight=self.weight)
        explainer = InfluenceExplainer(estimator, deletion=deletion)
        return explainer.fit(self.X, self.y, sample_weight=self.weight)

    def deltas(self, params):
        """``loo_params`` in the order of the file: (n, K, 1 + p)."""
        n, K = len(params.coef), len(self.fit)
        intercept = np.reshape(params.intercept, (n, K, 1))
        return np.concatenate([intercept, np.reshape(params.coef, (n, K, -1))], axis=2)


@pytest.mark.parametrize("name", ["ols_stackloss", "wls_mtcars"])
def test_newton_deletion_of_least_squares_is_the_refit(name):
    truth = Truth(name)
    params = truth.explainer(LinearRegression(), "newton").loo_params()
    assert relative_error(truth.deltas(params), truth.loo - truth.fit) < 1e-9


@pytest.mark.parametrize("name", ["ols_stackloss", "wls_mtcars"])
def test_leave_one_out_predictions_of_least_squares(name):
    truth = Truth(name)
    found = truth.explainer(LinearRegression(), "newton").loo_predict()
    assert relative_error(found, truth.own_output) < 1e-9


@pytest.mark.parametrize(
    ("name", "C"), [("logit_vaso", np.inf), ("multinomial_iris_C1", 1.0)]
)
def test_exact_deletion_is_the_refit(name, C):
    truth = Truth(name)
    params = truth.explainer(LogisticRegression(C=C, **TIGHT), "exact").loo_params()
    assert relative_error(truth.deltas(params), truth.loo - truth.fit) < 1e-6


def test_exact_deletion_of_the_two_huge_rows_of_vaso():
    """Rows 4 and 18 of Pregibon's data, where one Newton step is badly low."""
    truth = Truth("logit_vaso")
    explainer = truth.explainer(LogisticRegression(C=np.inf, **TIGHT), "exact")
    for row in (3, 17):
        found = truth.deltas(explainer.loo_params(rows=[row]))[0]
        assert relative_error(found, truth.loo[row] - truth.fit) < 1e-6


def test_exact_leave_one_out_decisions_of_vaso():
    truth = Truth("logit_vaso")
    explainer = truth.explainer(LogisticRegression(C=np.inf, **TIGHT), "exact")
    found = explainer.loo_predict(method="decision_function")
    assert relative_error(found, truth.own_output) < 1e-6


def mtcars():
    truth = Truth("logit_mtcars_am")
    assert np.flatnonzero(~truth.finite).tolist() == [SEPARATED]
    return truth, truth.explainer(LogisticRegression(C=np.inf, **TIGHT), "exact")


def test_the_row_that_keeps_classes_apart_is_nan_and_named():
    truth, explainer = mtcars()
    with pytest.warns(SeparableDeletionWarning, match=str(SEPARATED)) as record:
        params = explainer.loo_params()
    assert len(record) == 1
    deltas = truth.deltas(params)
    np.testing.assert_array_equal(np.isnan(deltas).any(axis=(1, 2)), ~truth.finite)
    found, expected = deltas[truth.finite], (truth.loo - truth.fit)[truth.finite]
    assert relative_error(found, expected) < 1e-6


def test_asking_for_the_separated_row_raises():
    _, explainer = mtcars()
    with pytest.raises(SeparableDataError, match=str(SEPARATED)):
        explainer.loo_params(rows=[SEPARATED])


def test_a_refit_without_the_separated_row_is_nan_and_named():
    truth = Truth("logit_mtcars_am")
    rows = [3, SEPARATED]
    with pytest.warns(SeparableDeletionWarning, match=str(SEPARATED)):
        refits = refit_leave_one_out(
            LogisticRegression(C=np.inf, **TIGHT), truth.X, truth.y, rows=rows
        )
    deltas = truth.deltas(refits)
    assert np.isnan(deltas[1]).all()
    assert relative_error(deltas[0], truth.loo[3] - truth.fit) < 1e-8


def test_asking_for_other_rows_does_not_warn():
    truth, explainer = mtcars()
    rows = [0, 3, 30]
    found = truth.deltas(explainer.loo_params(rows=rows))
    assert relative_error(found, truth.loo[rows] - truth.fit) < 1e-6


def test_leave_one_out_decisions_beside_a_separated_row():
    truth, explainer = mtcars()
    with pytest.warns(SeparableDeletionWarning, match=str(SEPARATED)):
        found = explainer.loo_predict(method="decision_function")
    np.testing.assert_array_equal(np.isfinite(found), truth.finite)
    others = truth.finite
    assert relative_error(found[others], truth.own_output[others]) < 1e-6


# --- the judge ---


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_the_judge_minimises_what_the_estimator_minimises(case):
    """Without this, the other tests would compare with another model."""
    estimator = cases.theta_of(cases.last_step(cases.fitted(case)))
    distance = relative_error(estimator, cases.minimum_of(case))
    assert distance < (1e-6 if case.tight else 5e-3)


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_the_judge_stands_at_a_minimum(case):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    largest = np.abs(row_gradients(problem, theta, problem.X, problem.targets))
    assert np.abs(gradient(problem, theta)).max() < 1e-12 * largest.max()


@pytest.mark.parametrize("name", ["logit_vaso", "multinomial_iris_C1"])
def test_the_judge_refits_as_in_high_precision(name):
    truth = Truth(name)
    penalty = 0.0 if name == "logit_vaso" else 1.0
    K, q = truth.fit.shape
    ridge = np.full((K, q), penalty)
    ridge[:, -1] = 0.0
    targets = truth.y[:, None] == ([1] if K == 1 else np.arange(K))
    loss = "binomial" if K == 1 else "multinomial"
    problem = Problem(truth.X, targets.astype(float), truth.weight, loss, ridge)
    for row in range(0, len(truth.y), 17):
        theta = minimise(problem.without(row))
        expected = np.roll(truth.loo[row], -1, axis=1)  # intercept last
        assert relative_error(theta, expected) < 1e-12
