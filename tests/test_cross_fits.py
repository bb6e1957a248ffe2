"""Steps that give the model other rows in a fit than later, and steps that draw rows.

The reference is an explainer of the last step alone, on the rows that its fit saw.
"""

from functools import partial

import joblib
import numpy as np
import pytest
from reference import relative_error
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import NMF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler, TargetEncoder

from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    LeaveOneOutSearchCV,
    check_leave_one_out,
    cross_val_influence,
)
from skinfluence.exceptions import (
    DoubtfulInputWarning,
    InvalidDataError,
    NotStationaryWarning,
    UnsupportedEstimatorError,
)

RNG = np.random.default_rng(0)
N = 40
WORDS = RNG.choice(list("abcdefghij"), size=(N, 1)).astype(object)
NUMBERS = RNG.normal(size=(N, 2)) * [1.0, 10.0]
X = np.c_[WORDS, NUMBERS]
Y = NUMBERS @ [1.0, 0.1] + RNG.normal(size=10)[RNG.integers(10, size=N)]
LABELS = np.where(Y + RNG.normal(size=N) > 0, "yes", "no")
ROWS = [3, 0, 17]
FOLDS = partial(KFold, 4, shuffle=True)


class LeaveOneOutEncoder(TransformerMixin, BaseEstimator):
    """Means of the targets by category; in a fit, those of the other rows."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        words, places = np.unique(X[:, 0].astype(str), return_inverse=True)
        sums, counts = np.bincount(places, y), np.bincount(places)
        self.means_ = dict(zip(words, sums / counts, strict=True))
        self.counts_ = dict(zip(words, counts, strict=True))
        self.mean_ = y.mean()
        return self

    def transform(self, X):
        return np.array([[self.means_.get(word, self.mean_)] for word in X[:, 0]])

    def fit_transform(self, X, y):
        means = self.fit(X, y).transform(X)[:, 0]
        counts = np.array([self.counts_[word] for word in X[:, 0]])
        left_out = (means * counts - y) / np.maximum(counts - 1, 1)
        return np.where(counts > 1, left_out, self.mean_)[:, None]


def target_encoder(seed=0):
    return TargetEncoder(target_type="continuous", cv=FOLDS(random_state=seed))


def columns(encoder):
    return ColumnTransformer(
        [("word", encoder, [0]), ("number", StandardScaler(), [1, 2])]
    )


PIPELINES = {
    "target encoder": make_pipeline(columns(target_encoder()), Ridge()),
    "of its own": make_pipeline(columns(LeaveOneOutEncoder()), Ridge()),
    "scaled after it": make_pipeline(
        columns(target_encoder()), StandardScaler(), Ridge()
    ),
    "in a pipeline": make_pipeline(
        columns(make_pipeline(target_encoder(), StandardScaler())), Ridge()
    ),
    "union": make_pipeline(
        columns(FeatureUnion([("a", LeaveOneOutEncoder()), ("b", target_encoder())])),
        Ridge(),
    ),
    "targets": TransformedTargetRegressor(
        make_pipeline(columns(target_encoder()), Ridge()), transformer=MinMaxScaler()
    ),
}


def seen_by(estimator, X=X, y=Y):
    """A fitted clone's last step, and the rows that its fit saw."""
    fitted = clone(estimator)
    if isinstance(fitted, TransformedTargetRegressor):
        target = clone(fitted.transformer).fit_transform(y[:, None])[:, 0]
        return (*seen_by(fitted.regressor, X, target)[:2], target)
    Z = fitted[:-1].fit_transform(X, y)
    return clone(fitted[-1]).fit(Z, y), Z, y


@pytest.mark.parametrize("prefit", [False, True])
@pytest.mark.parametrize("case", PIPELINES)
def test_training_rows_are_those_that_the_model_saw(case, prefit):
    estimator = PIPELINES[case]
    model, Z, y = seen_by(estimator)
    given = clone(estimator).fit(X, Y) if prefit else estimator
    before = joblib.hash(given)
    explainer = InfluenceExplainer(given, preprocessing="held").fit(X, Y)
    alone = InfluenceExplainer(model).fit(Z, y)
    assert joblib.hash(given) == before
    assert relative_error(explainer.self_influence(), alone.self_influence()) < 1e-9
    assert relative_error(explainer.loo_params().coef, alone.loo_params().coef) < 1e-9
    assert explainer.stationarity_ < 1e-6
    # Test rows go through ``transform``.
    fitted = clone(estimator).fit(X, Y)
    inner = getattr(fitted, "regressor_", fitted)
    points = inner[:-1].transform(X[:5])
    delta = explainer.loo_delta(X[:5], Y[:5])
    assert relative_error(delta, alone.loo_delta(points, y[:5])) < 1e-9


