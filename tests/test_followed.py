"""Pipelines without rows: what their steps learn again, beside refits of the whole."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.impute import KNNImputer
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    LeaveOneOutSearchCV,
    check_leave_one_out,
    refit_leave_one_out,
)
from skinfluence.curvature import RowwiseCurvature
from skinfluence.deletion._leaving import OneByOne
from skinfluence.deletion._one_step import Newton
from skinfluence.exceptions import (
    PreprocessingDeletionWarning,
    UnsupportedEstimatorError,
)
from skinfluence.refit import left_out_outputs

N, GROUP = 18, np.array([0, 3, 5])
NEWTON = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 10_000}
MODELS = {
    "linear": LinearRegression(),
    "ridge": Ridge(2.0),
    "lasso": Lasso(0.1, tol=1e-14, max_iter=10**6),
    "elastic net": ElasticNet(0.1, tol=1e-14, max_iter=10**6),
    "Poisson": PoissonRegressor(alpha=0.1, **NEWTON),
    "Huber": HuberRegressor(alpha=0.1, tol=1e-10, max_iter=10_000),
    "logistic": LogisticRegression(C=0.7, **NEWTON),
    "softmax": LogisticRegression(C=0.7, **NEWTON),
}
SCALERS = {
    "standard": StandardScaler(),
    "standard, mean alone": StandardScaler(with_std=False),
    "range": MinMaxScaler((-1, 2)),
    "largest": MaxAbsScaler(),
    "quantiles": RobustScaler(),
    "two after another": make_pipeline(MaxAbsScaler(), StandardScaler()),
    "columns": make_column_transformer(
        (StandardScaler(), [0, 1]), ("passthrough", [2]), remainder=MinMaxScaler()
    ),
    "union": make_union(
        StandardScaler(), make_pipeline(FunctionTransformer(np.cbrt), MinMaxScaler())
    ),
    "after a function": make_pipeline(FunctionTransformer(np.cbrt), StandardScaler()),
}


def rows_of(name, wild=False):
    """Columns in other units, with a value that makes much of one's spread."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(N, 4)) * [1.0, 1e3, 1e-2, 1.0] + [0.0, 10.0, 0.0, 3.0]
    X[2, 1] = 8e3
    if wild:
        X[2, 1] = 1e8
    signal = X[:, 0] + X[:, 3] - 3
    if name == "logistic":
        return X, np.where(signal + rng.logistic(size=N) > 0, "yes", "no")
    if name == "softmax":
        return X, np.digitize(signal + rng.normal(size=N), [-0.7, 0.7])
    if name == "Poisson":
        return X, rng.poisson(np.exp(signal / 2)).astype(float)
    return X, signal + rng.normal(size=N)


def decisions(explainer, X, **options):
    """Linear outputs of rows without each row, minus with it."""
    return explainer.loo_delta(X, on="decision", **options)


def error(result, truth):
    return np.abs(result - truth).max() / np.abs(truth).max()


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("name", MODELS)
def test_exact_deletion_is_the_refit_of_the_pipeline(name, scaler):
    X, y = rows_of(name)
    pipe = make_pipeline(clone(SCALERS[scaler]), clone(MODELS[name])).fit(X, y)
    explainer = InfluenceExplainer(pipe, deletion="exact", tol=1e-11).fit(X, y)
    assert explainer.held_steps_ == []
    assert explainer.followed_steps_
    outputs = explainer._study.outputs
    truth = left_out_outputs(pipe, X, y, np.arange(N)) - outputs
    u = explainer._study.deletion(N).left_out(slice(0, N))[0]
    assert error(u[:, : outputs.shape[1]] - outputs, truth) < 1e-8
    together = left_out_outputs(pipe, X, y, [GROUP], X_test=X)[0] - outputs
    theta = explainer._study.deletion(1).group_deltas([GROUP]).theta
    moves = explainer._study.objective.moves(theta.transpose(1, 2, 0))[..., 0]
    assert error(moves[:, : outputs.shape[1]], together) < 1e-8


@pytest.mark.parametrize("name", ["ridge", "logistic", "Poisson"])
def test_a_wild_value_is_learned_away(name):
    """It makes all of the spread of its column."""
    X, y = rows_of(name, wild=True)
    pipe = make_pipeline(StandardScaler(), clone(MODELS[name])).fit(X, y)
    explainer = InfluenceExplainer(pipe).fit(X, y)
    truth = left_out_outputs(pipe, X, y, [2], X_test=X)[0] - explainer._study.outputs
    theta = explainer._study.deletion(1).deltas(np.array([2])).theta
    moves = explainer._study.objective.moves(theta.transpose(1, 2, 0))[..., 0]
    assert error(moves, truth) < 1e-6


