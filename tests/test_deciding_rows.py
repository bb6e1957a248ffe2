"""Steps that few rows decide: refits answer for those rows, and for no others."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
)

from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    check_leave_one_out,
    refit_leave_one_out,
)
from skinfluence._sources import source_of
from skinfluence.exceptions import (
    PreprocessingDeletionWarning,
    UnsupportedEstimatorError,
)
from skinfluence.preprocessing import follow
from skinfluence.refit import left_out_outputs

N = 36
MODELS = {
    "ridge": Ridge(2.0),
    "logistic": LogisticRegression(
        C=0.7, solver="newton-cholesky", tol=1e-12, max_iter=1000
    ),
}
CODES = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def table():
    """A column of codes, of which rows 4 and 9 have one each, and two of numbers."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, 3)) * [1.0, 2.0, 5.0]
    X[:, 0] = rng.integers(1, 4, size=N)
    X[:3, 0] = 1.0, 2.0, 3.0
    X[4, 0], X[9, 0] = 0.0, 2.5
    return X


def texts():
    rng = np.random.default_rng(4)
    words = rng.choice(["red", "green", "blue", "one", "two"], size=(N, 4))
    words[[2, 7, 8], 0] = "rare"
    return np.array([" ".join(each) for each in words], dtype=object)


def targets_of(name, X):
    rng = np.random.default_rng(5)
    signal = np.arange(N) % 3 - 1.0
    if X.ndim == 2:
        signal = np.asarray(X[:, 0] + X[:, 1] / 2 - 2.0, dtype=float)
    signal = signal + rng.normal(size=N)
    labels = np.where(signal > np.median(signal), "yes", "no")
    return signal if name == "ridge" else labels


def extremes(X, columns):
    """Rows with the only least, or greatest, entry of a column."""
    ends = [X == X.min(axis=0), X == X.max(axis=0)]
    single = [end & (end.sum(axis=0) == 1) for end in ends]
    return np.flatnonzero((single[0] | single[1])[:, columns].any(axis=1)).tolist()


def one_entry():
    """A column that is constant but for row 11, and one that two rows spread."""
    X = table()[:, [1, 1, 2]]
    X[:, 0] = np.arange(N) == 11
    X[:, 2] = 0.1 * X[:, 2] / X[:, 2].std()
    X[[11, 30], 2] = 3.9, -3.9
    return X


def few_codes():
    return make_column_transformer((CODES, [0]), ("passthrough", [1, 2]))


def beside_scaled(step):
    return make_column_transformer((step, [0]), (StandardScaler(), [1, 2]))


# The steps, their rows, and those rows that decide.
STEPS = {
    "codes": (beside_scaled(CODES), table, [4, 9]),
    "drops the first": (
        beside_scaled(OneHotEncoder(drop="first", handle_unknown="ignore")),
        table,
        [4],
    ),
    "bins": (
        make_column_transformer(
            (KBinsDiscretizer(4, strategy="uniform"), [1, 2]), (StandardScaler(), [0])
        ),
        table,
        extremes(table(), [1, 2]),
    ),
    "knots after a scaler": (
        make_pipeline(StandardScaler(), SplineTransformer(4)),
        table,
        extremes(table(), [0, 1, 2]),
    ),
    "codes before a scaler": (
        make_pipeline(few_codes(), StandardScaler()),
        table,
        [4, 9],
    ),
    "a column that only one row has": (
        make_pipeline(VarianceThreshold(), StandardScaler()),
        one_entry,
        [11],
    ),
    "a small variance": (VarianceThreshold(0.5), one_entry, [11, 30]),
    "min_df before a scaler": (
        make_pipeline(
            TfidfVectorizer(min_df=3, norm=None), StandardScaler(with_mean=False)
        ),
        texts,
        [2, 7, 8],
    ),
    "min_df": (CountVectorizer(min_df=3), texts, [2, 7, 8]),
    "min_df, weighted": (TfidfVectorizer(min_df=3, norm=None), texts, [2, 7, 8]),
}


def case_of(step, name):
    steps, rows, deciding = STEPS[step]
    X = rows()
    return make_pipeline(steps, MODELS[name]), X, targets_of(name, X), deciding


def error(result, truth):
    return np.abs(result - truth).max() / np.abs(truth).max()


def fitted_outputs(explainer, X):
    reads = getattr(explainer.estimator_, "decision_function", None)
    return (reads or explainer.estimator_.predict)(X)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("step", STEPS)
