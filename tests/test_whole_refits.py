"""Refits of the whole estimator, beside plain loops of ``clone(estimator).fit``."""

from dataclasses import replace

import joblib
import numpy as np
import pytest
from reference import relative_error
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC

from skinfluence import InfluenceExplainer, check_leave_one_out, refit_leave_one_out
from skinfluence.exceptions import (
    DoubtfulInputWarning,
    InvalidDataError,
    InvalidParameterError,
    PreprocessingDeletionWarning,
    SeparableDeletionWarning,
    UnsupportedEstimatorError,
)
from skinfluence.refit import left_out_outputs
from skinfluence.support import path_of_step

RNG = np.random.default_rng(0)
N = 30
X = RNG.normal(size=(N, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, -1.0]
Y = X @ [1.0, 0.1, 5.0] + RNG.normal(size=N)
LABELS = np.array(["no", "perhaps", "yes"])[(Y > -5).astype(int) + (Y > -3.5)]
TWO = np.where(Y > -4.5, "yes", "no")
COUNTS = RNG.poisson(np.exp(0.3 * (Y - Y.mean())))
WEIGHT = RNG.uniform(0.5, 2.0, size=N)
ROWS = [3, 0, 17]
TIGHT = {"tol": 1e-13, "max_iter": 100_000}
NEWTON = {"solver": "newton-cholesky", **TIGHT}


def scaled(model):
    return make_pipeline(StandardScaler(), model)


def rest_of(data, row):
    rest = np.delete(np.arange(N), row)
    return data.iloc[rest] if hasattr(data, "iloc") else data[rest]


def last_step(model):
    for name in ("best_estimator_", "regressor_"):
        if hasattr(model, name):
            return last_step(getattr(model, name))
    return last_step(model[-1]) if hasattr(model, "steps") else model


def coef_and_intercept(model):
    model = last_step(model)
    members = getattr(model, "estimators_", [model])
    coef = np.concatenate([np.atleast_2d(member.coef_) for member in members])
    return np.c_[coef, np.concatenate([np.ravel(m.intercept_) for m in members])]


def plain_loop(estimator, X, y, rows=ROWS, **by_row):
    """Deltas of the parameters by fits of clones, and these clones."""
    full = clone(estimator).fit(X, y, **by_row)
    fits = [
        clone(estimator).fit(
            rest_of(X, row),
            rest_of(y, row),
            **{name: rest_of(value, row) for name, value in by_row.items()},
        )
        for row in rows
    ]
    before = coef_and_intercept(full)
    return np.array([coef_and_intercept(fit) - before for fit in fits]), fits


def stacked(delta):
    """What ``refit_leave_one_out`` returns, as the loop has it."""
    b = len(delta.rows)
    coef = np.reshape(delta.coef, (b, -1, delta.coef.shape[-1]))
    return np.concatenate([coef, np.reshape(delta.intercept, (b, -1, 1))], axis=2)


ESTIMATORS = {
    "logistic, C=1": (scaled(LogisticRegression(**NEWTON)), TWO),
    "logistic, C=100": (scaled(LogisticRegression(C=100.0, **NEWTON)), TWO),
    "softmax": (scaled(LogisticRegression(**TIGHT, solver="newton-cg")), LABELS),
    "linear": (scaled(LinearRegression()), Y),
    "ridge, two scalers": (
        make_pipeline(MinMaxScaler(), StandardScaler(with_std=False), Ridge()),
        Y,
    ),
    "lasso": (scaled(Lasso(0.3, **TIGHT)), Y),
    "poisson": (scaled(PoissonRegressor(alpha=0.1, **NEWTON)), COUNTS),
    "components": (make_pipeline(StandardScaler(), PCA(2), Ridge()), Y),
    "pipeline in a pipeline": (
        make_pipeline(MinMaxScaler(), scaled(Ridge(0.1))),
        Y,
    ),
    "union": (
        make_pipeline(FeatureUnion([("a", MinMaxScaler()), ("b", PCA(1))]), Ridge()),
        Y,
    ),
    "targets": (
        TransformedTargetRegressor(scaled(Ridge()), transformer=StandardScaler()),
        Y,
    ),
    "targets inside": (
        scaled(TransformedTargetRegressor(Ridge(), transformer=MinMaxScaler())),
        Y,
    ),
    "balanced": (LogisticRegression(class_weight="balanced", **NEWTON), TWO),
    "balanced, scaled": (
        scaled(
            LogisticRegression(class_weight="balanced", solver="newton-cg", **TIGHT)
        ),
        LABELS,
    ),
    "balanced ridge": (scaled(RidgeClassifier(class_weight="balanced")), LABELS),
    "balanced one against the rest": (
        scaled(
            OneVsRestClassifier(LogisticRegression(class_weight="balanced", **NEWTON))
        ),
        LABELS,
    ),
    "balanced machines": (
        scaled(LinearSVC(class_weight="balanced", dual=False, **TIGHT)),
        LABELS,
    ),
    "columns that are chosen": (
        make_pipeline(SelectKBest(f_regression, k=2), StandardScaler(), Ridge()),
        Y,
    ),
}


# liblinear's own refits are this far from their minimum.
TOLERANCE = {"balanced machines": 1e-5}


@pytest.mark.parametrize("case", ESTIMATORS)
def test_refits_are_those_of_clones(case):
    estimator, y = ESTIMATORS[case]
    truth, fits = plain_loop(estimator, X, y)
    delta = refit_leave_one_out(estimator, X, y, rows=ROWS)
    assert relative_error(stacked(delta), truth) < TOLERANCE.get(case, 1e-8)
    outputs = left_out_outputs(estimator, X, y, ROWS)
    own = [outputs_of(fit, X[[row]]) for row, fit in zip(ROWS, fits, strict=True)]
    if "targets" in case:
        full = clone(estimator).fit(X, y)
        inner = getattr(full, "steps", [("", full)])[-1][1]
        outputs = inner.transformer_.inverse_transform(outputs)
    assert relative_error(outputs, np.array(own)) < TOLERANCE.get(case, 1e-8)


def outputs_of(model, X):
    if hasattr(model, "decision_function"):
        return np.ravel(model.decision_function(X))
    if isinstance(last_step(model), PoissonRegressor):
        return np.log(model.predict(X))
    return np.ravel(model.predict(X))


@pytest.mark.parametrize("case", ["logistic, C=1", "targets", "balanced"])
def test_a_fitted_estimator_is_refitted_in_the_same_way(case):
    estimator, y = ESTIMATORS[case]
    fitted = clone(estimator).fit(X, y)
    before = joblib.hash((fitted, X, y))
    delta = refit_leave_one_out(fitted, X, y, rows=ROWS)
    assert joblib.hash((fitted, X, y)) == before
    truth, _ = plain_loop(estimator, X, y)
    assert relative_error(stacked(delta), truth) < 1e-8


def test_one_number_added_to_the_outputs_of_all_classes_is_no_effect():
    estimator, y = ESTIMATORS["softmax"]
    fitted = clone(estimator).fit(X, y)
    fitted[-1].intercept_ += 1.0
    truth, _ = plain_loop(estimator, X, y)
    delta = refit_leave_one_out(fitted, X, y, rows=ROWS)
    assert relative_error(stacked(delta), truth) < 1e-8


def test_refits_leave_the_cache_of_a_pipeline_alone(tmp_path):
    fitted = make_pipeline(StandardScaler(), Ridge()).fit(X, Y)
    refit_leave_one_out(fitted.set_params(memory=str(tmp_path)), X, Y, rows=ROWS)
    assert not list(tmp_path.iterdir())


def test_without_polish_refits_are_the_estimators_own():
    estimator = scaled(LogisticRegression(class_weight="balanced"))
    truth, _ = plain_loop(estimator, X, TWO)
    delta = refit_leave_one_out(estimator, X, TWO, rows=ROWS, polish=False)
    assert relative_error(stacked(delta), truth) < 1e-9


def test_what_a_search_has_chosen_stays():
    grid = {"ridge__alpha": [0.1, 3.0]}
    search = GridSearchCV(scaled(Ridge()), grid, cv=3).fit(X, Y)
    truth, _ = plain_loop(search.best_estimator_, X, Y)
    delta = refit_leave_one_out(search, X, Y, rows=ROWS)
    assert relative_error(stacked(delta), truth) < 1e-8


def test_held_preprocessing_is_that_of_all_rows():
    estimator = scaled(LogisticRegression(class_weight="balanced", **NEWTON))
    held = refit_leave_one_out(estimator, X, TWO, rows=ROWS, preprocessing="held")
    Z, n = StandardScaler().fit_transform(X), np.unique(TWO, return_counts=True)[1]
    weight = (N / (2 * n))[(TWO == "yes").astype(int)]
    truth, _ = plain_loop(LogisticRegression(**NEWTON), Z, TWO, sample_weight=weight)
    assert relative_error(stacked(held), truth) < 1e-8
    assert held.refitted_steps == []
    assert held.held_steps == ["standardscaler", "class_weight"]


# --- data of other kinds ---


@pytest.fixture(scope="module")
def mixed():
    """Numbers with gaps, and categories of which one has a single row, number 3."""
    pd = pytest.importorskip("pandas")
    colour = RNG.choice(["blue", "green", "red"], size=N).astype(object)
    colour[3] = "violet"
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "colour": colour})
    frame.loc[[2, 8, 17], "a"] = np.nan
    return frame


