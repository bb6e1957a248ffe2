"""Groups of rows: their influence, their deletion, and folds without refits."""

import warnings

import cases
import numpy as np
import pytest
from cases import load
from deletions import check_groups_of_one, every_method
from reference import curvature, gradient, influence, relative_error, solve
from reference import minimise as minimum
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    TimeSeriesSplit,
    cross_val_predict,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skinfluence import InfluenceExplainer
from skinfluence.exceptions import (
    ActiveSetWarning,
    InvalidDataError,
    InvalidParameterError,
    NotConvergedWarning,
    SeparableDeletionWarning,
    UnidentifiedDeletionWarning,
)

TIGHT = {"tol": 1e-13, "max_iter": 10_000}
CASES = cases.FEW + cases.pick(
    "linear, weighted",
    "linear, two targets",
    "ridge, wide",
    "ridge, no intercept",
    "logistic, newton-cg, weighted",
    "logistic, pipeline, weighted",
    "softmax, newton-cholesky, weighted",
)


def groups_of(case):
    """One row, a few, more than there are columns, and half of the rows."""
    n = len(load(case.data).y)
    shuffled = np.random.default_rng(5).permutation(n)
    return [shuffled[:1], shuffled[1:4], shuffled[4:14], shuffled[: n // 2]]


def values(case, theta):
    return cases.values_at_test(case, "loss", theta)[0]


def truths(case, theta_without):
    """Changes of the test losses without each group, by the judge."""
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    parts = [
        values(case, theta_without(problem, theta, rows)) - values(case, theta)
        for rows in groups_of(case)
    ]
    return np.stack(parts, axis=1)


def deltas(explain, case, **options):
    data = load(case.data)
    return explain(case, **options).group_delta(
        data.X_test, data.y_test, groups=groups_of(case)
    )


def refitted(problem, theta, rows):
    return minimum(problem.without(rows), start=theta)


def newton(problem, theta, rows):
    rest = problem.without(rows)
    step = solve(curvature(rest, theta), gradient(rest, theta))
    return theta - step.reshape(theta.shape)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_influence_is_the_sum_over_the_rows(explain, case):
    """Unweighted: one and the same weight is added to every row of the group."""
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    data = load(case.data)
    each = influence(problem, theta, cases.gradients_at_test(case, "loss")[0])
    truth = np.stack([each[:, rows].sum(axis=1) for rows in groups_of(case)], axis=1)
    asked = data.X_test, data.y_test
    groups = groups_of(case)
    found = explain(case).group_influence(*asked, groups=groups)
    assert relative_error(found, truth) < 1e-7
    for how in ("mean", "sum"):
        aggregated = explain(case).group_influence(*asked, groups=groups, aggregate=how)
        assert relative_error(aggregated, getattr(truth, how)(axis=0)) < 1e-7


def test_influence_on_many_points_is_that_on_each():
    """More points than one block has rows."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    explainer = InfluenceExplainer(Ridge()).fit(X, y)
    groups = [np.array([0, 1]), np.array([2, 3, 4])]
    few = explainer.group_influence(X, y, groups=groups)
    often = np.tile(X, (100, 1)), np.tile(y, 100)
    many = explainer.group_influence(*often, groups=groups)
    np.testing.assert_allclose(many, np.tile(few, (100, 1)), rtol=1e-12)


@pytest.mark.parametrize("solver", ["auto", "cg"])
@pytest.mark.parametrize("case", [c for c in CASES if c.quadratic], ids=str)
def test_deletion_is_the_refit_where_the_loss_is_quadratic(explain, case, solver):
    found = deltas(explain, case, solver=solver)
    # Iterations end at their own tolerance.
    assert relative_error(found, truths(case, refitted)) < (
        1e-8 if solver == "auto" else 1e-7
    )


# Unpenalised, half of the rows may be separable: no refit to compare with.
PENALISED = [c for c in CASES if not c.quadratic and "C=inf" not in c.name]


@pytest.mark.parametrize("case", PENALISED, ids=str)
def test_exact_deletion_is_the_refit(explain, case):
    found = deltas(explain, case, deletion="exact")
    assert relative_error(found, truths(case, refitted)) < 1e-6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_newton_is_one_step_on_the_objective_without_the_group(explain, case):
    assert relative_error(deltas(explain, case), truths(case, newton)) < 1e-6


@pytest.mark.parametrize("case", cases.pick("logistic, newton-cg, weighted"), ids=str)
def test_the_jackknife_is_additive_and_halley_better_than_newton(explain, case):
    data, rows = load(case.data), groups_of(case)
    asked = data.X_test, data.y_test
    one = explain(case, deletion="jackknife")
    each = one.loo_delta(*asked)
    added = np.stack([each[:, members].sum(axis=1) for members in rows], axis=1)
    assert relative_error(one.group_delta(*asked, groups=rows), added) < 1e-9
    truth, newton_error, halley_error = truths(case, refitted)[:, :3], [], []
    newton = deltas(explain, case)
    # Half of the rows are too many for the series: their Newton step is kept.
    with pytest.warns(NotConvergedWarning, match="group 3 did .* use 'exact'"):
        halley = deltas(explain, case, deletion="halley")
    np.testing.assert_allclose(halley[:, 3], newton[:, 3], rtol=1e-9)
    for found, errors in ((newton, newton_error), (halley, halley_error)):
        errors += list(np.abs(found[:, :3] - truth).max(axis=0))
    assert np.all(np.array(halley_error) < 0.5 * np.array(newton_error))


def test_groups_of_one_row_are_rows(explain):
    (case,) = cases.pick("logistic, newton-cg, weighted")
    data = load(case.data)
    asked = data.X_test, data.y_test
    singles = [[i] for i in range(len(data.y))]
    for name in ("newton", "exact"):
        explainer = explain(case, deletion=name)
        error = explainer.group_delta(*asked, groups=singles) - explainer.loo_delta(
            *asked
        )
        assert np.abs(error).max() < 1e-8


@every_method
@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_a_group_of_one_is_a_row(explain, case, method):
    n = len(load(case.data).y)
    rows = np.random.default_rng(5).permutation(n)[:4]
    if case.weighted:
        rows[0] = 4  # weighs nothing
    # The gauge of a softmax without penalty costs digits.
    check_groups_of_one(explain(case, deletion=method), rows, tol=1e-6)


@every_method
@pytest.mark.parametrize("case", CASES, ids=str)
def test_order_and_repetition_of_groups_and_rows_change_nothing(explain, case, method):
    data, explainer = load(case.data), explain(case, deletion=method)
    rng, groups = np.random.default_rng(3), groups_of(case)[:3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of groups that are too large for the model
        truth = explainer.group_delta(data.X_test, groups=groups)
        shuffled = [rng.permutation(rows) for rows in groups]
        asked = [shuffled[2], shuffled[0], shuffled[1], shuffled[0], shuffled[2]]
        found = explainer.group_delta(data.X_test, groups=asked)
    parts = np.split(truth, truth.shape[1] // 3, axis=1)
    truth = np.hstack([part[:, [2, 0, 1, 0, 2]] for part in parts])
    np.testing.assert_allclose(found, truth, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [1, 5, 20])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_halley_is_far_closer_than_newton_for_groups_too(n_classes, size):
    """The corrected error is of the next order in the effect of the group."""
    rng = np.random.default_rng(n_classes)
    X = rng.normal(size=(800, 5))
    y = np.argmax(X[:, :n_classes] + rng.gumbel(size=(800, n_classes)), axis=1)
    model = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(X, y)
    groups = [rng.choice(800, size, replace=False) for _ in range(10)]
    found = {}
    for name in ("newton", "halley", "exact"):
        explainer = InfluenceExplainer(model, deletion=name, tol=1e-11).fit(X, y)
        found[name] = explainer.group_delta(X[:20], groups=groups)
    newton, halley = (
        np.abs(found[name] - found["exact"]).max(axis=0)
        for name in ("newton", "halley")
    )
    assert np.median(halley) < {1: 5e-3, 5: 1e-2, 20: 3e-2}[size] * np.median(newton)
    assert np.all(halley < newton)


def test_halley_is_refused_for_groups_in_words_where_it_is_for_rows():
    X, y = cases.training_rows("two classes")
    explainer = InfluenceExplainer(LinearSVC(), deletion="halley").fit(X, y)
    with pytest.raises(InvalidParameterError, match="needs third derivatives"):
        explainer.group_delta(X, groups=[[0, 1]])


@pytest.mark.filterwarnings("ignore:.* did not converge")  # halley, another row
@pytest.mark.parametrize("method", ["newton", "halley", "exact"])
@pytest.mark.parametrize("labels", ["two classes", "three classes"])
def test_the_only_row_of_a_class_is_missed_like_a_group_that_is_one(labels, method):
    data = load(labels)
    rare = max(data.y)
    keep = (data.y != rare) | (np.arange(len(data.y)) == np.argmax(data.y == rare))
    X, y = data.X[keep], data.y[keep]
    row = np.flatnonzero(y == rare).item()
    explainer = InfluenceExplainer(LogisticRegression(), deletion=method).fit(X, y)
    groups = [[row], [row, 0], [1, 2]]
    asked = (
        lambda: explainer.loo_delta(X[:3], y[:3]).T,
        lambda: explainer.group_delta(X[:3], y[:3], groups=groups).T,
        lambda: explainer.loo_predict(method="decision_function"),
    )
    for ask, lost in zip(asked, ([row], [0, 1], [row]), strict=True):
        with pytest.warns(SeparableDeletionWarning) as spoken:
            found = ask()
        assert sum(w.category is SeparableDeletionWarning for w in spoken) == 1
        missing = np.isnan(found).reshape(len(found), -1).all(axis=1)
        assert np.flatnonzero(missing).tolist() == lost
        assert np.isfinite(found[~missing]).all()


SOME_CLASSES = {
    "softmax": LogisticRegression,
    "one against the rest": lambda **options: OneVsRestClassifier(
        LogisticRegression(class_weight={0: 1.0, 1: 2.0}, **options)
    ),
}


@pytest.mark.parametrize("n_classes", [3, 4])
@pytest.mark.parametrize("name", SOME_CLASSES)
def test_a_class_that_only_one_fold_has_gets_probability_zero(name, n_classes):
    """The other classes have those of the estimator's own refit, at its minimum."""
    rng = np.random.default_rng(n_classes)
    X, y = rng.normal(size=(48, 2)), np.arange(48) % n_classes
    X[:, 0] += 0.5 * y
    fold = np.where(y == n_classes - 1, 0, 1 + np.arange(48) // 16)
    fold[0] = 0  # a row of another class
    loose, model = SOME_CLASSES[name](tol=1e-3), SOME_CLASSES[name](**TIGHT)
    explainer = InfluenceExplainer(loose, deletion="exact").fit(X, y)
    with pytest.warns(SeparableDeletionWarning, match="fold 0: a class is absent"):
        p = explainer.cv_predict(fold, method="predict_proba")
    test = fold == 0
    rest = clone(model).fit(X[~test], y[~test])
    truth = np.c_[rest.predict_proba(X[test]), np.zeros(test.sum())]
    np.testing.assert_allclose(p[test], truth, atol=1e-7)
    assert np.all(p[~test] > 0)
    with pytest.warns(SeparableDeletionWarning, match="group 0: a class is absent"):
        delta = explainer.group_delta(X[:2], y[:2], groups=fold)
    assert np.isnan(delta).all(axis=0).tolist() == [True, False, False, False]


def test_the_only_row_of_a_class_among_one_against_the_rest_is_predicted():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), np.arange(30) % 3
    y[4] = 3
    model = SOME_CLASSES["one against the rest"](**TIGHT)
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    with pytest.warns(SeparableDeletionWarning):
        p = explainer.loo_predict(method="predict_proba")
    rest = clone(model).fit(np.delete(X, 4, 0), np.delete(y, 4))
    truth = np.append(rest.predict_proba(X[[4]])[0], 0.0)
    np.testing.assert_allclose(p[4], truth, atol=1e-7)


MEAN_FORM = {
    "poisson": PoissonRegressor(alpha=0.05, solver="newton-cholesky", **TIGHT),
    "elastic net": ElasticNet(alpha=0.05, l1_ratio=0.5, **TIGHT),
}


@pytest.mark.parametrize("name", MEAN_FORM)
def test_groups_take_their_share_of_the_penalty_along(name):
    """Also where the active set changes, which the exact deletion follows."""
    X, y, weight, groups = mean_form_data(name)
    model = MEAN_FORM[name]
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y, weight)
    found = explainer.group_delta(X[:9], groups=groups)
    rests = refits(model, X, y, weight, groups)
    truth = [rest.predict(X[:9]) - explainer.predict(X[:9]) for rest in rests]
    assert relative_error(found, np.stack(truth, axis=1)) < 1e-6


def test_changes_of_the_active_set_are_flagged_unless_they_are_followed():
    X, y, weight, groups = mean_form_data("elastic net")
    model = MEAN_FORM["elastic net"]
    explainer = InfluenceExplainer(model).fit(X, y, weight)
    active = explainer.estimator_.coef_ != 0
    changed, freed = [], 0
    for i, rest in enumerate(refits(model, X, y, weight, groups)):
        if np.any((rest.coef_ != 0) != active):
            changed.append(f"group {i}")
        freed += np.any((rest.coef_ != 0) & ~active)
    assert 0 < len(changed) < len(groups)
    assert freed  # not only zeroed
    with pytest.warns(ActiveSetWarning) as spoken:
        explainer.group_delta(X[:5], groups=groups)
    assert f"of {', '.join(changed)} would" in str(spoken[0].message)


def mean_form_data(name):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 6))
    u = X @ [0.5, -0.3, 0.1, 0.05, 0.0, 0.0]
    poisson = name == "poisson"
    y = rng.poisson(np.exp(u)) * 1.0 if poisson else u + 0.2 * rng.normal(size=60)
    groups = [*np.split(rng.permutation(60), 6), [0, 1], np.arange(30)]
    return X, y, rng.uniform(0.5, 2.0, 60), groups