def test_rows_that_decide_are_refits_and_the_others_are_deleted(step, name):
    pipe, X, y, deciding = case_of(step, name)
    points, some = X[10:16], np.array([*deciding, 0, 3])
    groups = [deciding[:2], [deciding[0], 5, 6], [0, 3, 20]]
    truth = left_out_outputs(pipe, X, y, [*some, *groups], X_test=points)[..., 0]
    for deletion in ("exact", "newton"):
        explainer = InfluenceExplainer(pipe, deletion=deletion, tol=1e-11).fit(X, y)
        assert not explainer.held_steps_
        assert list(np.flatnonzero(explainer._study.refitted_rows)) == deciding
        rows = explainer.loo_delta(points, on="decision")[:, some]
        together = explainer.group_delta(points, groups=groups, on="decision")
        delta = np.concatenate([rows, together], axis=1).T
        wanted = truth - fitted_outputs(explainer, points)
        known = [*np.isin(some, deciding), True, True, False]
        known = slice(None) if deletion == "exact" else known
        assert error(delta[known], wanted[known]) < 1e-8


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("step", ["codes", "min_df"])
def test_all_questions_have_the_answers_of_refits(step, name):
    pipe, X, y, deciding = case_of(step, name)
    explainer = InfluenceExplainer(pipe, deletion="exact", tol=1e-11).fit(X, y)
    some = np.array([*deciding, 0, 3])
    truth = refit_leave_one_out(pipe, X, y, rows=some)
    result = explainer.loo_params(some)
    assert error(result.coef, truth.coef) < 1e-8
    assert error(explainer.loo_params().intercept[some], truth.intercept) < 1e-8
    bounded = np.isfinite(result.error_bound)
    assert list(bounded) == [False] * len(deciding) + [True, True]
    method = "predict" if name == "ridge" else "decision_function"
    whole = cross_val_predict(pipe, X, y, cv=LeaveOneOut(), method=method)
    np.testing.assert_allclose(explainer.loo_predict(method=method), whole, rtol=1e-7)
    folds = np.arange(N) % 4
    cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(4)]
    whole = cross_val_predict(pipe, X, y, cv=cv, method=method)
    np.testing.assert_allclose(
        explainer.cv_predict(folds, method=method), whole, rtol=1e-7
    )
    delta = explainer.loo_delta(X[:4], y[:4])
    values, rows = explainer.top_influences(X[:4], y[:4], k=N, quantity="loo_delta")
    np.testing.assert_allclose(np.take_along_axis(delta, rows, 1), values)
    mean = explainer.loo_delta(X[:4], y[:4], aggregate="mean")
    np.testing.assert_allclose(mean, delta.mean(axis=0))
    groups = [deciding, [0, 3, 20]]
    group = explainer.group_delta(X[:4], y[:4], groups=groups)
    mean = explainer.group_delta(X[:4], y[:4], groups=groups, aggregate="mean")
    np.testing.assert_allclose(mean, group.mean(axis=0))
    check = check_leave_one_out(explainer, X, y, rows=some)
    assert check.param_error < 1e-8 and check.max_abs_error < 1e-9


# --- which rows decide ---


def letters():
    """Two columns, of categories with one row, two, and more."""
    X = np.array([list("abc" * 6 + "aabbdde"), list("x" * 12 + "y" * 12 + "z")], object)
    return X.T


def words():
    """Texts in which some terms are as common as the limits."""
    rng = np.random.default_rng(0)
    names = np.array(["red", "green", "blue", "one", "two", "three", "four"])
    chance = np.array([8, 5, 3, 2, 2, 1, 1]) / 22
    X = rng.choice(names, size=(25, 5), p=chance).astype(object)
    X[3:5, 0], X[4:6, 1] = "rare", "odd"
    return np.array([" ".join(each) for each in X], dtype=object)


def numbers():
    """Ties at the extremes, a column of one entry, one that is nearly constant."""
    X = np.random.default_rng(1).normal(size=(25, 4)).round(1)
    X[:, 1] = np.arange(25) == 7
    X[:, 2] = 3.0 + 0.1 * X[:, 2]
    X[[5, 6], 3] = 9.0
    return X


