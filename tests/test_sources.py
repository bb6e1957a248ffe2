"""The contract of rows: each kind of X gives what its float64 array gives, to the bit."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skinfluence import InfluenceExplainer
from skinfluence._sources import (
    AbstractDenseSource,
    AbstractSource,
    FrameSource,
    source_of,
)
from skinfluence.deletion import Newton
from skinfluence.exceptions import InvalidDataError
from skinfluence.solvers import expand, solver_for
from skinfluence.study import study_of
from skinfluence.support import read
from skinfluence.support._frames import numeric_columns

N, P = 700, 6


def table(n=N, p=P):
    """Small whole numbers, which every type below holds."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, size=(n, p)) * np.arange(1, p + 1)


def pandas_frame(X):
    pandas = pytest.importorskip("pandas")
    types = ("i2", "f4", "u1", "f8")
    columns = {f"x{j}": x.astype(types[j % 4]) for j, x in enumerate(X.T)}
    return pandas.DataFrame(columns, copy=False)


def polars_frame(X):
    polars = pytest.importorskip("polars")
    return polars.from_pandas(pandas_frame(X))


def memory_mapped(X, path):
    np.save(path / "X.npy", X.astype("i4"))
    return np.load(path / "X.npy", mmap_mode="r")


TYPES = ["?", "i1", "u1", "i2", ">i2", "i8", "u8", "f2", "f4"]
KINDS = {
    **{f"{code} C": lambda X, code=code: X.astype(code) for code in TYPES},
    "i2 F": lambda X: np.asfortranarray(X, dtype="i2"),
    "f4 F": lambda X: np.asfortranarray(X, dtype="f4"),
    "pandas": pandas_frame,
    "polars": polars_frame,
    "CSR of integers": lambda X: sparse.csr_array(X.astype("i4")),
}


def float64_of(X, kind):
    """The same entries in float64, in the order that the kind has them."""
    X = X.astype(bool) if kind.startswith("?") else X
    if kind.startswith("CSR"):
        return sparse.csr_array(X.astype(float))
    return np.array(X, dtype=float, order="F" if kind.endswith("F") else "C")


MODELS = {
    "direct": (Ridge(), {}),
    "dual": (Ridge(), {"solver": "dual"}),
    "cg": (LogisticRegression(), {"solver": "cg"}),
    "active set": (Lasso(0.05), {"deletion": "exact"}),
    "exact": (LogisticRegression(), {"deletion": "exact"}),
}


def targets(model, X):
    y = X[:, :3].sum(axis=1) + np.random.default_rng(1).normal(size=len(X))
    return (y > np.median(y)).astype(int) if is_classifier(model) else y


