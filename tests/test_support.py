"""The support table: every row is the objective that scikit-learn minimises.

One registry, ``ENTRIES``, and the same proofs for all: the gradient of the rebuilt
objective vanishes at a tight fit, its outputs are those of the estimator, and deletions
are those of refits by the estimator itself.
"""

import itertools
import json
import pickle
import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deletions import check_groups_of_one, every_method
from reference import relative_error
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    GammaRegressor,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.utils.discovery import all_estimators
from sklearn.utils.validation import has_fit_parameter

from skinfluence import (
    InfluenceExplainer,
    check_leave_one_out,
    refit_leave_one_out,
    register_estimator,
)
from skinfluence.exceptions import (
    IndefiniteCurvatureError,
    InvalidDataError,
    InvalidParameterError,
    NotStationaryWarning,
    SeparableDataError,
    UnsupportedEstimatorError,
)
from skinfluence.losses import AbstractLoss
from skinfluence.support import _table, read, required_row

N, P = 40, 3
ROWS = np.arange(0, N, 6)
TIGHT = {"tol": 1e-11, "max_iter": 20_000}
DATA = Path(__file__).parent / "data"

# --- data ---


def _features(seed, positive=False):
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(N, P)) if positive else rng.normal(size=(N, P)) + 0.5
    return rng, X, 0.5 + X @ [0.3, -0.4, 0.2]


def _counts():
    rng, X, eta = _features(0)
    return X, rng.poisson(np.exp(eta)).astype(float)


def _positive():
    rng, X, eta = _features(1)
    return X, rng.gamma(3.0, np.exp(eta) / 3)


def _counts_on_a_line():
    rng, X, eta = _features(2, positive=True)
    return X, rng.poisson(2 + 3 * eta).astype(float)


def _positive_on_a_line():
    rng, X, eta = _features(3, positive=True)
    return X, rng.gamma(8.0, (2 + 2 * eta) / 8)


def _numbers():
    rng, X, eta = _features(4)
    return X, eta + rng.standard_t(3, size=N)


def _two_numbers():
    X, y = _numbers()
    return X, np.column_stack([y, X[:, 0] - 0.5 * y**2])


def _two_counts():
    X, y = _counts()
    return X, np.column_stack([y, y[::-1]])


def _two():
    rng, X, eta = _features(5)
    return X, np.array(["no", "yes"])[(2 * eta + rng.logistic(size=N) > 1).astype(int)]


def _three():
    rng, X, eta = _features(6)
    return X, np.digitize(eta + rng.logistic(size=N), [0.0, 1.0])


def _labels():
    X, y = _three()
    return X, (y[:, None] == [0, 1]).astype(int)


def _two_times_three():
    X, y = _three()
    return X, np.column_stack([y, (y + np.arange(N) % 2) % 3])


@cache
def data(name):
    X, y = globals()[name]()
    weight = np.random.default_rng(7).uniform(0.5, 2.0, N)
    for array in (X, y, weight):
        array.flags.writeable = False
    return X, y, weight


# --- the registry ---


@dataclass(frozen=True, eq=False)
class Entry:
    """An estimator fitted tightly, and its data."""

    name: str
    estimator: Any
    data: str
    weighted: bool = False
    gradient: float = 1e-5  # of F over the largest row gradient, at the fit
    quadratic: bool = False

    def __str__(self):
        return self.name

    @property
    def params(self):
        return {"sample_weight": data(self.data)[2]} if self.weighted else {}


def variants(name, estimator, rows, **options):
    """With and without weights and an intercept, where the estimator allows."""
    found = []
    weights = (
        [False, True] if has_fit_parameter(estimator, "sample_weight") else [False]
    )
    params = estimator.get_params()
    slot = next((key for key in params if key.endswith("fit_intercept")), None)
    for weighted, intercept in itertools.product(weights, [True, False]):
        if not intercept and (slot is None or name.endswith("identity")):
            continue  # scikit-learn starts such a fit at a mean of zero, and fails
        each = clone(estimator)
        if slot is not None:
            each.set_params(**{slot: intercept})
        label = name + ", weighted" * weighted + ", no intercept" * (not intercept)
        found.append(Entry(label, each, rows, weighted, **options))
    return found


