"""L1 and nonnegative coefficients: the active set, who changes it, and exact deletion."""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from deletions import check_groups_of_one, every_method
from reference import relative_error
from scipy import sparse
from scipy.optimize import brentq, nnls
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    MultiTaskElasticNet,
    MultiTaskLasso,
    Ridge,
    RidgeClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    InfluenceReport,
    check_leave_one_out,
    refit_leave_one_out,
)
from skinfluence._array import array_namespace
from skinfluence._penalty import Corners
from skinfluence.exceptions import (
    ActiveSetWarning,
    InvalidDataError,
    NotConvergedWarning,
    NotStationaryWarning,
    UnsupportedEstimatorError,
)
from skinfluence.solvers import (
    AbstractSquare,
    _active_set,
    corner_minimum,
    on_all_features,
)

N, P, M = 70, 10, 9
TIGHT = {"tol": 1e-14, "max_iter": 1_000_000}
SAGA = {"solver": "saga", "tol": 1e-13, "max_iter": 100_000, "random_state": 0}
LIBLINEAR = {"solver": "liblinear", "tol": 1e-10, "max_iter": 100_000}


@cache
def rows():
    """X, some kinds of targets, and weights; M test rows behind the N training rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N + M, P)) @ (np.eye(P) + 0.3 * rng.normal(size=(P, P)))
    X += rng.normal(size=P)
    beta = np.r_[1.5, -2.0, 1.0, 0.5, -0.3, 0.2, np.zeros(P - 6)]
    u = (X - X.mean(axis=0)) @ beta
    y = u + rng.normal(size=N + M)
    classes = np.c_[u, -u, X @ rng.normal(size=P)] + 2 * rng.gumbel(size=(N + M, 3))
    weak = X @ np.linspace(0.6, -0.2, P) + 1.5 * rng.normal(size=N + M)
    targets = {
        "number": y,
        "weak": weak,
        "numbers": np.c_[y, X[:, 0] - y + rng.normal(size=N + M)],
        "two": (u + 2 * rng.logistic(size=N + M) > 0).astype(int),
        "rare": (u + 2 * rng.logistic(size=N + M) > 3).astype(int),
        "three": np.argmax(classes, axis=1),
    }
    return X, targets, rng.uniform(0.5, 2.0, N)


@dataclass(frozen=True, eq=False)
class Case:
    """A tightly fitted model with corners in its penalty, and its refits."""

    estimator: Any
    y: str = "number"
    weighted: bool = True
    most_false_alarms: int = 0  # of one Newton step

    @property
    def quadratic(self):
        return not isinstance(self.estimator, LogisticRegression)

    @property
    def data(self):
        X, targets, weight = rows()
        return X[:N], targets[self.y][:N], weight if self.weighted else np.ones(N)

    @property
    def fit_params(self):
        return {"sample_weight": rows()[2]} if self.weighted else {}

    def refit(self, kept):
        """By scikit-learn alone, or by SciPy where its tolerance is too loose."""
        X, y, weight = (part[kept] for part in self.data)
        if isinstance(self.estimator, Ridge) and self.estimator.positive:
            return positive_ridge(self.estimator, X, y, weight)
        model = clone(self.estimator)
        if self.weighted:
            return model.fit(X, y, sample_weight=weight)
        return model.fit(X, y)


def positive_ridge(model, X, y, weight):
    """``Ridge(positive=True)`` as nonnegative least squares with rows for the penalty."""
    share = weight / weight.sum()
    centre, mean = share @ X, share @ y
    root = np.sqrt(weight)
    ridge = np.sqrt(model.alpha) * np.eye(X.shape[1])
    A = np.r_[root[:, None] * (X - centre), ridge]
    coef = nnls(A, np.r_[root * (y - mean), np.zeros(X.shape[1])])[0]
    fitted = clone(model)
    fitted.coef_, fitted.intercept_ = coef, mean - centre @ coef
    fitted.n_features_in_ = X.shape[1]
    return fitted


CASES = {
    "lasso": Case(Lasso(0.15, **TIGHT)),
    "lasso, no weights": Case(Lasso(0.15, **TIGHT), weighted=False),
    "lasso, positive": Case(Lasso(0.15, positive=True, **TIGHT), "weak"),
    "lasso, two targets": Case(Lasso(0.2, **TIGHT), "numbers"),
    "lasso, least angles": Case(LassoLars(0.15), weighted=False),
    "elastic net": Case(ElasticNet(0.07, l1_ratio=0.6, **TIGHT), "weak"),
    "elastic net, no intercept": Case(
        ElasticNet(0.2, l1_ratio=0.5, fit_intercept=False, **TIGHT)
    ),
    "linear, positive": Case(LinearRegression(positive=True), "weak"),
    "ridge, positive": Case(Ridge(2.0, positive=True), "weak"),
    "logistic, L1": Case(
        LogisticRegression(C=0.2, l1_ratio=1, **SAGA), "two", most_false_alarms=2
    ),
    "logistic, elastic net, no intercept": Case(
        LogisticRegression(C=0.1, l1_ratio=0.5, fit_intercept=False, **SAGA),
        "two",
        most_false_alarms=2,
    ),
    "logistic, liblinear": Case(
        LogisticRegression(C=0.2, l1_ratio=1, intercept_scaling=2.0, **LIBLINEAR),
        "rare",
        most_false_alarms=2,
    ),
    "softmax, L1": Case(
        LogisticRegression(C=0.3, l1_ratio=1, **SAGA), "three", most_false_alarms=2
    ),
    "softmax, elastic net": Case(
        LogisticRegression(C=0.2, l1_ratio=0.7, **SAGA), "three", most_false_alarms=2
    ),
}
every_case = pytest.mark.parametrize("name", CASES)
quadratic_cases = pytest.mark.parametrize(
    "name", [k for k, c in CASES.items() if c.quadratic]
)
few_cases = pytest.mark.parametrize(
    "name", ["elastic net", "linear, positive", "softmax, L1"]
)


def flat(coef, intercept):
    """Coefficients and intercepts of one model; those of a softmax sum to zero."""
    intercept = np.atleast_1d(np.asarray(intercept, dtype=float))
    if len(intercept) > 2:
        intercept = intercept - intercept.mean()
    return np.r_[np.ravel(coef), intercept]


@cache
def fitted(name):
    return CASES[name].refit(np.ones(N, dtype=bool))


@cache
def refits(name):
    """Deltas by really refitting, and the rows that change the active set."""
    case, before = CASES[name], fitted(name)
    start = flat(before.coef_, before.intercept_)
    models = [case.refit(np.arange(N) != row) for row in range(N)]
    deltas = np.array([flat(m.coef_, m.intercept_) for m in models]) - start
    n_cornered = before.coef_.size + (getattr(before, "solver", "") == "liblinear")
    signs = np.sign(deltas + start) != np.sign(start)
    return deltas, signs[:, :n_cornered].any(axis=1), models


@cache
def explainer(name, deletion):
    case = CASES[name]
    X, y, _ = case.data
    return InfluenceExplainer(fitted(name), deletion=deletion).fit(
        X, y, **case.fit_params
    )


@cache
def params(name, deletion):
    asked = explainer(name, deletion)
    if deletion == "exact" or not refits(name)[1].any():
        return asked.loo_params()
    with pytest.warns(ActiveSetWarning):
        return asked.loo_params()


def found(name, deletion):
    bunch = params(name, deletion)
    return np.array(
        [flat(c, b) for c, b in zip(bunch.coef, bunch.intercept, strict=True)]
    )


# --- exact deletion ---


@every_case
def test_the_data_has_rows_that_change_the_active_set_and_rows_that_do_not(name):
    changed = refits(name)[1]
    assert 1 <= changed.sum() <= N - 10


@every_case
def test_a_tight_fit_is_stationary(name):
    assert explainer(name, "newton").stationarity_ < 1e-4


@every_case
def test_exact_deletion_follows_the_active_set(name):
    truth = refits(name)[0]
    assert relative_error(found(name, "exact"), truth) < 1e-6
    assert np.array_equal(params(name, "exact").active_set_changes, refits(name)[1])


@quadratic_cases
def test_newton_deletion_is_exact_where_the_refit_keeps_the_active_set(name):
    truth, changed, _ = refits(name)
    kept = ~changed
    assert relative_error(found(name, "newton")[kept], truth[kept]) < 1e-9


@every_case
def test_newton_deletion_is_wrong_where_it_changes(name):
    """Else following would be for nothing."""
    truth, changed, _ = refits(name)
    assert relative_error(found(name, "newton")[changed], truth[changed]) > 1e-3


@every_case
def test_the_error_bound_holds(name):
    truth = refits(name)[0]
    rounding = 1e-8 * np.abs(truth).max()  # of the refits
    for deletion in ("newton", "exact"):
        error = np.linalg.norm(found(name, deletion) - truth, axis=1)
        assert np.all(error <= params(name, deletion).error_bound + rounding)
    assert np.max(params(name, "exact").error_bound) < 1e-5 * np.abs(truth).max()


# --- flags ---


@every_case
def test_flags_miss_no_change_and_few_are_false(name):
    changed, flags = refits(name)[1], params(name, "newton").active_set_changes
    assert flags.shape == (N,) and flags.dtype == bool
    assert not np.any(changed & ~flags)
    assert np.sum(flags & ~changed) <= CASES[name].most_false_alarms


@few_cases
def test_newton_warns_once_with_the_count_and_exact_does_not(name):
    X, targets, _ = rows()
    count = int(params(name, "newton").active_set_changes.sum())
    test = X[N:], targets[CASES[name].y][N:]
    for ask in (
        lambda e: e.loo_params(),
        lambda e: e.loo_params(rows=np.arange(N)),
        lambda e: e.loo_delta(*test),
        lambda e: e.loo_predict(),
    ):
        with pytest.warns(ActiveSetWarning, match=f"^{count} deletions") as record:
            ask(explainer(name, "newton"))
        assert len([w for w in record if w.category is ActiveSetWarning]) == 1
        ask(explainer(name, "exact"))  # warnings are errors


def test_rows_that_keep_the_active_set_do_not_warn():
    kept = np.flatnonzero(~params("lasso", "newton").active_set_changes)[:5]
    found = explainer("lasso", "newton").loo_params(rows=kept)
    assert not found.active_set_changes.any()


def test_smooth_models_have_no_flags():
    X, targets, _ = rows()
    explained = InfluenceExplainer(Ridge()).fit(X, targets["number"])
    assert "active_set_changes" not in explained.loo_params()


def test_exact_asked_for_after_fit_flags_what_it_cannot_follow():
    X, y, weight = CASES["lasso"].data
    late = InfluenceExplainer(fitted("lasso")).fit(X, y, sample_weight=weight)
    late.set_params(deletion="exact")
    with pytest.warns(ActiveSetWarning, match="Fit with deletion='exact'"):
        flags = late.loo_params().active_set_changes
    assert np.array_equal(flags, refits("lasso")[1])


@every_method
@every_case
def test_a_group_of_one_is_a_row(name, method):
    changed = np.flatnonzero(refits(name)[1])
    kept = np.flatnonzero(~refits(name)[1])
    rows = np.r_[changed[:2], kept[:2]]
    check_groups_of_one(explainer(name, method), rows, tol=1e-6)


# --- what is asked of the deltas ---


def test_changes_of_sparse_softmax_intercepts_sum_to_zero_wherever_columns_sit():
    """As in a refit: a constant added to all intercepts is not seen by the objective."""
    rng = np.random.default_rng(0)
    X, y = rng.normal([3.0, 0.0], size=(40, 2)), rng.integers(0, 3, size=40)
    options = {"l1_ratio": 1, "solver": "saga", "tol": 1e-8, "max_iter": 5000}
    model = LogisticRegression(C=0.5, **options)
    for method in ("newton", "exact"):
        explainer = InfluenceExplainer(model, deletion=method).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ActiveSetWarning)
            deltas = explainer.loo_params()
        assert np.max(np.abs(deltas.coef.sum(axis=1))) > 0.01  # those of L1 need not
        assert np.max(np.abs(deltas.intercept.sum(axis=1))) < 1e-12
    refits = refit_leave_one_out(model, X, y, rows=[0, 5])
    np.testing.assert_allclose(deltas.intercept[[0, 5]], refits.intercept, atol=1e-7)
    without = (
        clone(model).fit(X[1:], y[1:]).intercept_ - explainer.estimator_.intercept_
    )
    np.testing.assert_allclose(deltas.intercept[0], without, atol=1e-4)


@every_case
def test_leave_one_out_outputs_see_the_features_that_join(name):
    X, asked = CASES[name].data[0], explainer(name, "exact")
    method = "predict" if CASES[name].quadratic else "decision_function"
    truth = [
        getattr(model, method)(X[[row]])[0] for row, model in enumerate(refits(name)[2])
    ]
    answer = asked.loo_predict(method=method)
    if CASES[name].y == "three":  # the gauge: sums of decisions mean nothing
        truth, answer = (u - np.mean(u, axis=1, keepdims=True) for u in (truth, answer))
    assert relative_error(answer, np.array(truth)) < 1e-6


@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("elastic net", "loss"),
        ("elastic net", "output"),
        ("linear, positive", "loss"),
        ("logistic, L1", "loss"),
        ("logistic, L1", "output"),
        ("softmax, L1", "loss"),  # one class's decision has no meaning of its own
    ],
)
def test_loo_delta_sees_the_features_that_join(name, on):
    case, (X, targets, _) = CASES[name], rows()
    X, y = X[N:], targets[case.y][N:]

    def quantity(model):
        if not case.quadratic:
            proba = model.predict_proba(X)
            if on == "loss":
                return -np.log(proba[np.arange(M), y])
            return model.decision_function(X)
        u = model.predict(X)
        return u if on == "output" else 0.5 * (u - y) ** 2

    before = quantity(fitted(name))
    truth = np.stack([quantity(m) - before for m in refits(name)[2]], axis=1)
    answer = explainer(name, "exact").loo_delta(X, y if on == "loss" else None)
    assert relative_error(answer, truth) < 1e-6


@few_cases
def test_influence_is_the_same_on_all_features_and_on_the_active_ones(name):
    X, targets, _ = rows()
    test = X[N:], targets[CASES[name].y][N:]
    wide, narrow = (explainer(name, d).influence(*test) for d in ("exact", "newton"))
    assert relative_error(wide, narrow) < 1e-12


@pytest.mark.parametrize("name", ["linear, positive", "softmax, L1"])  # sum form
def test_influence_is_the_derivative_in_the_weight(name):
    case = CASES[name]
    X, y, weight = case.data
    influence = explainer(name, "newton").param_influence(rows=[3])
    slopes = []
    for step in (1e-4, -1e-4):
        moved = weight + step * (np.arange(N) == 3)
        model = clone(case.estimator).fit(X, y, sample_weight=moved)
        slopes.append(flat(model.coef_, model.intercept_))
    truth = (slopes[0] - slopes[1]) / 2e-4 * weight.sum()
    assert relative_error(flat(influence.coef[0], influence.intercept[0]), truth) < 1e-4


# --- fits that are not at their minimum ---


def test_a_loose_fit_on_another_active_set_is_followed():
    X, y, weight = CASES["lasso"].data
    loose = Lasso(0.15, tol=0.5).fit(X, y, sample_weight=weight)
    assert np.any((loose.coef_ != 0) != (fitted("lasso").coef_ != 0))
    asked = InfluenceExplainer(loose, deletion="exact")
    with pytest.warns(NotStationaryWarning):
        asked.fit(X, y, sample_weight=weight)
    answer = asked.loo_params()
    assert relative_error(answer.coef, found("lasso", "exact")[:, :P]) < 1e-9


def test_a_default_saga_fit_is_followed_without_a_warning():
    case = CASES["softmax, L1"]
    X, y, weight = case.data
    loose = LogisticRegression(C=0.3, l1_ratio=1, solver="saga", random_state=0)
    loose.fit(X, y, sample_weight=weight)
    asked = InfluenceExplainer(loose, deletion="exact").fit(X, y, sample_weight=weight)
    assert (
        relative_error(asked.loo_params().coef, params("softmax, L1", "exact").coef)
        < 1e-6
    )


# --- the judge ---


@every_case
def test_the_judge_refits_to_the_minimum_whatever_the_active_set(name):
    X, y, _ = CASES[name].data
    truth, changed, _ = refits(name)
    asked = [*np.flatnonzero(changed)[:3], 0, 1]
    judged = refit_leave_one_out(
        fitted(name), X, y, rows=asked, **CASES[name].fit_params
    )
    answer = [flat(c, b) for c, b in zip(judged.coef, judged.intercept, strict=True)]
    assert relative_error(np.array(answer), truth[asked]) < 1e-6


@few_cases
def test_check_leave_one_out_sees_what_newton_misses(name):
    X, y, _ = CASES[name].data
    rough, exact = (
        check_leave_one_out(
            explainer(name, d), X, y, rows=np.arange(N), X_test=X, y_test=y
        )
        for d in ("newton", "exact")
    )
    assert exact.param_error < 1e-6 < 1e-3 < rough.param_error


# --- other estimators, shapes and stores of data ---


@pytest.mark.parametrize(
    ("estimator", "y"),
    [
        (LassoCV(cv=3, **TIGHT), "number"),
        (ElasticNetCV(cv=3, l1_ratio=[0.3, 0.7], **TIGHT), "number"),
        (LassoLarsCV(cv=3), "number"),
        (LinearRegression(positive=True), "numbers"),
        (RidgeClassifier(2.0, positive=True), "two"),
        (make_pipeline(StandardScaler(), Lasso(0.1, **TIGHT)), "number"),
        (
            LogisticRegressionCV(
                Cs=[0.1, 0.5],
                l1_ratios=(0.5, 1),
                cv=3,
                scoring="neg_log_loss",
                use_legacy_attributes=False,
                **SAGA,
            ),
            "three",
        ),
    ],
    ids=lambda value: str(value).split("(")[0],
)
def test_other_estimators_agree_with_their_refits(estimator, y):
    X, targets, _ = rows()
    X, y = X[:N], targets[y][:N]
    model = clone(estimator).fit(X, y)
    explained = InfluenceExplainer(model, deletion="exact").fit(X, y)
    asked = np.arange(0, N, 5)
    answer, judged = (
        explained.loo_params(rows=asked),
        refit_leave_one_out(model, X, y, rows=asked),
    )
    assert relative_error(answer.coef, judged.coef) < 1e-7
    assert relative_error(answer.intercept, judged.intercept) < 1e-7


@cache
def wide():
    """More features than rows, most of them zero: X sparse, y, and a tight lasso."""
    rng = np.random.default_rng(1)
    X = sparse.random_array((40, 300), density=0.2, random_state=rng)
    X = sparse.csr_array(X.toarray())  # 32-bit indices from every SciPy
    y = X[:, [0, 1, 2, 3]] @ np.array([3.0, -2.0, 2.0, 1.0]) + 0.3 * rng.normal(size=40)
    return X, y, Lasso(0.03, **TIGHT).fit(X, y)


@pytest.mark.parametrize("store", ["CSR", "CSC", "dense"])
def test_more_features_than_rows_dense_and_sparse(store):
    X, y, model = wide()
    X = X.toarray() if store == "dense" else X.asformat(store.lower())
    explained = InfluenceExplainer(model, deletion="exact").fit(X, y)
    answer = explained.loo_params()
    assert 5 < answer.active_set_changes.sum()
    for row in (0, 7, *np.flatnonzero(answer.active_set_changes)[:4]):
        kept = np.arange(40) != row
        truth = clone(model).fit(X[kept], y[kept]).coef_ - model.coef_
        assert relative_error(answer.coef[row], truth) < 1e-6


unpolished = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skinfluence.exceptions.NotStationaryWarning",
)


@unpolished
@pytest.mark.parametrize("store", ["CSR", "dense"])
def test_wide_logistic_models_dense_and_sparse(store):
    X, y, _ = wide()
    X, y = (X.toarray() if store == "dense" else X), (y > 0).astype(int)
    model = LogisticRegression(C=5.0, l1_ratio=0.9, solver="saga", random_state=0)
    model.fit(X, y)
    explained = InfluenceExplainer(model, deletion="exact").fit(X, y)
    answer = explained.loo_params()
    asked = [0, 1, *np.flatnonzero(answer.active_set_changes)[:4]]
    judged = refit_leave_one_out(model, X, y, rows=asked)
    assert relative_error(answer.coef[asked], judged.coef) < 1e-6


@unpolished
@pytest.mark.parametrize("classes", ["two", "three"])
def test_hard_rows_get_steps_of_their_own(classes):
    """Weak penalties: steps with the curvature of all rows do not contract."""
    X, targets, _ = rows()
    X, y = X[:30], targets[classes][:30]
    model = LogisticRegression(C=100.0, l1_ratio=0.95, solver="saga", max_iter=1000)
    model.set_params(random_state=0).fit(X, y)
    explained = InfluenceExplainer(model, deletion="exact").fit(X, y)
    answer, judged = explained.loo_params(), refit_leave_one_out(model, X, y)
    assert answer.n_steps.max() > 5
    assert relative_error(answer.coef, judged.coef) < 1e-6


@pytest.mark.parametrize("solver", ["direct", "dual", "cg"])
def test_solvers_agree(solver):
    name = "ridge, positive"
    X, y, weight = CASES[name].data
    asked = InfluenceExplainer(fitted(name), deletion="exact", solver=solver)
    answer = asked.fit(X, y, sample_weight=weight).loo_params()
    assert relative_error(answer.coef, params(name, "exact").coef) < 1e-6


# --- columns that are equal to nine digits ---

L1_LOGISTIC = LogisticRegression(l1_ratio=1, solver="saga", tol=1e-6, max_iter=2000)
TWINS = {
    "lasso": Lasso(0.05),
    "lasso, positive": Lasso(0.05, positive=True),
    "elastic net": ElasticNet(0.05, l1_ratio=0.9999999999),
    "logistic, L1": L1_LOGISTIC.set_params(random_state=0),
}


def twins(name, seed):
    """Rows whose first two columns are equal but for 1e-9, targets, and a fit."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 5))
    X[:, 1] = X[:, 0] + 1e-9 * rng.normal(size=40)
    y = X[:, :3].sum(axis=1) + rng.normal(size=40)
    y = (y > 0).astype(int) if "logistic" in name else y
    return X, y, clone(TWINS[name]).fit(X, y)


