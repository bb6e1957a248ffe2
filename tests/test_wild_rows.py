"""Rows of leverage near 1, such as a value in the wrong unit, against refits."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut, cross_val_predict

from skinfluence import InfluenceCleaner, InfluenceExplainer
from skinfluence.exceptions import (
    SeparableDeletionWarning,
    UnidentifiedDeletionError,
    UnidentifiedDeletionWarning,
)

TIGHT = {"tol": 1e-13, "max_iter": 100_000}
REGRESSORS = {
    "least squares": LinearRegression(),
    "ridge": Ridge(1.0),
    "lasso": Lasso(1e-3, **TIGHT),
    "elastic net": ElasticNet(1e-3, **TIGHT),
    "positive": LinearRegression(positive=True),
}
# The deletions of the last three move the active set, which "newton" only flags.
ASKED = [
    pytest.param(model, deletion, id=f"{name}, {deletion}")
    for name, model in REGRESSORS.items()
    for deletion in ("newton", "exact")
    if deletion == "exact" or name in ("least squares", "ridge")
]
WILD, OTHERS = 7, np.arange(50) != 7


def one_wild_cell(value, columns=1):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, columns))
    y = 2 * X[:, 0] + rng.normal(size=50)
    X[WILD, 0] = value
    return X, y


@pytest.mark.filterwarnings("ignore:Objective did not converge")
@pytest.mark.parametrize("value, columns", [(1e4, 3), (6e5, 3), (1e8, 1)])
@pytest.mark.parametrize("model, deletion", ASKED)
def test_a_wild_cell_is_deleted_as_by_a_refit(model, value, columns, deletion):
    # Beside 1e8, LinearRegression itself takes other columns for rounding.
    X, y = one_wild_cell(value, columns)
    explainer = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    refit = clone(model).fit(X[OTHERS], y[OTHERS])
    delta = explainer.loo_params(rows=[WILD])
    base = explainer.estimator_.coef_
    np.testing.assert_allclose(base + delta.coef[0], refit.coef_, rtol=1e-8, atol=1e-9)
    own = explainer.loo_predict()[WILD]
    np.testing.assert_allclose(own, refit.predict(X[[WILD]])[0], rtol=1e-8)


@pytest.mark.parametrize("size", [1, 3, 30])
def test_a_group_that_holds_a_wild_cell_is_deleted_as_by_a_refit(size):
    X, y = one_wild_cell(6e5, columns=3)
    rows = np.arange(WILD, WILD + size)
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    refit = LinearRegression().fit(np.delete(X, rows, 0), np.delete(y, rows))
    delta = explainer.group_delta(X[:5], groups=[rows])[:, 0]
    truth = refit.predict(X[:5]) - explainer.predict(X[:5])
    np.testing.assert_allclose(delta, truth, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("deletion", ["newton", "halley", "exact"])
def test_a_wild_cell_of_a_poisson_model(deletion):
    X, _ = one_wild_cell(1e5, columns=2)
    y = np.random.default_rng(1).poisson(1.5, size=50)
    model = PoissonRegressor(
        alpha=0.1, tol=1e-12, solver="newton-cholesky", max_iter=1000
    )
    explainer = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    refit = clone(model).fit(X[OTHERS], y[OTHERS])
    delta = explainer.loo_params(rows=[WILD]).coef[0]
    truth = refit.coef_ - explainer.estimator_.coef_
    np.testing.assert_allclose(delta, truth, rtol=1e-6, atol=1e-9)


def test_a_wild_cell_of_a_logistic_model():
    X, y = one_wild_cell(1e7, columns=2)
    labels = y > 0
    model = LogisticRegression(C=10.0, tol=1e-12, solver="newton-cholesky")
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, labels)
    refit = clone(model).fit(X[OTHERS], labels[OTHERS])
    delta = explainer.loo_params(rows=[WILD]).coef[0]
    truth = refit.coef_ - explainer.estimator_.coef_
    np.testing.assert_allclose(delta, truth, rtol=1e-5)


def test_a_wild_row_elsewhere_separates_no_classes():
    """Its own class is all but certain, and what is left of it holds the others."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(22, 1))
    y = np.digitize(X[:, 0] + 2 * rng.logistic(size=22), [0.0, 1.5])
    X[1] = -2e7  # of the third class
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=3000)
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    assert np.isfinite(explainer.loo_params().coef).all()  # without a warning


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(1.0)], ids=repr)
def test_a_wild_cell_counts_in_scores_diagnostics_and_rankings(model):
    X, y = one_wild_cell(1e6)
    explainer = InfluenceExplainer(model).fit(X, y)
    left_out = cross_val_predict(model, X, y, cv=LeaveOneOut())
    assert explainer.loo_score() == pytest.approx(r2_score(y, left_out), rel=1e-9)
    table = explainer.diagnostics().iloc[WILD]
    assert table["loo_resid"] == pytest.approx(y[WILD] - left_out[WILD], rel=1e-9)
    assert np.isfinite(table.to_numpy()).all()
    _, order = explainer.top_influences(
        X, y, k=1, quantity="loo_delta", aggregate="mean"
    )
    assert order.tolist() == [WILD]
    cleaner = InfluenceCleaner(clone(model)).fit(X, y)
    assert cleaner.cleaned_indices_.tolist() == [WILD]