def tweedie(power, rows, link="auto", alpha=0.1):
    estimator = TweedieRegressor(power=power, link=link, alpha=alpha, **TIGHT)
    name = f"Tweedie {power}" + (f", {link}" if link != "auto" else "")
    return variants(name, estimator, rows, quadratic=power == 0 and link == "auto")


def sgd(kind, loss, rows, gradient=2e-3, **options):
    """The gradient would be 0.1 and more if the penalty counted weights, not rows."""
    settings = {"alpha": 0.1, "learning_rate": "optimal", "random_state": 0}
    settings |= {"tol": None, "max_iter": 30_000} | options
    estimator = kind(loss=loss, **settings)
    quadratic = loss == "squared_error"
    name = f"{kind.__name__}, {loss}" + ", average" * ("average" in options)
    name += ", class weights" * ("class_weight" in options)
    return variants(name, estimator, rows, gradient=gradient, quadratic=quadratic)


def logistic(**options):
    return LogisticRegression(tol=1e-12, max_iter=10_000, **options)


LINEAR_SVC = LinearSVC(dual=False, C=0.5, **TIGHT)
SQUARED = "squared_epsilon_insensitive"

ENTRIES = [
    *variants("PoissonRegressor", PoissonRegressor(alpha=0.1, **TIGHT), "_counts"),
    *variants("GammaRegressor", GammaRegressor(alpha=0.1, **TIGHT), "_positive"),
    *tweedie(0, "_numbers"),
    *tweedie(0, "_positive", "log"),
    *tweedie(-1, "_positive_on_a_line", "identity"),
    *tweedie(1, "_counts"),
    *tweedie(1, "_counts_on_a_line", "identity"),
    *tweedie(1.5, "_counts"),
    *tweedie(1.5, "_counts_on_a_line", "identity"),
    *tweedie(2, "_positive", alpha=0.0),
    *tweedie(2, "_positive_on_a_line", "identity"),
    *tweedie(3, "_positive"),
    *tweedie(3, "_positive_on_a_line", "identity", alpha=0.01),
    *variants(
        "HuberRegressor",
        HuberRegressor(alpha=0.1, tol=1e-12, max_iter=10_000),
        "_numbers",
        gradient=1e-2,
    ),
    *variants("LinearSVC", LINEAR_SVC, "_two"),
    *variants(
        "LinearSVC, balanced, intercept_scaling",
        clone(LINEAR_SVC).set_params(class_weight="balanced", intercept_scaling=3.0),
        "_two",
    ),
    *variants("LinearSVC, three classes", LINEAR_SVC, "_three"),
    *variants(
        "LinearSVC, three classes, class weights",
        clone(LINEAR_SVC).set_params(class_weight={0: 2.0, 1: 0.5}),
        "_three",
    ),
    *variants(
        "LinearSVR",
        LinearSVR(epsilon=0.3, loss=SQUARED, intercept_scaling=2, dual=False, **TIGHT),
        "_numbers",
    ),
    *variants("BayesianRidge", BayesianRidge(tol=1e-8), "_numbers", quadratic=True),
    *variants(
        "ARDRegression",
        ARDRegression(threshold_lambda=20.0),
        "_numbers",
        quadratic=True,
    ),
    *sgd(SGDClassifier, "log_loss", "_two"),
    *sgd(SGDClassifier, "log_loss", "_three", class_weight={0: 2.0, 2: 0.5}),
    *sgd(SGDClassifier, "modified_huber", "_two"),
    *sgd(SGDClassifier, "squared_hinge", "_three"),
    *sgd(SGDRegressor, "squared_error", "_numbers"),
    *sgd(SGDRegressor, "squared_error", "_numbers", 0.02, average=1000),
    *sgd(SGDRegressor, "huber", "_numbers", epsilon=0.5),
    *sgd(SGDRegressor, SQUARED, "_numbers", epsilon=0.2),
    *variants("OneVsRest", OneVsRestClassifier(logistic()), "_three"),
    *variants(
        "OneVsRest, balanced",
        OneVsRestClassifier(logistic(class_weight="balanced")),
        "_three",
    ),
    *variants("OneVsRest, two", OneVsRestClassifier(logistic(C=np.inf)), "_two"),
    *variants("OneVsRest, multilabel", OneVsRestClassifier(LINEAR_SVC), "_labels"),
    *variants(
        "MultiOutputRegressor, RidgeCV",
        MultiOutputRegressor(RidgeCV([0.1, 1.0, 10.0])),
        "_two_numbers",
        quadratic=True,
    ),
    *variants(
        "MultiOutputRegressor, Poisson",
        MultiOutputRegressor(PoissonRegressor(alpha=0.1, **TIGHT)),
        "_two_counts",
    ),
    *variants(
        "MultiOutputRegressor, ARD",
        MultiOutputRegressor(ARDRegression(threshold_lambda=20.0)),
        "_two_numbers",
        quadratic=True,
    )[:2],
    *variants(
        "MultiOutputClassifier, softmax",
        MultiOutputClassifier(logistic()),
        "_two_times_three",
    ),
    *variants(
        "MultiOutputClassifier, softmax, C=inf",
        MultiOutputClassifier(logistic(C=np.inf)),
        "_two_times_three",
    ),
    *variants(
        "MultiOutputClassifier, LinearSVC, balanced",
        MultiOutputClassifier(clone(LINEAR_SVC).set_params(class_weight="balanced")),
        "_two_times_three",
    ),
    *variants(
        "TransformedTargetRegressor",
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
        "_positive",
        quadratic=True,
    ),
    *variants(
        "TransformedTargetRegressor, default",
        TransformedTargetRegressor(transformer=StandardScaler()),
        "_two_numbers",
        quadratic=True,
    ),
]
# MultiOutputRegressor passes weights on only if the inner model takes them.
ENTRIES = [e for e in ENTRIES if not (e.weighted and "ARD" in e.name)]
BY_NAME = {entry.name: entry for entry in ENTRIES}
every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=str)