def table(model, **encoder):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, ["a", "b"]),
            ("words", OneHotEncoder(**encoder), ["colour"]),
        ]
    )
    return make_pipeline(columns, model)


def test_a_table_with_gaps_and_a_category_that_vanishes(mixed):
    estimator = table(Ridge(0.5), handle_unknown="ignore")
    full = clone(estimator).fit(mixed, Y)
    delta = refit_leave_one_out(estimator, mixed, Y, rows=ROWS)
    names = full[0].get_feature_names_out()
    for i, row in enumerate(ROWS):
        fit = clone(estimator).fit(rest_of(mixed, row), rest_of(Y, row))
        own = dict(zip(fit[0].get_feature_names_out(), fit[-1].coef_, strict=True))
        truth = np.array([own.get(name, 0.0) for name in names]) - full[-1].coef_
        assert relative_error(delta.coef[i], truth) < 1e-8
        outputs = left_out_outputs(estimator, mixed, Y, [row])
        assert relative_error(outputs, fit.predict(mixed.iloc[[row]])[None]) < 1e-8
    assert "words__colour_violet" in names
    assert delta.refitted_steps == [
        "columntransformer__numbers__simpleimputer",
        "columntransformer__numbers__standardscaler",
        "columntransformer__words",
    ]


def test_a_row_that_the_others_steps_cannot_read_has_no_outputs(mixed):
    with pytest.warns(PreprocessingDeletionWarning, match="rows 3 cannot read"):
        outputs = left_out_outputs(table(Ridge()), mixed, Y, ROWS)
    np.testing.assert_array_equal(np.isnan(outputs[:, 0]), [True, False, False])