CHOICES = [
    *((letters, OneHotEncoder(max_categories=k)) for k in (2, 3, 4)),
    *((letters, OneHotEncoder(min_frequency=k)) for k in (2, 3, 0.08, 0.1)),
    (letters, OneHotEncoder(max_categories=4, min_frequency=2)),
    (letters, OneHotEncoder(drop="if_binary")),
    (letters, OneHotEncoder(drop="first")),
    (letters, OrdinalEncoder()),
    (letters, OrdinalEncoder(max_categories=3)),
    (letters, OrdinalEncoder(max_categories=5)),
    (letters, OneHotEncoder(max_categories=5)),
    (letters, OrdinalEncoder(min_frequency=2)),
    *((words, CountVectorizer(max_df=k)) for k in (0.5, 8, 13)),
    *((words, CountVectorizer(min_df=k)) for k in (0.08, 0.16, 2)),
    *((words, CountVectorizer(max_features=k)) for k in (4, 6, 7)),
    (words, CountVectorizer(max_features=3, min_df=3, max_df=0.8)),
    (numbers, KBinsDiscretizer(3, strategy="uniform", encode="ordinal")),
    (numbers, SplineTransformer(4, extrapolation="periodic")),
    (numbers, VarianceThreshold()),
    (numbers, VarianceThreshold(0.0102)),
]


def stays_without(transformer, X, Z, rows):
    """Whether other rows have the same columns by a refit, but for those of zeros."""
    rest = np.delete(np.arange(len(X)), rows)
    wanted = clone(transformer).fit(X[rest]).transform(X[rest])
    wanted = wanted.toarray() if sparse.issparse(wanted) else wanted
    kept, wanted = Z[rest][:, Z[rest].any(axis=0)], wanted[:, wanted.any(axis=0)]
    return kept.shape == wanted.shape and np.allclose(kept, wanted)


@pytest.mark.filterwarnings("ignore:Feature .* is constant")
@pytest.mark.parametrize(
    "rows, step", CHOICES, ids=lambda each: getattr(each, "__name__", str(each))[:40]
)
def test_no_row_and_no_group_that_decides_is_missed(rows, step):
    X, rng = rows(), np.random.default_rng(2)
    fitted = make_pipeline(clone(step)).fit(X)
    Z = fitted.transform(X)
    source, Z = source_of(Z), Z.toarray() if sparse.issparse(Z) else Z
    result = follow(fitted, source, {}, absorbs_shifts=True, X=X)
    deciding = np.array([not stays_without(step, X, Z, [i]) for i in range(len(X))])
    if result.held_steps:  # many rows do, or a tie leaves it open which
        assert "rows decide that" in next(iter(result.reasons.values()))
        assert deciding.sum() > 10
        return
    said = result.following.decides()
    assert not np.any(deciding & ~said)
    assert said.sum() <= deciding.sum() + 6
    groups = [rng.choice(len(X), size, replace=False) for size in (2, 4, 8)]
    if rows is letters:
        groups += [np.flatnonzero(X[:, 0] == each) for each in "abcde"]
    for group in groups:
        if not stays_without(step, X, Z, group):
            assert np.isnan(result.following.without_group(group).ratio).any()


def test_a_derivative_knows_of_no_row_that_decides():
    pipe, X, y, deciding = case_of("codes", "ridge")
    explainer = InfluenceExplainer(pipe, deletion="jackknife").fit(X, y)
    assert not explainer.held_steps_
    assert not explainer._study.refitted_rows.any()
    linear = explainer.loo_delta(X[:3])
    influence = explainer.influence(X[:3])
    np.testing.assert_allclose(linear, -influence / N, rtol=1e-6, atol=1e-9)
    with pytest.warns(PreprocessingDeletionWarning, match="Without group 0, some"):
        explainer.group_delta(X[:3], groups=[deciding])


def test_more_rows_than_may_be_refitted_hold_the_step():
    rng, n = np.random.default_rng(6), 60
    X = rng.normal(size=(n, 3))
    X[:, 0] = np.maximum(np.arange(n), n - 21)
    pipe, y = make_pipeline(beside_scaled(CODES), Ridge()), X[:, 1] + rng.normal(size=n)
    explainer = InfluenceExplainer(pipe).fit(X[:-1], y[:-1])
    assert not explainer.held_steps_
    assert np.count_nonzero(explainer._study.refitted_rows) == 19
    X[:, 0] = np.maximum(np.arange(n), n - 22)
    explainer = InfluenceExplainer(pipe, deletion="exact").fit(X, y)
    name = "columntransformer__ordinalencoder"
    assert explainer.held_steps_ == [name]
    assert "21 rows decide that, and 20 may be" in explainer.held_reasons_[name]
    whole = InfluenceExplainer(pipe, deletion="exact", preprocessing="refitted")
    assert whole.fit(X, y).held_steps_ == [] and whole._study.refits_all
    with pytest.raises(UnsupportedEstimatorError, match="21 rows decide"):
        InfluenceExplainer(pipe, preprocessing="refitted").fit(X, y)


