"""Leave-one-out search: RidgeCV's and brute force's scores, GridSearchCV's interface."""

import joblib
import numpy as np
import pytest
from cases import load
from scipy.stats import uniform
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
)
from sklearn.metrics import get_scorer, log_loss, make_scorer, mean_squared_error
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneOut,
    ParameterGrid,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinfluence import LeaveOneOutSearchCV
from skinfluence.exceptions import (
    InvalidDataError,
    InvalidParameterError,
    InvalidWeightError,
    SingleClassError,
    SkinfluenceError,
    UnfittedEstimatorError,
    UnidentifiedDeletionWarning,
    UnsupportedEstimatorError,
)
from skinfluence.selection import _path, _search
from skinfluence.selection._warm_start import Starts, WarmStarted, starts_warm

NUMBERS, BINARY = load("one target"), load("two words")
ALPHAS = np.logspace(-3, 3, 13)
TIGHT = {"tol": 1e-12, "max_iter": 10_000}


def expected_failures(search):
    """The only ones, and why."""
    why = (
        "a row of weight 2 is left out as a whole, two rows of weight 1 are left out one "
        "at a time, which is another score"
    )
    return {
        "check_sample_weight_equivalence_on_dense_data": why,
        "check_sample_weight_equivalence_on_sparse_data": why,
    }


@parametrize_with_checks(
    [LeaveOneOutSearchCV(Ridge(), {"alpha": [0.1, 10.0]})],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_own_checks_around_a_regressor(estimator, check):
    check(estimator)


# One of the checks has a class of a single row, without which no finite refit exists.
@pytest.mark.filterwarnings("ignore:Row .* has no finite refit")
@parametrize_with_checks([LeaveOneOutSearchCV(LogisticRegression(), {"C": [0.1, 1.0]})])
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # raw iris, by default
def test_scikit_learns_own_checks_around_a_classifier(estimator, check):
    check(estimator)


# --- the scores ---


def positive(weight):
    """Weights without zeros, by which RidgeCV divides."""
    return np.maximum(weight, 0.1)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ["one target", "wide"])
def test_ridge_is_scored_and_chosen_as_by_ridgecv(name, weighted):
    data = load(name)
    weight = positive(data.sample_weight) if weighted else None
    scoring = "neg_mean_squared_error"
    search = LeaveOneOutSearchCV(Ridge(), {"alpha": ALPHAS}, scoring=scoring)
    search.fit(data.X, data.y, sample_weight=weight)
    for alpha, score in zip(ALPHAS, search.cv_results_["mean_test_score"], strict=True):
        judge = RidgeCV([alpha], scoring=scoring).fit(data.X, data.y, weight)
        assert score == pytest.approx(judge.best_score_, rel=1e-9)
    judge = RidgeCV(ALPHAS, scoring=scoring).fit(data.X, data.y, weight)
    assert search.best_params_["alpha"] == judge.alpha_
    assert search.best_score_ == pytest.approx(judge.best_score_, rel=1e-9)
    np.testing.assert_allclose(search.predict(data.X_test), judge.predict(data.X_test))


def brute_force(estimator, data, method):
    return cross_val_predict(estimator, data.X, data.y, cv=LeaveOneOut(), method=method)


@pytest.mark.parametrize("name", ["two words", "three words"])
def test_logistic_scores_are_those_of_brute_force(name):
    data, C = load(name), [0.03, 0.3, 3.0]
    model = LogisticRegression(solver="newton-cholesky", **TIGHT)
    search = LeaveOneOutSearchCV(
        model, {"C": C}, scoring="neg_log_loss", deletion="exact"
    ).fit(data.X, data.y)
    truth = []
    for value in C:
        p = brute_force(clone(model).set_params(C=value), data, "predict_proba")
        truth.append(-log_loss(data.y, p))
    found = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(found, truth, rtol=1e-7)
    assert search.best_index_ == np.argmax(truth)


