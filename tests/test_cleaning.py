"""Cleaning: finds what was spoiled, inside ``fit`` only, wherever scikit-learn puts it."""

from functools import partial

import joblib
import numpy as np
import pytest
from cases import load
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import (
    HuberRegressor,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneOut,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinfluence import InfluenceCleaner, InfluenceExplainer, cross_val_influence
from skinfluence.exceptions import (
    DoubtfulInputWarning,
    InvalidDataError,
    InvalidParameterError,
    InvalidWeightError,
    SingleClassError,
    SkinfluenceError,
    UnsupportedEstimatorError,
)
from skinfluence.questions import left_out
from skinfluence.study import answer, study_of

N = 200


def flipped(seed=0, words=True):
    """Two classes, easy to tell apart; every tenth label is wrong."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 4))
    right = X @ [2.0, -2.0, 1.0, 0.0] > 0
    X[:, 0] += 3 * right  # a gap
    wrong = np.zeros(N, dtype=bool)
    wrong[::10] = True
    y = right ^ wrong
    names = np.array(["no", "yes"]) if words else np.array([0, 1])
    return X, names[y.astype(int)], names[right.astype(int)], wrong


def spiked(seed=0):
    """A line with small normal errors, and three targets far off it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 3))
    y = X @ [1.0, 2.0, 3.0] + 0.1 * rng.normal(size=N)
    y[[5, 50, 150]] += [2.0, -2.0, 3.0]
    return X, y


X, Y, RIGHT, WRONG = flipped()
LOGISTIC = LogisticRegression(C=1.0)


def cleaned(estimator=LOGISTIC, X=X, y=Y, fit=None, **options):
    return InfluenceCleaner(estimator, **options).fit(X, y, **(fit or {}))


@parametrize_with_checks(
    [
        InfluenceCleaner(LogisticRegression()),
        InfluenceCleaner(Ridge()),
        InfluenceCleaner(LogisticRegression(), contamination=0.2, action="relabel"),
    ]
)
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # raw iris, by default
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# --- what is cleaned ---


@pytest.mark.parametrize("criterion", ["loo_loss", "self_influence"])
def test_wrong_labels_come_first(criterion):
    found = cleaned(criterion=criterion, contamination=0.1)
    assert len(found.cleaned_indices_) == WRONG.sum()
    assert WRONG[found.cleaned_indices_].mean() >= 0.9
    scores = found.row_scores_[found.cleaned_indices_]
    assert np.all(np.diff(scores) <= 0)
    assert scores.min() >= found.row_scores_[found.support_].max()


def test_trusted_rows_find_systematic_errors():
    """All rows of a corner are wrong alike: no row contradicts its neighbours."""
    corner = X[:, 0] > np.quantile(X[:, 0], 0.75)
    y = np.where(corner, "no", RIGHT)
    trusted = np.arange(N) % 2 == 0
    y = np.where(trusted, RIGHT, y)
    wrong = y != RIGHT
    share = wrong.mean()
    model = LogisticRegression(C=0.01)
    aimed = cleaned(
        model,
        y=y,
        criterion="influence",
        contamination=share,
        fit={"trusted": trusted},
    )
    assert wrong[aimed.cleaned_indices_].mean() > 0.9
    assert not trusted[aimed.cleaned_indices_].any()


def test_influence_is_the_harm_to_the_trusted_rows():
    trusted = ~WRONG & (np.arange(N) % 3 == 0)
    found = cleaned(criterion="influence", fit={"trusted": trusted})
    explainer = InfluenceExplainer(LOGISTIC).fit(X, Y)
    delta = explainer.loo_delta(X[trusted], Y[trusted], aggregate="mean")
    np.testing.assert_allclose(found.row_scores_, -delta, rtol=1e-9)