def fit_estimator(estimator, X, y, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stops at max_iter
        return estimator.fit(X, y, **params)


@cache
def fitted(entry):
    X, y, _ = data(entry.data)
    return fit_estimator(clone(entry.estimator), X, y, **entry.params)


@cache
def explained(entry, deletion, **options):
    X, y, _ = data(entry.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotStationaryWarning)  # SGD
        explainer = InfluenceExplainer(fitted(entry), deletion=deletion, **options)
        return explainer.fit(X, y, **entry.params)


def objective_of(entry):
    """The rebuilt objective on the rows of the fit, and theta of the fit."""
    X, y, weight = data(entry.data)
    weight = weight if entry.weighted else np.ones(N)
    model = read(fitted(entry))
    return model.objective(model.transformed(X), y, weight)


def flat(params):
    """All parameters of each row, side by side."""
    names = [name for name in ("coef", "intercept", "scale") if name in params]
    return np.hstack([np.reshape(params[name], (len(ROWS), -1)) for name in names])


# --- the proofs ---


def free_entries(objective, theta):
    free = True if objective.free is None else objective.free
    return np.broadcast_to(free, theta.shape)


@every_entry
def test_the_gradient_of_the_rebuilt_objective_vanishes(entry):
    objective, theta = objective_of(entry)
    first = objective.first_order(theta)
    slopes = objective.weight[:, None] * objective.loss.gradient(
        objective.targets, first.outputs
    )
    block = objective.design.block(slice(None))
    largest = np.max(np.abs(slopes)[:, :, None] * np.abs(block)[:, None, :])
    gradient = first.gradient[free_entries(objective, theta)]
    assert np.abs(gradient).max() < entry.gradient * largest


@every_entry
def test_outputs_are_those_of_the_estimator(entry):
    X, y, _ = data(entry.data)
    objective, theta = objective_of(entry)
    model, estimator = read(fitted(entry)), fitted(entry)
    u = objective.outputs(theta)[:, : model.n_outputs]
    reader = model.on_outputs()
    if is_classifier(estimator):
        np.testing.assert_array_equal(reader.predict(u), estimator.predict(X))
    else:
        assert relative_error(reader.predict(u), estimator.predict(X)) < 1e-9
    if hasattr(estimator, "decision_function"):
        found = reader.decision_function(u)
        assert relative_error(found, estimator.decision_function(X)) < 1e-9
    assert reader.score(u, y) == pytest.approx(estimator.score(X, y), rel=1e-9)


def differences(objective, theta, step=1e-5):
    """Curvature by central differences of the gradient, over all entries (d, d)."""
    columns = []
    for move in np.eye(theta.size).reshape(-1, *theta.shape) * step:
        above = objective.first_order(theta + move).gradient
        below = objective.first_order(theta - move).gradient
        columns.append(((above - below) / (2 * step)).ravel())
    return np.array(columns)


@every_entry
def test_newton_is_one_newton_step_without_the_row(entry):
    explainer = explained(entry, "newton")
    point = explainer._study.point
    theta = point.theta
    free = np.flatnonzero(free_entries(point.objective, theta))
    steps = []
    for row in ROWS:
        rest = point.objective.without(int(row))
        H = differences(rest, theta)[np.ix_(free, free)]
        g = rest.first_order(theta).gradient.ravel()[free]
        step = np.zeros(theta.size)
        step[free] = -np.linalg.pinv(H, rcond=1e-7, hermitian=True) @ g
        steps.append(step.reshape(theta.shape))
    found = point.objective.layout.unpack(
        explainer._study.deletion(N).deltas(ROWS).theta
    )
    truth = point.objective.layout.unpack(np.array(steps))
    assert relative_error(found, truth) < 1e-5  # of the differences


@pytest.mark.parametrize("name", ["PoissonRegressor, weighted", "Tweedie 3"])
def test_jackknife_moves_outputs_as_it_moves_parameters(name):
    """In mean form a row takes its share of the penalty along, in outputs too."""
    explainer = explained(BY_NAME[name], "jackknife")
    X = data(BY_NAME[name].data)[0][:5]
    params = explainer.loo_params()
    truth = X @ params.coef.T + params.intercept
    assert relative_error(explainer.loo_delta(X, on="decision"), truth) < 1e-10


@every_method
@every_entry
def test_a_group_of_one_is_a_row(entry, method):
    check_groups_of_one(explained(entry, method), ROWS[:3], tol=1e-6)


@every_entry
def test_exact_deletion_is_the_refit(entry):
    X, y, _ = data(entry.data)
    refits = refit_leave_one_out(
        fitted(entry), X, y, rows=ROWS, preprocessing="held", **entry.params
    )
    held = {"preprocessing": "held"}
    found = explained(entry, "exact", **held).loo_params(ROWS)
    assert set(found) & {"coef", "intercept", "scale"} <= set(refits)
    assert relative_error(flat(found), flat(refits)) < 1e-6
    if entry.quadratic:
        newton = explained(entry, "newton", **held).loo_params(ROWS)
        assert relative_error(flat(newton), flat(refits)) < 1e-9


# Nothing held but what the estimator itself holds: no balanced weights, no chosen or
# estimated hyper-parameters, no transformers that look at y; and no SGD, never tight.
LITERAL = [
    entry
    for entry in ENTRIES
    if not any(
        word in entry.name
        for word in ("balanced", "CV", "ARD", "Bayes", "SGD", "default", "C=inf")
    )
]


@pytest.mark.parametrize("entry", LITERAL, ids=str)
def test_exact_predictions_are_those_of_scikit_learns_own_refits(entry):
    """No polish, nothing held: cross_val_predict, to the tolerance of the estimator."""
    X, y, _ = data(entry.data)
    keep = [(np.delete(np.arange(N), row), [row]) for row in ROWS]
    truth = []
    for train, test in keep:
        params = {name: value[train] for name, value in entry.params.items()}
        model = fit_estimator(clone(entry.estimator), X[train], y[train], **params)
        truth.append(model.predict(X[test])[0])
    found = explained(entry, "exact").loo_predict()[ROWS]
    if is_classifier(entry.estimator):
        np.testing.assert_array_equal(found, truth)
    else:
        limit = 1e-3 if entry.name.startswith("Huber") else 1e-5
        assert relative_error(found, np.array(truth)) < limit


@every_entry
def test_everything_answers(entry):
    X, y, _ = data(entry.data)
    explainer = explained(entry, "newton")
    assert explainer.influence(X[:4], y[:4]).shape == (4, N)
    columns = N * explainer._study.n_columns
    assert explainer.transform(X[:4]).shape == (4, columns)
    assert explainer.loo_delta(X[:4]).shape == (4, columns)
    # Class weights that a row raises may raise its loss.
    held = explained(entry, "newton", preprocessing="held")
    assert np.all(held.self_influence() <= 1e-12)
    assert np.isfinite(explainer.loo_score())
    again, found = pickle.loads(pickle.dumps(explainer)), explainer.loo_predict()
    if is_classifier(entry.estimator):
        np.testing.assert_array_equal(again.loo_predict(), found)
    else:  # in another order in memory, the same numbers are multiplied in another order
        np.testing.assert_allclose(again.loo_predict(), found, rtol=1e-12)


# --- published truths ---


class Truth:
    """One file of ``data/``: rows, the fit and the fit without each row."""

    def __init__(self, name):
        content = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
        self.X, self.y = np.array(content["X"]), np.array(content["y"])
        self.fit = np.array(content["fit"]["coef"])[0]  # intercept first
        self.loo = np.array(content["exact_loo"]["coef"])[:, 0]
        self.outputs = np.array(content["exact_loo"]["eta_i"])


PUBLISHED = {
    "poisson_warpbreaks": PoissonRegressor(alpha=0.0, **TIGHT),
    "gamma_trees_log": GammaRegressor(alpha=0.0, **TIGHT),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_exact_deletion_is_that_of_the_reference(name):
    truth = Truth(name)
    model = PUBLISHED[name].fit(truth.X, truth.y)
    explainer = InfluenceExplainer(model, deletion="exact").fit(truth.X, truth.y)
    params = explainer.loo_params()
    found = np.column_stack([params.intercept, params.coef])
    assert relative_error(found, truth.loo - truth.fit) < 1e-6
    assert relative_error(np.log(explainer.loo_predict()), truth.outputs) < 1e-6


# --- models with a limited range ---


def test_rows_outside_of_the_identity_link_are_refused_and_named():
    X, y, _ = data("_positive_on_a_line")
    explainer = explained(BY_NAME["Tweedie 2, identity"], "exact")
    slope = explainer.estimator_.coef_
    far = X[:4].copy()
    far[2] -= 1000 * slope / (slope @ slope)
    with pytest.raises(InvalidDataError, match=r"rows \[2\].*link='log'"):
        explainer.influence(far, y[:4])
    assert np.isfinite(explainer.influence(far)).all()  # of the prediction


def test_a_failed_fit_with_the_identity_link_is_refused():
    X, y, _ = data("_positive_on_a_line")
    model = TweedieRegressor(power=2, link="identity", fit_intercept=False)
    fit_estimator(model, X, y)
    with pytest.raises(InvalidDataError, match="0 or less"):
        InfluenceExplainer(model).fit(X, y)


def test_deletions_stay_within_the_identity_link():
    """Small means, near the edge: scikit-learn's own refits get lost beyond it."""
    rng = np.random.default_rng(29)
    X = rng.uniform(size=(N, 2))
    y = rng.gamma(0.8, (0.3 + 2 * X[:, 0] ** 2) / 0.8)
    model = TweedieRegressor(power=1, link="identity", alpha=1e-3, **TIGHT)
    fit_estimator(model, X, y)
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    refits = refit_leave_one_out(model, X, y)
    found = explainer.loo_params()
    assert relative_error(found.coef, refits.coef) < 1e-6
    assert np.max(found.n_steps) > 10  # of a row that needs damped steps of its own


@pytest.mark.parametrize(
    ("model", "wrong", "words"),
    [
        (PoissonRegressor(), -1.0, "at least 0"),
        (GammaRegressor(), 0.0, "positive"),
        (TweedieRegressor(power=1.5), -0.5, "at least 0"),
        (TweedieRegressor(power=3), 0.0, "positive"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_targets_outside_of_the_family_are_refused(model, wrong, words):
    X, y, _ = data("_positive")
    explainer = InfluenceExplainer(clone(model)).fit(X, y)
    with pytest.raises(InvalidDataError, match=f"{words}; row 1 "):
        explainer.influence(X[:2], [1.0, wrong])


def test_counts_of_zero_only_have_no_finite_optimum():
    X, y, _ = data("_counts")
    model = PoissonRegressor().fit(X, y)
    with pytest.raises(SeparableDataError):
        InfluenceExplainer(model).fit(X, 0 * y)


def test_a_loss_that_bends_downwards_is_never_clipped():
    """Inverse Gaussian rows far above their mean bend down; here they prevail."""
    X, y, _ = data("_positive")
    model = TweedieRegressor(power=4, alpha=0.0, tol=1e3).fit(X, y)
    model.coef_ = np.array([0.0, 0.0, 0.0])
    model.intercept_ = 5.0
    with pytest.raises(IndefiniteCurvatureError, match="bends downwards"):
        InfluenceExplainer(model).fit(X, y)


def test_negative_curvature_of_single_rows_is_kept():
    entry = BY_NAME["Tweedie 3"]
    objective, theta = objective_of(entry)
    bends = objective.loss.hessian(objective.targets, objective.outputs(theta))
    assert bends.min() < 0 < bends.max()


# --- Huber's scale ---


def test_the_scale_of_huber_is_a_parameter():
    X, y, weight = data("_numbers")
    entry = BY_NAME["HuberRegressor, weighted"]
    explainer = explained(entry, "exact")
    assert explainer.param_influence(ROWS).scale.shape == (len(ROWS),)
    kept = np.arange(N) != ROWS[1]
    refit = clone(entry.estimator).fit(X[kept], y[kept], sample_weight=weight[kept])
    truth = refit.scale_ - fitted(entry).scale_
    assert explainer.loo_params(ROWS).scale[1] == pytest.approx(truth, rel=1e-2)


def test_a_row_on_the_kink_of_huber_is_deleted_exactly():
    X, y, _ = data("_numbers")
    model = HuberRegressor(alpha=0.1, tol=1e-12, max_iter=10_000).fit(X, y)
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    theta = explainer._study.point.theta
    scale = explainer._study.point.outputs[0, 1]
    outputs = explainer._study.point.outputs[:, 0]
    moved = y.copy()
    row = int(np.argmin(np.abs(np.abs(y - outputs) - 1.35 * scale)))
    moved[row] = outputs[row] + np.sign(y[row] - outputs[row]) * 1.35 * scale
    assert theta.shape == (1, 2 * (P + 1))
    model = clone(model).fit(X, moved)
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, moved)
    refits = refit_leave_one_out(model, X, moved, rows=ROWS)
    assert relative_error(flat(explainer.loo_params(ROWS)), flat(refits)) < 1e-6


def test_a_perfect_fit_has_no_scale():
    X, _, _ = data("_numbers")
    y = X @ [1.0, 2.0, 3.0]
    model = HuberRegressor(alpha=0.0).fit(X, y)
    with pytest.raises(InvalidDataError, match="scale of this HuberRegressor is zero"):
        InfluenceExplainer(model).fit(X, y)


# --- SGD ---


def test_sgd_far_from_its_minimum_says_so():
    X, y, _ = data("_numbers")
    model = SGDRegressor(random_state=0, max_iter=3, tol=None, eta0=1e-4).fit(X, y)
    with pytest.warns(NotStationaryWarning, match="sampling error away"):
        explainer = InfluenceExplainer(model).fit(X, y)
    ridge = Ridge(N * 1e-4).fit(X, y)  # alpha counts rows
    coef, _ = explainer._study.point.objective.design.to_estimator(
        explainer._study.point.objective.layout.unpack(explainer._study.point.theta)
    )
    assert relative_error(coef[0], ridge.coef_) < 1e-9


# --- wrappers and transformed targets ---


def test_one_against_rest_is_each_model_alone():
    X, y, _ = data("_three")
    explainer = explained(BY_NAME["OneVsRest"], "exact")
    together = explainer.loo_params(ROWS)
    for k in range(3):
        alone = InfluenceExplainer(logistic(), deletion="exact").fit(X, y == k)
        found = alone.loo_params(ROWS)
        assert relative_error(together.coef[:, k], found.coef[:, 0]) < 1e-6
        assert relative_error(together.intercept[:, k], found.intercept[:, 0]) < 1e-6


def test_the_loss_of_several_models_is_the_sum_of_theirs():
    X, y, _ = data("_two_times_three")
    explainer = explained(BY_NAME["MultiOutputClassifier, softmax"], "newton")
    found = explainer.influence(X[:5], y[:5])
    parts = [
        InfluenceExplainer(logistic()).fit(X, y[:, g]).influence(X[:5], y[:5, g])
        for g in range(2)
    ]
    assert relative_error(found, sum(parts)) < 1e-6


def test_predictions_of_transformed_targets_come_back():
    X, y, _ = data("_positive")
    model = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), LinearRegression()),
        func=np.log,
        inverse_func=np.exp,
    )
    explainer = InfluenceExplainer(model).fit(X, y)
    truth = cross_val_predict(model, X, y, cv=LeaveOneOut())
    assert relative_error(explainer.loo_predict(), truth) < 1e-9
    inner = InfluenceExplainer(LinearRegression()).fit(X, np.log(y))
    found = explainer.loo_delta(X[:3], y[:3])  # of the loss on the logarithm
    assert relative_error(found, inner.loo_delta(X[:3], np.log(y[:3]))) < 1e-9


def test_probabilities_of_several_outputs_are_a_list():
    explainer = explained(BY_NAME["MultiOutputClassifier, softmax"], "exact")
    found = explainer.loo_predict("predict_proba")
    assert [part.shape for part in found] == [(N, 3), (N, 3)]


MIXED = {
    "a pipeline inside": (
        OneVsRestClassifier(make_pipeline(StandardScaler(), LogisticRegression())),
        "_three",
        "make_pipeline",
    ),
    "a scale inside": (MultiOutputRegressor(HuberRegressor()), "_two_numbers", "scale"),
    "an unsupported model inside": (OneVsRestClassifier(SVC()), "_three", "SVC"),
}


@pytest.mark.parametrize("name", MIXED)
def test_wrappers_that_are_not_one_objective_are_refused(name):
    estimator, rows, words = MIXED[name]
    X, y, _ = data(rows)
    with pytest.raises(UnsupportedEstimatorError, match=words):
        InfluenceExplainer(estimator).fit(X, y)


def test_outputs_with_different_numbers_of_classes_are_refused():
    X, y, _ = data("_two_times_three")
    labels = np.column_stack([y[:, 0], y[:, 1] > 0])
    with pytest.raises(UnsupportedEstimatorError, match="numbers of classes"):
        InfluenceExplainer(MultiOutputClassifier(logistic())).fit(X, labels)


# --- refusals ---


def constructed():
    """All estimators of scikit-learn that need no other estimator to be made."""
    for name, kind in all_estimators():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated ones
            try:
                yield name, kind, kind()
            except TypeError:
                continue


def test_every_estimator_is_supported_or_refused_with_a_reason():
    start = time.perf_counter()
    linear, refused = set(), {}
    for name, kind, estimator in constructed():
        try:
            required_row(estimator)
        except UnsupportedEstimatorError as error:
            refused[name] = str(error)
            assert name in str(error)
            assert "nearest supported model is" in str(error) or "; use" in str(error)
            continue
        if kind.__module__.startswith(("sklearn.linear_model", "sklearn.svm")):
            linear.add(name)
    assert time.perf_counter() - start < 10
    own = "no row of the support table"
    in_scope = [
        name
        for name, kind, _ in constructed()
        if kind.__module__.startswith(("sklearn.linear_model", "sklearn.svm"))
    ]
    assert not [name for name in in_scope if own in refused.get(name, "")]
    assert {"HuberRegressor", "TweedieRegressor", "BayesianRidge"} <= linear


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LinearSVC(loss="hinge"), "squared_hinge"),
        (LinearSVC(multi_class="crammer_singer"), "ovr"),
        (LinearSVC(penalty="l1", dual=False), "saga"),
        (LinearSVR(), SQUARED),
        (SGDClassifier(), "squared_hinge"),
        (SGDClassifier(loss="perceptron"), "squared_hinge"),
        (SGDRegressor(loss="epsilon_insensitive"), SQUARED),
        (SGDRegressor(penalty="l1"), "ElasticNet"),
        (SGDClassifier(loss="log_loss", early_stopping=True), "early_stopping=False"),
    ],
    ids=repr,
)
def test_options_without_derivatives_are_refused_before_any_fit(estimator, words):
    X, y = data("_numbers")[0], np.arange(N) % 2
    explainer = InfluenceExplainer(estimator)
    with pytest.raises(UnsupportedEstimatorError, match=words):
        explainer.fit(X, y)
    assert not hasattr(explainer, "estimator_")