def refits(model, X, y, weight, groups):
    for rows in groups:
        kept = np.setdiff1d(np.arange(len(y)), rows)
        yield clone(model).fit(X[kept], y[kept], sample_weight=weight[kept])


def test_newton_is_the_refit_where_the_active_set_stays():
    X, y, weight, groups = mean_form_data("elastic net")
    model = MEAN_FORM["elastic net"]
    explainer = InfluenceExplainer(model).fit(X, y, weight)
    with pytest.warns(ActiveSetWarning):
        found = explainer.group_delta(X[:9], groups=groups)
    errors, active = [], explainer.estimator_.coef_ != 0
    for i, rest in enumerate(refits(model, X, y, weight, groups)):
        if np.all((rest.coef_ != 0) == active):
            truth = rest.predict(X[:9]) - explainer.predict(X[:9])
            errors.append(relative_error(found[:, i], truth))
    assert errors
    assert max(errors) < 1e-8


def test_labels_stand_in_sorted_order_and_outputs_side_by_side():
    data = load("two targets")
    explainer = InfluenceExplainer(Ridge()).fit(data.X, data.y)
    labels = np.array(["b", "c", "a"])[np.arange(len(data.y)) % 3]
    listed = [np.flatnonzero(labels == name) for name in ("a", "b", "c")]
    for method in (explainer.group_influence, explainer.group_delta):
        by_label = method(data.X_test, groups=labels)
        assert by_label.shape == (len(data.X_test), 6)
        np.testing.assert_array_equal(by_label, method(data.X_test, groups=listed))
        np.testing.assert_array_equal(
            by_label, method(data.X_test, groups=labels.tolist())
        )
        means = method(data.X_test, groups=labels, aggregate="mean")
        np.testing.assert_allclose(means, by_label.mean(axis=0), atol=1e-12)
    rows = explainer.influence(data.X_test)[:, : len(labels)]
    truth = np.stack([rows[:, members].sum(axis=1) for members in listed], axis=1)
    found = explainer.group_influence(data.X_test, groups=labels)[:, :3]
    assert relative_error(found, truth) < 1e-9