def answers(model, X, y, parameters):
    explainer = InfluenceExplainer(model, **parameters).fit(X, y)
    return (
        explainer.influence(X[:5], y[:5]),
        explainer.loo_predict(),
        explainer.loo_params(rows=[3, 1]).coef,
        explainer.group_delta(X[:5], y[:5], groups=[[1, 2], [5]]),
        explainer.self_influence(),
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_float64_array_to_the_bit(kind, name):
    (model, parameters), X = MODELS[name], table()
    y = targets(model, X)
    given, plain = KINDS[kind](X), float64_of(X, kind)
    model = clone(model).fit(plain, y)
    named = copy.copy(model)
    if hasattr(given, "columns"):
        named.feature_names_in_ = np.array(list(given.columns), dtype=object)
    found = answers(named, given, y, parameters)
    truth = answers(model, plain, y, parameters)
    for own, other in zip(found, truth, strict=True):
        np.testing.assert_array_equal(own, other)


def test_many_rows_have_the_centre_of_their_float64_array(tmp_path):
    """Of many rows some are read, of every kind the same."""
    X, weight = table(40_000, 3), np.linspace(0.5, 2.0, 40_000)
    truth = source_of(X.astype(float)).weighted_mean(weight)
    for kind in (np.asarray(X, dtype="i2"), memory_mapped(X, tmp_path)):
        np.testing.assert_array_equal(source_of(kind).weighted_mean(weight), truth)


# --- the door ---


BAD = {"NaN": np.nan, "infinity": np.inf}


@pytest.mark.parametrize("kind", [pandas_frame, polars_frame])
@pytest.mark.parametrize("value", BAD)
def test_frames_are_refused_in_the_words_of_arrays(kind, value):
    X, y = table().astype(float), np.arange(float(N))
    array, frame = (InfluenceExplainer(Ridge()).fit(A, y) for A in (X, kind(X)))
    fewer = kind(X)
    fewer = fewer[fewer.columns[:5]]
    with pytest.raises(InvalidDataError, match=r"(?s)feature names .* x5"):
        frame.influence(fewer, y)
    X[650, 3] = BAD[value]
    for method in ("fit", "influence"):
        messages = []
        for explainer, bad in ((array, X), (frame, kind(X))):
            with pytest.raises(InvalidDataError) as error:
                getattr(explainer, method)(bad, y)
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_columns_that_are_no_numbers_are_read_as_before():
    """Nullable ones as floats; texts are refused by scikit-learn."""
    pandas = pytest.importorskip("pandas")
    X, y = table(), np.arange(float(N))
    frame = pandas_frame(X)
    truth = InfluenceExplainer(Ridge()).fit(X.astype(float), y).loo_predict()
    nullable = frame.convert_dtypes()
    found = InfluenceExplainer(Ridge()).fit(nullable, y).loo_predict()
    np.testing.assert_allclose(found, truth, rtol=1e-10)
    frame["x2"] = pandas.Series(["a"] * N)
    with pytest.raises(InvalidDataError, match="could not convert string to float"):
        InfluenceExplainer(Ridge()).fit(frame, y)


def test_what_a_pipeline_makes_is_read_in_blocks_too():
    pytest.importorskip("pandas")
    X, y = table(), np.arange(float(N))
    passed = FunctionTransformer()
    model = make_pipeline(passed, Ridge()).fit(pandas_frame(X), y)
    explainer = InfluenceExplainer(model).fit(pandas_frame(X), y)
    assert isinstance(study_of(explainer).objective.design.source, FrameSource)
    plain = InfluenceExplainer(Ridge()).fit(X.astype(float), y)
    found, truth = explainer.loo_predict(), plain.loo_predict()
    np.testing.assert_allclose(found, truth, rtol=1e-10)


# --- a source of one's own ---


@dataclass(frozen=True, eq=False)
class Halves(AbstractDenseSource):
    """Two chunks, one below the other: all that a chunked data set has to tell."""

    X: tuple

    @property
    def shape(self):
        return sum(map(len, self.X)), self.X[0].shape[1]

    @property
    def place(self):
        return self.X[0]

    def read(self, rows, columns):
        X = np.concatenate(self.X)[rows]
        return X if columns is None else X[:, columns]

    def take(self, rows):
        return source_of(self.read(rows, None)).with_columns(self.columns)

    def on_host(self):
        return np.concatenate(self.X)


@pytest.mark.parametrize("name", MODELS)
def test_a_source_written_from_the_contract_alone_is_right(name):
    (model, parameters), X = MODELS[name], table().astype(float)
    y = targets(model, X)
    model = clone(model).fit(X, y)
    truth = read(model).objective(X, y, np.ones(N))
    chunks = Halves((X[:300], X[300:]))
    found = read(model).objective(chunks, y, np.ones(N))
    deltas = []
    for objective, theta in (found, truth):
        solver = solver_for(parameters.get("solver", "auto"), objective)
        newton = Newton(expand(objective, theta, solver), solver)
        deltas.append(newton.deltas(np.array([3, 699, 300])).theta)
    np.testing.assert_array_equal(*deltas)


@pytest.mark.parametrize("kind", ["i2 C", "pandas", "CSR of integers"])
def test_sources_are_pickled_without_what_they_keep(kind):
    given = KINDS[kind](table())
    source = source_of(
        FrameSource(numeric_columns(given)) if kind == "pandas" else given
    )
    back = pickle.loads(pickle.dumps(source))
    assert isinstance(back, AbstractSource)
    read = back.block(slice(3, 9), np.zeros(P), False)
    np.testing.assert_array_equal(read, table()[3:9])