def l1_objective(name, coef, intercept, X, y):
    """In sum form, its strength that of ``TWINS``."""
    u = X @ np.ravel(coef) + intercept
    size = np.abs(coef).sum()
    if "logistic" in name:
        return np.sum(np.logaddexp(0, u) - y * u) + size
    return 0.5 * np.sum((y - u) ** 2) + len(y) * 0.05 * size


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", TWINS)
def test_the_polish_ends_no_higher_than_the_fit_where_columns_are_equal(name, seed):
    X, y, model = twins(name, seed)
    point = on_all_features(InfluenceExplainer(model).fit(X, y)._study.point)
    design, layout = point.objective.design, point.objective.layout
    ends = design.to_estimator(layout.unpack(point.theta))
    before = l1_objective(name, model.coef_, model.intercept_, X, y)
    assert l1_objective(name, *ends, X, y) <= before * (1 + 1e-12)
    assert np.abs(ends[0]).max() < 10


@pytest.mark.parametrize("name", ["lasso", "lasso, positive"])
def test_exact_deletions_are_refits_where_columns_are_equal(name):
    X, y, model = twins(name, 1)
    answer = InfluenceExplainer(model, deletion="exact").fit(X, y).loo_predict()
    single = X[:, [0, 2, 3, 4]]  # all that a minimum needs, and no optimiser minds it
    for i in range(0, 40, 8):
        kept = np.arange(40) != i
        refit = clone(model).set_params(**TIGHT).fit(single[kept], y[kept])
        truth = refit.predict(single[i : i + 1])[0]
        assert answer[i] == pytest.approx(truth, abs=1e-7)