def test_columns_that_the_full_fit_does_not_have_leave_no_deltas():
    chooses = make_pipeline(SelectKBest(f_regression, k=1), Ridge())
    Z = np.c_[Y + 0.1 * np.cos(np.arange(N)), Y + 0.01 * np.sin(np.arange(N))]
    Z[0, 1] += 30.0  # without this row the second column is the better one
    with pytest.warns(PreprocessingDeletionWarning, match="Without rows 0, the steps"):
        delta = refit_leave_one_out(chooses, Z, Y, rows=[0, 1])
    assert np.isnan(delta.coef[0]).all()
    assert np.isfinite(delta.coef[1]).all()
    with pytest.warns(PreprocessingDeletionWarning):
        outputs = left_out_outputs(chooses, Z, Y, [0])
    fit = clone(chooses).fit(Z[1:], Y[1:])
    assert relative_error(outputs[0], fit.predict(Z[:1])) < 1e-8


def test_steps_that_cannot_be_fitted_leave_no_deltas():
    texts = np.array(["odd word"] + ["the and"] * (N - 1))
    model = make_pipeline(TfidfVectorizer(stop_words=["the", "and"]), Ridge())
    with pytest.warns(
        PreprocessingDeletionWarning,
        match="cannot be fitted: empty voc",
    ):
        delta = refit_leave_one_out(model, texts, Y, rows=[0, 1])
    np.testing.assert_array_equal(np.isnan(delta.coef).all(axis=1), [True, False])