@pytest.mark.parametrize(
    ("load", "C"),
    [(load_breast_cancer, 1.0), (load_breast_cancer, 100), (load_wine, 1)],
)
def test_newton_has_the_sign_and_size_of_the_refit(load, C):
    X, y = load(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), LogisticRegression(C=C, **NEWTON)).fit(X, y)
    rows = np.arange(0, len(X), len(X) // 40)
    fitted = pipe.decision_function(X)
    truth = left_out_outputs(pipe, X, y, rows)
    truth = truth.reshape(fitted[rows].shape) - fitted[rows]
    explainer = InfluenceExplainer(pipe).fit(X, y)
    delta = explainer.loo_predict(method="decision_function") - fitted
    large = np.abs(truth) > np.median(np.abs(truth))
    assert np.median(np.abs(delta[rows] - truth) / np.abs(truth)) < 0.01
    assert np.all(np.sign(delta[rows][large]) == np.sign(truth[large]))


@pytest.mark.parametrize("name", ["linear", "ridge", "logistic"])
def test_influence_is_the_derivative_in_a_weight_of_scaler_and_model(name):
    X, y = rows_of(name)
    pipe = make_pipeline(StandardScaler(), clone(MODELS[name]))
    step, h, row = pipe.steps[-1][0], 1e-4, 4

    def fit(weight):
        weights = {
            f"{each}__sample_weight": weight for each in ("standardscaler", step)
        }
        return clone(pipe).fit(X, y, **weights)

    def shifted(by):
        weight = np.ones(N)
        weight[row] += by
        return fit(weight)

    def outputs(model):
        read = getattr(model, "decision_function", model.predict)
        return read(X)

    up, down = shifted(h), shifted(-h)
    explainer = InfluenceExplainer(fit(np.ones(N))).fit(X, y)
    influence = explainer.influence(X, on="decision")[:, row] / N
    slope = (outputs(up) - outputs(down)) / (2 * h)
    assert error(influence, slope) < 1e-5
    group = explainer.group_influence(X, groups=[[row]], on="decision")[:, 0] / N
    assert error(group, slope) < 1e-5
    params = explainer.param_influence([row])
    coef = (up[-1].coef_ - down[-1].coef_) / (2 * h)
    assert error(params.coef[0] / N, coef) < 1e-5
    jackknife = InfluenceExplainer(pipe, deletion="jackknife").fit(X, y)
    assert error(jackknife.loo_params([row]).coef[0], -coef) < 1e-5
    assert error(decisions(jackknife, X)[:, row], -slope) < 1e-5
    np.testing.assert_allclose(
        explainer.self_influence()[row], explainer.influence(X, y)[row, row], rtol=1e-9
    )


@pytest.mark.parametrize("name", ["ridge", "lasso", "softmax"])
def test_parameters_are_in_the_units_of_the_refit(name):
    X, y = rows_of(name)
    pipe = make_pipeline(StandardScaler(), clone(MODELS[name])).fit(X, y)
    truth = refit_leave_one_out(pipe, X, y)
    params = InfluenceExplainer(pipe, deletion="exact").fit(X, y).loo_params()
    for part in ("coef", "intercept"):
        assert error(params[part], truth[part]) < 1e-7
        gap = np.abs(params[part] - truth[part]).reshape(N, -1)
        assert np.all(gap.max(axis=1) <= params.error_bound + 1e-9)


def test_all_that_is_asked_of_left_out_rows_follows():
    X, y = rows_of("ridge")
    pipe = make_pipeline(StandardScaler(), Ridge(2.0))
    truth = cross_val_predict(pipe, X, y, cv=LeaveOneOut())
    explainer = InfluenceExplainer(pipe).fit(X, y)
    np.testing.assert_allclose(explainer.loo_predict(), truth)
    folds = np.arange(N) % 3
    cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(3)]
    np.testing.assert_allclose(
        explainer.cv_predict(folds), cross_val_predict(pipe, X, y, cv=cv)
    )
    strengths = {"ridge__alpha": [0.1, 2.0]}
    search = LeaveOneOutSearchCV(
        pipe, strengths, scoring="neg_mean_squared_error", refit=False
    ).fit(X, y)
    score = search.cv_results_["mean_test_score"][1]
    np.testing.assert_allclose(score, -np.mean((y - truth) ** 2))
    cleaner = InfluenceCleaner(pipe).fit(X, y)
    np.testing.assert_allclose(cleaner.row_scores_, (y - truth) ** 2 / 2)