def test_poisson_scores_are_those_of_brute_force():
    data, rng = load("one target"), np.random.default_rng(0)
    y = rng.poisson(np.exp(0.3 * data.X[:, 0]))
    model = PoissonRegressor(solver="newton-cholesky", tol=1e-12)
    search = LeaveOneOutSearchCV(
        model,
        {"alpha": [0.01, 1.0]},
        scoring="neg_mean_squared_error",
        deletion="exact",
    ).fit(data.X, y)
    for alpha, score in zip(
        [0.01, 1.0], search.cv_results_["mean_test_score"], strict=True
    ):
        # Deleting a row from a mean leaves the strength per unit of weight as it is.
        judge = clone(model).set_params(alpha=alpha)
        u = cross_val_predict(judge, data.X, y, cv=LeaveOneOut())
        assert -score == pytest.approx(mean_squared_error(y, u), rel=1e-6)


def test_the_default_deletion_is_the_one_that_is_asked_for():
    scores = [
        LeaveOneOutSearchCV(
            LogisticRegression(**TIGHT),
            {"C": [10.0]},
            scoring="neg_log_loss",
            deletion=deletion,
        )
        .fit(BINARY.X, BINARY.y)
        .best_score_
        for deletion in ("jackknife", "newton", "exact")
    ]
    assert abs(scores[1] - scores[2]) < abs(scores[0] - scores[2])
    assert len(set(scores)) == 3


def test_transformers_are_parameters_too():
    pipeline = make_pipeline(StandardScaler(), PCA(), Ridge())
    grid = {"pca__n_components": [1, 3], "ridge__alpha": [0.1, 10.0]}
    search = LeaveOneOutSearchCV(pipeline, grid, scoring="neg_mean_squared_error")
    search.fit(NUMBERS.X, NUMBERS.y)
    assert search.cv_results_["params"] == list(ParameterGrid(grid))
    for parameters, score in zip(
        search.cv_results_["params"],
        search.cv_results_["mean_test_score"],
        strict=True,
    ):
        held = clone(pipeline).set_params(**parameters).fit(NUMBERS.X, NUMBERS.y)
        Z = held[:-1].transform(NUMBERS.X)
        u = cross_val_predict(held[-1], Z, NUMBERS.y, cv=LeaveOneOut())
        assert -score == pytest.approx(mean_squared_error(NUMBERS.y, u), rel=1e-9)
    assert len(search.best_estimator_) == 3


def test_steps_may_be_candidates():
    pipeline = make_pipeline(StandardScaler(), Ridge())
    grid = {"ridge": [Ridge(0.1), RidgeCV([1.0])], "standardscaler": ["passthrough"]}
    search = LeaveOneOutSearchCV(pipeline, grid).fit(NUMBERS.X, NUMBERS.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --- GridSearchCV's interface ---


def test_it_says_what_grid_search_says():
    arguments = (RidgeClassifier(), [{"alpha": [0.1, 1.0]}, {"alpha": [10.0]}])
    search = LeaveOneOutSearchCV(*arguments).fit(BINARY.X, BINARY.y)
    judge = GridSearchCV(*arguments, cv=2).fit(BINARY.X, BINARY.y)
    second = {name for name in judge.cv_results_ if name.startswith("split1")}
    assert set(search.cv_results_) == set(judge.cv_results_) - second
    assert search.cv_results_["params"] == judge.cv_results_["params"]
    for name in ("best_index_", "best_params_", "n_features_in_", "multimetric_"):
        assert type(getattr(search, name)) is type(getattr(judge, name))
    assert list(search.classes_) == list(judge.classes_)
    best = search.best_estimator_
    np.testing.assert_array_equal(
        search.decision_function(BINARY.X_test), best.decision_function(BINARY.X_test)
    )
    assert not hasattr(search, "predict_proba")


def test_several_scores_and_one_that_chooses():
    search = LeaveOneOutSearchCV(
        LogisticRegression(),
        {"C": [0.001, 1.0]},
        scoring=["accuracy", "neg_log_loss", "roc_auc"],
        refit="neg_log_loss",
    ).fit(BINARY.X, BINARY.y)
    scores = search.cv_results_["mean_test_neg_log_loss"]
    assert search.best_index_ == np.argmax(scores)
    assert search.best_score_ == scores.max()
    assert "rank_test_roc_auc" in search.cv_results_
    expected = get_scorer("neg_log_loss")(
        search.best_estimator_, BINARY.X_test, BINARY.y_test
    )
    assert search.score(BINARY.X_test, BINARY.y_test) == expected


def test_a_function_may_choose():
    search = LeaveOneOutSearchCV(
        Ridge(), {"alpha": [0.1, 1.0, 100.0]}, refit=lambda results: 2
    )
    assert search.fit(NUMBERS.X, NUMBERS.y).best_params_ == {"alpha": 100.0}


def test_drawn_candidates_are_the_same_for_the_same_seed():
    stats = pytest.importorskip("scipy.stats")
    grid = {"alpha": stats.loguniform(1e-3, 1e3)}
    found = [
        LeaveOneOutSearchCV(Ridge(), grid, n_iter=4, random_state=3)
        .fit(NUMBERS.X, NUMBERS.y)
        .cv_results_["params"]
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert len({candidate["alpha"] for candidate in found[0]}) == 4


def test_weights_reach_the_last_step_of_a_pipeline():
    search = LeaveOneOutSearchCV(
        make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1.0]}
    ).fit(NUMBERS.X, NUMBERS.y, sample_weight=NUMBERS.sample_weight)
    expected = make_pipeline(StandardScaler(), Ridge()).fit(
        NUMBERS.X, NUMBERS.y, ridge__sample_weight=NUMBERS.sample_weight
    )
    np.testing.assert_allclose(search.best_estimator_[-1].coef_, expected[-1].coef_)