def test_a_class_without_rows_has_no_refit():
    y = TWO.copy()
    y[5] = "perhaps"
    with pytest.warns(SeparableDeletionWarning, match="Without rows 5, "):
        delta = refit_leave_one_out(
            scaled(LogisticRegression(class_weight="balanced")), X, y, rows=[4, 5]
        )
    np.testing.assert_array_equal(np.isnan(delta.coef).all(axis=(1, 2)), [False, True])


@pytest.mark.parametrize("container", [list, np.asarray])
def test_texts(container):
    words = ["red", "blue", "green", "grey"]
    texts = np.array([" ".join(RNG.choice(words, 4)) for _ in range(N)], dtype=object)
    texts[3] += " rare"
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(**NEWTON))
    delta = refit_leave_one_out(model, container(texts.tolist()), TWO, rows=[0, 3])
    rest = np.delete(np.arange(N), 3)
    fit, full = clone(model).fit(texts[rest], TWO[rest]), clone(model).fit(texts, TWO)
    vanished = full[0].get_feature_names_out().tolist().index("rare")
    truth = np.insert(fit[-1].coef_[0], vanished, 0.0) - full[-1].coef_[0]
    assert relative_error(delta.coef[1, 0], truth) < 1e-8


def test_sparse_rows():
    dense = np.where(RNG.random((N, 4)) < 0.5, 0.0, RNG.normal(size=(N, 4)))
    model = make_pipeline(StandardScaler(with_mean=False), Ridge())
    truth, _ = plain_loop(model, csr_array(dense), Y)
    delta = refit_leave_one_out(model, csr_array(dense), Y, rows=ROWS)
    assert relative_error(stacked(delta), truth) < 1e-8


# --- weights and other metadata ---


@pytest.mark.parametrize("fitted", [False, True])
def test_weights_of_steps_lose_the_row_too(fitted):
    model = scaled(Ridge())
    given = {
        "standardscaler__sample_weight": WEIGHT,
        "ridge__sample_weight": WEIGHT[::-1],
    }
    truth, _ = plain_loop(model, X, Y, **given)
    model = clone(model).fit(X, Y, **given) if fitted else model
    delta = refit_leave_one_out(model, X, Y, rows=ROWS, params=given)
    assert relative_error(stacked(delta), truth) < 1e-8


@pytest.mark.parametrize("fitted", [False, True])
def test_routed_weights_reach_all_who_ask(fitted):
    with config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=True),
            Ridge().set_fit_request(sample_weight=True),
        )
        truth, _ = plain_loop(model, X, Y, sample_weight=WEIGHT)
        if fitted:
            model = clone(model).fit(X, Y, sample_weight=WEIGHT)
        delta = refit_leave_one_out(model, X, Y, rows=ROWS, sample_weight=WEIGHT)
    assert relative_error(stacked(delta), truth) < 1e-8