def test_a_chosen_set_is_refitted_whole():
    X, y = rows_of("ridge")
    explainer = InfluenceExplainer(make_pipeline(StandardScaler(), Ridge(2.0))).fit(
        X, y
    )
    chosen = explainer.influential_set((X[:5], y[:5]), k=2, direction="increase")
    np.testing.assert_allclose(chosen.predicted, chosen.achieved)
    loss = explainer.group_delta(X[:5], y[:5], groups=[chosen.rows], aggregate="mean")
    np.testing.assert_allclose(chosen.achieved - chosen.initial, loss[0])


def mixed():
    """A table with gaps, and a pipeline with a step that has no rule."""
    X, y = rows_of("logistic")
    X[[1, 6], 0] = np.nan
    steps = make_pipeline(KNNImputer(n_neighbors=2), StandardScaler())
    return X, y, make_pipeline(steps, LogisticRegression(C=0.7, **NEWTON))


def test_a_step_without_a_rule_is_held_by_name_or_refitted():
    X, y, pipe = mixed()
    held = InfluenceExplainer(pipe, deletion="exact").fit(X, y)
    assert held.followed_steps_ == ["pipeline__standardscaler"]
    assert held.held_steps_ == ["pipeline__knnimputer"]
    assert "fills in" in held.held_reasons_["pipeline__knnimputer"]
    refitted = InfluenceExplainer(pipe, preprocessing="refitted", deletion="exact")
    refitted.fit(X, y)
    assert refitted.held_steps_ == []
    outputs = refitted.loo_predict(method="decision_function")
    truth = left_out_outputs(pipe, X, y, np.arange(N))[:, 0]
    np.testing.assert_allclose(outputs, truth, rtol=1e-9)
    assert error(held.loo_predict(method="decision_function"), truth) > 1e-4
    delta = decisions(refitted, X[:3])
    tests = left_out_outputs(pipe, X, y, np.arange(N), X_test=X[:3])[..., 0]
    fitted = refitted.decision_function(X[:3])
    np.testing.assert_allclose(delta, tests.T - fitted[:, None], atol=1e-9)
    values, _ = refitted.top_influences(X[:3], k=2, on="decision", quantity="loo_delta")
    np.testing.assert_allclose(
        np.abs(values), np.sort(np.abs(delta), axis=1)[:, ::-1][:, :2], atol=1e-9
    )
    together = refitted.group_delta(X[:3], groups=[GROUP], on="decision")[:, 0]
    np.testing.assert_allclose(
        together,
        left_out_outputs(pipe, X, y, [GROUP], X_test=X[:3])[0, :, 0] - fitted,
        atol=1e-9,
    )
    truth = refit_leave_one_out(pipe, X, y, rows=[0, 1])
    np.testing.assert_allclose(refitted.loo_params([0, 1]).coef, truth.coef, atol=1e-9)


def test_refitting_without_a_rule_needs_exact_deletion_and_has_no_derivative():
    X, y, pipe = mixed()
    with pytest.raises(UnsupportedEstimatorError, match=r"knnimputer .*fills in"):
        InfluenceExplainer(pipe, preprocessing="refitted").fit(X, y)
    refitted = InfluenceExplainer(pipe, preprocessing="refitted", deletion="exact")
    refitted.fit(X, y)
    for question in (
        lambda: refitted.influence(X, y),
        refitted.self_influence,
        refitted.param_influence,
        refitted.diagnostics,
        lambda: refitted.group_influence(X, groups=[[0]]),
        lambda: refitted.influential_set(0, k=1),
    ):
        with pytest.raises(UnsupportedEstimatorError, match="knnimputer"):
            question()


def test_held_is_the_last_step_alone():
    X, y = rows_of("ridge")
    scaler = StandardScaler().fit(X)
    pipe = make_pipeline(scaler, Ridge(2.0)).fit(X, y)
    explainer = InfluenceExplainer(pipe, preprocessing="held").fit(X, y)
    assert explainer.held_steps_ == ["standardscaler"]
    alone = InfluenceExplainer(Ridge(2.0)).fit(scaler.transform(X), y)
    np.testing.assert_allclose(explainer.loo_predict(), alone.loo_predict())


