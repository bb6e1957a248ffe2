"""Weights count by whatever name they reach the linear model: judged by refits."""

import numpy as np
import pytest
from cases import last_step, load
from reference import relative_error
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    LeaveOneOutSearchCV,
    check_leave_one_out,
    cross_val_influence,
    refit_leave_one_out,
)
from skinfluence.exceptions import InvalidParameterError, InvalidWeightError

NUMBERS, PAIRS = load("one target"), load("two targets")
BINARY, THREE = load("two classes"), load("three classes")
TIGHT = {"tol": 1e-12, "max_iter": 10_000}
ROW = 5


def piped(model):
    """A pipeline whose transformer learns nothing: a refit of the whole is exact."""
    same = PolynomialFeatures(1, include_bias=False)
    return Pipeline([("same", same), ("lr", model)])


# --- names of steps, without metadata routing ---

BY_STEP = {
    "pipeline": (piped(Ridge()), "lr__sample_weight", NUMBERS),
    "pipeline in a pipeline": (piped(piped(Ridge())), "lr__lr__sample_weight", NUMBERS),
    "search": (
        GridSearchCV(piped(Ridge()), {"lr__alpha": [0.5]}, cv=3),
        "lr__sample_weight",
        NUMBERS,
    ),
    "search of a model": (
        GridSearchCV(Ridge(), {"alpha": [0.5]}, cv=3),
        "sample_weight",
        NUMBERS,
    ),
    "transformed target": (
        TransformedTargetRegressor(piped(Ridge())),
        "lr__sample_weight",
        NUMBERS,
    ),
    "one per output": (
        piped(MultiOutputRegressor(Ridge())),
        "lr__sample_weight",
        PAIRS,
    ),
}


def positive(data):
    return data.sample_weight + 0.2


def coefficients(model):
    model = getattr(model, "best_estimator_", model)
    model = getattr(model, "regressor_", model)
    model = last_step(model)
    members = getattr(model, "estimators_", [model])
    return np.concatenate([np.atleast_2d(member.coef_) for member in members])


def refit_delta(estimator, data, name, row=ROW):
    """Coefficients without a row minus with it, by fits of the whole estimator."""
    kept, fits = np.arange(len(data.y)) != row, []
    for rows in (kept, slice(None)):
        given = {name: positive(data)[rows]}
        fit = clone(estimator).fit(data.X[rows], data.y[rows], **given)
        fits.append(coefficients(fit))
    return fits[0] - fits[1]


def explained_delta(explainer):
    return explainer.loo_params(rows=[ROW]).coef.reshape(-1, NUMBERS.X.shape[1])


@pytest.mark.parametrize("case", BY_STEP)
@pytest.mark.parametrize("prefit", [False, True], ids=["unfitted", "prefit"])
def test_weights_by_the_name_of_a_step_are_those_of_the_objective(case, prefit):
    estimator, name, data = BY_STEP[case]
    model, given = clone(estimator), {name: positive(data)}
    if prefit:
        model.fit(data.X, data.y, **given)
    explainer = InfluenceExplainer(model, deletion="exact")
    explainer.fit(data.X, data.y, **given)
    found, truth = explained_delta(explainer), refit_delta(estimator, data, name)
    assert relative_error(found, truth) < 1e-5
    agreement = check_leave_one_out(explainer, data.X, data.y, rows=[ROW, 7])
    assert agreement.param_error < 1e-6


@pytest.mark.parametrize("fitted", [False, True])
def test_refits_take_weights_by_the_name_of_a_step(fitted):
    estimator, name, data = BY_STEP["pipeline"]
    model, given = clone(estimator), {name: positive(data)}
    if fitted:
        model.fit(data.X, data.y, **given)
    found = refit_leave_one_out(model, data.X, data.y, rows=[ROW], params=given)
    truth = refit_delta(estimator, data, name)
    assert relative_error(found.coef, truth) < 1e-9