def test_the_fitted_clone_is_that_of_the_estimator():
    explainer = InfluenceExplainer(PIPELINES["union"]).fit(X, Y)
    encoder = explainer.estimator_[0].named_transformers_["word"]
    kinds = [type(step) for _, step in encoder.transformer_list]
    assert kinds == [LeaveOneOutEncoder, TargetEncoder]
    assert explainer.estimator_.get_params().keys() == (
        PIPELINES["union"].get_params().keys()
    )
    expected = clone(PIPELINES["union"]).fit(X, Y).predict(X)
    assert relative_error(explainer.estimator_.predict(X), expected) < 1e-12


@pytest.mark.parametrize("case", ["target encoder", "scaled after it", "in a pipeline"])
@pytest.mark.parametrize("seed", [0, None])
def test_other_steps_are_followed_beside_one_that_is_held(case, seed):
    estimator = clone(PIPELINES[case])
    for name in estimator.get_params():
        if name.endswith("__cv"):
            estimator.set_params(**{name: FOLDS(random_state=seed)})
    explainer = InfluenceExplainer(estimator, deletion="exact").fit(X, Y)
    encoder = [name for name in explainer.held_steps_ if "word" in name]
    assert explainer.held_steps_ == encoder
    check = check_leave_one_out(explainer, X, Y, rows=ROWS)
    assert check.held_steps == encoder
    assert check.refitted_steps == explainer.followed_steps_
    assert f"'held_steps': {encoder}" in repr(check)
    assert check.max_abs_error < 1e-10 * np.max(np.abs(check.refit))
    assert check.param_error < 1e-8
    check = check_leave_one_out(explainer, X, Y, rows=ROWS, X_test=X, y_test=Y)
    assert check.max_abs_error < 1e-8 * np.max(np.abs(check.refit))


def test_refits_of_all_steps_are_those_of_clones():
    estimator, few = PIPELINES["scaled after it"], slice(12)
    explainer = InfluenceExplainer(
        estimator, deletion="exact", preprocessing="refitted"
    ).fit(X[few], Y[few])
    assert not explainer.held_steps_
    truth = [
        clone(estimator)
        .fit(np.delete(X[few], row, 0), np.delete(Y[few], row))
        .predict(X[[row]])[0]
        for row in range(12)
    ]
    assert relative_error(explainer.loo_predict(), np.array(truth)) < 1e-8


def test_a_search_has_the_rows_of_its_best_estimator():
    grid = {"ridge__alpha": [0.1, 3.0], "columntransformer__word__smooth": [2.0, 9.0]}
    search = GridSearchCV(PIPELINES["target encoder"], grid, cv=3)
    explainer = InfluenceExplainer(search, preprocessing="held").fit(X, Y)
    model, Z, _ = seen_by(explainer.estimator_.best_estimator_)
    alone = InfluenceExplainer(model).fit(Z, Y)
    assert relative_error(explainer.self_influence(), alone.self_influence()) < 1e-9
    # Steps that the search has put in place of those given are fitted again.
    grid = {"columntransformer__word": [target_encoder(), LeaveOneOutEncoder()]}
    search.set_params(param_grid=grid)
    explainer = InfluenceExplainer(search, preprocessing="held").fit(X, Y)
    model, Z, _ = seen_by(explainer.estimator_.best_estimator_)
    alone = InfluenceExplainer(model).fit(Z, Y)
    assert relative_error(explainer.self_influence(), alone.self_influence()) < 1e-9


def test_frames_keep_their_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["word", "a", "b"]).astype({"a": float, "b": float})
    encoder = ColumnTransformer(
        [("word", target_encoder(), ["word"])],
        remainder=StandardScaler(),
        verbose_feature_names_out=False,
    )
    after = ColumnTransformer([("all", MinMaxScaler(), ["a", "word"])])
    estimator = make_pipeline(encoder, after, Ridge())
    estimator[:-1].set_output(transform="pandas")
    model, Z, _ = seen_by(estimator, frame)
    alone = InfluenceExplainer(model).fit(Z, Y)
    explainer = InfluenceExplainer(estimator, preprocessing="held").fit(frame, Y)
    assert relative_error(explainer.self_influence(), alone.self_influence()) < 1e-9