def test_diagnostics_of_a_wild_cell_are_those_of_refits():
    """R's formulas, with 1 - h, the residual and the variance by the other rows."""
    X, y = one_wild_cell(1e6)
    rest = LinearRegression().fit(X[OTHERS], y[OTHERS])
    dof = OTHERS.sum() - 2
    variance = np.sum((y[OTHERS] - rest.predict(X[OTHERS])) ** 2) / dof
    A = np.c_[X, np.ones(50)]
    x = A[WILD]
    leverage = x @ np.linalg.solve(A[OTHERS].T @ A[OTHERS], x)  # h / (1 - h)
    gap = y[WILD] - rest.predict(X[[WILD]])[0]
    table = InfluenceExplainer(LinearRegression()).fit(X, y).diagnostics().iloc[WILD]
    external = gap / np.sqrt(variance * (1 + leverage))
    assert table["resid_studentized_external"] == pytest.approx(external, rel=1e-6)
    assert table["dffits"] == pytest.approx(external * leverage**0.5, rel=1e-6)
    internal = external / np.sqrt((dof + external**2) / (dof + 1))
    assert table["resid_studentized_internal"] == pytest.approx(internal, rel=1e-6)
    cook = internal**2 * leverage / 2
    assert table["cooks_distance"] == pytest.approx(cook, rel=1e-6)


# --- sets of rows ---


def test_diagnostics_of_a_wild_cell_in_another_library_are_those_of_numpy():
    xp = pytest.importorskip("array_api_strict")
    X, y = one_wild_cell(1e6, columns=3)
    truth = InfluenceExplainer(Ridge(1.0)).fit(X, y).diagnostics()
    model = Ridge(1.0).fit(X, y)
    explainer = InfluenceExplainer(model).fit(xp.asarray(X), xp.asarray(y))
    found = explainer.diagnostics()
    for name in truth:
        np.testing.assert_allclose(found[name], truth[name], rtol=1e-7, atol=1e-12)


TYPOS = [
    GammaRegressor(alpha=0.0, tol=1e-12, max_iter=10_000),
    TweedieRegressor(power=0, link="log", alpha=0.0, tol=1e-12, max_iter=10_000),
    TweedieRegressor(power=1.5, link="log", alpha=0.0, tol=1e-12, max_iter=10_000),
    TweedieRegressor(power=3, link="log", alpha=0.0, tol=1e-12, max_iter=10_000),
]


@pytest.mark.parametrize("model", TYPOS, ids=str)
def test_a_typo_in_an_exact_relation_of_a_glm_is_dropped(model):
    X = np.random.default_rng(0).integers(0, 10, (40, 2)).astype(float)
    y = np.exp(0.3 + 0.1 * X[:, 0])
    y[7] *= 1.05
    cleaner = InfluenceCleaner(model).fit(X, y)
    assert np.flatnonzero(~cleaner.support_).tolist() == [7]


