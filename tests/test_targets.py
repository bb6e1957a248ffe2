"""Transformed targets, learned again without a row, beside ``clone(estimator).fit``."""

import numpy as np
import pytest
from reference import relative_error
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import (
    BayesianRidge,
    HuberRegressor,
    Lasso,
    LinearRegression,
    Ridge,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from skinfluence import InfluenceExplainer, check_leave_one_out, refit_leave_one_out

RNG = np.random.default_rng(0)
N = 25
X = RNG.normal(size=(N, 3)) * [1.0, 10.0, 0.1]
Y = np.exp(X @ [0.5, 0.05, 3.0] + 0.3 * RNG.normal(size=N)) + 3.0
TWO = np.c_[Y, X[:, 0] - Y**2 / 9]
SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    MinMaxScaler((-1, 3)),
    MaxAbsScaler(),
    RobustScaler(),
    make_pipeline(MinMaxScaler(), StandardScaler()),
]
MODELS = {
    "ridge": (Ridge(0.5), Y),
    "linear": (LinearRegression(), Y),
    "scaled": (make_pipeline(StandardScaler(), Ridge(3.0)), Y),
    "two outputs": (make_pipeline(MinMaxScaler(), Ridge(0.5)), TWO),
}


def without(row):
    return np.delete(np.arange(N), row)


def last_step(fit):
    return getattr(fit.regressor_, "steps", [("", fit.regressor_)])[-1][1]


def parameters(values):
    """Coefficients and intercepts side by side."""
    coef = np.asarray(values.coef)
    return np.c_[coef.reshape(len(coef), -1), values.intercept]


def fitted_parameters(fit):
    model = last_step(fit)
    return np.r_[model.coef_.ravel(), model.intercept_]


@pytest.mark.parametrize("scaler", SCALERS, ids=str)
@pytest.mark.parametrize("case", MODELS)
def test_scaled_targets_are_followed(case, scaler):
    model, y = MODELS[case]
    estimator = TransformedTargetRegressor(model, transformer=scaler)
    explainer = InfluenceExplainer(estimator, deletion="exact").fit(X, y)
    assert "transformer" in explainer.followed_steps_
    assert not explainer.held_steps_
    full = explainer.estimator_
    fits = [clone(estimator).fit(X[rest], y[rest]) for rest in map(without, range(N))]
    before, truth = (
        full.predict(X),
        [fit.predict(X[[i]])[0] for i, fit in enumerate(fits)],
    )
    assert relative_error(explainer.loo_predict() - before, truth - before) < 1e-8
    deltas = np.array([fitted_parameters(fit) for fit in fits]) - fitted_parameters(
        full
    )
    assert relative_error(parameters(explainer.loo_params()), deltas) < 1e-8


@pytest.mark.parametrize(
    "estimator", [Ridge(0.5), make_pipeline(StandardScaler(), Ridge(0.5))]
)
def test_influence_on_parameters_counts_what_is_learned_of_targets(estimator):
    model = TransformedTargetRegressor(estimator, transformer=StandardScaler())
    explainer = InfluenceExplainer(model, deletion="jackknife").fit(X, Y)
    influence, deltas = explainer.param_influence(), explainer.loo_params()
    assert relative_error(-parameters(deltas) * N, parameters(influence)) < 1e-9
    # Many copies of all rows, and one more of row 4: a small step of its weight.
    name = (
        "regressor__alpha"
        if isinstance(estimator, Ridge)
        else "regressor__ridge__alpha"
    )
    errors = []
    for copies in (20, 40):
        many = clone(model).set_params(**{name: 0.5 * copies})
        rows = np.tile(np.arange(N), copies)
        before = fitted_parameters(many.fit(X[rows], Y[rows]))
        rows = np.r_[rows, 4]
        step = copies * (fitted_parameters(many.fit(X[rows], Y[rows])) - before)
        errors.append(relative_error(-step, parameters(deltas)[4]))
    assert errors[1] < 0.6 * errors[0] < 0.06


def test_groups_and_weights_and_the_judge():
    model = TransformedTargetRegressor(
        MODELS["scaled"][0], transformer=StandardScaler()
    )
    weight = RNG.uniform(0.5, 2.0, size=N)
    given = {"ridge__sample_weight": weight}
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, Y, **given)
    groups = [[0, 1, 2], [5, 7]]
    delta = explainer.group_delta(X[-4:], groups=groups)
    for group, change in zip(groups, np.asarray(delta).T, strict=True):
        rest = np.delete(np.arange(N), group)
        fit = clone(model).fit(X[rest], Y[rest], ridge__sample_weight=weight[rest])
        truth = fit.predict(X[-4:]) - explainer.estimator_.predict(X[-4:])
        own = change * explainer.estimator_.transformer_.scale_
        assert relative_error(own, truth) < 1e-8
    check = check_leave_one_out(explainer, X, Y, rows=[0, 3])
    assert check.refitted_steps == ["transformer", "standardscaler"]
    assert check.param_error < 1e-8
    assert check.max_abs_error < 1e-8 * np.max(np.abs(check.refit))


