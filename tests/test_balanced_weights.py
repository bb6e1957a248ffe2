"""Balanced class weights without rows, learned again, beside refits of the whole."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_class_weight

from skinfluence import (
    InfluenceExplainer,
    LeaveOneOutSearchCV,
    check_leave_one_out,
    refit_leave_one_out,
)
from skinfluence._class_weights import BalancedWeights
from skinfluence.curvature import RowwiseCurvature
from skinfluence.deletion._leaving import OneByOne
from skinfluence.exceptions import SeparableDeletionWarning
from skinfluence.refit import left_out_outputs
from skinfluence.selection._path import path_of
from skinfluence.solvers import _class_sums

N, GROUP = 24, np.array([0, 3, 5])
SOME = np.arange(0, N, 4)
NEWTON = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 10_000}
BALANCED = {"class_weight": "balanced"}
LOGISTIC = LogisticRegression(C=0.7, **BALANCED, **NEWTON)
MODELS = {
    "logistic": LOGISTIC,
    "softmax": LOGISTIC,
    "ridge classifier": RidgeClassifier(2.0, **BALANCED),
    "ridge classifier, three classes": RidgeClassifier(2.0, **BALANCED),
}
APART = {
    "machines": LinearSVC(dual=False, tol=1e-10, max_iter=10**5, **BALANCED),
    "one against the rest": OneVsRestClassifier(LOGISTIC),
    "ridges against the rest": OneVsRestClassifier(RidgeClassifier(2.0, **BALANCED)),
    "stochastic": SGDClassifier(
        loss="log_loss", alpha=0.1, max_iter=2000, random_state=0, **BALANCED
    ),
}
THREE = ("softmax", "ridge classifier, three classes", *APART)


def rows_of(name):
    """Rows, labels of classes of 5 to 17 rows, and weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)) * [1.0, 3.0, 0.3] + 1
    score = X[:, 0] + X[:, 1] / 3 + rng.normal(size=N)
    ends = [0.2, 0.6] if name in THREE else [0.7]
    y = np.digitize(score, np.quantile(score, ends))
    return X, np.array(["one", "two", "three"])[y], rng.uniform(0.5, 2, size=N)


