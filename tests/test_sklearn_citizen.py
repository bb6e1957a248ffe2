"""A scikit-learn citizen: its checks, pipelines, searches, routing, pandas, pickles."""

import pickle

import numpy as np
import pytest
from cases import load
from reference import relative_error
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinfluence import InfluenceExplainer

BINARY = load("two words")


def expected_failures(explainer):
    """The only ones, and why."""
    why = (
        "transform has one column per training row, so repeating a row, which weights "
        "stand for, adds columns"
    )
    return {
        "check_sample_weight_equivalence_on_dense_data": why,
        "check_sample_weight_equivalence_on_sparse_data": why,
    }


@parametrize_with_checks(
    [InfluenceExplainer(LogisticRegression()), InfluenceExplainer(Ridge())],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # raw iris, by default
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(Ridge(), "one target"), (LogisticRegression(), "three words")],
    ids=["Ridge", "LogisticRegression"],
)
def test_each_row_is_answered_alone(estimator, name):
    """Neither the other rows nor their order matter, with labels as without."""
    data = load(name)
    explainer = InfluenceExplainer(estimator).fit(data.X, data.y)
    X, y = data.X_test, data.y_test
    order = np.random.default_rng(0).permutation(len(X))
    for ask in (explainer.score_samples, explainer.transform, explainer.loo_delta):
        alone = [ask(X[[i]], y[[i]])[0] for i in order]
        assert relative_error(alone, ask(X, y)[order]) < 1e-12


def test_tags_are_those_of_the_estimator_inside():
    classifier = InfluenceExplainer(LogisticRegression())
    regressor = InfluenceExplainer(Ridge())
    assert is_classifier(classifier)
    assert is_regressor(regressor)
    assert not get_tags(classifier).target_tags.multi_output
    assert get_tags(regressor).target_tags.multi_output


# --- pipelines, cross-validation, searches ---


def test_last_step_of_a_pipeline():
    scaler, explainer = StandardScaler(), InfluenceExplainer(LogisticRegression())
    pipeline = make_pipeline(scaler, explainer).fit(BINARY.X, BINARY.y)
    alone = InfluenceExplainer(LogisticRegression())
    alone.fit(StandardScaler().fit_transform(BINARY.X), BINARY.y)
    held = StandardScaler().fit(BINARY.X).transform(BINARY.X_test)
    found, expected = pipeline.transform(BINARY.X_test), alone.transform(held)
    assert relative_error(found, expected) < 1e-12
    np.testing.assert_array_equal(pipeline.predict(BINARY.X_test), alone.predict(held))
    score = pipeline.score(BINARY.X_test, BINARY.y_test)
    assert score == alone.score(held, BINARY.y_test)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(Ridge(2.0), "one target"), (LogisticRegression(C=0.1), "two words")],
    ids=["Ridge", "LogisticRegression"],
)
def test_cross_val_score_is_that_of_the_estimator(estimator, name):
    data = load(name)
    fitted = clone(estimator).fit(data.X, data.y)  # refitted in each fold nevertheless
    found = cross_val_score(InfluenceExplainer(fitted), data.X, data.y, cv=4)
    expected = cross_val_score(estimator, data.X, data.y, cv=4)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_cross_validate_returns_explainers_of_each_fold():
    explainer = InfluenceExplainer(LogisticRegression())
    result = cross_validate(
        explainer,
        BINARY.X,
        BINARY.y,
        cv=3,
        scoring=["accuracy", "neg_log_loss", "roc_auc"],
        return_estimator=True,
    )
    assert [fold.n_train_ for fold in result["estimator"]] == [40, 40, 40]
    assert np.isfinite(result["test_neg_log_loss"]).all()