def test_chosen_strengths_stay():
    model = TransformedTargetRegressor(
        BayesianRidge(tol=1e-12), transformer=MinMaxScaler()
    )
    explainer = InfluenceExplainer(model).fit(X, Y)
    assert explainer.followed_steps_ == ["transformer"]
    truth = refit_leave_one_out(explainer.estimator_, X, Y, rows=[0, 4])
    assert (
        relative_error(parameters(explainer.loo_params([0, 4])), parameters(truth))
        < 1e-8
    )


HELD = {
    "lasso": (Lasso(0.01), StandardScaler(), "an L1 penalty"),
    "huber": (HuberRegressor(), StandardScaler(), "not squared"),
    "shift": (Ridge(fit_intercept=False), StandardScaler(), "no intercept"),
    "quantiles": (Ridge(), QuantileTransformer(n_quantiles=9), "curve"),
    "powers": (Ridge(), PowerTransformer(), "curve"),
    "logarithm after": (
        Ridge(),
        make_pipeline(MinMaxScaler((1, 2)), FunctionTransformer(np.log, np.exp)),
        "mixes or bends",
    ),
}


@pytest.mark.parametrize("case", HELD)
def test_targets_that_are_not_followed_are_held_by_name(case):
    model, transformer, reason = HELD[case]
    estimator = TransformedTargetRegressor(model, transformer=transformer)
    explainer = InfluenceExplainer(estimator).fit(X, Y)
    assert explainer.held_steps_ == ["transformer"]
    assert reason in explainer.held_reasons_["transformer"]


@pytest.mark.parametrize("case", ["quantiles", "lasso"])
def test_targets_that_are_not_followed_are_refitted(case):
    model, transformer, _ = HELD[case]
    if case == "lasso":
        model = Lasso(0.01, tol=1e-14, max_iter=100_000)
    estimator = TransformedTargetRegressor(model, transformer=transformer)
    few = slice(12)
    explainer = InfluenceExplainer(
        estimator, deletion="exact", preprocessing="refitted"
    ).fit(X[few], Y[few])
    assert explainer.followed_steps_ == ["transformer"]
    truth = []
    for row in range(12):
        rest = np.delete(np.arange(12), row)
        truth.append(clone(estimator).fit(X[rest], Y[rest]).predict(X[[row]])[0])
    predicted = explainer.loo_predict()
    inside = (np.array(truth) > Y[few].min()) & (np.array(truth) < Y[few].max())
    if case == "lasso":
        inside[:] = True
    assert relative_error(predicted[inside], np.array(truth)[inside]) < 1e-8


def test_functions_of_targets_learn_nothing():
    step = FunctionTransformer(np.log, np.exp)
    for model in (Lasso(0.01), Ridge()):
        estimator = TransformedTargetRegressor(model, transformer=step)
        explainer = InfluenceExplainer(estimator).fit(X, Y)
        assert explainer.followed_steps_ == ["transformer"]
    estimator = TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp)
    assert not InfluenceExplainer(estimator).fit(X, Y).held_steps_
    # A unit alone needs no intercept.
    estimator = TransformedTargetRegressor(
        Ridge(fit_intercept=False), transformer=MaxAbsScaler()
    )
    explainer = InfluenceExplainer(estimator).fit(X, Y)
    fits = [clone(estimator).fit(X[rest], Y[rest]) for rest in map(without, range(N))]
    truth = [fit.predict(X[[i]])[0] for i, fit in enumerate(fits)]
    assert relative_error(explainer.loo_predict(), np.array(truth)) < 1e-8


def test_held_targets_stay():
    estimator = TransformedTargetRegressor(Ridge(0.5), transformer=StandardScaler())
    explainer = InfluenceExplainer(estimator, preprocessing="held").fit(X, Y)
    assert explainer.held_steps_ == ["transformer"]
    held = refit_leave_one_out(explainer.estimator_, X, Y, preprocessing="held")
    assert relative_error(parameters(explainer.loo_params()), parameters(held)) < 1e-8