def test_it_is_said_where_the_minimum_is_out_of_reach(monkeypatch):
    """The best point is explained then: here that of the fit."""
    monkeypatch.setattr(_active_set, "_MOST_RETURNS", 0)
    X, y, model = twins("lasso", 0)
    explainer = InfluenceExplainer(model)
    with pytest.warns(NotConvergedWarning, match="Polishing stopped"):
        explainer.fit(X, y)
    point = on_all_features(explainer._study.point)
    coef, _ = point.objective.design.to_estimator(point.theta)
    assert np.abs(coef - model.coef_).max() < 1e-6


# --- nothing active, and refusals ---


def test_a_model_of_an_intercept_alone_has_leave_one_out_means():
    X, targets, _ = rows()
    y = targets["number"][:N]
    model = Lasso(100.0).fit(X[:N], y)
    assert not model.coef_.any()
    answer = InfluenceExplainer(model).fit(X[:N], y).loo_predict()
    assert relative_error(answer, (y.sum() - y) / (N - 1)) < 1e-12


@pytest.mark.parametrize("deletion", ["jackknife", "newton", "halley", "exact"])
def test_diagnostics_of_an_intercept_alone_are_those_of_a_mean(deletion):
    X, targets, _ = rows()
    y = targets["number"][:N]
    explained = InfluenceExplainer(Lasso(100.0), deletion=deletion, prefit=False)
    table = explained.fit(X[:N], y).diagnostics()
    np.testing.assert_allclose(table["leverage"], 1 / N, rtol=1e-12)
    residual = y - y.mean()
    np.testing.assert_allclose(table["resid"], residual, rtol=1e-12)
    deleted = residual if deletion == "jackknife" else residual / (1 - 1 / N)
    if deletion != "jackknife":
        np.testing.assert_allclose(table["loo_resid"], deleted, rtol=1e-12)
    distance = residual**2 / N / (1 - 1 / N) ** 2 / y.var(ddof=1)
    np.testing.assert_allclose(table["cooks_distance"], distance, rtol=1e-12)
    assert not table["dfbetas_x0"].any()