def test_components_of_a_fit_may_differ_from_those_of_a_transform():
    counts = RNG.poisson(3.0, size=(N, 5)).astype(float)
    estimator = make_pipeline(NMF(2, init="nndsvda", random_state=0, tol=0.01), Ridge())
    explainer = InfluenceExplainer(estimator).fit(counts, Y)
    model, Z, _ = seen_by(estimator, counts)
    alone = InfluenceExplainer(model).fit(Z, Y)
    assert relative_error(explainer.self_influence(), alone.self_influence()) < 1e-9


# --- rows that are not known ---


def unseeded():
    return make_pipeline(columns(target_encoder(None)), Ridge())


def test_rows_of_a_fit_that_drew_at_random_are_said_to_be_unknown():
    fitted = unseeded().fit(X, Y)
    with pytest.warns(NotStationaryWarning, match="__word gave the model other rows"):
        explainer = InfluenceExplainer(fitted).fit(X, Y)
    assert "not known" in explainer.held_reasons_["columntransformer__word"]
    # Fitted by the explainer, they are known.
    explainer = InfluenceExplainer(fitted, prefit=False).fit(X, Y)
    assert explainer.stationarity_ < 1e-6
    assert "not known" not in explainer.held_reasons_["columntransformer__word"]


def test_a_model_of_the_rows_that_the_steps_give_now_is_read_on_those():
    encoder = columns(target_encoder()).fit(X, Y)
    model = Pipeline(
        [("columns", encoder), ("ridge", Ridge().fit(encoder.transform(X), Y))]
    )
    explainer = InfluenceExplainer(model, preprocessing="held").fit(X, Y)
    alone = InfluenceExplainer(model[-1]).fit(encoder.transform(X), Y)
    assert relative_error(explainer.self_influence(), alone.self_influence()) < 1e-9


def test_steps_that_draw_without_a_seed_are_held_where_others_are_refitted():
    explainer = InfluenceExplainer(
        unseeded(), deletion="exact", preprocessing="refitted"
    )
    with pytest.warns(DoubtfulInputWarning, match="__word draw at random"):
        explainer.fit(X, Y)
    name = "columntransformer__word"
    assert explainer.held_steps_ == [name]
    assert "random_state" in explainer.held_reasons_[name]
    assert explainer.followed_steps_ == ["columntransformer__number"]
    first, second = explainer.loo_params(ROWS), explainer.loo_params(ROWS)
    np.testing.assert_array_equal(first.coef, second.coef)
    check = check_leave_one_out(explainer, X, Y, rows=ROWS)
    assert check.held_steps == [name]


def test_other_rows_than_those_of_the_fit_are_refused():
    explainer = InfluenceExplainer(PIPELINES["target encoder"]).fit(X, Y)
    for other in (X[::-1], X[:-1]):
        with pytest.raises(InvalidDataError):
            check_leave_one_out(explainer, other, Y[: len(other)])


# --- questions that fit on their own ---


def test_folds_and_searches_and_cleaning_see_the_rows_of_the_fit():
    estimator = PIPELINES["target encoder"]
    search = LeaveOneOutSearchCV(estimator, {"ridge__alpha": [1.0]}).fit(X, Y)
    explainer = InfluenceExplainer(estimator).fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == pytest.approx(explainer.loo_score(), rel=1e-9)
    train, test = np.arange(N) % 2 == 0, np.arange(N) % 2 == 1
    harm = cross_val_influence(
        estimator, X, Y, cv=[(np.flatnonzero(train), np.flatnonzero(test))]
    ).harm
    fold = InfluenceExplainer(estimator).fit(X[train], Y[train])
    delta = fold.loo_delta(X[test], Y[test], on="loss", aggregate="mean")
    assert relative_error(harm[train], -delta) < 1e-9
    classifier = make_pipeline(
        columns(TargetEncoder(target_type="binary", cv=FOLDS(random_state=0))),
        LogisticRegression(),
    )
    cleaner = InfluenceCleaner(
        classifier, contamination=0.1, criterion="self_influence"
    ).fit(X, LABELS)
    held = InfluenceExplainer(classifier).fit(X, LABELS)
    # A ranking stops the polish early.
    assert relative_error(cleaner.row_scores_, -held.self_influence()) < 1e-3