def test_grid_search_over_the_parameters_inside():
    grid = {"C": [1e-3, 0.1, 10.0]}
    plain = GridSearchCV(LogisticRegression(), grid, cv=4, scoring="neg_log_loss")
    plain.fit(BINARY.X, BINARY.y)
    search = GridSearchCV(
        InfluenceExplainer(LogisticRegression()),
        {f"estimator__{name}": values for name, values in grid.items()},
        cv=4,
        scoring="neg_log_loss",
    ).fit(BINARY.X, BINARY.y)
    assert search.best_params_["estimator__C"] == plain.best_params_["C"]
    assert search.best_estimator_.estimator_.C == plain.best_params_["C"]
    scores = [s.cv_results_["mean_test_score"] for s in (search, plain)]
    np.testing.assert_allclose(*scores, rtol=1e-12)
    assert len(np.unique(scores[0])) == 3


# --- parameters, clone, pickle, repr ---


def test_parameters_are_deep():
    explainer = InfluenceExplainer(make_pipeline(StandardScaler(), Ridge()))
    explainer.set_params(estimator__ridge__alpha=7.0, damping=0.5)
    assert explainer.estimator[-1].alpha == 7.0
    assert explainer.get_params()["estimator__ridge__alpha"] == 7.0
    assert explainer.get_params()["damping"] == 0.5


def test_a_clone_is_unfitted_with_the_same_parameters():
    explainer = InfluenceExplainer(Ridge(3.0), deletion="exact", tol=1e-6)
    explainer.fit(load("one target").X, load("one target").y)
    copy = clone(explainer)
    assert not [name for name in vars(copy) if name.endswith("_")]
    assert repr(copy.get_params()) == repr(explainer.get_params())
    assert copy.estimator is not explainer.estimator


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(Ridge(), "one target"), (LogisticRegression(C=np.inf), "three words")],
    ids=["Ridge", "softmax"],
)
def test_a_pickle_answers_as_before(estimator, name):
    data = load(name)
    explainer = InfluenceExplainer(estimator, deletion="exact").fit(data.X, data.y)
    copy = pickle.loads(pickle.dumps(explainer))
    for ask in (
        lambda e: e.influence(data.X_test, data.y_test),
        lambda e: e.loo_delta(data.X_test, data.y_test),
        lambda e: e.loo_params().coef,
        lambda e: e.predict(data.X_test),
    ):
        np.testing.assert_array_equal(ask(copy), ask(explainer))


def test_fitting_twice_forgets_the_first_fit():
    small, large = load("two words"), load("three words")
    explainer = InfluenceExplainer(LogisticRegression())
    explainer.fit(large.X, large.y).fit(small.X, small.y)
    once = InfluenceExplainer(LogisticRegression()).fit(small.X, small.y)
    np.testing.assert_array_equal(explainer.classes_, once.classes_)
    np.testing.assert_array_equal(explainer.self_influence(), once.self_influence())


def test_html_shows_the_estimator_inside():
    html = InfluenceExplainer(Ridge())._repr_html_()
    assert "InfluenceExplainer" in html
    assert "Ridge" in html


# --- metadata routing ---


def routed():
    inner = LogisticRegression().set_fit_request(sample_weight=True)
    return InfluenceExplainer(inner).set_fit_request(sample_weight=True)


def weighted(X, y, weight):
    return InfluenceExplainer(LogisticRegression()).fit(X, y, sample_weight=weight)


def test_weights_are_routed_through_a_pipeline():
    weight = BINARY.sample_weight
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, routed())
        pipeline.fit(BINARY.X, BINARY.y, sample_weight=weight)
        found = pipeline[-1].self_influence()
    X = StandardScaler().fit_transform(BINARY.X)
    expected = weighted(X, BINARY.y, weight).self_influence()
    assert relative_error(found, expected) < 1e-12