def test_routing_says_who_gets_the_weights():
    weight = positive(NUMBERS.sample_weight)
    plain = RidgeCV([1.0], scoring="neg_mean_squared_error")
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(mean_squared_error, greater_is_better=False)
        found = {}
        for asks in (True, False):
            search = LeaveOneOutSearchCV(
                Ridge().set_fit_request(sample_weight=True),
                {"alpha": [1.0]},
                scoring=scorer.set_score_request(sample_weight=asks),
            ).fit(NUMBERS.X, NUMBERS.y, sample_weight=weight)
            found[asks] = search.best_score_
    plain.fit(NUMBERS.X, NUMBERS.y, weight)
    assert found[True] == pytest.approx(plain.best_score_, rel=1e-9)
    assert abs(found[False] / found[True] - 1) > 1e-3


def test_rows_of_weight_zero_do_not_count():
    weight = NUMBERS.sample_weight
    some = weight > 0
    scores = [
        LeaveOneOutSearchCV(Ridge(), {"alpha": [1.0]})
        .fit(NUMBERS.X[rows], NUMBERS.y[rows], sample_weight=weight[rows])
        .best_score_
        for rows in (slice(None), some)
    ]
    assert not some.all()
    assert scores[0] == pytest.approx(scores[1], rel=1e-9)


@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.SkinfluenceWarning")
def test_rows_that_alone_carry_a_column_count_as_in_a_refit_of_minimum_norm():
    X = np.c_[NUMBERS.X, np.arange(len(NUMBERS.X)) == 3]
    weight = positive(NUMBERS.sample_weight)
    search = LeaveOneOutSearchCV(LinearRegression(), {"fit_intercept": [True]})
    search.set_params(scoring="neg_mean_squared_error")
    with pytest.warns(UnidentifiedDeletionWarning):
        search.fit(X, NUMBERS.y, sample_weight=weight)
    left_out = np.empty(len(X))
    for row in range(len(X)):
        rest = np.arange(len(X)) != row
        refit = LinearRegression().fit(X[rest], NUMBERS.y[rest], weight[rest])
        left_out[row] = refit.predict(X[[row]])[0]
    error = mean_squared_error(NUMBERS.y, left_out, sample_weight=weight)
    assert search.best_score_ == pytest.approx(-error, rel=1e-9)


