"""Left-out outputs to first order in the units of columns, beside rounds and refits."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence import InfluenceExplainer
from skinfluence._sources import source_of
from skinfluence.deletion import _own_moves
from skinfluence.preprocessing import _standard
from skinfluence.preprocessing._base import AbstractState, StepColumns
from skinfluence.preprocessing._columns import columns_of

N = 5000
MODELS = {
    "ridge": Ridge(alpha=0.05),
    "two targets": Ridge(alpha=0.05),
    "logistic": LogisticRegression(C=100.0, solver="newton-cholesky"),
}


def rows_of(name):
    """Correlated columns, codes, one row far out, and targets that suit the model."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4)) @ rng.normal(size=(4, 4)) * [1.0, 10.0, 0.1, 1.0] + 2.0
    X[7] *= 30.0
    X = np.column_stack([X, rng.integers(3, size=N)])
    u = X[:, 0] / 3 + rng.normal(size=N)
    u[7] = 0.5
    if name == "two targets":
        return X, np.column_stack([u, u**2])
    return X, (u > 0).astype(int) if name == "logistic" else u


def explained(name):
    """An explainer of a pipeline, and its rows."""
    steps = make_column_transformer(
        (StandardScaler(), [3, 0, 1, 2]), (OneHotEncoder(), [4])
    )
    X, y = rows_of(name)
    pipeline = make_pipeline(steps, MODELS[name])
    return InfluenceExplainer(pipeline, deletion="newton").fit(X, y), X, y


@pytest.mark.parametrize("name", MODELS)
def test_first_order_is_what_rounds_give(name, monkeypatch):
    explainer, X, _ = explained(name)
    decides = hasattr(explainer.estimator_, "decision_function")
    method = "decision_function" if decides else "predict"
    by_rounds, to_first_order = _own_moves._by_rounds, _own_moves._to_first_order
    counts = []

    def counted(leaving):
        counts.append(len(leaving.rows))
        return by_rounds(leaving)

    def unknown(leaving):
        own = to_first_order(leaving)
        return own._replace(squared=np.full_like(own.squared, np.nan))

    monkeypatch.setattr(_own_moves, "_by_rounds", counted)
    outputs = explainer.loo_predict(method=method)
    assert sum(counts) < N / 10
    monkeypatch.setattr(_own_moves, "_to_first_order", unknown)
    rounds = explainer.loo_predict(method=method)
    assert sum(counts) >= N
    fitted = getattr(explainer.estimator_, method)(X)
    largest = abs(np.delete(rounds - fitted, 7, axis=0)).max()
    assert abs(outputs - rounds).max() < 1e-11 * largest + 1e-14 * abs(fitted).max()


def test_few_rows_take_rounds():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(14, 8))
    X[5] = 2.6  # much of the spread of each column
    y = X[:, 0] + rng.normal(size=14)
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=1e3)).fit(X, y)
    outputs = InfluenceExplainer(pipeline, deletion="newton").fit(X, y).loo_predict()
    refits = cross_val_predict(pipeline, X, y, cv=LeaveOneOut())
    np.testing.assert_allclose(outputs, refits, rtol=1e-11)


def test_outputs_are_those_of_refits():
    explainer, X, y = explained("ridge")
    outputs = explainer.loo_predict()
    whole = explainer.estimator_.predict(X)
    for row in (0, 7, 4999):
        rest = np.arange(N) != row
        refit = clone(explainer.estimator_).fit(X[rest], y[rest])
        delta = refit.predict(X[[row]])[0] - whole[row]
        assert outputs[row] - whole[row] == pytest.approx(delta, rel=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_changes_of_units_are_those_of_their_squares(weighted):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 3)) * [1.0, 30.0, 1e-3] + 2.0
    weight = rng.integers(1, 4, size=50).astype(float) if weighted else None
    for far in (0.0, 1e3, 1e9):
        X[4, 1] += far
        scaler = StandardScaler().fit(X, sample_weight=weight)
        Z = scaler.transform(X)
        state = state_of(scaler, Z, weight)
        rows = np.arange(50)
        changes = state.changes(Z, rows)
        ratio = state.without(Z, rows).ratio
        assert np.all(changes >= -1)
        np.testing.assert_allclose(changes, ratio**2 - 1, rtol=1e-9, atol=1e-14)


def state_of(scaler, Z, weight):
    """What the rule of a scaler makes of its columns."""
    columns = columns_of(source_of(Z, Z), np.arange(Z.shape[1]))
    step = StepColumns(columns, np.arange(Z.shape[1]))
    return _standard.StandardState.of(scaler, step, weight)


def test_ordinary_rows_take_the_short_way(monkeypatch):
    X = np.random.default_rng(2).normal(size=(50, 3))
    scaler = StandardScaler().fit(X)
    state = state_of(scaler, scaler.transform(X), None)
    monkeypatch.setattr(AbstractState, "changes", None)
    assert state.changes(scaler.transform(X), np.arange(50)).shape == (50, 3)
