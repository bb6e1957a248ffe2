"""Gaps that steps fill in anew without rows, in the fitted rows and at new points."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)

from skinfluence import InfluenceExplainer
from skinfluence._sources import source_of
from skinfluence.deletion import _own_moves
from skinfluence.exceptions import PreprocessingDeletionWarning
from skinfluence.preprocessing import follow
from skinfluence.refit import left_out_outputs

N = 30
GROUP = [0, 3, 5, 8]
TIGHT = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}


def gappy(seed=0):
    """Four columns, three of them with gaps; one has few values."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 4)) * [1, 3, 0.2, 1] + [0, 5, -1, 2]
    X[:, 3] = np.round(X[:, 3])
    gaps = rng.random(X.shape) < 0.2
    gaps[:, 0] = gaps[0] = False
    X[gaps] = np.nan
    return X


STEPS = {
    "mean": make_pipeline(SimpleImputer()),
    "median": make_pipeline(SimpleImputer(strategy="median")),
    "to the largest": make_pipeline(SimpleImputer(), MaxAbsScaler()),
    "mean, then scaled": make_pipeline(SimpleImputer(), StandardScaler()),
    "median, then scaled": make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler()
    ),
    "scaled, then mean": make_pipeline(StandardScaler(), SimpleImputer()),
    "scaled, then median": make_pipeline(
        RobustScaler(), SimpleImputer(strategy="median")
    ),
    "with its indicator": make_pipeline(
        SimpleImputer(add_indicator=True), StandardScaler()
    ),
    "to a range": make_pipeline(SimpleImputer(), MinMaxScaler()),
    "of columns": make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), [2, 1]),
        (SimpleImputer(strategy="median"), [3]),
        remainder="passthrough",
    ),
    "several before one": make_pipeline(
        make_column_transformer(
            (SimpleImputer(), [0, 1]), (SimpleImputer(strategy="median"), [3, 2])
        ),
        StandardScaler(),
    ),
    "one after the other": make_pipeline(
        make_column_transformer((SimpleImputer(), [1, 2]), remainder="passthrough"),
        SimpleImputer(strategy="median"),
    ),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_what_is_filled_in_moves_as_in_refits(steps):
    X = gappy()
    fitted = clone(steps).fit(X)
    Z = np.asarray(fitted.transform(X))
    result = follow(
        fitted,
        source_of(Z),
        {},
        absorbs_shifts=True,
        X=X,
    )
    assert not result.held_steps
    gaps, following, every = result.gaps, result.following, np.arange(N)
    affine = following.without(every)
    moves = following.fills.without(every, gaps.which)
    of_group = following.without_group(np.array(GROUP))
    moves_of_group = following.fills.without_group(np.array(GROUP), gaps.which)
    for i in [*every, GROUP]:
        ratio, shift = (part[[i]] for part in affine) if i is not GROUP else of_group
        move = moves_of_group if i is GROUP else moves[[i]]
        expected = Z.copy()
        expected[:, gaps.features] += gaps.mask * move
        expected = (expected - shift) / ratio
        refit = clone(steps).fit(np.delete(X, i, axis=0)).transform(X)
        np.testing.assert_allclose(expected, refit, atol=1e-11)
    assert np.abs(moves).max() > 1e-3


def model_of(kind):
    """A linear model, and targets for it."""
    X, rng = np.nan_to_num(gappy()), np.random.default_rng(1)
    u = X @ [1.0, 0.2, 1.0, -0.5] + 0.5 * rng.normal(size=N)
    if kind == "logistic":
        return LogisticRegression(**TIGHT), (u > np.median(u)).astype(int)
    if kind == "softmax":
        y = np.digitize(u, np.quantile(u, [0.3, 0.6]))
        return LogisticRegression(**TIGHT), y
    if kind == "poisson":
        y = rng.poisson(np.exp(0.3 * u - 0.3 * u.mean())).astype(float)
        options = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
        return PoissonRegressor(alpha=0.1, **options), y
    if kind == "lasso":
        return Lasso(0.003, tol=1e-13, max_iter=100000), u
    return Ridge(0.5), u