def test_influence_without_trusted_rows_is_that_on_held_out_folds():
    found = cleaned(criterion="influence", cv=4)
    expected = cross_val_influence(LOGISTIC, X, Y, cv=4).harm
    np.testing.assert_allclose(found.row_scores_, expected, rtol=1e-9)
    again = [
        cleaned(criterion="influence", cv=4, random_state=seed).row_scores_
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(again[0], again[1])
    assert not np.allclose(again[0], again[2])
    assert not np.allclose(again[0], expected)


def test_a_function_may_judge():
    def by_number(explainer, X, y):
        assert explainer.n_train_ == len(X) == len(y)
        scores = np.arange(N, dtype=float)
        scores[-1] = np.nan  # never touched
        return scores

    with pytest.warns(DoubtfulInputWarning, match="NaN for 1"):
        found = cleaned(criterion=by_number, contamination=0.02)
    assert list(found.cleaned_indices_) == [N - 2, N - 3, N - 4, N - 5]


def test_loo_loss_is_that_of_refits():
    model = LogisticRegression(solver="newton-cholesky", tol=1e-10)
    found = cleaned(model, X[:60], Y[:60], deletion="exact").row_scores_
    p = cross_val_predict(
        model, X[:60], Y[:60], cv=LeaveOneOut(), method="predict_proba"
    )
    truth = -np.log(p[np.arange(60), (Y[:60] == "yes").astype(int)])
    np.testing.assert_allclose(found, truth, rtol=1e-6)


@pytest.mark.parametrize("criterion", ["loo_loss", "self_influence"])
def test_the_order_is_that_of_the_minimum(criterion):
    """A ranking needs no full polish: the few rows that change places are neighbours."""
    model = LogisticRegression(tol=1e-2)
    near = np.argsort(-cleaned(model, criterion=criterion).row_scores_)
    explainer = InfluenceExplainer(model).fit(X, Y)
    assert explainer.n_iter_ > 2  # there was something to polish
    scores = answer(study_of(explainer), left_out).losses()
    if criterion == "self_influence":
        scores = -explainer.self_influence()
    places = np.empty(N)
    places[near] = np.arange(N)
    assert np.abs(places[np.argsort(-scores)] - np.arange(N)).max() <= 1


@pytest.mark.parametrize("name", ["two words", "three words"])
def test_auto_cleans_the_rows_that_their_refits_contradict(name):
    data = load(name)
    model = RidgeClassifier()
    found = cleaned(model, data.X, data.y)
    truth = cross_val_predict(model, data.X, data.y, cv=LeaveOneOut()) != data.y
    assert sorted(found.cleaned_indices_) == np.flatnonzero(truth).tolist()


@pytest.mark.parametrize("model", [LinearRegression(), HuberRegressor()], ids=repr)
def test_auto_cleans_targets_beyond_the_bound(model):
    X, y = spiked()
    found = cleaned(model, X, y)
    assert sorted(found.cleaned_indices_) == [5, 50, 150]
    assert found.cleaned_indices_[0] == 150


@pytest.mark.parametrize("slip", [5, 0])
def test_auto_cleans_a_typo_in_an_exact_relation_and_nothing_else(slip):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.integers(-20, 20, size=(rng.integers(8, 40), rng.integers(1, 4)))
        y = X @ rng.integers(-5, 6, size=X.shape[1]) + 3.0
        row = int(rng.integers(len(y)))
        y[row] += slip
        cleaner = InfluenceCleaner(LinearRegression()).fit(X, y)
        assert cleaner.cleaned_indices_.tolist() == [row] * (slip != 0), seed


def test_auto_leaves_good_regressions_alone():
    n_cleaned = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        Z = rng.normal(size=(60, 3))
        y = Z.sum(axis=1) + rng.normal(size=60)
        found = InfluenceCleaner(LinearRegression()).fit(Z, y)
        n_cleaned.append(len(found.cleaned_indices_))
    assert np.count_nonzero(n_cleaned) <= 6  # 5 % of 40 and three standard errors


def test_auto_works_with_counts_and_with_several_targets():
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.exp(0.3 * X[:, 1]))
    counts[7] = 60
    found = cleaned(PoissonRegressor(alpha=1e-3, solver="newton-cholesky"), y=counts)
    assert 7 in found.cleaned_indices_
    y = rng.normal(size=(N, 2))
    y[3, 1] = 50.0
    assert list(cleaned(Ridge(), y=y).cleaned_indices_) == [3]