def test_rows_that_no_refit_can_read_are_held_and_named():
    X = table()
    pipe, y = make_pipeline(beside_scaled(OrdinalEncoder()), Ridge()), X[:, 1] - 1
    explainer = InfluenceExplainer(pipe).fit(X, y)
    with pytest.warns(PreprocessingDeletionWarning, match="Without row 4, row 9, some"):
        predictions = explainer.loo_predict()
    assert np.all(np.isfinite(predictions))
    truth = left_out_outputs(pipe, X, y, [4, 9], X_test=X[:3])[..., 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        delta = explainer.loo_delta(X[:3])[:, [4, 9]]
    np.testing.assert_allclose(
        delta, truth.T - fitted_outputs(explainer, X[:3])[:, None]
    )


def test_a_step_that_is_held_is_held_in_refits_too():
    X = table()
    X[:, 2] = np.abs(X[:, 2])
    steps = make_column_transformer((CODES, [0]), (CODES, [1]), ("passthrough", [2]))
    pipe, y = make_pipeline(steps, Ridge()), X[:, 1] + X[:, 0]
    explainer = InfluenceExplainer(pipe, deletion="exact").fit(X, y)
    assert explainer.held_steps_ == ["columntransformer__ordinalencoder-2"]
    check = check_leave_one_out(explainer, X, y, rows=[4, 9, 0])
    assert check.held_steps == explainer.held_steps_
    assert check.param_error < 1e-8


def test_a_penalty_with_corners_knows_whether_a_refit_changes_the_active_set():
    X = table()
    pipe = make_pipeline(beside_scaled(CODES), Lasso(0.3, tol=1e-12))
    y = X[:, 0] + X[:, 1]
    truth = refit_leave_one_out(pipe, X, y, rows=[4, 9, 0])
    explainer = InfluenceExplainer(pipe, deletion="exact", tol=1e-11).fit(X, y)
    result = explainer.loo_params([4, 9, 0])
    np.testing.assert_allclose(result.coef, truth.coef, atol=1e-9)
    fitted = explainer.estimator_[-1].coef_
    changes = np.any((fitted + truth.coef == 0) != (fitted == 0), axis=1)
    assert np.array_equal(result.active_set_changes, changes)


def test_a_cleaner_scores_by_refits_where_rows_decide():
    pipe, X, y, _ = case_of("codes", "ridge")
    truth = cross_val_predict(pipe, X, y, cv=LeaveOneOut())
    scores = InfluenceCleaner(pipe).fit(X, y).row_scores_
    np.testing.assert_allclose(scores, (y - truth) ** 2 / 2)


def test_a_chosen_set_that_decides_is_refitted():
    pipe, X, y, deciding = case_of("codes", "ridge")
    y[deciding] += 30.0
    explainer = InfluenceExplainer(pipe).fit(X, y)
    points = X[10:14], y[10:14]
    for target in (points, points[0][0]):
        chosen = explainer.influential_set(target, k=2, direction="decrease")
        assert set(chosen.rows) == set(deciding)
        table = points[0] if target is points else points[0][:1]
        truth = left_out_outputs(pipe, X, y, [chosen.rows], X_test=table)[0, :, 0]
        wanted = np.mean((truth - points[1]) ** 2 / 2) if target is points else truth[0]
        np.testing.assert_allclose([chosen.achieved, chosen.predicted], wanted)
    with pytest.warns(PreprocessingDeletionWarning, match="Without the chosen rows"):
        explainer.influential_set(0, k=2, direction="decrease")


def test_gaps_that_are_filled_anew_leave_no_row_to_deletion():
    X = table()
    X[[3, 8], 1] = np.nan
    y = X[:, 0] + X[:, 2] / 5
    numbers = make_pipeline(SimpleImputer(), VarianceThreshold(), StandardScaler())
    steps = make_column_transformer((CODES, [0]), (numbers, [1, 2]))
    explainer = InfluenceExplainer(make_pipeline(steps, Ridge()), deletion="exact")
    explainer.fit(X, y)
    name = "columntransformer__pipeline__variancethreshold"
    assert explainer.held_steps_ == [name]
    assert "moves what it chooses by" in explainer.held_reasons_[name]
    assert check_leave_one_out(explainer, X, y, rows=[3, 4, 0]).param_error < 1e-8
    truth = refit_leave_one_out(explainer.estimator_, X, y, rows=[3, 4, 0])
    np.testing.assert_allclose(explainer.loo_params([3, 4, 0]).coef, truth.coef)