def test_the_cleaner_and_the_report_take_an_intercept_alone():
    X, targets, _ = rows()
    X, y = X[:N], targets["number"][:N].copy()
    y[11] = 1e3
    cleaner = InfluenceCleaner(Lasso(100.0)).fit(X, y)
    assert cleaner.cleaned_indices_.tolist() == [11]
    explained = InfluenceExplainer(Lasso(100.0)).fit(X, y)
    assert InfluenceReport(explained, X, y).to_dict()


def one_column(seed, times, n=12):
    """A column, its classes, an L1 model without intercept, and its minimum on rows.

    The penalty is so many ``times`` weaker than one that leaves nothing.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = (x + 2 * rng.normal(size=n) > 0).astype(int)
    C = times / abs(x @ (0.5 - y))

    def minimum(kept):
        def slope(w):
            return x[kept] @ (expit(w * x[kept]) - y[kept])

        if abs(slope(0.0)) <= 1 / C:
            return 0.0
        sign = -np.sign(slope(0.0))
        return sign * brentq(lambda w: sign * slope(sign * w) + 1 / C, 0, 1e3)

    model = LogisticRegression(C=C, l1_ratio=1, fit_intercept=False, **SAGA)
    return x[:, None], y, model.fit(x[:, None], y), minimum


@pytest.mark.parametrize("seed", range(4))
def test_a_deletion_may_zero_the_only_coefficient(seed):
    """And bring it back, on the other side: each row's delta is that of its refit."""
    X, y, model, minimum = one_column(seed, times=1.1)
    rows = np.arange(len(y))
    whole = minimum(rows >= 0)
    model.coef_[:] = whole
    explained = InfluenceExplainer(model, deletion="exact").fit(X, y)
    truth = np.array([minimum(rows != i) for i in rows]) - whole
    assert (truth == -whole).any()
    np.testing.assert_allclose(explained.loo_params().coef.ravel(), truth, atol=1e-9)
    group = explained.group_delta(X, y, groups=[rows[:-1]], aggregate="sum")
    assert np.isfinite(group).all()