def test_zero_weights_neither_count_nor_are_cleaned():
    weight = np.where(np.arange(N) < 100, 0.0, 1.0)
    found = cleaned(contamination=0.1, fit={"sample_weight": weight})
    alone = cleaned(X=X[100:], y=Y[100:], contamination=0.1)
    np.testing.assert_array_equal(found.cleaned_indices_, alone.cleaned_indices_ + 100)
    np.testing.assert_allclose(
        found.estimator_.coef_, alone.estimator_.coef_, atol=1e-3
    )


def test_a_class_is_never_emptied():
    y = np.array(Y)
    y[y == "yes"] = "no"
    y[[3, 8]] = "yes"
    found = cleaned(contamination=0.5, y=y)
    assert (y[found.support_] == "yes").sum() == 1
    mildest = min((3, 8), key=lambda row: found.row_scores_[row])
    assert found.support_[mildest]
    assert list(found.classes_) == ["no", "yes"]
    kept = cleaned(contamination=0.5, y=y, fit={"trusted": np.arange(N) == 3})
    assert kept.support_[3]
    assert not kept.support_[8]


@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.SkinfluenceWarning")
@pytest.mark.parametrize("contamination", ["auto", 0.5])
def test_rows_that_cannot_be_deleted_stay(contamination):
    X, y = spiked()
    X = np.c_[X, np.arange(N) == 50]  # a column for this row alone
    found = cleaned(LinearRegression(), X, y, contamination=contamination)
    assert np.isnan(found.row_scores_[50])
    assert found.support_[50]
    assert not found.support_[[5, 150]].any()


# --- what is done about it ---


def test_dropped_rows_are_not_in_the_fit():
    pipeline = make_pipeline(StandardScaler(), LOGISTIC)
    found = cleaned(pipeline, contamination=0.1)
    expected = clone(pipeline).fit(X[found.support_], Y[found.support_])
    assert found.support_.sum() == N - 20
    np.testing.assert_array_equal(found.estimator_[-1].coef_, expected[-1].coef_)
    np.testing.assert_array_equal(found.estimator_[0].mean_, expected[0].mean_)
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert found.score(X, RIGHT) == expected.score(X, RIGHT)


def test_downweighted_rows_weigh_by_their_rank():
    given = np.linspace(0.5, 2.0, N)
    found = cleaned(
        action="downweight", contamination=0.02, fit={"sample_weight": given}
    )
    weight = given.copy()
    weight[found.cleaned_indices_] *= [0.125, 0.375, 0.625, 0.875]
    expected = clone(LOGISTIC).fit(X, Y, weight)
    np.testing.assert_array_equal(found.estimator_.coef_, expected.coef_)
    assert found.support_.all()
    assert given[0] == 0.5  # the caller's weights are as they were


def test_relabelled_rows_get_the_label_predicted_without_them():
    found = cleaned(action="relabel")
    y = np.array(Y)
    y[found.cleaned_indices_] = np.where(y[found.cleaned_indices_] == "no", "yes", "no")
    expected = clone(LOGISTIC).fit(X, y)
    np.testing.assert_array_equal(found.estimator_.coef_, expected.coef_)
    np.testing.assert_array_equal(found.cleaned_labels_, y[found.cleaned_indices_])
    assert (y == RIGHT).mean() > (Y == RIGHT).mean() + 0.05
    few = cleaned(action="relabel", contamination=0.5)
    assert len(few.cleaned_indices_) == len(found.cleaned_indices_)