def test_a_function_that_takes_no_weights_is_not_given_any():
    def score(model, X, y):
        return -np.mean(np.abs(y - model.predict(X)))

    search = LeaveOneOutSearchCV(Ridge(), {"alpha": [1.0]}, scoring=score)
    search.fit(NUMBERS.X, NUMBERS.y, sample_weight=NUMBERS.sample_weight)
    assert np.isfinite(search.best_score_)


# --- bad input ---


def refused(error, match, *, X=None, y=None, weight=None, fit=True, **options):
    X = BINARY.X if X is None else X
    y = BINARY.y if y is None else y
    options = {"param_grid": {"C": [1.0]}, **options}
    search = LeaveOneOutSearchCV(
        options.pop("estimator", LogisticRegression()), **options
    )
    before, attributes = joblib.hash((X, y, weight)), set(vars(search))
    with pytest.raises(error, match=match) as caught:
        search.fit(X, y, sample_weight=weight)
    assert isinstance(caught.value, SkinfluenceError)
    assert set(vars(search)) == attributes
    assert joblib.hash((X, y, weight)) == before


def test_bad_parameters_are_refused():
    refused(InvalidParameterError, "param_grid.*'K'", param_grid={"K": [1.0]})
    refused(InvalidParameterError, "param_grid", param_grid={"C": []})
    refused(InvalidParameterError, "param_grid", param_grid=3)
    drawn = {"C": uniform(0.1, 1.0)}
    refused(InvalidParameterError, "Distributions need n_iter", param_grid=drawn)
    refused(InvalidParameterError, "deletion", deletion="newtonian")
    refused(InvalidParameterError, "n_iter", n_iter=0)
    refused(InvalidParameterError, "scoring", scoring="acuracy")
    refused(InvalidParameterError, "refit", scoring=["accuracy"], refit="auc")
    refused(InvalidParameterError, "refit", scoring=["accuracy"])


def test_bad_data_are_refused():
    spoiled = np.array(BINARY.X)
    spoiled[3, 1] = np.nan
    refused(InvalidDataError, "NaN", X=spoiled)
    refused(InvalidDataError, "inconsistent", y=BINARY.y[:-1])
    refused(SingleClassError, "one class", y=np.full(len(BINARY.y), "a"))
    refused(InvalidWeightError, "negative", weight=-np.ones(len(BINARY.y)))


def test_unsupported_candidates_are_refused():
    forest = RandomForestRegressor()
    grid = {"n_estimators": [3]}
    refused(
        UnsupportedEstimatorError, "RandomForest", estimator=forest, param_grid=grid
    )
    pipeline = make_pipeline(StandardScaler(), Ridge())
    grid = {"ridge": [Ridge(), forest]}
    refused(
        UnsupportedEstimatorError, "RandomForest", estimator=pipeline, param_grid=grid
    )


def test_without_refit_there_is_no_best_estimator():
    search = LeaveOneOutSearchCV(Ridge(), {"alpha": [1.0, 2.0]}, refit=False)
    search.fit(NUMBERS.X, NUMBERS.y)
    assert set(search.best_params_) == {"alpha"}
    with pytest.raises(UnfittedEstimatorError, match="refit=False"):
        search.predict(NUMBERS.X)


# --- scores that fail ---