def test_a_shift_needs_an_intercept_that_takes_it_up():
    X, y = rows_of("logistic")
    pipe = make_pipeline(StandardScaler(), LinearSVC())
    explainer = InfluenceExplainer(pipe).fit(X, y)
    assert explainer.held_steps_ == ["standardscaler"]
    assert "intercept" in explainer.held_reasons_["standardscaler"]
    pipe = make_pipeline(StandardScaler(with_mean=False), Ridge(fit_intercept=False))
    X, y = rows_of("ridge")
    explainer = InfluenceExplainer(pipe).fit(X, y)
    truth = cross_val_predict(pipe, X, y, cv=LeaveOneOut())
    np.testing.assert_allclose(explainer.loo_predict(), truth)


def test_the_check_refits_what_is_followed():
    X, y = rows_of("logistic")
    pipe = make_pipeline(StandardScaler(), LogisticRegression(C=0.7, **NEWTON))
    explainer = InfluenceExplainer(pipe, deletion="exact", tol=1e-11).fit(X, y)
    agreement = check_leave_one_out(explainer, X, y, X_test=X, y_test=y)
    assert agreement.refitted_steps == ["standardscaler"]
    assert agreement.param_error < 1e-8
    np.testing.assert_allclose(agreement.predicted, agreement.refit, atol=1e-10)


def test_a_group_of_all_rows_of_a_category_is_said_to_hold_its_columns():
    X, y = rows_of("ridge")
    X[:, 0] = np.arange(N) % 3
    steps = make_column_transformer(
        (OneHotEncoder(drop="first"), [0]), (StandardScaler(), [1, 2, 3])
    )
    explainer = InfluenceExplainer(make_pipeline(steps, Ridge(2.0))).fit(X, y)
    assert explainer.held_steps_ == []
    groups = [np.flatnonzero(X[:, 0] == 0), GROUP]
    with pytest.warns(PreprocessingDeletionWarning, match="Without group 0, some"):
        delta = explainer.group_delta(X, groups=groups, on="decision")
    assert np.all(np.isfinite(delta))


# --- bounds ---


def growth(point, rows):
    """How much longer the inverse curvature is at most without rows, by its matrices."""
    whole = point.curvature.as_matrix()
    rest = RowwiseCurvature(point.objective.without(rows), point.theta).as_matrix()
    pairs = zip(whole, rest, strict=True)
    return max(eigh(H, H_rest, eigvals_only=True)[-1] for H, H_rest in pairs)


@pytest.mark.parametrize("name", ["ridge", "logistic", "Poisson"])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 1e3])
def test_the_inverse_curvature_without_rows_is_within_its_stretch(name, strength):
    """A strong penalty in smaller units is most of what rows take from the curvature."""
    X, y = rows_of(name)
    X[2, 1] = 3.3e3  # a third of the spread of its column
    models = {
        "ridge": Ridge(strength),
        "logistic": LogisticRegression(C=1 / strength, **NEWTON),
        "Poisson": PoissonRegressor(alpha=strength / N, **NEWTON),
    }
    pipe = make_pipeline(StandardScaler(), models[name])
    study = InfluenceExplainer(pipe).fit(X, y)._study
    point, newton = study.point, Newton(study.point, study.solver)
    single = OneByOne.of(point, np.arange(N))
    assert 0.5 < single.units.min() ** 2 < 0.7
    leaving = [(single.stretch[row], row) for row in range(N)]
    for rows in ([2], [2, 3]):  # the growth without large groups is an estimate
        leaving.append((newton.group(np.array(rows)).stretch[0], np.array(rows)))
    for stretch, rows in leaving:
        assert growth(point, rows) <= stretch * (1 + 1e-9)


@pytest.mark.parametrize("deletion", ["newton", "halley"])
@pytest.mark.parametrize("name", ["logistic", "Poisson"])
def test_steps_of_a_followed_pipeline_are_within_their_bounds(name, deletion):
    X, y = rows_of(name)
    X[2, 1], rows = 3.3e3, [2, 3, 5]
    pipe = make_pipeline(StandardScaler(), clone(MODELS[name])).fit(X, y)
    truth = refit_leave_one_out(pipe, X, y, rows=rows)
    params = InfluenceExplainer(pipe, deletion=deletion).fit(X, y).loo_params(rows)
    gap = [params[part] - truth[part] for part in ("coef", "intercept")]
    gap = np.concatenate([np.reshape(part, (len(rows), -1)) for part in gap], axis=1)
    length = np.linalg.norm(gap, axis=1)
    assert np.all(length > 1e-7)  # one step does not lead all the way
    assert np.all(length <= params.error_bound)
    assert np.all(np.isfinite(params.error_bound[1:]))