def small_class(size):
    X, _, _ = rows_of("softmax")
    y = np.repeat([0, 1, 2], [size, N // 2 - size, N // 2])
    return X, np.random.default_rng(1).permutation(y)


def moved(explainer, theta):
    """How outputs of the training rows move by deltas, in the columns of the fit."""
    return explainer._study.objective.moves(theta.transpose(1, 2, 0))[..., 0]


def error(result, truth):
    return np.abs(result - truth).max() / np.abs(truth).max()


def fitted(model, weighted, weight, X, y):
    given = {"sample_weight": weight} if weighted else {}
    step = model.steps[-1][0] + "__" if hasattr(model, "steps") else ""
    to_fit = {step + name: value for name, value in given.items()}
    return clone(model).fit(X, y, **to_fit), given


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("scaled", [False, True], ids=["alone", "scaled"])
@pytest.mark.parametrize("name", MODELS)
def test_exact_deletion_is_the_refit(name, scaled, weighted):
    X, y, weight = rows_of(name)
    model = make_pipeline(StandardScaler(), MODELS[name]) if scaled else MODELS[name]
    model, given = fitted(model, weighted, weight, X, y)
    refits_agree(model, X, y, **given)


@pytest.mark.parametrize("name", APART)
def test_exact_deletion_follows_weights_of_single_outputs(name):
    X, y, _ = rows_of(name)
    refits_agree(clone(APART[name]).fit(X, y), X, y)


def refits_agree(model, X, y, **given):
    explainer = InfluenceExplainer(model, deletion="exact", tol=1e-11)
    explainer.fit(X, y, **given)
    assert explainer.held_steps_ == []
    assert explainer.followed_steps_[-1] == "class_weight"
    outputs = explainer._study.outputs
    truth = left_out_outputs(model, X, y, SOME, **given) - outputs[SOME]
    u = explainer._study.deletion(N).left_out(SOME)[0]
    assert error(u - outputs[SOME], truth) < 1e-8
    for group in (GROUP, np.arange(8)):  # by a small system, and by a factor of its own
        together = left_out_outputs(model, X, y, [group], X_test=X, **given)[0]
        theta = explainer._study.deletion(1).group_deltas([group]).theta
        assert error(moved(explainer, theta), together - outputs) < 1e-8


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_halley_is_nearer_than_newton(name):
    X, y, _ = rows_of(name)
    model = clone(MODELS[name]).set_params(C=0.05).fit(X, y)
    fits = [
        InfluenceExplainer(model, deletion=deletion).fit(X, y)
        for deletion in ("newton", "halley")
    ]
    outputs = fits[0]._study.outputs
    truth = left_out_outputs(model, X, y, SOME) - outputs[SOME]
    newton, halley = (
        each._study.deletion(N).left_out(SOME)[0] - outputs[SOME] for each in fits
    )
    assert error(newton, truth) < 0.1
    assert error(halley, truth) < 0.3 * error(newton, truth)


def test_newton_is_near_where_rows_are_many():
    X, y = load_breast_cancer(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), LogisticRegression(**BALANCED, **NEWTON))
    pipe.fit(X, y)
    rows, fit = np.arange(0, len(X), 38), pipe.decision_function(X)
    truth = left_out_outputs(pipe, X, y, rows)[:, 0] - fit[rows]
    delta = InfluenceExplainer(pipe).fit(X, y).loo_predict(method="decision_function")
    assert np.median(np.abs((delta - fit)[rows] / truth - 1)) < 0.02


@pytest.mark.parametrize("scaled", [False, True], ids=["alone", "scaled"])
@pytest.mark.parametrize("name", ["logistic", "softmax", "ridge classifier"])
def test_influence_is_the_derivative_in_a_weight(name, scaled):
    X, y, weight = rows_of(name)
    model = make_pipeline(StandardScaler(), MODELS[name]) if scaled else MODELS[name]
    row, h, picked = 4, 1e-4, np.arange(N)

    def fit(by=0.0):
        other = weight.copy()
        other[row] += by
        step = model.steps[-1][0] + "__" if scaled else ""
        given = {f"{step}sample_weight": other}
        if scaled:  # the scaler learns of weights too
            given["standardscaler__sample_weight"] = other
        return clone(model).fit(X, y, **given), given

    full, given = fit()
    explainer = InfluenceExplainer(full).fit(X, y, **given)
    columns = np.reshape(full.decision_function(X), (N, -1)).argmax(axis=1)
    up, down = (
        np.reshape(fit(by)[0].decision_function(X), (N, -1))[picked, columns]
        for by in (h, -h)
    )
    slope = (up - down) / (2 * h)
    # Per unit of the weight that the model gives the row, class weight included.
    objective = explainer._study.objective
    scale = objective.weight_sum * weight[row] / objective.weight[row]
    influence = explainer.influence(X, on="decision")[:, row]
    assert error(scale * slope, influence) < 1e-5
    group = explainer.group_influence(X, groups=[[row]], on="decision")[:, 0]
    np.testing.assert_allclose(group, influence)
    jackknife = InfluenceExplainer(full, deletion="jackknife").fit(X, y, **given)
    delta = jackknife.loo_delta(X, on="decision")[:, row]
    assert error(delta, -weight[row] * slope) < 1e-5
    own = explainer.self_influence()[row]
    np.testing.assert_allclose(own, explainer.influence(X, y)[row, row], rtol=1e-9)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("name", ["softmax", "ridge classifier", "machines"])
def test_a_class_of_a_few_rows_weighs_more(name, size):
    X, y = small_class(size)
    model = clone({**MODELS, **APART}[name]).fit(X, y)
    explainer = InfluenceExplainer(model, deletion="exact", tol=1e-11).fit(X, y)
    rows = np.flatnonzero(y == 0)
    truth = left_out_outputs(model, X, y, rows) - explainer._study.outputs[rows]
    u = explainer._study.deletion(len(rows)).left_out(rows)[0]
    assert error(u - explainer._study.outputs[rows], truth) < 1e-8


def test_a_class_may_lose_all_rows_but_one():
    X, y = np.random.default_rng(5).normal(size=(N, 8)), np.arange(N) % 3
    model = RidgeClassifier(0.01, **BALANCED).fit(X, y)
    explainer, group = InfluenceExplainer(model).fit(X, y), np.flatnonzero(y == 0)[:7]
    outputs = explainer._study.outputs
    truth = left_out_outputs(model, X, y, [group], X_test=X)[0] - outputs
    theta = explainer._study.deletion(1).group_deltas([group]).theta
    assert error(moved(explainer, theta), truth) < 1e-8


@pytest.mark.parametrize("model", [LOGISTIC, APART["one against the rest"]])
def test_without_the_last_row_of_a_class_the_others_are_balanced(model):
    X, y = small_class(1)
    row = int(np.flatnonzero(y == 0)[0])
    explainer = InfluenceExplainer(clone(model).fit(X, y)).fit(X, y)
    rest = clone(model).fit(np.delete(X, row, axis=0), np.delete(y, row))
    with pytest.warns(SeparableDeletionWarning, match=f"Row {row} "):
        proba = explainer.loo_predict(method="predict_proba")[row]
    np.testing.assert_allclose(proba[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(proba[1:], rest.predict_proba(X[[row]])[0], rtol=1e-6)


def test_without_a_row_that_weighs_nothing_its_class_has_a_row_less():
    """The ridge classifiers count rows, whatever they weigh."""
    X, y, weight = rows_of("ridge classifier")
    weight[2] = 0.0
    model = clone(MODELS["ridge classifier"]).fit(X, y, sample_weight=weight)
    explainer = InfluenceExplainer(model).fit(X, y, sample_weight=weight)
    truth = refit_leave_one_out(model, X, y, rows=[2], sample_weight=weight).coef
    assert np.abs(truth).max() > 1e-3
    assert error(explainer.loo_params([2]).coef, truth) < 1e-8


def test_products_of_classes_may_be_by_passes(monkeypatch):
    X, y, _ = rows_of("softmax")
    model = clone(LOGISTIC).fit(X, y)
    monkeypatch.setattr(_class_sums, "_MOST_ENTRIES", 0)
    refits_agree(model, X, y)


def test_passes_in_single_precision_and_sparse_rows_change_nothing():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(1200, 40))  # too many columns for Halley's tensor
    y = (X[:, 0] + rng.logistic(size=1200) > 1.5).astype(int)
    model = LogisticRegression(**BALANCED, **NEWTON).fit(X, y)
    truth = left_out_outputs(model, X, y, [0, 1])[:, 0]
    for given in (X, csr_matrix(X)):
        explainer = InfluenceExplainer(model, deletion="exact").fit(given, y)
        outputs = explainer._study.outputs[:2, 0]
        u, _ = explainer._study.deletion(40).left_out(np.arange(40))
        assert error(u[:2, 0] - outputs, truth - outputs) < 1e-8


def test_others_move_without_a_row_that_carries_a_column_alone():
    X, y, _ = rows_of("ridge classifier")
    X, others = np.c_[X, np.arange(N) == 3], np.arange(N) != 3
    model = RidgeClassifier(0.0, **BALANCED).fit(X, y)
    explainer = InfluenceExplainer(model).fit(X, y)
    truth = left_out_outputs(model, X, y, [3], X_test=X)[0] - explainer._study.outputs
    theta = explainer._study.deletion(1).deltas(np.array([3])).theta
    assert error(moved(explainer, theta)[others], truth[others]) < 1e-8


def test_no_row_stretches_the_inverse_by_more_than_its_bound():
    X, y, _ = rows_of("logistic")
    model = clone(LOGISTIC).set_params(C=1e3).fit(X, y)
    point = InfluenceExplainer(model).fit(X, y)._study.point
    bounds, H = OneByOne.of(point, np.arange(N)).stretch, point.curvature.as_matrix()[0]
    for row in range(N):
        rest = RowwiseCurvature(point.objective.without(row), point.theta)
        ratios = np.linalg.eigvals(np.linalg.solve(rest.as_matrix()[0], H))
        assert ratios.real.max() <= bounds[row]


def test_all_that_is_asked_of_left_out_rows_follows():
    X, y, _ = rows_of("ridge classifier")
    model = clone(MODELS["ridge classifier"])
    truth = cross_val_predict(model, X, y, cv=LeaveOneOut(), method="decision_function")
    explainer = InfluenceExplainer(model).fit(X, y)
    outputs = explainer.loo_predict(method="decision_function")
    np.testing.assert_allclose(outputs, truth)
    folds = np.arange(N) % 3
    cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(3)]
    np.testing.assert_allclose(
        explainer.cv_predict(folds, method="decision_function"),
        cross_val_predict(model, X, y, cv=cv, method="decision_function"),
    )
    alphas = [{"alpha": alpha} for alpha in (0.1, 2.0, 30.0)]
    search = LeaveOneOutSearchCV(model, {"alpha": [0.1, 2.0, 30.0]}, refit=False)
    scores = search.fit(X, y).cv_results_["mean_test_score"]
    for alpha, score in zip(alphas, scores, strict=True):
        labels = cross_val_predict(
            clone(model).set_params(**alpha), X, y, cv=LeaveOneOut()
        )
        np.testing.assert_allclose(score, np.mean(labels == y))
    assert path_of(model, alphas, "newton", X, y, None, {}) is None
    assert explainer.influential_set(0, k=1, direction="decrease").lower_bound is None
    chosen = explainer.influential_set((X[:5], y[:5]), k=2, direction="increase")
    np.testing.assert_allclose(chosen.predicted, chosen.achieved, rtol=1e-9)
    loss = explainer.group_delta(X[:5], y[:5], groups=[chosen.rows], aggregate="mean")
    np.testing.assert_allclose(chosen.achieved - chosen.initial, loss[0])


@pytest.mark.parametrize("deletion", ["newton", "exact"])
def test_bounds_hold(deletion):
    X, y, _ = rows_of("logistic")
    truth = refit_leave_one_out(clone(LOGISTIC).fit(X, y), X, y, rows=SOME)
    params = InfluenceExplainer(LOGISTIC, deletion=deletion).fit(X, y).loo_params(SOME)
    gap = np.linalg.norm(params.coef - truth.coef, axis=-1)[:, 0]
    assert np.isfinite(params.error_bound).any()
    assert np.all(gap <= params.error_bound + 1e-9)


def test_the_check_refits_what_is_followed():
    X, y, _ = rows_of("logistic")
    explainer = InfluenceExplainer(LOGISTIC, deletion="exact", tol=1e-11).fit(X, y)
    agreement = check_leave_one_out(explainer, X, y, X_test=X, y_test=y)
    assert agreement.refitted_steps == ["class_weight"]
    assert agreement.param_error < 1e-8
    held = InfluenceExplainer(
        LOGISTIC, deletion="exact", tol=1e-11, preprocessing="held"
    ).fit(X, y)
    assert held.held_steps_ == ["class_weight"]
    assert held.held_reasons_["class_weight"] == "all steps are held, as asked"
    assert check_leave_one_out(held, X, y).param_error < 1e-8
    assert error(held.loo_params().coef, explainer.loo_params().coef) > 0.05


def test_weights_beside_a_corner_are_held_by_name():
    X, y, _ = rows_of("logistic")
    model = LogisticRegression(
        l1_ratio=1.0, C=0.5, solver="saga", tol=1e-10, max_iter=10_000, **BALANCED
    )
    explainer = InfluenceExplainer(model).fit(X, y)
    assert explainer.held_steps_ == ["class_weight"]
    assert "held at zero" in explainer.held_reasons_["class_weight"]


@pytest.mark.parametrize("by_weight", [False, True])
@pytest.mark.parametrize("apart", [False, True], ids=["together", "against the rest"])
def test_factors_are_those_of_scikit_learns_weights(apart, by_weight):
    _, y = small_class(1)
    counted = np.random.default_rng(2).uniform(0.5, 2, N) if by_weight else np.ones(N)
    classes = (y[:, None] != np.arange(3)).astype(int) if apart else y[:, None]
    weights = BalancedWeights(classes, counted, 1 if apart else 3, by_weight)

    def of_classes(kept):
        left = np.unique(y[kept])
        some = {"y": y[kept], "sample_weight": counted[kept]}
        values = compute_class_weight("balanced", classes=left, **some)
        return dict(zip(left, values, strict=True))

    every = np.arange(N)
    before = of_classes(every)
    for group in ([0], np.flatnonzero(y == 0), [1, 2, 5, 7]):
        after = of_classes(np.delete(every, group))
        factors = weights.without_group(np.array(group))[0]
        own = factors[0, :] if apart else factors[:3, 0]
        for c in after:
            np.testing.assert_allclose(own[c], after[c] / before[c])
        np.testing.assert_array_equal(factors[-1], 1.0)
        if len(group) == 1:
            np.testing.assert_allclose(weights.without(np.array(group))[0], factors)