def test_a_second_fit_forgets_the_first():
    cleaner = InfluenceCleaner(LOGISTIC, action="relabel").fit(X, Y)
    cleaner.set_params(action="drop", contamination=0.1).fit(X, Y)
    assert not hasattr(cleaner, "cleaned_labels_")
    assert cleaner.support_.sum() == N - 20


# --- scikit-learn around it ---


def test_held_out_rows_are_never_cleaned():
    cleaner = InfluenceCleaner(LOGISTIC)
    found = cross_validate(
        cleaner, X, Y, cv=4, return_estimator=True, return_indices=True
    )
    for k, fold in enumerate(found["estimator"]):
        train, test = found["indices"]["train"][k], found["indices"]["test"][k]
        assert len(fold.support_) == len(train)
        expected = clone(LOGISTIC).fit(X[train][fold.support_], Y[train][fold.support_])
        assert found["test_score"][k] == expected.score(X[test], Y[test])
    # A tenth of the held-out labels is wrong, and stays so.
    assert found["test_score"].mean() < 0.95


def test_last_step_of_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), InfluenceCleaner(LOGISTIC)).fit(X, Y)
    Z = StandardScaler().fit_transform(X)
    np.testing.assert_array_equal(pipeline.predict(X), cleaned(X=Z).predict(Z))


def test_grid_search_over_contamination_and_inner_parameters():
    cleaner = InfluenceCleaner(make_pipeline(StandardScaler(), LogisticRegression()))
    grid = {
        "contamination": [0.01, 0.1, "auto"],
        "estimator__logisticregression__C": [0.1, 10.0],
    }
    search = GridSearchCV(cleaner, grid, cv=3, scoring="roc_auc").fit(X, Y)
    assert len(set(search.cv_results_["mean_test_score"])) > 3
    assert search.best_params_["contamination"] in (0.1, "auto")


def test_grid_search_inside():
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3)
    found = cleaned(search, contamination=0.1)
    assert len(found.cleaned_indices_) == 20
    assert set(found.estimator_.best_params_) == {"C"}


def test_trusted_and_weights_are_routed():
    trusted = WRONG & (np.arange(N) < 100)  # half of the wrong ones: they have to stay
    weight = np.linspace(0.5, 2.0, N)
    with config_context(enable_metadata_routing=True):
        inner = LogisticRegression().set_fit_request(sample_weight=True)
        cleaner = InfluenceCleaner(inner).set_fit_request(
            trusted=True, sample_weight=True
        )
        pipeline = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False), cleaner
        )
        scoring = make_scorer(accuracy_score).set_score_request(sample_weight=False)
        found = cross_validate(
            pipeline,
            X,
            Y,
            cv=3,
            scoring=scoring,
            params={"trusted": trusted, "sample_weight": weight},
            return_estimator=True,
            return_indices=True,
        )
    train, fold = found["indices"]["train"][1], found["estimator"][1][-1]
    Z = StandardScaler().fit_transform(X[train])
    expected = cleaned(
        LogisticRegression(),
        Z,
        Y[train],
        fit={"trusted": trusted[train], "sample_weight": weight[train]},
    )
    assert len(expected.cleaned_indices_)
    np.testing.assert_array_equal(fold.support_, expected.support_)
    np.testing.assert_allclose(fold.row_scores_, expected.row_scores_, rtol=1e-9)
    np.testing.assert_allclose(fold.estimator_.coef_, expected.estimator_.coef_)
    assert fold.support_[trusted[train]].all()


def test_weights_that_nobody_asked_for_are_refused_as_scikit_learn_does():
    with config_context(enable_metadata_routing=True):
        cleaner = InfluenceCleaner(LogisticRegression(), action="downweight")
        with pytest.raises(UnsetMetadataPassedError, match="set_fit_request"):
            cleaner.fit(X, Y)