@pytest.mark.parametrize("deletion", ["jackknife", "newton", "halley", "exact"])
def test_the_polish_may_zero_the_only_coefficient(deletion):
    X, y, model, _ = one_column(0, times=0.5)
    model.coef_[:] = 1e-6  # of an optimiser that stops early
    explained = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    assert not explained.loo_params().coef.any()
    assert not explained.influence(X, y).any()
    assert not explained.loo_delta(X, y).any()
    assert not explained.self_influence().any()
    assert not explained.group_delta(X, y, groups=[[0, 1], [2]]).any()
    assert explained.loo_score() == pytest.approx(np.mean(y == 0))
    assert not explained.diagnostics()["leverage"].any()
    assert explained.effective_dof_ == 0
    assert explained.condition_ == 1


@pytest.mark.parametrize(("n", "p"), [(2, 1), (4, 3), (5, 8)])
def test_a_deletion_may_leave_too_few_rows_for_the_active_set(n, p):
    """Rows of leverage 1: fewer coefficients are determined by the others."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, p))
    y = X[:, 0] + rng.normal(size=n)
    model = Lasso(0.01, **TIGHT).fit(X, y)
    assert np.count_nonzero(model.coef_) == n - 1
    answer = InfluenceExplainer(model, deletion="exact").fit(X, y).loo_predict()
    for i in range(n):
        refit = clone(model).fit(np.delete(X, i, axis=0), np.delete(y, i))
        assert answer[i] == pytest.approx(refit.predict(X[i : i + 1])[0], abs=1e-8)


def test_a_model_of_nothing_is_refused():
    X, targets, _ = rows()
    y = targets["number"]
    model = Lasso(100.0, fit_intercept=False).fit(X, y)
    with pytest.raises(InvalidDataError, match="no row has any influence"):
        InfluenceExplainer(model).fit(X, y)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (MultiTaskLasso(), "ties the tasks together"),
        (MultiTaskElasticNet(), "ties the tasks together"),
        (LassoLarsIC(), "corner of its path"),
    ],
)
def test_refusals_name_the_reason(estimator, reason):
    X, targets, _ = rows()
    with pytest.raises(UnsupportedEstimatorError, match=reason):
        InfluenceExplainer(estimator).fit(X, targets["numbers"])


# --- the search itself ---


class Matrix(AbstractSquare):
    """A matrix at hand."""

    def __init__(self, H):
        self.H = H

    def square(self, entries):
        xp = array_namespace(self.H)
        return xp.take(xp.take(self.H, entries, axis=0), entries, axis=1)

    def product(self, entries, vectors):
        return self.H @ vectors


@pytest.mark.parametrize("namespace", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("rank", [12, 5])
@pytest.mark.parametrize("kind", ["L1", "nonnegative", "mixed"])
def test_corner_minimum_satisfies_its_conditions(namespace, rank, kind):
    """Right from any start, for singular matrices too: the problem is convex."""
    xp = pytest.importorskip(namespace)
    m = 12
    for seed in range(10):
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(m, rank))
        H, g = root @ root.T, root @ rng.normal(size=rank) * 3
        up, down = np.ones(m), np.ones(m)
        if kind == "nonnegative":
            up, down = np.zeros(m), np.full(m, np.inf)
        if kind == "mixed":
            down[:4], up[8:], down[8:] = np.inf, 0.0, 0.0  # the last have no corner
        start = np.where(rng.random(m) < 0.5, rng.normal(size=m), 0.0)
        start = np.abs(start) if kind == "nonnegative" else start
        start[:4] = np.abs(start[:4])
        floor = np.full(m, 1e-9)
        found = corner_minimum(
            *(xp.asarray(part) for part in (start, g)),
            Matrix(xp.asarray(H)),
            Corners(xp.asarray(up), xp.asarray(down)),
            xp.asarray(floor),
        )
        x = np.asarray(found.x)
        slope = g + H @ (x - start)
        assert found.converged
        assert np.all(x[np.isinf(down)] >= 0)
        off = (x != 0) | (up + down == 0)
        held = np.where(x > 0, up, -np.where(np.isinf(down), 0.0, down))
        np.testing.assert_allclose((slope + held)[off], 0.0, atol=1e-7)
        assert np.all((-slope <= up + 1e-7) & (slope <= down + 1e-7) | off)
