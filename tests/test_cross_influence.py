"""Influence on held-out folds, against refits without each row."""

import joblib
import numpy as np
import pytest
from cases import load
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer, cross_val_influence
from skinfluence.exceptions import (
    InvalidDataError,
    InvalidParameterError,
    InvalidWeightError,
    SkinfluenceError,
    UnsupportedEstimatorError,
)

BINARY, NUMBERS = load("two words"), load("one target")


def half_squared_error(model, X, y):
    return np.mean((y - model.predict(X)) ** 2) / 2


def logarithmic(model, X, y):
    return log_loss(y, model.predict_proba(X), labels=model.classes_)


@pytest.mark.parametrize(
    ("model", "data", "loss", "deletion", "rtol"),
    [
        (Ridge(2.0), NUMBERS, half_squared_error, "newton", 1e-8),
        (
            LogisticRegression(solver="newton-cholesky", tol=1e-12),
            BINARY,
            logarithmic,
            "exact",
            1e-5,
        ),
    ],
    ids=["Ridge", "LogisticRegression"],
)
def test_harm_is_that_of_refits(model, data, loss, deletion, rtol):
    X, y, weight = data.X, data.y, data.sample_weight
    cv = KFold(3, shuffle=True, random_state=0)
    found = cross_val_influence(
        model, X, y, cv=cv, sample_weight=weight, deletion=deletion
    )
    harms = np.full((3, len(X)), np.nan)
    for k, (train, test) in enumerate(cv.split(X)):
        fitted = clone(model).fit(X[train], y[train], weight[train])
        with_row = loss(fitted, X[test], y[test])
        for row in train:
            rest = np.setdiff1d(train, [row])
            refit = clone(model).fit(X[rest], y[rest], weight[rest])
            harms[k, row] = with_row - loss(refit, X[test], y[test])
    expected, largest = np.nanmean(harms, axis=0), np.nanmax(np.abs(harms))
    np.testing.assert_allclose(found.harm, expected, atol=rtol * largest)
    np.testing.assert_allclose(found.std, np.nanstd(harms, axis=0), atol=rtol * largest)
    np.testing.assert_array_equal(found.count, 2)
    assert abs(expected).max() > 1e-3


def test_wrong_rows_do_harm():
    y = np.array(NUMBERS.y)
    y[7] += 10 * np.std(y)
    found = cross_val_influence(Ridge(), NUMBERS.X, y)
    assert np.argmax(found.harm) == 7
    assert found.harm[7] > 0


def test_groups_are_kept_together():
    groups = np.arange(len(BINARY.X)) % 6
    found = cross_val_influence(
        LogisticRegression(), BINARY.X, BINARY.y, groups=groups, cv=GroupKFold(3)
    )
    for train, test in zip(found.indices["train"], found.indices["test"], strict=True):
        assert not set(groups[train]) & set(groups[test])


def test_rows_that_no_fold_trains_on_have_no_harm():
    cv = ShuffleSplit(2, train_size=0.3, random_state=0)
    found = cross_val_influence(Ridge(), NUMBERS.X, NUMBERS.y, cv=cv)
    seen = np.zeros(len(NUMBERS.X), dtype=int)
    for train in found.indices["train"]:
        seen[train] += 1
    np.testing.assert_array_equal(found.count, seen)
    np.testing.assert_array_equal(np.isnan(found.harm), seen == 0)
    assert 0 < (seen == 0).sum() < len(seen)


def test_folds_are_stratified_for_classifiers_and_counted_by_cv():
    for cv, splits in ((None, 5), (3, 3)):
        found = cross_val_influence(
            LogisticRegression(), BINARY.X, BINARY.y, cv=cv, return_estimator=True
        )
        expected = StratifiedKFold(splits).split(BINARY.X, BINARY.y)
        for k, (train, _) in enumerate(expected):
            np.testing.assert_array_equal(found.indices["train"][k], train)
        assert all(isinstance(one, InfluenceExplainer) for one in found.estimator)
        assert found.estimator[0].n_train_ == len(found.indices["train"][0])
    assert "estimator" not in cross_val_influence(Ridge(), NUMBERS.X, NUMBERS.y)


def test_pipelines_frames_lists_and_processes_give_the_same():
    pd = pytest.importorskip("pandas")
    model = make_pipeline(StandardScaler(), LogisticRegression())
    X, y = BINARY.X, BINARY.y
    expected = cross_val_influence(model, X, y).harm
    frame = pd.DataFrame(X, index=[f"r{i}" for i in range(len(X))])
    for rows, labels in ((frame, pd.Series(y)), (X.tolist(), y.tolist())):
        found = cross_val_influence(model, rows, labels).harm
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
    with joblib.parallel_backend("threading"):
        found = cross_val_influence(model, X, y, n_jobs=2).harm
    np.testing.assert_array_equal(found, expected)


def test_metadata_are_split_with_the_rows():
    weight = NUMBERS.sample_weight
    pipeline = make_pipeline(StandardScaler(), LinearRegression())
    plain = cross_val_influence(pipeline, NUMBERS.X, NUMBERS.y, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        model = LinearRegression().set_fit_request(sample_weight=True)
        asked = StandardScaler().set_fit_request(sample_weight=False)
        found = cross_val_influence(
            make_pipeline(asked, model),
            NUMBERS.X,
            NUMBERS.y,
            params={"sample_weight": weight},
        )
    np.testing.assert_allclose(found.harm, plain.harm, rtol=1e-12)


def test_progress_is_told(capsys, monkeypatch):
    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(ticks)))
    cross_val_influence(Ridge(), NUMBERS.X, NUMBERS.y, verbose=1)
    assert "cross_val_influence" in capsys.readouterr().err


# --- bad input ---

MODEL = LogisticRegression()


def refused(error, match, estimator=MODEL, X=None, y=None, **options):
    X = BINARY.X if X is None else X
    y = BINARY.y if y is None else y
    before = joblib.hash((X, y, options))
    with pytest.raises(error, match=match) as caught:
        cross_val_influence(estimator, X, y, **options)
    assert isinstance(caught.value, SkinfluenceError)
    assert joblib.hash((X, y, options)) == before


def test_bad_input_is_refused():
    n = len(BINARY.y)
    spoiled = np.array(BINARY.X)
    spoiled[3, 1] = np.nan
    refused(InvalidDataError, "NaN", X=spoiled)
    refused(InvalidDataError, "inconsistent", y=BINARY.y[:-1])
    refused(InvalidDataError, "groups", cv=GroupKFold(3))
    refused(InvalidDataError, "inconsistent", cv=GroupKFold(3), groups=np.ones(n - 1))
    refused(InvalidParameterError, "cv.*'five'", cv="five")
    refused(InvalidParameterError, "cv.*n_splits", cv=1)
    refused(InvalidWeightError, "sample_weight", sample_weight=np.ones(n - 1))
    refused(InvalidParameterError, "deletion", deletion="newtonian")
    refused(UnsupportedEstimatorError, "RandomForest", RandomForestClassifier())