def log_loss_and(name, **options):
    """A search among strengths by a score that always works, and another one."""
    return LeaveOneOutSearchCV(
        LogisticRegression(),
        {"C": [1e-4, 1.0, 100.0]},
        scoring=["neg_log_loss", name],
        refit="neg_log_loss",
        **options,
    )


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_one_failing_score_does_not_spoil_the_others():
    """f1 does not know which of two words is the positive class."""
    alone = clone(log_loss_and("f1")).set_params(scoring="neg_log_loss", refit=True)
    alone.fit(BINARY.X, BINARY.y)
    with pytest.warns(UserWarning, match="'f1' of this candidate is set to nan"):
        found = log_loss_and("f1").fit(BINARY.X, BINARY.y)
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_neg_log_loss"],
        alone.cv_results_["mean_test_score"],
    )
    assert np.all(np.isnan(found.cv_results_["mean_test_f1"]))
    assert found.best_params_ == alone.best_params_ != {"C": 1e-4}
    with pytest.warns(UserWarning, match="is set to -1"):
        found = log_loss_and("f1", error_score=-1.0).fit(BINARY.X, BINARY.y)
    assert np.all(found.cv_results_["mean_test_f1"] == -1)
    with pytest.raises(ValueError, match="pos_label"):
        log_loss_and("f1", error_score="raise").fit(BINARY.X, BINARY.y)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_a_failing_candidate_has_error_scores_beside_those_of_others():
    """Without a penalty, 45 columns separate 30 rows."""
    data = load("wide classes")
    search = LeaveOneOutSearchCV(
        LogisticRegression(**TIGHT),
        {"C": [np.inf, 1.0]},
        scoring=["neg_log_loss", "accuracy"],
        refit="accuracy",
    )
    with pytest.warns(UserWarning, match="separated by a hyperplane"):
        search.fit(data.X, data.y)
    assert search.best_params_ == {"C": 1.0}
    for name in ("neg_log_loss", "accuracy"):
        scores = search.cv_results_[f"mean_test_{name}"]
        np.testing.assert_array_equal(np.isnan(scores), [True, False])


def test_where_no_candidate_can_be_fitted_the_search_fails():
    """Gamma's targets are positive."""
    search = LeaveOneOutSearchCV(GammaRegressor(), {"alpha": [0.1, 1.0]})
    for scoring, refit in ((None, True), (["r2", "neg_max_error"], "r2")):
        search.set_params(scoring=scoring, refit=refit)
        with pytest.raises(ValueError, match="out of the valid range"):
            search.fit(NUMBERS.X, -np.abs(NUMBERS.y))
        assert not hasattr(search, "cv_results_")


# --- warm starts ---

BENT = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg"))


def warm(starts, **parameters):
    data = load("two classes")
    found = clone(WarmStarted(BENT, starts)).set_params(**parameters)
    return found.fit(data.X, data.y).estimator


def test_a_fit_starts_where_the_one_of_another_strength_ended():
    data, starts = load("two classes"), Starts(2)
    near, far = {"logisticregression__C": 1.0}, {"logisticregression__C": 1.05}
    cold = clone(BENT).set_params(**far).fit(data.X, data.y)[-1]
    assert warm(starts, **near)[-1].n_iter_[0] > 1
    found = warm(starts, **far)[-1]
    assert found.n_iter_[0] < cold.n_iter_[0]
    np.testing.assert_allclose(found.coef_, cold.coef_, atol=1e-3)
    assert found.get_params() == cold.get_params()
    # The fits after the candidates, and those of other parameters, start afresh.
    assert warm(starts, **far)[-1].n_iter_[0] == cold.n_iter_[0]
    other = Starts(2)
    warm(other, logisticregression__fit_intercept=False, **far)
    assert warm(other, **far)[-1].n_iter_[0] == cold.n_iter_[0]