def test_weights_of_a_transformer_are_not_those_of_the_objective():
    scaled = Pipeline([("scale", StandardScaler()), ("lr", Ridge())])
    weight = positive(NUMBERS)
    explainer = InfluenceExplainer(scaled, preprocessing="held")
    explainer.fit(NUMBERS.X, NUMBERS.y, scale__sample_weight=weight)
    Z = StandardScaler().fit(NUMBERS.X, sample_weight=weight).transform(NUMBERS.X)
    plain = InfluenceExplainer(Ridge()).fit(Z, NUMBERS.y)
    expected = plain.self_influence()
    assert relative_error(explainer.self_influence(), expected) < 1e-10


@pytest.mark.parametrize("prefit", [False, True])
def test_weights_given_twice_must_be_the_same(prefit):
    weight, model = positive(NUMBERS), piped(Ridge())
    if prefit:
        model.fit(NUMBERS.X, NUMBERS.y, lr__sample_weight=weight)
    explainer = InfluenceExplainer(model)
    explainer.fit(NUMBERS.X, NUMBERS.y, weight, lr__sample_weight=weight.tolist())
    with pytest.raises(InvalidParameterError, match="sample_weight reaches the model"):
        explainer.fit(NUMBERS.X, NUMBERS.y, weight, lr__sample_weight=2 * weight)


@pytest.mark.parametrize("prefit", [False, True])
def test_weights_of_no_step_are_refused(prefit):
    weight, model = positive(NUMBERS), piped(Ridge())
    if prefit:
        model.fit(NUMBERS.X, NUMBERS.y)
    explainer = InfluenceExplainer(model)
    with pytest.raises(InvalidParameterError, match="takes no 'rl__sample_weight'"):
        explainer.fit(NUMBERS.X, NUMBERS.y, rl__sample_weight=weight)
    with pytest.raises(InvalidParameterError, match="takes no 'weight'"):
        explainer.fit(NUMBERS.X, NUMBERS.y, lr__weight=weight)
    with pytest.raises(InvalidWeightError, match="negative"):
        explainer.fit(NUMBERS.X, NUMBERS.y, lr__sample_weight=-weight)


# --- folds, searches, cleaning ---


def test_folds_take_weights_by_the_name_of_a_step():
    given = {"lr__sample_weight": positive(NUMBERS)}
    model = piped(Ridge())
    found = cross_val_influence(
        model, NUMBERS.X, NUMBERS.y, cv=3, params=given, deletion="exact"
    )
    losses = np.zeros(2)
    for train, test in zip(found.indices["train"], found.indices["test"], strict=True):
        for k, rows in enumerate((train, train[train != ROW])):
            weight = {name: value[rows] for name, value in given.items()}
            fit = clone(model).fit(NUMBERS.X[rows], NUMBERS.y[rows], **weight)
            rest = fit.predict(NUMBERS.X[test]) - NUMBERS.y[test]
            losses[k] += np.mean(rest**2) / 2 * (ROW in train)
    truth = (losses[0] - losses[1]) / found.count[ROW]
    assert found.harm[ROW] == pytest.approx(truth, rel=1e-9)


def test_folds_refuse_weights_given_twice():
    weight = positive(NUMBERS)
    with pytest.raises(InvalidParameterError, match="given twice"):
        cross_val_influence(
            Ridge(),
            NUMBERS.X,
            NUMBERS.y,
            sample_weight=weight,
            params={"sample_weight": weight},
        )


@pytest.mark.parametrize(
    "model, name, data",
    [
        (Ridge(), "alpha", NUMBERS),  # one decomposition for all
        (LogisticRegression(**TIGHT), "C", BINARY),
    ],
    ids=["path", "one by one"],
)
def test_a_search_scores_by_the_weights_of_a_step(model, name, data):
    grid, weight = {f"lr__{name}": [0.01, 1.0, 100.0]}, positive(data)
    search = LeaveOneOutSearchCV(piped(model), grid)
    plain = clone(search).fit(data.X, data.y, sample_weight=weight)
    search.fit(data.X, data.y, lr__sample_weight=weight)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    truth = refit_score(search.best_estimator_, data, weight)
    assert search.best_score_ == pytest.approx(truth, rel=1e-3)