def test_weights_are_routed_through_cross_validate():
    weight = BINARY.sample_weight
    with config_context(enable_metadata_routing=True):
        result = cross_validate(
            routed(),
            BINARY.X,
            BINARY.y,
            cv=3,
            scoring=make_scorer(accuracy_score).set_score_request(sample_weight=False),
            params={"sample_weight": weight},
            return_estimator=True,
            return_indices=True,
        )
    train, fold = result["indices"]["train"][1], result["estimator"][1]
    expected = weighted(BINARY.X[train], BINARY.y[train], weight[train])
    assert relative_error(fold.self_influence(), expected.self_influence()) < 1e-12


def test_weights_are_routed_to_the_pipeline_inside():
    """Each step gets what it asked for: here the scaler does, too."""
    weight = BINARY.sample_weight
    with config_context(enable_metadata_routing=True):
        inner = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=True),
            LogisticRegression().set_fit_request(sample_weight=True),
        )
        explainer = InfluenceExplainer(inner).set_fit_request(sample_weight=True)
        found = explainer.fit(BINARY.X, BINARY.y, sample_weight=weight)
        found = found.self_influence()
    X = StandardScaler().fit(BINARY.X, sample_weight=weight).transform(BINARY.X)
    expected = weighted(X, BINARY.y, weight).self_influence()
    assert relative_error(found, expected) < 1e-12


# --- pandas ---


@pytest.fixture
def frames():
    pd = pytest.importorskip("pandas")
    columns = [f"column {j}" for j in range(BINARY.X.shape[1])]
    index = [f"customer-{i}" for i in range(len(BINARY.X))]
    X = pd.DataFrame(BINARY.X, index=index, columns=columns)
    test_index = [f"visitor-{i}" for i in range(len(BINARY.X_test))]
    X_test = pd.DataFrame(BINARY.X_test, index=test_index, columns=columns)
    return X, pd.Series(BINARY.y, index=index), X_test


def test_the_index_of_a_frame_is_kept(frames):
    X, y, _ = frames
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    assert list(explainer.train_index_) == list(X.index)
    assert list(explainer.feature_names_in_) == list(X.columns)


def test_output_columns_are_named_after_the_training_rows(frames):
    X, y, _ = frames
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    names = explainer.get_feature_names_out()
    assert len(names) == len(X)
    for name, row in zip(names, X.index, strict=True):
        assert name.endswith(row)


def test_output_columns_without_an_index_are_numbered():
    explainer = InfluenceExplainer(LogisticRegression()).fit(BINARY.X, BINARY.y)
    names = explainer.get_feature_names_out()
    assert len(set(names)) == len(BINARY.X)
    for row, name in enumerate(names):
        assert name.endswith(str(row))


def test_output_columns_of_several_outputs_are_all_named():
    data = load("two targets")
    explainer = InfluenceExplainer(LinearRegression()).fit(data.X, data.y)
    names = explainer.get_feature_names_out()
    assert len(set(names)) == explainer.transform(data.X_test).shape[1]


def test_set_output_gives_frames(frames):
    X, y, X_test = frames
    explainer = InfluenceExplainer(LogisticRegression()).set_output(transform="pandas")
    found = explainer.fit(X, y).transform(X_test)
    assert list(found.index) == list(X_test.index)
    assert list(found.columns) == list(explainer.get_feature_names_out())
    plain = InfluenceExplainer(LogisticRegression()).fit(BINARY.X, BINARY.y)
    expected = plain.transform(BINARY.X_test)
    assert relative_error(found.to_numpy(), expected) < 1e-12


def test_frames_and_arrays_give_the_same_numbers(frames):
    X, y, X_test = frames
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    plain = InfluenceExplainer(LogisticRegression()).fit(BINARY.X, BINARY.y)
    found, expected = explainer.influence(X_test), plain.influence(BINARY.X_test)
    assert relative_error(found, expected) < 1e-12
    np.testing.assert_array_equal(explainer.loo_predict(), plain.loo_predict())


def test_frames_with_columns_of_other_names_are_refused(frames):
    X, y, X_test = frames
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match=r"(?i)feature names"):
        explainer.influence(X_test[X_test.columns[::-1]])