def test_outputs_of_the_row_itself_count_its_offset():
    offset = RNG.normal(size=N)
    model = scaled(Ridge()).fit(X, Y)  # a minimum of its own is found with the offset
    shifted = left_out_outputs(model, X, Y, ROWS, offset=offset)
    truth = left_out_outputs(scaled(Ridge()), X, Y - offset, ROWS)
    assert relative_error(shifted[:, 0] - offset[ROWS], truth[:, 0]) < 1e-8


def test_groups_of_rows_and_test_rows():
    model, groups = scaled(Ridge()), [[0, 1, 2], [5]]
    own = left_out_outputs(model, X, Y, groups)
    others = left_out_outputs(model, X, Y, groups, X_test=X[-4:])
    for i, group in enumerate(groups):
        fit = clone(model).fit(np.delete(X, group, 0), np.delete(Y, group))
        assert relative_error(own[i][:, 0], fit.predict(X[group])) < 1e-8
        assert relative_error(others[i][:, 0], fit.predict(X[-4:])) < 1e-8


# --- steps that stay ---


def test_frozen_steps_stay_frozen():
    frozen = FrozenEstimator(StandardScaler().fit(X[:10]))
    delta = refit_leave_one_out(make_pipeline(frozen, Ridge()), X, Y, rows=ROWS)
    truth, _ = plain_loop(Ridge(), frozen.transform(X), Y)
    assert relative_error(stacked(delta), truth) < 1e-8
    assert delta.refitted_steps == []
    assert delta.held_steps == ["frozenestimator"]


def encoded(cv):
    categories = RNG.choice(list("abc"), size=(N, 1)).astype(object)
    encoder = TargetEncoder(target_type="continuous", cv=cv)
    return make_pipeline(encoder, Ridge()), categories


def test_steps_that_cross_fit_show_the_model_what_their_fit_shows_it():
    model, categories = encoded(KFold(3, shuffle=True, random_state=0))
    truth, _ = plain_loop(model, categories, Y)
    delta = refit_leave_one_out(model, categories, Y, rows=ROWS)
    assert relative_error(stacked(delta), truth) < 1e-8


def test_steps_below_transformed_targets_are_fitted_to_these():
    model, categories = encoded(KFold(3))
    model = TransformedTargetRegressor(model, transformer=MinMaxScaler())
    truth, _ = plain_loop(model, categories, Y)
    delta = refit_leave_one_out(model, categories, Y, rows=ROWS)
    assert relative_error(stacked(delta), truth) < 1e-8


def test_steps_that_draw_without_a_seed_are_held():
    model, categories = encoded(3)
    frame = np.c_[categories, categories[::-1]]
    model.steps.insert(0, ("steady", FunctionTransformer()))
    with pytest.warns(DoubtfulInputWarning, match="steps targetencoder draw at random"):
        delta = refit_leave_one_out(model, frame, Y, rows=ROWS)
    assert delta.held_steps == ["targetencoder"]
    assert delta.refitted_steps == ["steady"]
    steady = make_pipeline(PCA(2), Ridge())  # has no random_state, and needs none
    assert refit_leave_one_out(steady, X, Y, rows=[0]).refitted_steps == ["pca"]


class HalfOfTheRows(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X

    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X[::2])


def test_steps_that_change_the_number_of_rows_are_refused():
    model = make_pipeline(HalfOfTheRows(), Ridge())
    fitted = make_pipeline(HalfOfTheRows().fit(X), Ridge().fit(X, Y))
    with pytest.raises(InvalidDataError, match="make 15 rows of 30"):
        refit_leave_one_out(fitted, X, Y)
    held = refit_leave_one_out(fitted, X, Y, rows=ROWS, preprocessing="held")
    truth, _ = plain_loop(Ridge(), X, Y)
    assert relative_error(stacked(held), truth) < 1e-8
    assert model[0] is not fitted[0]


def test_samplers_are_refused_by_name():
    pipeline = pytest.importorskip("imblearn.pipeline")
    sampling = pytest.importorskip("imblearn.under_sampling")
    sampler = sampling.RandomUnderSampler(random_state=0)
    model = pipeline.make_pipeline(StandardScaler(), sampler, LogisticRegression())
    model.fit(X, TWO)
    with pytest.raises(UnsupportedEstimatorError, match="'randomundersampler'"):
        refit_leave_one_out(model, X, TWO)