def refit_score(estimator, data, weight):
    """The weighted score of leave-one-out predictions by refits."""
    left_out = []
    for row in range(len(data.y)):
        kept = np.arange(len(data.y)) != row
        fit = clone(estimator)
        fit.fit(data.X[kept], data.y[kept], lr__sample_weight=weight[kept])
        left_out.append(fit.predict(data.X[[row]])[0])
    misses = weight * (data.y - np.array(left_out)) ** 2
    centre = np.average(data.y, weights=weight)
    spread = weight * (data.y - centre) ** 2
    if data is BINARY:  # accuracy
        return 1 - misses.sum() / weight.sum()
    return 1 - misses.sum() / spread.sum()


@pytest.mark.parametrize("action", ["drop", "downweight"])
def test_the_cleaner_takes_weights_by_the_name_of_a_step(action):
    weight = positive(BINARY)
    cleaner = InfluenceCleaner(
        piped(LogisticRegression(**TIGHT)), action=action, contamination=0.1
    )
    plain = clone(cleaner).fit(BINARY.X, BINARY.y, sample_weight=weight)
    cleaner.fit(BINARY.X, BINARY.y, lr__sample_weight=weight)
    np.testing.assert_allclose(cleaner.row_scores_, plain.row_scores_)
    left = weight.copy()
    chosen = cleaner.cleaned_indices_
    left[chosen] *= 0 if action == "drop" else (np.arange(len(chosen)) + 0.5) / 6
    expected = clone(cleaner.estimator).fit(BINARY.X, BINARY.y, lr__sample_weight=left)
    found = coefficients(cleaner.estimator_)
    assert relative_error(found, coefficients(expected)) < 1e-6


def test_the_cleaner_judges_folds_with_the_weights_of_a_step():
    weight = positive(BINARY)
    cleaner = InfluenceCleaner(piped(LogisticRegression()), criterion="influence")
    plain = clone(cleaner).fit(BINARY.X, BINARY.y, sample_weight=weight)
    cleaner.fit(BINARY.X, BINARY.y, lr__sample_weight=weight)
    np.testing.assert_allclose(cleaner.row_scores_, plain.row_scores_)


# --- metadata routing, with a name of the user's own ---


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


def asking(model):
    return model.set_fit_request(sample_weight="w")


HOLDERS = {
    "alone": (lambda: asking(Ridge()), NUMBERS),
    "pipeline": (lambda: piped(asking(Ridge())), NUMBERS),
    "search": (
        lambda: GridSearchCV(piped(asking(Ridge())), {"lr__alpha": [0.5]}, cv=3),
        NUMBERS,
    ),
    "transformed target": (
        lambda: TransformedTargetRegressor(piped(asking(Ridge()))),
        NUMBERS,
    ),
    "one per output": (lambda: piped(MultiOutputRegressor(asking(Ridge()))), PAIRS),
    "one against the rest": (
        lambda: piped(OneVsRestClassifier(asking(LogisticRegression(**TIGHT)))),
        THREE,
    ),
}


@pytest.mark.parametrize("case", HOLDERS)
@pytest.mark.parametrize("prefit", [False, True], ids=["unfitted", "prefit"])
def test_routed_weights_are_those_of_the_objective(routing, case, prefit):
    make, data = HOLDERS[case]
    model, name = make(), "sample_weight" if case == "alone" else "w"
    if prefit:
        model.fit(data.X, data.y, **{name: positive(data)})
    explainer = InfluenceExplainer(model, deletion="exact")
    explainer.fit(data.X, data.y, w=positive(data))
    truth = refit_delta(make(), data, name)
    assert relative_error(explained_delta(explainer), truth) < 1e-5


def test_refits_route_weights(routing):
    model, data = piped(asking(Ridge())), NUMBERS
    truth = refit_delta(model, data, "w")
    given = {"w": positive(data)}
    found = refit_leave_one_out(model, data.X, data.y, rows=[ROW], params=given)
    assert relative_error(found.coef, truth) < 1e-9
    plain = piped(Ridge().set_fit_request(sample_weight=True))
    found = refit_leave_one_out(
        plain, data.X, data.y, rows=[ROW], sample_weight=positive(data)
    )
    assert relative_error(found.coef, truth) < 1e-9


