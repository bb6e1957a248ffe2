"""Bad input: a clear error of our own type, and nothing half-fitted or changed."""

import pickle

import cases
import joblib
import numpy as np
import pytest
from cases import load
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import (
    DfbetasDisplay,
    InfluenceCleaner,
    InfluenceDisplay,
    InfluenceExplainer,
    InfluenceReport,
    LeaveOneOutDisplay,
    LeaveOneOutSearchCV,
    LeverageDisplay,
    SelfInfluenceDisplay,
    check_leave_one_out,
    cross_val_influence,
    refit_leave_one_out,
    register_estimator,
)
from skinfluence.exceptions import (
    DoubtfulInputWarning,
    InvalidDataError,
    InvalidParameterError,
    InvalidWeightError,
    SeparableDataError,
    SingleClassError,
    SkinfluenceError,
    UnfittedEstimatorError,
    UnknownLabelError,
    UnsupportedEstimatorError,
)

BINARY, NUMBERS = load("two classes"), load("one target")
N, P = BINARY.X.shape


def fitted_model():
    return LogisticRegression().fit(BINARY.X, BINARY.y)


def ready():
    return InfluenceExplainer(fitted_model()).fit(BINARY.X, BINARY.y)


def spoiled(array, value, where=(3,)):
    """A copy of ``array`` with one entry (or row) replaced."""
    copy = np.array(array, dtype=float)
    copy[where] = value
    return copy


def state(explainer):
    """The fitted attributes."""
    return {
        name: value
        for name, value in vars(explainer).items()
        if name.endswith("_") and not name.startswith("__")
    }


def assert_refused(explainer, error, message, X, y, **fit):
    """``fit`` raises as promised, and touches neither itself nor what it was given."""
    given = (X, y, fit, explainer.get_params())
    before = joblib.hash(given)
    with pytest.raises(error, match=message) as caught:
        explainer.fit(X, y, **fit)
    assert isinstance(caught.value, SkinfluenceError)
    assert joblib.hash(given) == before
    return caught.value


# --- fit: data, labels, weights, estimators ---