@pytest.mark.parametrize("kind", ["logistic", "softmax", "poisson", "lasso", "ridge"])
def test_rows_and_groups_are_deleted_as_in_refits(kind):
    X, (model, y) = gappy(), model_of(kind)
    pipe = make_pipeline(SimpleImputer(), StandardScaler(), model).fit(X, y)
    tests = X[[5, 9, 20]]
    classifies = kind in ("logistic", "softmax")
    on = {"on": "decision"} if classifies else {}
    method = "decision_function" if classifies else "predict"
    held = InfluenceExplainer(pipe, preprocessing="held").fit(X, y)
    own = left_out_outputs(pipe, X, y, np.arange(N))
    points = left_out_outputs(pipe, X, y, [*np.arange(N), GROUP], X_test=tests)
    base = left_out_outputs(pipe, X, y, [[]], X_test=tests)[0]
    if kind == "poisson":
        own, points, base = np.exp(own), np.exp(points), np.exp(base)
    for deletion, most, median in (("exact", 1e-8, 1e-8), ("newton", 0.2, 0.03)):
        explainer = InfluenceExplainer(pipe, deletion=deletion).fit(X, y)
        assert explainer.followed_steps_ == ["simpleimputer", "standardscaler"]
        seen = explainer.loo_predict(method=method).reshape(N, -1)
        wanted = own.reshape(N, -1)
        errors = np.abs(seen - wanted).max(axis=1)
        size = np.abs(wanted - getattr(pipe, method)(X).reshape(N, -1)).max(axis=1)
        assert errors.max() < most * size.max()
        assert np.median(errors / size) < median
        if kind != "softmax":
            deltas = explainer.loo_delta(tests, **on)
            change = (points[:N, :, 0] - base[:, 0]).T
            assert np.abs(deltas - change).max() < most * np.abs(change).max()
            together = explainer.group_delta(tests, groups=[GROUP], **on)[:, 0]
            change = points[N, :, 0] - base[:, 0]
            assert np.abs(together - change).max() < most * np.abs(change).max()
    worst = np.abs(held.loo_predict(method=method).reshape(N, -1) - own.reshape(N, -1))
    assert np.median(worst.max(axis=1) / size) > 2.5 * np.median(errors / size)


def weighted_fit(X, y, weight):
    """Ridge on columns filled and scaled by weighted means, and its reader of points."""
    seen = np.where(np.isnan(X), 0.0, weight[:, None])
    fill = np.sum(seen * np.nan_to_num(X), axis=0) / seen.sum(axis=0)

    def filled(points):
        return np.where(np.isnan(points), fill, points)

    scaler = StandardScaler().fit(filled(X), sample_weight=weight)
    model = Ridge(0.5).fit(scaler.transform(filled(X)), y, sample_weight=weight)
    return lambda points: model.predict(scaler.transform(filled(points)))


def test_influence_is_the_derivative_of_what_is_filled_in_too():
    X, (model, y) = gappy(), model_of("ridge")
    tests = X[[5, 9, 20]]
    pipe = make_pipeline(SimpleImputer(), StandardScaler(), model)
    explainer = InfluenceExplainer(pipe).fit(X, y)
    step, rows = 1e-5, [0, 4, 8]
    slopes = []
    for i in rows:
        weights = [np.where(np.arange(N) == i, 1 + s, 1.0) for s in (step, -step)]
        more, less = (weighted_fit(X, y, weight)(tests) for weight in weights)
        slopes.append(N * (more - less) / (2 * step))  # per share of the weights
    wanted = np.transpose(slopes)
    values = explainer.influence(tests)
    np.testing.assert_allclose(
        values[:, rows], wanted, atol=1e-6 * np.abs(wanted).max()
    )
    together = explainer.group_influence(tests, groups=[rows])[:, 0]
    np.testing.assert_allclose(together, wanted.sum(axis=1), rtol=1e-5)
    linear = InfluenceExplainer(pipe, deletion="jackknife").fit(X, y)
    np.testing.assert_allclose(linear.loo_delta(tests), -values / N, rtol=1e-9)
    groups = linear.group_delta(tests, groups=[rows])[:, 0]
    np.testing.assert_allclose(groups, -together / N, rtol=1e-9)


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_bounds_hold_where_gaps_move_the_model(kind):
    X, (model, y) = gappy(), model_of(kind)
    steps = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    pipe = make_pipeline(steps, model).fit(X, y)
    step = InfluenceExplainer(pipe).fit(X, y).loo_params()
    exact = InfluenceExplainer(pipe, deletion="exact").fit(X, y).loo_params()
    gap = np.hypot(
        np.linalg.norm((step.coef - exact.coef).reshape(N, -1), axis=1),
        np.linalg.norm((step.intercept - exact.intercept).reshape(N, -1), axis=1),
    )
    assert np.all(gap <= step.error_bound)
    assert np.median(step.error_bound / gap) < 300
    assert np.median(gap) > 1e-4


def test_folds_fill_their_rows_anew():
    X, (model, y) = gappy(), model_of("ridge")
    pipe = make_pipeline(SimpleImputer(), StandardScaler(), model).fit(X, y)
    folds = np.arange(N) % 6
    wanted = np.empty(N)
    for fold in range(6):
        train, test = folds != fold, folds == fold
        wanted[test] = clone(pipe).fit(X[train], y[train]).predict(X[test])
    size = np.abs(wanted - pipe.predict(X)).max()
    for deletion, most in (("newton", 0.1), ("exact", 1e-9)):
        explainer = InfluenceExplainer(pipe, deletion=deletion).fit(X, y)
        assert np.abs(explainer.cv_predict(folds) - wanted).max() < most * size