# --- models of other packages ---


class LogCoshRegressor(RegressorMixin, BaseEstimator):
    """Minimises the mean of ``log(cosh(y - u))`` and a ridge: a small model of a test."""

    def __init__(self, shrinkage=0.1, fit_intercept=True):
        self.shrinkage = shrinkage
        self.fit_intercept = fit_intercept

    def fit(self, X, y, sample_weight=None):
        s = np.ones(len(y)) if sample_weight is None else sample_weight
        A = np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else X
        ridge = np.full(A.shape[1], self.shrinkage)
        ridge[X.shape[1] :] = 0.0

        def value_and_slope(theta):
            r = A @ theta - y
            value = s @ (np.logaddexp(r, -r) - np.log(2)) / s.sum()
            slope = A.T @ (s * np.tanh(r)) / s.sum()
            return value + 0.5 * ridge @ theta**2, slope + ridge * theta

        found = minimize(
            value_and_slope, np.zeros(A.shape[1]), jac=True, options={"gtol": 1e-10}
        )
        self.coef_ = found.x[: X.shape[1]]
        self.intercept_ = found.x[-1] if self.fit_intercept else 0.0
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return X @ self.coef_ + self.intercept_


@dataclass(frozen=True)
class LogCosh(AbstractLoss):
    """``log(cosh(u - y))``."""

    convex = True

    def n_groups(self, n_outputs):
        return n_outputs

    def value(self, y, u):
        return np.sum(np.logaddexp(u - y, y - u) - np.log(2), axis=-1)

    def gradient(self, y, u):
        return np.tanh(u - y)

    def hessian(self, y, u):
        return (1 / np.cosh(u - y) ** 2)[..., None, None]