BAD_DATA = {
    "NaN in X": (spoiled(BINARY.X, np.nan, (3, 1)), BINARY.y, "NaN"),
    "infinity in X": (spoiled(BINARY.X, np.inf, (3, 1)), BINARY.y, "(?i)inf"),
    "X of one dimension": (BINARY.X[:, 0], BINARY.y, "(?i)2D|dimension"),
    "X of three dimensions": (BINARY.X[None], BINARY.y, "(?i)dim"),
    "X without rows": (BINARY.X[:0], BINARY.y[:0], "0 sample"),
    "X without columns": (BINARY.X[:, :0], BINARY.y, "0 feature"),
    "words in X": (np.full((N, P), "a"), BINARY.y, "(?i)numeric|convert|string"),
    "y too short": (BINARY.X, BINARY.y[:-1], rf"{N}.*{N - 1}|{N - 1}.*{N}"),
    "y of two columns": (BINARY.X, np.c_[BINARY.y, BINARY.y], r"\(60, 2\)|1d|column"),
    "no y": (BINARY.X, None, "y"),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("prefit", [False, True], ids=["unfitted", "fitted"])
def test_bad_data_are_refused(name, prefit):
    X, y, message = BAD_DATA[name]
    explainer = InfluenceExplainer(fitted_model(), prefit=prefit)
    error = assert_refused(explainer, InvalidDataError, message, X, y)
    assert isinstance(error, ValueError)
    assert not state(explainer)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("prefit", [False, True], ids=["unfitted", "fitted"])
def test_targets_that_are_no_numbers_are_refused(value, prefit):
    explainer = InfluenceExplainer(Ridge().fit(NUMBERS.X, NUMBERS.y), prefit=prefit)
    y = spoiled(NUMBERS.y, value)
    assert_refused(explainer, InvalidDataError, "(?i)nan|inf", NUMBERS.X, y)
    assert not state(explainer)


def test_another_number_of_targets_is_refused():
    explainer = InfluenceExplainer(Ridge().fit(NUMBERS.X, NUMBERS.y), prefit=True)
    y = np.c_[NUMBERS.y, NUMBERS.y]
    assert_refused(explainer, InvalidDataError, "2", NUMBERS.X, y)
    assert not state(explainer)


def test_another_number_of_features_than_the_estimators_is_refused():
    explainer = InfluenceExplainer(fitted_model())
    X = BINARY.X[:, :-1]
    error = assert_refused(explainer, InvalidDataError, rf"{P - 1}.*{P}", X, BINARY.y)
    assert isinstance(error, ValueError)
    assert not state(explainer)


def test_unknown_labels_are_refused_and_named():
    y = BINARY.y.copy()
    y[3] = 7
    explainer = InfluenceExplainer(fitted_model())
    error = assert_refused(explainer, UnknownLabelError, "7", BINARY.X, y)
    assert isinstance(error, ValueError)
    assert not state(explainer)


BAD_WEIGHTS = {
    "negative": (spoiled(np.ones(N), -0.5), "(?i)negative"),
    "all zero": (np.zeros(N), "(?i)zero"),
    "NaN": (spoiled(np.ones(N), np.nan), "(?i)nan"),
    "infinite": (spoiled(np.ones(N), np.inf), "(?i)inf"),
    "too short": (np.ones(N - 1), str(N - 1)),
    "of two columns": (np.ones((N, 2)), r"(?i)1D|one|\(60, 2\)"),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
@pytest.mark.parametrize("prefit", [False, True], ids=["unfitted", "fitted"])
def test_bad_weights_are_refused(name, prefit):
    weight, message = BAD_WEIGHTS[name]
    explainer = InfluenceExplainer(fitted_model(), prefit=prefit)
    error = assert_refused(
        explainer,
        InvalidWeightError,
        message,
        BINARY.X,
        BINARY.y,
        sample_weight=weight,
    )
    assert isinstance(error, ValueError)
    assert not state(explainer)


def test_masked_entries_are_refused():
    """NumPy hands on what stands below the mask, here the numbers themselves."""
    explainer = InfluenceExplainer(Ridge())
    X, y, weight = NUMBERS.X, NUMBERS.y, np.ones(len(NUMBERS.y))
    for k, name in enumerate(("X", "y", "sample_weight")):
        given = [X, y, weight]
        mask = np.zeros(given[k].shape, dtype=bool)
        mask[3] = True
        given[k] = np.ma.MaskedArray(given[k], mask)
        with pytest.raises(InvalidDataError, match=f"{name} has masked entries"):
            explainer.fit(*given)
    plain = np.ma.MaskedArray(X, np.zeros(X.shape, dtype=bool))
    assert np.isfinite(explainer.fit(plain, y).self_influence()).all()


def test_an_unfitted_estimator_is_refused_if_it_should_be_fitted():
    explainer = InfluenceExplainer(LogisticRegression(), prefit=True)
    error = assert_refused(
        explainer, UnfittedEstimatorError, "LogisticRegression", BINARY.X, BINARY.y
    )
    assert isinstance(error, NotFittedError)
    assert isinstance(error, ValueError)
    assert not state(explainer)


UNSUPPORTED = {
    "RandomForestClassifier": RandomForestClassifier(n_estimators=2),
    "KNeighborsRegressor": KNeighborsRegressor(),
    "StandardScaler": make_pipeline(StandardScaler()),
    "str": "ridge",
    "Ridge": Ridge,
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_estimators_are_refused_and_named(name):
    explainer = InfluenceExplainer(UNSUPPORTED[name])
    error = assert_refused(
        explainer, UnsupportedEstimatorError, name, BINARY.X, BINARY.y
    )
    assert isinstance(error, TypeError)
    assert "LogisticRegression" in str(error)  # what is supported
    assert not state(explainer)


@pytest.mark.parametrize("estimator", [LogisticRegression(), RidgeClassifier()])
@pytest.mark.parametrize("label", [1, "yes"])
def test_one_class_is_refused(estimator, label):
    explainer = InfluenceExplainer(estimator)
    y = np.full(N, label)
    error = assert_refused(explainer, SingleClassError, "(?i)class", BINARY.X, y)
    assert isinstance(error, ValueError)
    assert not state(explainer)


def separable(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    if kind == "completely":
        return X, (X[:, 0] > 0).astype(int)
    if kind == "quasi":  # one column is zero in all rows of class 0
        y = rng.integers(0, 2, size=40)
        X[:, 0] = y * rng.integers(0, 2, size=40)
        return X, y
    y = np.where(X[:, 0] > 0, 2, rng.integers(0, 2, size=40))  # one class of three
    return X, y


@pytest.mark.parametrize("kind", ["completely", "quasi", "one of three"])
@pytest.mark.parametrize("prefit", [True, False], ids=["fitted", "unfitted"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_separable_classes_without_penalty_are_refused(kind, prefit):
    X, y = separable(kind)
    model = LogisticRegression(C=np.inf)
    explainer = InfluenceExplainer(model.fit(X, y) if prefit else model)
    error = assert_refused(explainer, SeparableDataError, "(?i)separa", X, y)
    assert isinstance(error, ValueError)
    assert not state(explainer)


def test_separable_classes_with_a_penalty_are_welcome():
    X, y = separable("completely")
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    assert np.isfinite(explainer.self_influence()).all()


BAD_PARAMETERS = {
    "prefit": "maybe",
    "deletion": "delete",
    "solver": "magic",
    "backend": "abacus",
    "damping": -1.0,
    "tol": 0.0,
    "max_iter": 0,
}


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_constructor_parameters_are_refused_at_fit(name):
    value = BAD_PARAMETERS[name]
    explainer = InfluenceExplainer(LogisticRegression(), **{name: value})
    assert explainer.get_params()[name] is value
    error = assert_refused(explainer, InvalidParameterError, name, BINARY.X, BINARY.y)
    assert isinstance(error, ValueError)
    assert str(value) in str(error)
    assert not state(explainer)


# --- a fit that fails after one that did not ---

BAD_REFITS = {
    "NaN": (spoiled(BINARY.X, np.nan, (3, 1)), BINARY.y, {}),
    "labels": (BINARY.X, np.where(np.arange(N) == 3, 9, BINARY.y), {}),
    "weights": (BINARY.X, BINARY.y, {"sample_weight": -np.ones(N)}),
    "features": (BINARY.X[:, :2], BINARY.y, {}),
    "rows": (BINARY.X[:9], BINARY.y[:8], {}),
}


@pytest.mark.parametrize("name", BAD_REFITS)
def test_a_failed_second_fit_leaves_the_first_or_none(name):
    """Never a mixture: what is left answers as before, or says that it is unfitted."""
    X, y, fit = BAD_REFITS[name]
    explainer = ready()
    before, answer = state(explainer), explainer.loo_delta(BINARY.X_test)
    with pytest.raises(SkinfluenceError):
        explainer.fit(X, y, **fit)
    if state(explainer):
        assert joblib.hash(state(explainer)) == joblib.hash(before)
        np.testing.assert_array_equal(explainer.loo_delta(BINARY.X_test), answer)
    else:
        with pytest.raises(NotFittedError):
            explainer.loo_delta(BINARY.X_test)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_second_fit_that_fails_late_leaves_the_first_or_none():
    explainer = InfluenceExplainer(LogisticRegression(C=np.inf))
    explainer.fit(BINARY.X, BINARY.y)
    before = joblib.hash(state(explainer))
    with pytest.raises(SeparableDataError):
        explainer.fit(*separable("completely"))
    assert not state(explainer) or joblib.hash(state(explainer)) == before


# --- questions ---

QUERIES = ["influence", "transform", "loo_delta", "score_samples", "top_influences"]
BAD_QUERIES = {
    "NaN in X": (spoiled(BINARY.X_test, np.nan, (3, 1)), BINARY.y_test, "NaN"),
    "infinity in X": (spoiled(BINARY.X_test, np.inf, (3, 1)), BINARY.y_test, "(?i)inf"),
    "one dimension": (BINARY.X_test[0], BINARY.y_test[:1], "(?i)2D|dimension"),
    "features": (BINARY.X_test[:, :-1], BINARY.y_test, rf"{P - 1}.*{P}"),
    "y too short": (BINARY.X_test, BINARY.y_test[:-1], "7.*6|6.*7"),
}


@pytest.mark.parametrize("method", QUERIES)
@pytest.mark.parametrize("name", BAD_QUERIES)
def test_bad_test_rows_are_refused(method, name):
    X, y, message = BAD_QUERIES[name]
    explainer, before = ready(), joblib.hash((X, y))
    fitted = joblib.hash(state(explainer))
    with pytest.raises(InvalidDataError, match=message) as caught:
        getattr(explainer, method)(X, y)
    assert isinstance(caught.value, ValueError)
    assert joblib.hash((X, y)) == before
    assert joblib.hash(state(explainer)) == fitted


@pytest.mark.parametrize("method", QUERIES)
def test_unknown_labels_of_test_rows_are_refused(method):
    y = np.where(np.arange(len(BINARY.y_test)) == 2, 7, BINARY.y_test)
    with pytest.raises(UnknownLabelError, match="7"):
        getattr(ready(), method)(BINARY.X_test, y)


@pytest.mark.parametrize("method", QUERIES)
def test_an_unfitted_explainer_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(InfluenceExplainer(Ridge()), method)(BINARY.X_test, BINARY.y_test)


@pytest.mark.parametrize(
    "method", ["self_influence", "loo_params", "param_influence", "loo_predict"]
)
def test_an_unfitted_explainer_says_so_of_its_own_rows(method):
    with pytest.raises(NotFittedError):
        getattr(InfluenceExplainer(Ridge()), method)()


BAD_OPTIONS = [
    ("influence", {"on": "losses"}, "on.*losses"),
    ("influence", {"aggregate": "median"}, "aggregate.*median"),
    ("loo_delta", {"on": "losses"}, "on.*losses"),
    ("loo_delta", {"aggregate": "median"}, "aggregate.*median"),
    ("top_influences", {"order": "worst"}, "order.*worst"),
    ("top_influences", {"on": "losses"}, "on.*losses"),
    ("top_influences", {"quantity": "magic"}, "quantity.*magic"),
    ("top_influences", {"k": N + 1}, f"{N + 1}.*{N}|{N}.*{N + 1}"),
    ("top_influences", {"k": 0}, "k"),
]


@pytest.mark.parametrize(("method", "options", "message"), BAD_OPTIONS, ids=str)
def test_bad_options_are_refused(method, options, message):
    with pytest.raises(InvalidParameterError, match=f"(?s){message}") as caught:
        getattr(ready(), method)(BINARY.X_test, BINARY.y_test, **options)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("method", ["influence", "loo_delta", "top_influences"])
def test_the_loss_without_labels_is_refused(method):
    with pytest.raises(SkinfluenceError, match="y") as caught:
        getattr(ready(), method)(BINARY.X_test, on="loss")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("method", ["param_influence", "loo_params"])
@pytest.mark.parametrize("rows", [[N], [-N - 1], [0.5], ["a"], [[0, 1]]], ids=str)
def test_rows_that_do_not_exist_are_refused(method, rows):
    with pytest.raises(InvalidParameterError, match="rows"):
        getattr(ready(), method)(rows=rows)


@pytest.mark.parametrize("estimator", [Ridge(), LogisticRegression()], ids=str)
def test_unknown_methods_of_loo_predict_are_refused(estimator):
    explainer = InfluenceExplainer(estimator).fit(BINARY.X, BINARY.y)
    with pytest.raises(InvalidParameterError, match="fortell"):
        explainer.loo_predict(method="fortell")


def test_probabilities_of_a_regressor_are_refused():
    explainer = InfluenceExplainer(LinearRegression()).fit(NUMBERS.X, NUMBERS.y)
    with pytest.raises(InvalidParameterError, match="predict_proba"):
        explainer.loo_predict(method="predict_proba")


# --- what the caller owns ---


@pytest.mark.parametrize("case", cases.FEW, ids=str)
def test_nothing_of_the_callers_is_changed(case):
    data = load(case.data)
    X, y, weight = np.array(data.X), np.array(data.y), np.array(data.sample_weight)
    X_test, y_test = np.array(data.X_test), np.array(data.y_test)
    model = clone(case.estimator).fit(X, y)
    owned = (X, y, weight, X_test, y_test, model)
    before = [pickle.dumps(each) for each in owned]
    explainer = InfluenceExplainer(model, prefit=False, deletion="exact")
    explainer.fit(X, y, sample_weight=weight)
    explainer.influence(X_test, y_test)
    explainer.loo_delta(X_test, y_test)
    explainer.top_influences(X_test, y_test, k=3)
    explainer.score_samples(X_test, y_test)
    explainer.transform(X_test)
    explainer.param_influence()
    explainer.loo_params()
    explainer.loo_predict()
    explainer.self_influence()
    explainer.predict(X_test)
    assert [pickle.dumps(each) for each in owned] == before


@pytest.mark.parametrize("case", cases.FEW, ids=str)
def test_answers_are_the_callers_own(case, explain):
    """Writing into an answer does not change the next one."""
    explainer, data = explain(case), load(case.data)
    for ask in (
        explainer.self_influence,
        explainer.loo_predict,
        lambda: explainer.loo_params().coef,
        lambda: explainer.influence(data.X_test),
    ):
        first = ask()
        kept = first.copy()
        first[...] = kept.flat[0]
        np.testing.assert_array_equal(ask(), kept)


def test_chunked_arrays_are_refused_with_a_way_out():
    dask = pytest.importorskip("dask.array")
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    explainer = InfluenceExplainer(Ridge())
    with pytest.raises(InvalidDataError, match=r"Dask array.*X\.compute\(\)"):
        explainer.fit(dask.from_array(X, chunks=(3, 2)), y)
    assert not hasattr(explainer, "estimator_")


def fits(X, y, **fit):
    """Every public entry that reads training rows, as functions of nothing."""
    model = fit.pop("model", Ridge())
    name = next(iter(model.get_params()))
    grid = {name: [model.get_params()[name]]}
    return {
        "explainer": lambda: InfluenceExplainer(model).fit(X, y, **fit),
        "cleaner": lambda: InfluenceCleaner(model).fit(X, y, **fit),
        "search": lambda: LeaveOneOutSearchCV(model, grid).fit(X, y, **fit),
        "folds": lambda: cross_val_influence(model, X, y, **fit),
        "refits": lambda: refit_leave_one_out(model, X, y, rows=[1], **fit),
    }


ENTRIES = list(fits(None, None))
NOT_REAL = {
    "complex": np.ones(len(NUMBERS.y)) * 1j,
    "complex objects": np.array([1j] * len(NUMBERS.y), dtype=object),
    "dates": np.arange(len(NUMBERS.y)).astype("datetime64[D]"),
    "durations": np.arange(len(NUMBERS.y)).astype("timedelta64[D]"),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", NOT_REAL)
def test_targets_and_weights_that_are_no_real_numbers_are_refused(entry, kind):
    values = NOT_REAL[kind]
    with pytest.raises(InvalidDataError, match=r"real numbers|Complex data"):
        fits(NUMBERS.X, values)[entry]()
    with pytest.raises(InvalidWeightError, match="sample_weight must hold real"):
        fits(NUMBERS.X, NUMBERS.y, sample_weight=values)[entry]()


@pytest.mark.parametrize("entry", ENTRIES)
def test_one_weight_for_all_rows_is_that_of_each(entry):
    fits(NUMBERS.X, NUMBERS.y, sample_weight=2.0)[entry]()


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_target_out_of_range_is_named_by_its_row(entry):
    y = spoiled(np.abs(NUMBERS.y) + 1, -1.0, (37,))
    with pytest.raises(InvalidDataError, match="row 37 of y holds -1"):
        fits(NUMBERS.X, y, model=GammaRegressor())[entry]()


@pytest.mark.parametrize("entry", ENTRIES)
def test_labels_in_another_order_are_warned_of(entry):
    pd = pytest.importorskip("pandas")
    X, y = pd.DataFrame(NUMBERS.X), pd.Series(NUMBERS.y)
    order = np.random.default_rng(0).permutation(len(y))
    weight = pd.Series(np.ones(len(y)))
    with pytest.warns(DoubtfulInputWarning, match=r"y has .* y.loc\[X.index\]"):
        fits(X, y.iloc[order])[entry]()
    with pytest.warns(DoubtfulInputWarning, match="sample_weight has the labels"):
        fits(X, y, sample_weight=weight.iloc[order])[entry]()
    fits(X, y.set_axis(order + 1000), sample_weight=weight)[entry]()  # no order


def test_labels_of_groups_and_trusted_rows_in_another_order_are_warned_of():
    pd = pytest.importorskip("pandas")
    X, y = pd.DataFrame(NUMBERS.X), pd.Series(NUMBERS.y)
    order = np.random.default_rng(0).permutation(len(y))
    groups = pd.Series(np.arange(len(y)) % 4).iloc[order]
    explainer = InfluenceExplainer(Ridge()).fit(X, y)
    with pytest.warns(DoubtfulInputWarning, match="groups has the labels"):
        explainer.group_delta(X, y, groups=groups)
    with pytest.warns(DoubtfulInputWarning, match="y has the labels"):
        explainer.influence(X, y.iloc[order])
    with pytest.warns(DoubtfulInputWarning, match="groups has the labels"):
        cross_val_influence(Ridge(), X, y, groups=groups, cv=GroupKFold(2))
    with pytest.warns(DoubtfulInputWarning, match="trusted has the labels"):
        InfluenceCleaner(Ridge()).fit(X, y, trusted=groups > 2)


class Chunks(list):
    """Looks like a collection of Dask's, which need not be installed."""


Chunks.__module__ = "dask.dataframe"


@pytest.mark.parametrize("entry", ENTRIES)
def test_chunks_beside_rows_are_refused_with_a_way_out(entry):
    chunks = Chunks(NUMBERS.y)
    with pytest.raises(InvalidDataError, match=r"y is a Dask .*y\.compute\(\)"):
        fits(NUMBERS.X, chunks)[entry]()
    with pytest.raises(InvalidDataError, match=r"sample_weight\.compute\(\)"):
        fits(NUMBERS.X, NUMBERS.y, sample_weight=chunks)[entry]()


def test_folds_without_rows_are_refused():
    explainer = InfluenceExplainer(Ridge()).fit(NUMBERS.X, NUMBERS.y)
    half = np.arange(len(NUMBERS.y) // 2)
    for cv, message in (([], "has no folds"), ([(half, [])], "Fold 0 .* no test rows")):
        with pytest.raises(InvalidParameterError, match=message):
            cross_val_influence(Ridge(), NUMBERS.X, NUMBERS.y, cv=cv)
        with pytest.raises(InvalidParameterError, match=message):
            explainer.cv_predict(cv=cv)


@pytest.mark.parametrize("scoring", [1, "best", ["r2"], {}], ids=str)
def test_what_is_no_scorer_is_refused(scoring):
    explainer = InfluenceExplainer(Ridge()).fit(NUMBERS.X, NUMBERS.y)
    with pytest.raises(InvalidParameterError, match="scoring"):
        explainer.loo_score(scoring)


@pytest.mark.parametrize("name", ["strength", "l1", "intercept_strength"])
@pytest.mark.parametrize("value", [np.nan, -1, "a", np.inf, None, 1j, [1.0, -1.0]])
def test_strengths_that_are_none_are_refused(name, value):
    class Model(Ridge):
        pass

    with pytest.raises(InvalidParameterError, match=name):
        register_estimator(Model, "squared_error", **{name: value})
    register_estimator(Model, "squared_error", **{name: lambda model: value})
    with pytest.raises(InvalidParameterError, match=name):
        InfluenceExplainer(Model()).fit(NUMBERS.X, NUMBERS.y)


@pytest.mark.parametrize(
    "ask",
    [
        lambda explainer: LeverageDisplay.from_explainer(explainer),
        lambda explainer: DfbetasDisplay.from_explainer(explainer),
        lambda explainer: SelfInfluenceDisplay.from_explainer(explainer),
        lambda explainer: InfluenceDisplay.from_explainer(explainer, X=NUMBERS.X),
        lambda explainer: LeaveOneOutDisplay.from_explainer(
            explainer, NUMBERS.X, NUMBERS.y
        ),
        lambda explainer: check_leave_one_out(explainer, NUMBERS.X, NUMBERS.y),
        InfluenceReport,
    ],
)
def test_displays_need_a_fitted_explainer(ask):
    for nothing in (None, Ridge().fit(NUMBERS.X, NUMBERS.y)):
        with pytest.raises(InvalidParameterError, match="fitted InfluenceExplainer"):
            ask(nothing)
    with pytest.raises(UnfittedEstimatorError, match="not fitted yet"):
        ask(InfluenceExplainer(Ridge()))


def test_a_display_of_a_check_needs_its_result():
    with pytest.raises(InvalidParameterError, match="check_leave_one_out"):
        LeaveOneOutDisplay.from_check(None)