# --- groups that cannot be deleted ---


@pytest.mark.parametrize("deletion", ["newton", "exact"])
def test_a_group_that_is_a_class_has_no_delta(deletion):
    data = load("two words")
    explainer = InfluenceExplainer(LogisticRegression(), deletion=deletion)
    explainer.fit(data.X, data.y)
    groups = [np.flatnonzero(data.y == "no"), [0, 1]]
    with pytest.warns(SeparableDeletionWarning, match="group 0") as spoken:
        found = explainer.group_delta(data.X_test, data.y_test, groups=groups)
    assert len(spoken) == 1
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


@pytest.mark.parametrize("size", [3, 30], ids=["downdated", "factored anew"])
def test_a_group_that_carries_the_rank_leaves_a_fit_of_minimum_norm(size):
    data = load("one target")
    X = np.c_[data.X, np.zeros(len(data.X))]
    X[:3, -1] = [1.0, 2.0, 3.0]
    explainer = InfluenceExplainer(LinearRegression()).fit(X, data.y)
    with pytest.warns(UnidentifiedDeletionWarning, match="group carrier"):
        labels = np.where(np.arange(len(X)) < size, "carrier", "rest")
        labels[-2:] = "last"
        labels[-7:-2] = "more"
        found = explainer.group_delta(X[:5], groups=labels)
    base = explainer.predict(X[:5])
    for column, name in enumerate(np.unique(labels)):
        if name != "rest" or size < 30:
            rest = labels != name
            refit = LinearRegression().fit(X[rest], data.y[rest])
            truth = refit.predict(X[:5]) - base
            np.testing.assert_allclose(found[:, column], truth, atol=1e-9)