@pytest.fixture
def registered():
    """Register the model for one test."""

    def shrinkage(model):
        return model.shrinkage

    register_estimator(LogCoshRegressor, LogCosh(), strength=shrinkage, mean_form=True)
    yield LogCoshRegressor
    del _table._TABLE[LogCoshRegressor]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_a_registered_model_is_explained(registered, weighted, fit_intercept):
    X, y, weight = data("_numbers")
    params = {"sample_weight": weight} if weighted else {}
    model = registered(fit_intercept=fit_intercept)
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y, **params)
    assert explainer.stationarity_ < 1e-4
    truth = []
    for row in ROWS:
        kept = np.arange(N) != row
        some = {name: value[kept] for name, value in params.items()}
        rest = clone(model).fit(X[kept], y[kept], **some)
        truth.append(rest.coef_ - explainer.estimator_.coef_)
    assert relative_error(explainer.loo_params(ROWS).coef, np.array(truth)) < 1e-5
    agreement = check_leave_one_out(explainer, X, y, rows=ROWS)
    assert agreement.param_error < 1e-6


def test_a_wrong_row_shows(registered):
    """With half the penalty it has, the fit is not at a minimum: the judge would see."""
    register_estimator(registered, LogCosh(), strength=0.05, mean_form=True)
    X, y, _ = data("_numbers")
    assert InfluenceExplainer(registered()).fit(X, y).stationarity_ > 0.1


def test_an_unregistered_model_is_told_how():
    X, y, _ = data("_numbers")
    with pytest.raises(UnsupportedEstimatorError, match="register_estimator"):
        InfluenceExplainer(LogCoshRegressor()).fit(X, y)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((LogCoshRegressor(), "squared_error"), "class"),
        ((LogCoshRegressor, "absolute_error"), "squared_error"),
        ((LogCoshRegressor, 3.0), "loss must be"),
    ],
    ids=["an object", "a name", "a number"],
)
def test_a_row_that_cannot_be_is_refused(args, words):
    with pytest.raises(InvalidParameterError, match=words):
        register_estimator(*args)