def test_weights_that_the_model_does_not_ask_for_are_not_in_its_objective(routing):
    scaler = StandardScaler().set_fit_request(sample_weight=True)
    model = Pipeline(
        [("scale", scaler), ("lr", Ridge().set_fit_request(sample_weight=False))]
    )
    weight = positive(NUMBERS)
    explainer = InfluenceExplainer(model)
    explainer.fit(NUMBERS.X, NUMBERS.y, sample_weight=weight)
    Z = StandardScaler().fit(NUMBERS.X, sample_weight=weight).transform(NUMBERS.X)
    expected = InfluenceExplainer(Ridge()).fit(Z, NUMBERS.y).self_influence()
    assert relative_error(explainer.self_influence(), expected) < 1e-10


def test_weights_of_a_fitted_model_given_twice_must_be_the_same(routing):
    weight, model = positive(NUMBERS), piped(asking(Ridge()))
    explainer = InfluenceExplainer(model.fit(NUMBERS.X, NUMBERS.y, w=weight))
    explainer.fit(NUMBERS.X, NUMBERS.y, sample_weight=weight, w=weight)
    with pytest.raises(InvalidParameterError, match="sample_weight reaches the model"):
        explainer.fit(NUMBERS.X, NUMBERS.y, sample_weight=weight, w=2 * weight)


@pytest.mark.parametrize("hold", [piped, lambda model: model], ids=["piped", "alone"])
def test_a_search_and_a_cleaner_route_weights(routing, hold):
    weight, data = positive(BINARY), BINARY
    model = asking(LogisticRegression(**TIGHT))
    given = {"w": weight}
    with config_context(enable_metadata_routing=False):
        plain = InfluenceExplainer(LogisticRegression(**TIGHT))
        plain.fit(data.X, data.y, sample_weight=weight)
    grid = {"lr__C" if hold is piped else "C": [1.0, 3.0]}
    search = LeaveOneOutSearchCV(hold(model), grid, scoring="neg_log_loss")
    search.fit(data.X, data.y, **given)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == pytest.approx(plain.loo_score("neg_log_loss"))
    for action in ("drop", "downweight"):
        cleaner = InfluenceCleaner(hold(model), action=action, contamination=0.1)
        cleaner.fit(data.X, data.y, **given)
        chosen = cleaner.cleaned_indices_
        left = weight.copy()
        left[chosen] *= 0 if action == "drop" else (np.arange(len(chosen)) + 0.5) / 6
        expected = LogisticRegression(**TIGHT).fit(data.X, data.y, left)
        found = coefficients(cleaner.estimator_)
        assert relative_error(found, expected.coef_) < 1e-6
    cleaner.fit(
        data.X, data.y
    )  # downweighted rows, by the name that the model asks for
    assert len(cleaner.cleaned_indices_) == 6


def test_folds_route_weights(routing):
    weight, model = positive(NUMBERS), piped(asking(LinearRegression()))
    found = cross_val_influence(model, NUMBERS.X, NUMBERS.y, params={"w": weight})
    with config_context(enable_metadata_routing=False):
        expected = cross_val_influence(
            LinearRegression(), NUMBERS.X, NUMBERS.y, sample_weight=weight
        )
    assert relative_error(found.harm, expected.harm) < 1e-9


def test_a_frozen_model_takes_its_weights_by_their_plain_name(routing):
    weight = positive(NUMBERS)
    fitted = FrozenEstimator(Ridge().fit(NUMBERS.X, NUMBERS.y, weight))
    explainer = InfluenceExplainer(fitted, deletion="exact")
    explainer.fit(NUMBERS.X, NUMBERS.y, sample_weight=weight)
    with config_context(enable_metadata_routing=False):
        truth = refit_delta(Ridge(), NUMBERS, "sample_weight")
    assert relative_error(explained_delta(explainer), truth) < 1e-9