def test_weights_reach_the_last_step_of_the_pipeline_inside():
    weight = np.linspace(0.0, 2.0, N)
    pipeline = make_pipeline(StandardScaler(), LOGISTIC)
    found = cleaned(pipeline, contamination=0.1, fit={"sample_weight": weight})
    rows = found.support_
    expected = clone(pipeline).fit(
        X[rows], Y[rows], logisticregression__sample_weight=weight[rows]
    )
    np.testing.assert_array_equal(found.estimator_[-1].coef_, expected[-1].coef_)


# --- resampling ---


def test_fit_resample_returns_the_rows_kept():
    cleaner = InfluenceCleaner(LOGISTIC, contamination=0.1)
    kept_X, kept_y = cleaner.fit_resample(X, Y)
    np.testing.assert_array_equal(kept_X, X[cleaner.support_])
    np.testing.assert_array_equal(kept_y, Y[cleaner.support_])
    relabelled = InfluenceCleaner(LOGISTIC, action="relabel")
    all_X, y = relabelled.fit_resample(X, Y)
    assert all_X.shape == X.shape
    np.testing.assert_array_equal(
        np.flatnonzero(y != Y), np.sort(relabelled.cleaned_indices_)
    )


def test_the_index_of_a_frame_is_kept():
    pd = pytest.importorskip("pandas")
    index = [f"customer-{i}" for i in range(N)]
    frame = pd.DataFrame(X, index=index, columns=list("abcd"))
    y = pd.Series(Y, index=index)
    cleaner = InfluenceCleaner(make_pipeline(StandardScaler(), LOGISTIC))
    kept_X, kept_y = cleaner.fit_resample(frame, y)
    rows = cleaner.cleaned_indices_
    assert list(cleaner.cleaned_index_) == [index[row] for row in rows]
    assert list(cleaner.feature_names_in_) == list("abcd")
    assert list(cleaner.estimator_.feature_names_in_) == list("abcd")
    assert list(kept_X.index) == list(kept_y.index)
    assert set(kept_X.index) == set(index) - set(cleaner.cleaned_index_)
    plain = cleaned(make_pipeline(StandardScaler(), LOGISTIC))
    np.testing.assert_array_equal(rows, plain.cleaned_indices_)
    _, mended = cleaner.set_params(action="relabel").fit_resample(frame, y)
    assert list(mended.index) == index
    assert list(y) == list(Y)


def test_sparse_rows_and_lists():
    sparse = pytest.importorskip("scipy.sparse")
    expected = cleaned(contamination=0.1)
    for rows in (sparse.csr_array(X), sparse.csc_array(X), X.tolist()):
        found = cleaned(X=rows, contamination=0.1)
        np.testing.assert_array_equal(found.support_, expected.support_)


@pytest.mark.peers
def test_inside_imbalanced_learns_pipeline():
    pipelines = pytest.importorskip("imblearn.pipeline")
    cleaner = InfluenceCleaner(make_pipeline(StandardScaler(), LOGISTIC))
    pipeline = pipelines.make_pipeline(
        cleaner, StandardScaler(), RandomForestClassifier(50, random_state=0)
    ).fit(X, Y)
    kept = cleaned(make_pipeline(StandardScaler(), LOGISTIC)).support_
    assert 0 < (~kept).sum() < N / 2
    np.testing.assert_allclose(pipeline[1].mean_, X[kept].mean(axis=0))
    assert pipeline.predict(X).shape == (N,)  # nothing is resampled here
    found = cross_validate(pipeline, X, Y, cv=3)
    assert np.isfinite(found["test_score"]).all()


# --- bad input ---