# --- folds ---

FOLDS = {
    "five": 5,
    "shuffled": KFold(4, shuffle=True, random_state=0),
    "grouped": GroupKFold(3),
}
PREDICTORS = [
    ("one target", LinearRegression(), "predict"),
    ("two targets", Ridge([0.5, 30.0]), "predict"),
    ("three words", RidgeClassifier(), "decision_function"),
    ("two words", LogisticRegression(**TIGHT), "predict"),
    ("two words", LogisticRegression(**TIGHT), "predict_proba"),
    ("three words", LogisticRegression(**TIGHT), "decision_function"),
]


@pytest.mark.parametrize("folds", FOLDS)
@pytest.mark.parametrize(
    "data, model, method", PREDICTORS, ids=lambda v: str(v).split("(")[0]
)
@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
def test_folds_are_predicted_as_by_cross_val_predict(data, model, method, folds):
    X, y = cases.training_rows(data)
    groups = np.random.default_rng(3).integers(0, 6, len(y))
    explainer = InfluenceExplainer(model, deletion="exact", tol=1e-12).fit(X, y)
    found = explainer.cv_predict(FOLDS[folds], groups=groups, method=method)
    truth = cross_val_predict(
        model, X, y, cv=FOLDS[folds], groups=groups, method=method
    )
    assert found.dtype == truth.dtype
    if truth.dtype.kind != "f":
        np.testing.assert_array_equal(found, truth)
        return
    logistic = isinstance(model, LogisticRegression)
    np.testing.assert_allclose(found, truth, atol=1e-6 if logistic else 1e-9)


