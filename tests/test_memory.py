"""Peak memory is the data plus blocks: no n x n array, no n x d array, no copy of X."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge

from skinfluence import InfluenceExplainer

N, P = 20_000, 40
NUMBER = 8.0  # bytes of a float64
ASKED = 200  # test rows
WORKING_MEMORY = 1  # MiB
OUTPUTS = {"ridge": 1, "binary": 1, "softmax": 4}


@cache
def data_of(kind, n):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, P))
    u = X @ rng.normal(size=(P, OUTPUTS[kind]))
    if kind == "softmax":
        return X, np.argmax(u + rng.gumbel(size=u.shape), axis=1)
    y = u[:, 0] + rng.logistic(size=n)
    return X, y if kind == "ridge" else (y > 0).astype(int)


@cache
def explained(kind, n, deletion="newton"):
    logistic = LogisticRegression(solver="newton-cholesky")
    model = Ridge() if kind == "ridge" else logistic
    return InfluenceExplainer(model, deletion=deletion).fit(*data_of(kind, n))


CALLS = {
    "loo_predict": lambda e, X, y: e.loo_predict(),
    "loo_score": lambda e, X, y: e.loo_score(),
    "self_influence": lambda e, X, y: e.self_influence(),
    "mean influence": lambda e, X, y: e.influence(X, y, aggregate="mean"),
    "mean delta": lambda e, X, y: e.loo_delta(X[:9], y[:9], aggregate="mean"),
    "top_influences": lambda e, X, y: e.top_influences(X, y, k=5),
    "loo_params": lambda e, X, y: e.loo_params(rows=np.arange(0, 300, 30)),
}


def peak_of(call, kind="binary", n=N, deletion="newton", asked=ASKED):
    """Bytes that a call holds at most, beyond what there was before it."""
    few, X, y = explained(kind, 300, deletion), *data_of(kind, 300)
    CALLS[call](few, X[:20], y[:20])  # imports are no part of the answer
    explainer, (X, y) = explained(kind, n, deletion), data_of(kind, n)
    with config_context(working_memory=WORKING_MEMORY):
        return traced(lambda: CALLS[call](explainer, X[:asked], y[:asked]))


def traced(function):
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


every_call = pytest.mark.parametrize("call", CALLS)


@every_call
@pytest.mark.parametrize("kind", OUTPUTS)
def test_answers_hold_less_than_one_array_of_all_gradients(kind, call):
    assert peak_of(call, kind) < 0.75 * N * OUTPUTS[kind] * P * NUMBER


GROWING = [("newton", call) for call in CALLS] + [("exact", "loo_params")]


@pytest.mark.parametrize(("deletion", "call"), GROWING)
def test_memory_grows_by_a_few_numbers_per_row(deletion, call):
    """Twice the rows: outputs and answers grow, and nothing of the width of X."""
    small, large = (peak_of(call, n=n, deletion=deletion) for n in (N, 2 * N))
    assert (large - small) / N < 0.25 * P * NUMBER


def test_fitting_copies_no_rows():
    model = explained("binary", N).estimator_
    peak = traced(lambda: InfluenceExplainer(model).fit(*data_of("binary", N)))
    assert peak < 0.75 * N * P * NUMBER


def test_top_influences_never_hold_the_matrix():
    asked = 3 * ASKED
    assert peak_of("top_influences", asked=asked) < 0.1 * asked * N * NUMBER


# The call, and the numbers that it gives for each training row.
LARGE = {
    "influence": (lambda e, X, y: e.influence(X, y), ASKED),
    "loo_delta": (lambda e, X, y: e.loo_delta(X, y), ASKED),
    "param_influence": (lambda e, X, y: e.param_influence(), P + 1),
    "loo_params": (lambda e, X, y: e.loo_params(), P + 1),
    "diagnostics": (lambda e, X, y: e.diagnostics(), P + 14),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_answers_exist_once(name):
    """They are written where they stay: beside them there are blocks, and columns."""
    (call, numbers), (X, y) = LARGE[name], data_of("binary", N)
    with config_context(working_memory=WORKING_MEMORY):
        call(explained("binary", 300), X[:20], y[:20])
        explainer = explained("binary", N)
        peak = traced(lambda: call(explainer, X[:ASKED], y[:ASKED]))
    assert peak < 1.7 * numbers * N * NUMBER


# --- rows of other types and orders ---


def integers():
    return np.random.default_rng(1).integers(-9, 9, size=(200_000, 50), dtype="i2")


def frame(X):
    """A frame whose columns are arrays of their own, of three types."""
    pandas = pytest.importorskip("pandas")
    types = ("i2", "i4", "f4")
    columns = {f"x{j}": x.astype(types[j % 3]) for j, x in enumerate(X.T)}
    return pandas.DataFrame(columns, copy=False)


STORED = {
    "float64, C order": lambda X: X.astype(float),
    "float64, Fortran order": lambda X: np.asfortranarray(X, dtype=float),
    "float32": lambda X: X.astype("f4"),
    "int16": np.ascontiguousarray,
    "int16, Fortran order": np.asfortranarray,
    "pandas, one array": lambda X: pytest.importorskip("pandas").DataFrame(X),
    "pandas": frame,
    "polars": lambda X: pytest.importorskip("polars").from_pandas(frame(X)),
}


@pytest.mark.parametrize("stored", STORED)
def test_rows_of_any_type_and_order_are_read_block_by_block(stored):
    """No call holds a float64 copy of all rows, nor most of one."""
    given = integers()
    X, y = STORED[stored](given), given[:, :3].sum(axis=1) + given[:, 3] ** 2.0
    model = Ridge().fit(X, y)
    few = InfluenceExplainer(Ridge()).fit(X[:999], y[:999])
    few.loo_params(rows=[3])  # imports are no part of the answer

    def fitted_and_asked():
        explainer = InfluenceExplainer(model).fit(X, y)
        explainer.influence(X[:9], y[:9], aggregate="mean")
        return explainer

    assert traced(fitted_and_asked) < 0.25 * NUMBER * given.size
    explainer = fitted_and_asked()
    # Its bound takes one pass over the rows, in blocks; the delta itself takes none.
    assert traced(lambda: explainer.loo_params(rows=[3])) < 0.25 * NUMBER * given.size
    assert traced(lambda: explainer.loo_params(rows=[4])) < 2**20