# --- check_leave_one_out ---


def following(explainer, preprocessing, held=()):
    """The explainer, which says that it holds these steps."""
    study = explainer._study
    options = replace(study.options, preprocessing=preprocessing)
    followed = study.followed._replace(held_steps=list(held))
    explainer._study = replace(study, options=options, followed=followed)
    return explainer


def log_loss(model, X, y):
    margin = np.where(y == "yes", 1, -1) * model.decision_function(X)
    return np.logaddexp(0, -margin)


def test_the_check_does_what_its_explainer_says():
    model = scaled(LogisticRegression(**NEWTON)).fit(X, TWO)
    explainer = InfluenceExplainer(model, deletion="exact", preprocessing="held")
    before = check_leave_one_out(explainer.fit(X, TWO), X, TWO, rows=ROWS)
    assert before.refitted_steps == []
    assert before.held_steps == ["standardscaler"]
    assert before.param_error < 1e-6
    following(explainer, "auto", held=["standardscaler"])
    held = check_leave_one_out(explainer, X, TWO, rows=ROWS)
    assert held.held_steps == ["standardscaler"]
    assert relative_error(held.refit, before.refit) < 1e-8
    following(explainer, "auto")
    whole = check_leave_one_out(explainer, X, TWO, rows=ROWS)
    assert whole.refitted_steps == ["standardscaler"]
    fits = plain_loop(model, X, TWO)[1]
    truth = [
        (log_loss(fit, X[[row]], TWO[[row]]) - log_loss(model, X[[row]], TWO[[row]]))[0]
        for row, fit in zip(ROWS, fits, strict=True)
    ]
    assert relative_error(whole.refit, np.array(truth)) < 1e-8


def test_the_check_on_test_rows_with_a_part_of_the_steps_held(mixed):
    labels = np.where(TWO == "yes", "yes", "no")
    model = table(
        LogisticRegression(class_weight="balanced", **NEWTON), handle_unknown="ignore"
    )
    explainer = InfluenceExplainer(model).fit(mixed, labels)
    following(explainer, "auto", ["columntransformer__words"])
    check = check_leave_one_out(
        explainer, mixed, labels, rows=ROWS, X_test=mixed[:9], y_test=labels[:9]
    )
    assert check.held_steps == ["columntransformer__words"]
    assert check.refitted_steps == [
        "columntransformer__numbers__simpleimputer",
        "columntransformer__numbers__standardscaler",
        "class_weight",
    ]
    full = clone(model).fit(mixed, labels)
    frozen = FrozenEstimator(full[0].named_transformers_["words"])
    held = clone(model).set_params(columntransformer__words=frozen)
    truth = [
        log_loss(fit, mixed[:9], labels[:9]).mean()
        - log_loss(full, mixed[:9], labels[:9]).mean()
        for fit in plain_loop(held, mixed, labels)[1]
    ]
    assert relative_error(check.refit, np.array(truth)) < 1e-8


def test_the_check_slices_the_weights_of_every_step():
    model = scaled(Ridge())
    given = {
        "standardscaler__sample_weight": WEIGHT,
        "ridge__sample_weight": WEIGHT[::-1],
    }
    explainer = InfluenceExplainer(model).fit(X, Y, **given)
    check = check_leave_one_out(following(explainer, "refitted"), X, Y, rows=ROWS)
    full, (_, fits) = clone(model).fit(X, Y, **given), plain_loop(model, X, Y, **given)
    truth = [
        (
            (fit.predict(X[[row]]) - Y[row]) ** 2
            - (full.predict(X[[row]]) - Y[row]) ** 2
        )[0]
        for row, fit in zip(ROWS, fits, strict=True)
    ]
    assert relative_error(check.refit, np.array(truth) / 2) < 1e-8