def test_folds_may_be_labels_and_transformers_may_be_held():
    X, y = cases.training_rows("one target")
    labels = np.random.default_rng(3).integers(0, 6, len(y))
    model = make_pipeline(StandardScaler(), Ridge()).fit(X, y)
    explainer = InfluenceExplainer(model, preprocessing="held").fit(X, y)
    found = explainer.cv_predict(labels)
    Z = model[0].transform(X)
    truth = cross_val_predict(Ridge(), Z, y, groups=labels, cv=GroupKFold(6))
    np.testing.assert_allclose(found, truth, atol=1e-9)


def test_folds_that_take_a_class_away_are_nan_or_the_label_of_all_rows():
    X, y = cases.training_rows("two words")
    labels = np.where(y == "no", 2, np.arange(len(y)) % 2)
    explainer = InfluenceExplainer(LogisticRegression(), deletion="exact").fit(X, y)
    with pytest.warns(SeparableDeletionWarning, match="fold 2"):
        found = explainer.cv_predict(labels, method="predict_proba")
    np.testing.assert_array_equal(np.isnan(found[:, 0]), labels == 2)
    with pytest.warns(SeparableDeletionWarning, match="fold 2"):
        found = explainer.cv_predict(labels)
    np.testing.assert_array_equal(found[labels == 2], explainer.predict(X[labels == 2]))