@pytest.mark.parametrize(
    "model",
    [
        BENT,
        PoissonRegressor(solver="newton-cholesky"),
        HuberRegressor(max_iter=1000),
        GammaRegressor(solver="newton-cholesky"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_scores_do_not_depend_on_the_start(monkeypatch, model):
    data = load("two classes")
    name = "logisticregression__C" if model is BENT else "alpha"
    y = data.y if model is BENT else np.abs(data.X[:, 0]) + 0.1
    search = LeaveOneOutSearchCV(model, {name: [0.01, 0.1, 1.0]})
    found = search.fit(data.X, y)
    monkeypatch.setattr(_search, "starts_warm", lambda estimator: False)
    cold = clone(search).fit(data.X, y)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"],
        cold.cv_results_["mean_test_score"],
        rtol=1e-8,
    )
    assert repr(found.best_estimator_) == repr(cold.best_estimator_)
    np.testing.assert_array_equal(found.predict(data.X), cold.predict(data.X))


def test_what_cannot_start_warm_starts_cold():
    assert starts_warm(LogisticRegression())
    assert starts_warm(make_pipeline(StandardScaler(), PoissonRegressor()))
    assert not starts_warm(LogisticRegression(solver="liblinear"))
    assert not starts_warm(LogisticRegression(warm_start=True))
    assert not starts_warm(Ridge())
    assert not starts_warm(SGDClassifier(loss="log_loss"))


# --- one decomposition for ridge regressions of many strengths ---

SCALED = make_pipeline(StandardScaler(), Ridge())
WEIGHTS = {"ant": 2.0, "bee": 0.5, "cat": 1.0}
RIDGES = {
    "plain": (Ridge(), "alpha", "one target"),
    "no intercept": (Ridge(fit_intercept=False), "alpha", "one target"),
    "outputs": (Ridge(), "alpha", "two targets"),
    "iterated": (Ridge(solver="lsqr", tol=1e-3), "alpha", "one target"),
    "pipeline": (
        make_pipeline(FunctionTransformer(), Ridge()),
        "ridge__alpha",
        "one target",
    ),
    "classes": (RidgeClassifier(class_weight=WEIGHTS), "alpha", "three words"),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", RIDGES)
def test_scores_of_a_path_are_those_of_each_candidate(monkeypatch, kind, weighted):
    model, name, data = RIDGES[kind]
    data = load(data)
    weight = data.sample_weight if weighted else None
    search = LeaveOneOutSearchCV(model, {name: ALPHAS[::-1]})
    found = search.fit(data.X, data.y, sample_weight=weight)
    assert _path_taken(found, data, weight)
    monkeypatch.setattr(_search, "path_of", lambda *arguments: None)
    each = clone(search).fit(data.X, data.y, sample_weight=weight)
    scores = [one.cv_results_["mean_test_score"] for one in (found, each)]
    np.testing.assert_allclose(*scores, rtol=1e-9)
    assert repr(found.best_estimator_) == repr(each.best_estimator_)
    np.testing.assert_array_equal(found.predict(data.X), each.predict(data.X))
    assert set(found.cv_results_) == set(each.cv_results_)


def _path_taken(search, data, weight=None):
    candidates = search.cv_results_["params"]
    given, _ = search._routed(weight, {})
    arguments = search.estimator, candidates, search.deletion
    return _path.path_of(*arguments, data.X, data.y, weight, given) is not None


def test_a_path_fits_the_least_strength_and_the_best(monkeypatch):
    fitted, fit = [], Ridge.fit

    def counted(self, *arguments, **parameters):
        fitted.append(self.alpha)
        return fit(self, *arguments, **parameters)

    monkeypatch.setattr(Ridge, "fit", counted)
    search = LeaveOneOutSearchCV(Ridge(), {"alpha": [1.0, 0.1, 10.0]})
    search.fit(NUMBERS.X, NUMBERS.y)
    assert fitted == [0.1, search.best_params_["alpha"]]


def test_where_there_is_no_path():
    strengths_of = _path.strengths_of
    grid = [{"alpha": 1.0}, {"alpha": 2.0}]
    assert strengths_of(Ridge(), grid) == [1.0, 2.0]
    assert not strengths_of(Ridge(), grid[:1])
    assert not strengths_of(Ridge(positive=True), grid)
    assert not strengths_of(PoissonRegressor(), grid)
    assert not strengths_of(Ridge(), [{"alpha": 0.0}, {"alpha": 1.0}])
    assert not strengths_of(Ridge(), [{"alpha": 1.0}, {"tol": 1e-3}])
    assert not strengths_of(Ridge(), [{"alpha": np.ones(2)}, {"alpha": 1.0}])
    assert not strengths_of(Ridge(), [{"tol": 1e-3}, {"tol": 1e-4}])
    wide = load("wide")
    search = LeaveOneOutSearchCV(Ridge(), {"alpha": [0.1, 1.0]})
    assert not _path_taken(search.fit(wide.X, wide.y), wide)  # dual