# --- samplers ---


class SamplerPipeline(Pipeline):
    """A pipeline with steps that resample in its fit, as that of imbalanced-learn."""

    def _validate_steps(self):
        pass

    def fit(self, X, y):
        for _, step in self.steps[:-1]:
            if hasattr(step, "fit_resample"):
                X, y = step.fit_resample(X, y)
            else:
                X = step.fit_transform(X, y)
        self.steps[-1][1].fit(X, y)
        return self


class EveryOther(BaseEstimator):
    """A sampler that takes some rows twice, and every third never."""

    def fit_resample(self, X, y):
        rows = np.arange(len(y))
        self.sample_indices_ = np.r_[rows[rows % 3 > 0], rows[rows % 3 == 1]]
        return X[self.sample_indices_], y[self.sample_indices_]

    def transform(self, X):  # scikit-learn's own ``transform`` knows no samplers
        return X


class Between(EveryOther):
    """A sampler that makes rows between others."""

    def fit_resample(self, X, y):
        return (X[1:] + X[:-1]) / 2, y[1:]


def sampled(sampler):
    return SamplerPipeline(
        [("scale", StandardScaler()), ("sample", sampler), ("model", Ridge())]
    )


@pytest.mark.parametrize("prefit", [False, True])
def test_rows_that_a_sampler_draws_count_as_often_as_drawn(prefit):
    estimator = sampled(EveryOther())
    given = clone(estimator).fit(NUMBERS, Y) if prefit else estimator
    explainer = InfluenceExplainer(given, deletion="exact").fit(NUMBERS, Y)
    assert explainer.held_steps_ == ["sample"]
    assert explainer.followed_steps_ == ["scale"]
    assert explainer.stationarity_ < 1e-6
    times = np.array([0, 2, 1])[np.arange(N) % 3]
    weighted = make_pipeline(StandardScaler(), Ridge())
    twin = InfluenceExplainer(weighted, deletion="exact")
    twin.fit(NUMBERS, Y, ridge__sample_weight=times)
    assert relative_error(explainer.loo_predict(), twin.loo_predict()) < 1e-9
    check = check_leave_one_out(explainer, NUMBERS, Y, rows=ROWS)
    assert check.held_steps == ["sample"]
    assert check.param_error < 1e-8


def test_samplers_that_make_rows_are_refused_unless_held():
    estimator = sampled(Between())
    with pytest.raises(UnsupportedEstimatorError, match="The step 'sample'"):
        InfluenceExplainer(estimator).fit(NUMBERS, Y)
    with pytest.raises(UnsupportedEstimatorError, match="The step 'sample'"):
        InfluenceExplainer(
            sampled(EveryOther()), deletion="exact", preprocessing="refitted"
        ).fit(NUMBERS, Y)
    held = InfluenceExplainer(estimator, preprocessing="held").fit(NUMBERS, Y)
    assert "sample" in held.held_steps_
    Z = StandardScaler().fit_transform(NUMBERS)
    alone = InfluenceExplainer(Ridge()).fit(Z, Y)
    assert relative_error(held.self_influence(), alone.self_influence()) < 1e-8


def test_samplers_of_imbalanced_learn():
    pipeline = pytest.importorskip("imblearn.pipeline")
    under = pytest.importorskip("imblearn.under_sampling")
    over = pytest.importorskip("imblearn.over_sampling")
    sampler = under.RandomUnderSampler(random_state=0)
    model = pipeline.make_pipeline(StandardScaler(), sampler, LogisticRegression())
    explainer = InfluenceExplainer(model, preprocessing="held")
    explainer.fit(NUMBERS, LABELS)
    drawn = explainer.estimator_[1].sample_indices_
    Z = StandardScaler().fit_transform(NUMBERS)[drawn]
    alone = InfluenceExplainer(LogisticRegression()).fit(Z, LABELS[drawn])
    own = explainer.self_influence()[drawn]
    assert relative_error(own, alone.self_influence()) < 1e-8
    for maker in (over.SMOTE(), over.RandomOverSampler(shrinkage=0.1)):
        model = pipeline.make_pipeline(maker, LogisticRegression())
        with pytest.raises(UnsupportedEstimatorError, match="changes the rows"):
            InfluenceExplainer(model).fit(NUMBERS, LABELS)