def test_gaps_at_new_points_alone_are_held_and_said_so():
    X, (model, y) = np.nan_to_num(gappy()), model_of("ridge")
    explainer = InfluenceExplainer(make_pipeline(SimpleImputer(), model)).fit(X, y)
    tests = X[:2].copy()
    explainer.loo_delta(tests)
    tests[0, 1] = np.nan
    with pytest.warns(PreprocessingDeletionWarning, match="simpleimputer"):
        explainer.loo_delta(tests)


def test_a_scaler_by_quantiles_holds_the_imputer_before_it():
    X, (model, y) = gappy(), model_of("ridge")
    pipe = make_pipeline(SimpleImputer(), RobustScaler(), model)
    explainer = InfluenceExplainer(pipe).fit(X, y)
    assert explainer.followed_steps_ == ["robustscaler"]
    assert "RobustScaler after it" in explainer.held_reasons_["simpleimputer"]


def test_a_column_with_one_value_is_held():
    X, (model, y) = gappy(), model_of("ridge")
    X[1:, 2] = np.nan
    explainer = InfluenceExplainer(make_pipeline(SimpleImputer(), model)).fit(X, y)
    assert "only value" in explainer.held_reasons_["simpleimputer"]


def test_the_most_frequent_entry_moves_with_the_few_rows_that_decide_it():
    rng, (model, y) = np.random.default_rng(2), model_of("ridge")
    X = np.array(list("aabbc" * (N // 5)), dtype=object)[:, None]
    X[:3, 0] = "c", np.nan, np.nan  # 10 rows of a, 11 of b: without one, a comes first
    X = np.hstack([X, rng.normal(size=(N, 1)).round(1).astype(object)])
    steps = make_column_transformer(
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"),
                OneHotEncoder(handle_unknown="ignore"),
            ),
            [0],
        ),
        (StandardScaler(), [1]),
    )
    pipe = make_pipeline(steps, model)
    assert list(np.unique(X[3:, 0], return_counts=True)[1]) == [10, 11, 6]
    groups = [[3, 8], [0, 7], [2, 5, 6]]
    truth = left_out_outputs(pipe, X, y, np.arange(N))[:, 0]
    of_groups = left_out_outputs(pipe, X, y, groups, X_test=X[:2])[..., 0]
    explainer = InfluenceExplainer(pipe).fit(X, y)
    assert len(explainer.followed_steps_) == 3 and not explainer.held_steps_
    np.testing.assert_allclose(explainer.loo_predict(), truth, rtol=1e-8)
    change = (
        explainer.group_delta(X[:2], groups=groups)
        + pipe.fit(X, y).predict(X[:2])[:, None]
    )
    np.testing.assert_allclose(change, of_groups.T, rtol=1e-8)


def test_gaps_of_a_group_alone_move_no_other_row():
    X, (model, y) = np.nan_to_num(gappy()), model_of("ridge")
    X[GROUP, 1] = np.nan
    pipe = make_pipeline(SimpleImputer(), model)
    explainer = InfluenceExplainer(pipe).fit(X, y)
    deltas = explainer.group_delta(X[10:13], groups=[GROUP])[:, 0]
    wanted = left_out_outputs(pipe, X, y, [GROUP], X_test=X[10:13])[0, :, 0]
    np.testing.assert_allclose(deltas + pipe.fit(X, y).predict(X[10:13]), wanted)


def test_left_out_outputs_of_many_rows_are_those_of_their_deltas(monkeypatch):
    rng, n = np.random.default_rng(3), 30_000
    X = rng.normal(size=(n, 3))
    X[rng.random(X.shape) < 0.2] = np.nan
    y = (np.nan_to_num(X).sum(axis=1) + rng.logistic(size=n) > 0).astype(int)
    pipe = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    explainer = InfluenceExplainer(pipe).fit(X, y)
    base = explainer.decision_function(X)
    fast = explainer.loo_predict(method="decision_function") - base
    monkeypatch.setattr(_own_moves, "_MOST_TILTED", 0.0)
    slow = explainer.loo_predict(method="decision_function") - base
    assert 0 < np.abs(fast - slow).max() < 1e-5 * np.abs(slow).max()


@pytest.mark.filterwarnings("ignore:Row 4 has leverage 1")
def test_a_row_that_carries_a_column_alone_fills_gaps_anew_too():
    X, (_, y) = gappy(), model_of("ridge")
    X[:, 3] = np.arange(N) == 4  # no other row tells its coefficient
    X[4, 1] = 40.0
    pipe = make_pipeline(SimpleImputer(), LinearRegression())
    tests = X[[5, 9]]
    delta = InfluenceExplainer(pipe).fit(X, y).loo_delta(tests)[:, 4]
    held = (
        InfluenceExplainer(pipe, preprocessing="held").fit(X, y).loo_delta(tests)[:, 4]
    )
    truth = left_out_outputs(pipe, X, y, [4], X_test=tests)[0, :, 0]
    truth = truth - pipe.fit(X, y).predict(tests)
    error, size = np.abs(delta - truth).max(), np.abs(truth).max()
    assert error < 0.3 * size < np.abs(held - truth).max()