@pytest.mark.parametrize("cv", [TimeSeriesSplit(3), list(KFold(2).split(range(30)))])
def test_folds_that_are_no_partition_are_refused(cv):
    X, y = cases.training_rows("one target")
    with pytest.raises(InvalidParameterError, match="once"):
        InfluenceExplainer(Ridge()).fit(X, y).cv_predict(cv)


@pytest.mark.parametrize("cv", ["five", 1, 0.2])
def test_folds_of_no_meaning_are_refused(cv):
    X, y = cases.training_rows("one target")
    with pytest.raises(InvalidParameterError, match=r"cv=.*cannot be used"):
        InfluenceExplainer(Ridge()).fit(X, y).cv_predict(cv)


# --- bad input ---

N = len(load("one target").y)
BAD_GROUPS = {
    "too short": (np.zeros(N - 1), f"{N}"),
    "two columns": (np.zeros((N, 2)), "shape"),
    "missing": (np.where(np.arange(N) == 3, np.nan, 1.0), "missing"),
    "mixed": (np.array([1, "a"] * (N // 2), dtype=object), "sorted"),
    "empty": ([[0, 1], []], "Group 1 is empty"),
    "empty mask": ([np.zeros(N, dtype=bool)], "empty"),
    "no groups": ([], "shape"),
    "out of range": ([[0, N]], f"{N}"),
    "fractions": ([[0.5, 1.0]], "row numbers"),
}


@pytest.mark.parametrize("name", BAD_GROUPS)
def test_bad_groups_are_refused(name):
    data = load("one target")
    explainer = InfluenceExplainer(Ridge()).fit(data.X, data.y)
    groups, message = BAD_GROUPS[name]
    for method in (explainer.group_influence, explainer.group_delta):
        with pytest.raises(InvalidParameterError, match=message) as error:
            method(data.X_test, groups=groups)
        assert isinstance(error.value, ValueError)


def test_a_group_of_all_rows_cannot_be_deleted():
    data = load("one target")
    weight = (np.arange(N) < 10).astype(float)
    explainer = InfluenceExplainer(Ridge()).fit(data.X, data.y, weight)
    for groups in (np.ones(N), [[0, 1], np.arange(10)]):
        with pytest.raises(InvalidParameterError, match="all 10 training rows"):
            explainer.group_delta(data.X_test, groups=groups)
    assert np.isfinite(explainer.group_influence(data.X_test, groups=np.ones(N))).all()


def test_bad_test_rows_are_refused():
    data = load("one target")
    explainer = InfluenceExplainer(Ridge()).fit(data.X, data.y)
    with pytest.raises(InvalidDataError):
        explainer.group_delta(data.X_test[:, 1:], groups=[[0]])
    with pytest.raises(InvalidParameterError, match="aggregate"):
        explainer.group_influence(data.X_test, groups=[[0]], aggregate="median")
