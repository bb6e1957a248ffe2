"""A default fit is not at its minimum: polished, never changed, or warned about."""

import pickle
import warnings

import cases
import numpy as np
import pytest
import reference
from cases import load
from reference import Problem, relative_error
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer
from skinfluence.exceptions import InvalidParameterError, NotStationaryWarning


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def default_fit(cancer):
    """A default LogisticRegression, some hundred deletion effects off its minimum."""
    model = LogisticRegression().fit(*cancer)
    return model, InfluenceExplainer(model).fit(*cancer)


def test_a_default_fit_is_polished_to_its_minimum(cancer, default_fit):
    X, y = cancer
    ridge = np.ones((1, X.shape[1] + 1))
    ridge[0, -1] = 0.0
    problem = Problem(X, y[:, None], np.ones(len(y)), "binomial", ridge)
    theta = reference.minimise(problem)
    g = reference.row_gradients(problem, theta, X, y[:, None])
    H = reference.curvature(problem, theta)
    truth = -len(y) * np.sum(g * reference.solve(H, g.T).T, axis=1)
    model, explainer = default_fit
    assert relative_error(cases.theta_of(model), theta) > 1e-6
    assert relative_error(explainer.self_influence(), truth) < 1e-9


def test_stationarity_is_large_for_a_default_fit(default_fit):
    assert default_fit[1].stationarity_ > 1


def test_stationarity_is_small_for_a_tight_fit(cancer):
    model = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(*cancer)
    assert InfluenceExplainer(model).fit(*cancer).stationarity_ < 1e-6


def test_stationarity_is_counted_in_median_deletion_effects(default_fit, cancer):
    """Twice as far from the minimum is twice the number."""
    model, explainer = default_fit
    tight = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(*cancer)
    closer = clone(model).fit(*cancer)
    closer.coef_ = (model.coef_ + tight.coef_) / 2
    closer.intercept_ = (model.intercept_ + tight.intercept_) / 2
    half = InfluenceExplainer(closer).fit(*cancer).stationarity_
    assert half == pytest.approx(explainer.stationarity_ / 2, rel=0.1)


def test_a_quadratic_fit_stands_at_its_minimum(explain):
    for case in cases.pick("linear", "ridge, alphas", "ridge, wide"):
        assert explain(case).stationarity_ < 1e-6


def test_without_polish_the_parameters_are_taken_as_they_are():
    (case,) = cases.pick("softmax, default")
    data, model = load(case.data), cases.fitted(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotStationaryWarning)
        explainer = InfluenceExplainer(model, polish=False).fit(data.X, data.y)
    given = cases.theta_of(model)
    problem = cases.problem_of(case)
    truth = reference.influence_on_parameters(problem, given)
    found = cases.rows_of(explainer.param_influence(), case)
    assert relative_error(found, truth.reshape(found.shape)) < 1e-9
    polished = reference.influence_on_parameters(problem, cases.minimum_of(case))
    assert relative_error(found, polished.reshape(found.shape)) > 1e-6


@pytest.mark.parametrize("polish", [0.1, np.float32(0.3), 10])
def test_a_polish_may_stop_when_it_is_near_enough(default_fit, cancer, polish):
    model, full = default_fit
    coarse = InfluenceExplainer(model, polish=polish).fit(*cancer)
    assert coarse.n_iter_ < full.n_iter_
    assert coarse.stationarity_ == full.stationarity_ > polish
    gap = coarse._study.point.theta - full._study.point.theta
    H = full._study.point.curvature.as_matrix()[0]
    distance = float(gap[0] @ H @ gap[0]) ** 0.5 / full._study.minimum.typical
    assert 1e-9 < distance < polish
    truth = full.loo_params().coef
    assert relative_error(coarse.loo_params().coef, truth) < 0.02 * polish


def test_a_coarse_polish_does_not_crawl():
    """A factor from far off is given up where steps by it hardly shorten."""
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=10, max_iter=5).fit(X, y)
    with pytest.warns(NotStationaryWarning):  # five iterations: far from its minimum
        explainer = InfluenceExplainer(model, polish=10).fit(X, y)
    assert explainer.n_iter_ < 10


@pytest.mark.parametrize("polish", ["auto", 0.0, -1.0, np.nan, np.inf, 1e-12, None])
def test_a_polish_of_no_meaning_is_refused(cancer, polish):
    with pytest.raises(InvalidParameterError, match=r"polish.*deletion effects"):
        InfluenceExplainer(LogisticRegression(), polish=polish).fit(*cancer)


@pytest.fixture(scope="module")
def unconverged(cancer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=3).fit(*cancer)


def test_without_polish_an_unconverged_fit_warns(unconverged, cancer):
    with pytest.warns(NotStationaryWarning):
        InfluenceExplainer(unconverged, polish=False).fit(*cancer)


@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize(
    ("estimator", "name"),
    [(LogisticRegression(), "two classes"), (Ridge(), "one target")],
    ids=["LogisticRegression", "Ridge"],
)
def test_other_rows_than_those_of_the_fit_warn(estimator, name, polish):
    data = load(name)
    model = clone(estimator).fit(data.X, data.y)
    other = np.random.default_rng(0).permutation(data.y)
    with pytest.warns(NotStationaryWarning, match="rows" if polish else "minimum"):
        InfluenceExplainer(model, polish=polish).fit(data.X, other)


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_the_estimator_is_never_changed(case):
    data, model = load(case.data), cases.fitted(case)
    before = pickle.dumps(model)
    explainer = InfluenceExplainer(model, deletion="exact")
    explainer.fit(data.X, data.y, **case.fit_params)
    assert pickle.dumps(model) == before
    explainer.influence(data.X_test, data.y_test)
    explainer.loo_delta(data.X_test, data.y_test)
    explainer.loo_params(rows=[0])
    explainer.loo_predict()
    explainer.predict(data.X_test)
    assert pickle.dumps(model) == before


def test_an_unfitted_estimator_stays_unfitted():
    data, estimator = load("two classes"), LogisticRegression()
    explainer = InfluenceExplainer(estimator).fit(data.X, data.y)
    assert explainer.estimator is estimator
    assert not hasattr(estimator, "coef_")
    assert hasattr(explainer.estimator_, "coef_")


@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.RankDeficientWarning")
def test_a_fit_that_has_run_away_is_said_to_be_no_minimum():
    """All probabilities are 0 or 1 there, some of them wrong."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    y = (X[:, 0] + rng.normal(size=30) > 0).astype(int)
    model = LogisticRegression(C=np.inf).fit(X, y)
    model.coef_ *= 1e8
    with pytest.warns(NotStationaryWarning, match="has run away"):
        InfluenceExplainer(model).fit(X, y)