@pytest.mark.parametrize(
    "case",
    [
        "balanced, scaled",
        "balanced ridge",
        "balanced one against the rest",
        "balanced machines",
    ],
)
def test_the_check_holds_class_weights_alone(case):
    estimator, y = ESTIMATORS[case]
    holding = InfluenceExplainer(estimator, deletion="exact", preprocessing="held")
    both = following(holding.fit(X, y), "auto", ["class_weight", "standardscaler"])
    check = check_leave_one_out(both, X, y, rows=ROWS)
    assert check.held_steps == ["standardscaler", "class_weight"]
    assert check.param_error < 1e-6
    explainer = InfluenceExplainer(estimator, deletion="exact").fit(X, y)
    alone = following(explainer, "auto", ["class_weight"])
    check = check_leave_one_out(alone, X, y, rows=ROWS)
    assert check.refitted_steps == ["standardscaler"]
    part = explainer._study.model.with_held_class_weights(y, np.ones(N)).estimator
    if case != "balanced one against the rest":
        held = clone(estimator).set_params(
            **{f"{estimator.steps[-1][0]}__class_weight": part.class_weight}
        )
        agrees = following(InfluenceExplainer(held).fit(X, y), "auto")
        truth = check_leave_one_out(agrees, X, y, rows=ROWS)
        assert relative_error(check.refit, truth.refit) < 1e-7


def test_steps_are_named_as_in_the_estimator():
    one, two = make_pipeline(StandardScaler(), Ridge()), make_pipeline(MinMaxScaler())
    nested = Pipeline([("first", two), ("inner", one)]).fit(X, Y)
    names = ["pipeline-1__first__minmaxscaler", "pipeline-2__standardscaler"]
    expected = ["first__minmaxscaler", "inner__standardscaler"]
    assert [path_of_step(nested, name) for name in names] == expected
    assert refit_leave_one_out(nested, X, Y, rows=[0]).refitted_steps == expected
    only = Pipeline([("inner", one)]).fit(X, Y)
    assert path_of_step(only, "standardscaler") == "inner__standardscaler"
    assert path_of_step(one, "standardscaler") == "standardscaler"


def test_steps_that_are_not_there_cannot_be_held():
    explainer = InfluenceExplainer(scaled(Ridge())).fit(X, Y)
    with pytest.raises(InvalidParameterError, match="'columns__scale' is no step"):
        check_leave_one_out(following(explainer, "auto", ["columns__scale"]), X, Y)


def test_a_pipeline_fitted_to_rows_with_other_columns_is_refused(mixed):
    fitted = table(Ridge()).fit(mixed[mixed.colour != "violet"], np.delete(Y, 3))
    with pytest.raises(InvalidDataError, match=r"make 6 columns of X, but .* with 5"):
        refit_leave_one_out(fitted, mixed, Y)


@pytest.mark.parametrize("preprocessing", ["auto", None])
def test_other_names_of_preprocessing_are_refused(preprocessing):
    with pytest.raises(InvalidParameterError, match="preprocessing must be one of"):
        refit_leave_one_out(Ridge(), X, Y, preprocessing=preprocessing)


def test_losses_of_transformed_targets_are_on_the_scale_of_the_full_fit():
    model, _ = ESTIMATORS["targets"]
    explainer = InfluenceExplainer(model).fit(X, Y)
    check = check_leave_one_out(following(explainer, "auto"), X, Y, rows=ROWS)
    assert check.refitted_steps == ["transformer", "standardscaler"]
    full, (_, fits) = clone(model).fit(X, Y), plain_loop(model, X, Y)
    truth = [
        (
            (fit.predict(X[[row]]) - Y[row]) ** 2
            - (full.predict(X[[row]]) - Y[row]) ** 2
        )[0]
        for row, fit in zip(ROWS, fits, strict=True)
    ]
    assert relative_error(check.refit, np.array(truth) / 2 / Y.var()) < 1e-8