@pytest.mark.parametrize("wild", [{7: 1e6}, {7: 1e6, 3: 1e7}], ids=["one", "two"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_wild_cells_are_weighed_among_the_sets_of_rows(direction, fit_intercept, wild):
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    y = 2 * x + rng.normal(size=12)
    for row, value in wild.items():
        x[row] = value
    X, model = x[:, None], Ridge(1.0, fit_intercept=fit_intercept)
    explainer = InfluenceExplainer(model).fit(X, y)
    best = max if direction == "increase" else min
    for k in (1, 2):
        slopes = [
            clone(model).fit(np.delete(X, rows, 0), np.delete(y, rows)).coef_[0]
            for rows in combinations(range(12), k)
        ]
        found = explainer.influential_set(0, k=k, direction=direction)
        assert found.achieved == pytest.approx(best(slopes), rel=1e-9)
        assert found.lower_bound == pytest.approx(best(slopes), rel=1e-6)


def test_no_bound_is_proved_past_rows_that_are_not_asked():
    """Nine wild rows, each with a column of its own."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=30), np.zeros((30, 9))]
    X[np.arange(9), np.arange(1, 10)] = 1e6
    X[9:18, 1:] += rng.normal(size=(9, 9))
    y = X[:, 0] + rng.normal(size=30)
    explainer = InfluenceExplainer(Ridge(1.0)).fit(X, y)
    assert explainer.influential_set(0, k=1, direction="increase").lower_bound is None


# --- what the other rows leave open ---


def clusters(seed=0, sizes=(5, 5, 1, 4, 5, 1, 5)):
    """Two columns and a dummy of each cluster."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    dummies = groups[:, None] == np.arange(len(sizes))
    X = np.c_[rng.normal(size=(len(groups), 2)), dummies]
    return X, X[:, :2] @ [1.0, 2.0] + rng.normal(size=len(groups)), groups


@pytest.mark.filterwarnings("ignore:The rows do not determine")
@pytest.mark.parametrize("deletion", ["newton", "exact"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_clusters_with_dummies_are_left_out_as_by_scikit_learn(fit_intercept, deletion):
    X, y, groups = clusters()
    model = LinearRegression(fit_intercept=fit_intercept)
    explainer = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    folds = LeaveOneGroupOut()
    with pytest.warns(UnidentifiedDeletionWarning, match="Without fold"):
        found = explainer.cv_predict(folds, groups=groups)
    truth = cross_val_predict(model, X, y, groups=groups, cv=folds)
    np.testing.assert_allclose(found, truth, atol=1e-9)
    with pytest.warns(UnidentifiedDeletionWarning, match="Rows 10, 20 have"):
        found = explainer.loo_predict()
    truth = cross_val_predict(model, X, y, cv=LeaveOneOut())
    np.testing.assert_allclose(found, truth, atol=1e-9)
    with pytest.warns(UnidentifiedDeletionWarning, match="Without group"):
        found = explainer.group_delta(X, groups=groups)
    base = model.fit(X, y).predict(X)
    for group in np.unique(groups):
        rest = groups != group
        truth = clone(model).fit(X[rest], y[rest]).predict(X) - base
        np.testing.assert_allclose(found[:, group], truth, atol=1e-9)


@pytest.mark.filterwarnings("ignore:The rows do not determine")
def test_fewer_rows_than_columns_are_left_out_as_by_scikit_learn():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(15, 30)), rng.normal(size=15)
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    truth = cross_val_predict(LinearRegression(), X, y, cv=LeaveOneOut())
    with pytest.warns(UnidentifiedDeletionWarning):
        np.testing.assert_allclose(explainer.loo_predict(), truth, atol=1e-9)
    with pytest.warns(UnidentifiedDeletionWarning):
        assert explainer.loo_score() == pytest.approx(r2_score(y, truth), rel=1e-9)


GLMS = {
    "Poisson": (PoissonRegressor(alpha=0.0, tol=1e-10, max_iter=10_000), np.exp),
    "gamma": (GammaRegressor(alpha=0.0, tol=1e-10, max_iter=10_000), np.exp),
    "logistic": (LogisticRegression(C=np.inf, tol=1e-10), lambda u: u > 0),
}


@pytest.mark.filterwarnings("ignore:The rows do not determine")
@pytest.mark.filterwarnings("ignore:.*cannot be vouched for")
@pytest.mark.parametrize("deletion", ["newton", "exact"])
@pytest.mark.parametrize("name", GLMS)
def test_a_sum_of_columns_changes_no_prediction_of_a_glm(name, deletion):
    model, mean = GLMS[name]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(25, 2))
    y = mean(0.5 * X[:, 0] + 0.5 * rng.logistic(size=25))
    ask = {"method": "predict_proba"} if name == "logistic" else {}
    found, truth = (
        InfluenceExplainer(model, deletion=deletion).fit(columns, y).loo_predict(**ask)
        for columns in (np.c_[X, X.sum(axis=1)], X)
    )
    np.testing.assert_allclose(found, truth, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:The rows do not determine")
@pytest.mark.filterwarnings("ignore:The fitted coefficients are")
@pytest.mark.parametrize("name", ["Poisson", "gamma"])
def test_a_glm_of_fewer_rows_than_columns_is_of_minimum_norm(name):
    """It fits all rows, as least squares fits the logarithms of their targets."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 12)), rng.gamma(3.0, size=8)
    explainer = InfluenceExplainer(GLMS[name][0], deletion="exact").fit(X, y)
    with pytest.warns(UnidentifiedDeletionWarning):
        found = explainer.loo_predict()
    truth = cross_val_predict(LinearRegression(), X, np.log(y), cv=LeaveOneOut())
    np.testing.assert_allclose(found, np.exp(truth), rtol=1e-6)


def test_only_what_the_other_rows_leave_open_is_nan_among_parameters():
    X, y, _ = clusters()
    model = LinearRegression(fit_intercept=False)
    explainer = InfluenceExplainer(model).fit(X, y)
    with pytest.warns(UnidentifiedDeletionWarning):
        delta = explainer.loo_params().coef
    assert np.argwhere(np.isnan(delta)).tolist() == [[10, 4], [20, 7]]
    np.testing.assert_allclose(delta[10, :4], 0.0, atol=1e-12)  # it is fitted alone
    with pytest.raises(UnidentifiedDeletionError, match="Row 10"):
        explainer.loo_params(rows=[10])


# --- the only row of a class ---


@pytest.mark.parametrize("deletion", ["newton", "exact"])
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_the_only_row_of_a_class_has_left_out_probability_zero(n_classes, deletion):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), np.zeros(30, dtype=int)
    if n_classes > 2:
        scores = X @ rng.normal(size=(2, n_classes - 1))
        y = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    y[4] = n_classes - 1
    model = LogisticRegression(tol=1e-10, max_iter=10_000)
    explainer = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    with pytest.warns(SeparableDeletionWarning, match="whatever the penalty"):
        found = explainer.loo_predict(method="predict_proba")
    truth = np.eye(n_classes)[0]
    if n_classes > 2:
        rest = clone(model).fit(np.delete(X, 4, 0), np.delete(y, 4))
        truth = np.append(rest.predict_proba(X[[4]])[0], 0.0)
    np.testing.assert_allclose(found[4], truth, atol=1e-7)
    with pytest.warns(SeparableDeletionWarning):
        assert explainer.loo_score("neg_log_loss") == pytest.approx(
            -log_loss(y, found, labels=np.arange(n_classes))
        )
    with pytest.warns(SeparableDeletionWarning):
        assert explainer.loo_score() <= 29 / 30


def test_a_score_says_how_many_rows_it_leaves_out():
    """Without rows 3 and 4, a threshold separates the classes and nothing penalises."""
    X = np.arange(8.0)[:, None]
    y = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    explainer = InfluenceExplainer(LogisticRegression(C=np.inf), deletion="exact")
    explainer.fit(X, y)
    with pytest.warns(SeparableDeletionWarning) as spoken:
        explainer.loo_score()
    assert any("leaves out 2 of 8 rows" in str(w.message) for w in spoken)


# --- the only row ---


@pytest.mark.parametrize("big", [1e10, 1e15])
@pytest.mark.parametrize(
    "model",
    [
        Lasso(0.1, **TIGHT),
        ElasticNet(0.1, **TIGHT),
        PoissonRegressor(alpha=0.1, solver="newton-cholesky", tol=1e-13),
    ],
)
def test_a_row_of_nearly_all_weight_leaves_the_penalty_of_the_others(model, big):
    """Its share is 1 to rounding; what the others weigh is known without it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 2))
    y = np.abs(X @ [1.0, -1.0] + rng.normal(size=12))
    weight, others = np.where(np.arange(12) == 3, big, 1.0), np.arange(12) != 3
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y, weight)
    delta = explainer.loo_params(rows=[3])
    full = clone(model).fit(X, y, sample_weight=weight)
    truth = clone(model).fit(X[others], y[others]).coef_ - full.coef_
    np.testing.assert_allclose(delta.coef[0], truth, rtol=1e-9)


ONLY_ROW = {
    "lasso": Lasso(0.01),
    "lasso, no intercept": Lasso(0.01, fit_intercept=False),
    "elastic net": ElasticNet(0.01),
    "Poisson": PoissonRegressor(alpha=0.1),
}


@pytest.mark.parametrize("deletion", ["newton", "exact"])
@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("name", ONLY_ROW)
def test_the_only_row_of_a_mean_loss_leaves_nothing(name, absent, deletion):
    """Its share of the penalty is the whole penalty; a row without weight is none."""
    X, y = np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 1.0])
    weight = np.array([0.3, 0.0])
    if not absent:
        X, y, weight = X[:1], y[:1], None
    explainer = InfluenceExplainer(ONLY_ROW[name], deletion=deletion)
    explainer.fit(X, y, weight)
    with pytest.raises(UnidentifiedDeletionError, match="Row 0"):
        explainer.loo_params(rows=[0])
    with pytest.warns(UnidentifiedDeletionWarning, match="Row 0"):
        assert np.isnan(explainer.loo_predict()[0])