def refused(error, match, *, y=Y, X=X, estimator=LOGISTIC, fit=None, **options):
    """``fit`` raises as promised, and touches neither itself nor what it was given."""
    cleaner, fit = InfluenceCleaner(estimator, **options), fit or {}
    before = joblib.hash((X, y, fit, vars(cleaner)))
    with pytest.raises(error, match=match) as caught:
        cleaner.fit(X, y, **fit)
    assert isinstance(caught.value, SkinfluenceError)
    assert joblib.hash((X, y, fit, vars(cleaner))) == before


@pytest.mark.parametrize("share", [0, 0.0, -0.1, 0.51, 1, np.nan, True, "all", None])
def test_contamination_out_of_range_is_refused(share):
    refused(InvalidParameterError, r"contamination.*\(0, 0.5\]", contamination=share)


def test_unknown_choices_are_refused():
    refused(InvalidParameterError, "criterion.*loo_loss", criterion="loss")
    refused(InvalidParameterError, "action.*relabel", action="delete")
    refused(InvalidParameterError, "deletion", deletion="newtonian")
    refused(
        InvalidParameterError,
        "relabel.*Ridge",
        action="relabel",
        estimator=Ridge(),
        y=X[:, 0],
    )


def test_bad_trusted_rows_are_refused():
    mask = np.ones(N, dtype=bool)
    refused(InvalidDataError, rf"trusted.*\({N - 1},\)", fit={"trusted": mask[:-1]})
    refused(InvalidDataError, "trusted.*int", fit={"trusted": np.arange(N)})
    refused(InvalidDataError, "trusted.*float", fit={"trusted": mask.astype(float)})
    refused(
        InvalidDataError,
        "False for all",
        criterion="influence",
        fit={"trusted": ~mask},
    )
    cleaned(fit={"trusted": ~mask})  # it only protects


def returned(scores, explainer, X, y):
    return scores


def test_bad_scores_of_a_function_are_refused():
    for scores in (np.ones(N - 1), np.ones((N, 1)), None, ["a"] * N):
        refused(
            InvalidParameterError,
            rf"criterion.*\({N},\)",
            criterion=partial(returned, scores),
        )


def test_rows_without_a_score_are_warned_of():
    scores = np.where(np.arange(N) < 2, np.nan, np.arange(N) / N)
    with pytest.warns(DoubtfulInputWarning, match=f"NaN for 2 of {N} rows.*: 0, 1"):
        cleaner = cleaned(criterion=partial(returned, scores), contamination=0.5)
    assert not set(cleaner.cleaned_indices_) & {0, 1}
    refused(
        InvalidParameterError,
        "NaN for all rows",
        criterion=partial(returned, np.full(N, np.nan)),
    )
    refused(
        InvalidParameterError, "criterion", criterion=partial(returned, scores * 1j)
    )


def test_bad_data_are_refused():
    spoiled = np.array(X)
    spoiled[3, 1] = np.nan
    refused(InvalidDataError, "NaN", X=spoiled)
    refused(InvalidDataError, "inconsistent", y=Y[:-1])
    refused(SingleClassError, "one class", y=np.full(N, "a"))
    refused(InvalidWeightError, "negative", fit={"sample_weight": -np.ones(N)})


def test_unsupported_estimators_are_refused():
    refused(
        UnsupportedEstimatorError, "RandomForest", estimator=RandomForestClassifier()
    )
    refused(
        UnsupportedEstimatorError,
        "downweight.*LassoLars",
        estimator=LassoLars(),
        action="downweight",
        y=X[:, 0],
    )


def test_downweighting_is_no_resampling():
    cleaner = InfluenceCleaner(LOGISTIC, action="downweight")
    with pytest.raises(InvalidParameterError, match="fit_resample"):
        cleaner.fit_resample(X, Y)


def test_a_failed_fit_leaves_the_last_one():
    cleaner = cleaned(contamination=0.1)
    before = joblib.hash(vars(cleaner))
    with pytest.raises(InvalidDataError):
        cleaner.fit(X, Y, trusted=np.ones(3, dtype=bool))
    assert joblib.hash(vars(cleaner)) == before
