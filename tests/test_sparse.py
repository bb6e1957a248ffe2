"""Sparse X gives what the same X gives dense, and is neither filled nor changed."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder
from test_solvers import TIGHT, agree, answers

from skinfluence import InfluenceExplainer
from skinfluence._design import Design
from skinfluence._kernels import SparseRows, squared_columns, weighted_grams
from skinfluence._kernels._sparse import as_csr, csr_rows
from skinfluence._rows import iterate
from skinfluence._sources import source_of

N, P = 50, 300  # more than 256 columns: rows stay sparse


def dense_rows(shape=(N, P), seed=0):
    """Mostly zeros, with one column far from zero that is full."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.uniform(size=shape) < 0.1, rng.normal(size=shape) + 1, 0.0)
    X[:, 3] = 5 + rng.normal(size=shape[0])
    return X


def with_int64(X):
    found = sparse.csr_array(X)
    found.indices, found.indptr = (
        part.astype(np.int64) for part in (found.indices, found.indptr)
    )
    return found


def unsorted(X):
    found = sparse.csr_array(X)
    for start, end in zip(found.indptr[:-1], found.indptr[1:], strict=True):
        found.indices[start:end] = found.indices[start:end][::-1].copy()
        found.data[start:end] = found.data[start:end][::-1].copy()
    found.has_sorted_indices = False
    return found


def with_explicit_zeros(X):
    mask = (X != 0) | (np.random.default_rng(1).uniform(size=X.shape) < 0.05)
    rows, columns = np.nonzero(mask)
    return sparse.csr_array((X[rows, columns], (rows, columns)), shape=X.shape)


FORMATS = {
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "csr_matrix": sparse.csr_matrix,
    "csc_matrix": sparse.csc_matrix,
    "int64 indices": with_int64,
    "unsorted indices": unsorted,
    "explicit zeros": with_explicit_zeros,
}

MODELS = {
    "ridge": Ridge(2.0),
    "ridge, no intercept": Ridge(2.0, fit_intercept=False),
    "logistic": LogisticRegression(C=0.5, **TIGHT),
    "softmax": LogisticRegression(C=0.5, **TIGHT),
    "mean form": PoissonRegressor(alpha=0.3, **TIGHT),
}


def targets(name, X):
    rng = np.random.default_rng(2)
    score = X[:, :3] - X[:, :3].mean(axis=0)
    if name == "softmax":
        return np.argmax(score + rng.gumbel(size=score.shape), axis=1)
    if name == "logistic":
        return (score.sum(axis=1) + rng.logistic(size=len(X)) > 0).astype(int)
    if name == "mean form":
        return rng.poisson(2.0, size=len(X)).astype(float)
    return score.sum(axis=1) + rng.normal(size=len(X))


@cache
def dense_answers(name, solver):
    X = dense_rows()
    y, weight = targets(name, X), np.linspace(0.2, 2.0, N)
    model = MODELS[name].fit(X, y, sample_weight=weight)
    explainer = InfluenceExplainer(model, solver=solver)
    return model, answers(explainer.fit(X, y, sample_weight=weight), X, y)


@pytest.mark.parametrize("solver", ["direct", "dual"])
@pytest.mark.parametrize("name", MODELS)
def test_sparse_is_dense(name, solver):
    X, weight = dense_rows(), np.linspace(0.2, 2.0, N)
    y = targets(name, X)
    model, truth = dense_answers(name, solver)
    explainer = InfluenceExplainer(model, solver=solver)
    S = sparse.csr_array(X)
    found = answers(explainer.fit(S, y, sample_weight=weight), S, y)
    agree(found, truth, 1e-10)


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_sparse_is_dense_by_conjugate_gradients(name):
    X, weight = dense_rows(), np.linspace(0.2, 2.0, N)
    y = targets(name, X)
    model, truth = dense_answers(name, "direct")
    explainer = InfluenceExplainer(model, solver="cg")
    S = sparse.csc_array(X)
    agree(answers(explainer.fit(S, y, sample_weight=weight), S, y), truth, 1e-7)


@pytest.mark.parametrize("store", FORMATS)
def test_every_format_is_read_and_left_as_it_is(store):
    X, weight = dense_rows(), np.linspace(0.2, 2.0, N)
    y = targets("logistic", X)
    model, truth = dense_answers("logistic", "dual")
    S = FORMATS[store](X)
    before = [part.copy() for part in (S.data, S.indices, S.indptr)]
    for part in (S.data, S.indices, S.indptr):
        part.flags.writeable = False
    explainer = InfluenceExplainer(model, solver="dual")
    agree(answers(explainer.fit(S, y, sample_weight=weight), S, y), truth, 1e-10)
    for part, old in zip((S.data, S.indices, S.indptr), before, strict=True):
        assert part.dtype == old.dtype
        np.testing.assert_array_equal(part, old)


def test_float32_sparse_rows_to_1e_4():
    X, weight = dense_rows(), np.linspace(0.2, 2.0, N)
    y = targets("logistic", X)
    model, truth = dense_answers("logistic", "dual")
    S = sparse.csr_array(X.astype(np.float32))
    explainer = InfluenceExplainer(model, solver="dual")
    agree(answers(explainer.fit(S, y, sample_weight=weight), S, y), truth, 1e-4)


@pytest.mark.parametrize("name", ["logistic", "mean form"])
def test_exact_deletion_of_sparse_rows(name):
    X = dense_rows()
    y = targets(name, X)
    model = MODELS[name].fit(X, y)
    deltas = [
        InfluenceExplainer(model, deletion="exact").fit(A, y).loo_params(rows=[0, 5])
        for A in (X, sparse.csr_array(X))
    ]
    size = np.abs(deltas[0].coef).max()
    np.testing.assert_allclose(deltas[1].coef, deltas[0].coef, atol=1e-7 * size)


# --- the rows themselves ---


@pytest.mark.parametrize("intercept", [True, False])
def test_sparse_rows_multiply_as_their_dense_selves(intercept):
    rng = np.random.default_rng(0)
    X = sparse.csr_array(dense_rows())
    centre = rng.normal(size=P) if intercept else np.zeros(P)
    design = Design(source_of(X), centre, intercept)
    block = design.block(slice(0, 20))
    assert isinstance(block, SparseRows)
    dense = block.dense()
    left = X.toarray()[:20] - centre
    truth = np.column_stack([left, np.ones(20)]) if intercept else left
    np.testing.assert_allclose(dense, truth, atol=1e-14)
    V, U = rng.normal(size=(design.width, 3)), rng.normal(size=(4, 20))
    np.testing.assert_allclose(block @ V, dense @ V, atol=1e-11)
    np.testing.assert_allclose(U @ block, U @ dense, atol=1e-11)
    np.testing.assert_allclose(block[[3, 1]].dense(), dense[[3, 1]])
    weight = rng.uniform(size=(20, 2))
    np.testing.assert_allclose(
        squared_columns(block, weight), weight.T @ dense**2, atol=1e-10
    )
    grams = weighted_grams(block, 1)
    grams.add(block, weight[:, :1])
    (gram,) = grams.finished()
    np.testing.assert_allclose(gram, dense.T @ (weight[:, :1] * dense), atol=1e-10)
    strength = rng.uniform(size=design.width)
    whole = design.block(slice(0, N)).dense()
    np.testing.assert_allclose(
        design.row_gram(strength)[0], (whole * strength) @ whole.T, atol=1e-9
    )


def test_narrow_sparse_rows_are_made_dense_by_blocks():
    X = sparse.csr_array(dense_rows((N, 20)))
    block = Design(source_of(X), np.zeros(20), False).block(slice(0, 5))
    np.testing.assert_array_equal(block, X.toarray()[:5])


def test_blocks_that_must_be_dense_are_small():
    X = sparse.csr_array((3000, 40_000))
    design = Design(source_of(X), np.zeros(40_000), False)
    rows = [part for part, _ in iterate(design, dense=True)]
    assert max(part.stop - part.start for part in rows) * 40_000 <= 2**23


# --- sizes ---


def documents(n=1200, p=20_000, seed=0):
    """Words with Zipf's frequencies, tf-idf, and two classes."""
    rng = np.random.default_rng(seed)
    share = np.cumsum(1 / np.arange(1, p + 1))
    lengths = rng.integers(20, 80, size=n)
    words = np.searchsorted(share / share[-1], rng.uniform(size=lengths.sum()))
    counts = (np.ones(len(words)), (np.repeat(np.arange(n), lengths), words))
    X = TfidfTransformer().fit_transform(sparse.csr_array(counts, shape=(n, p)))
    score = X @ rng.normal(size=p)
    return X, (score > np.median(score)).astype(int)


@pytest.mark.parametrize("solver", ["cg", "dual"])
def test_wide_text_is_never_made_dense(solver):
    X, y = documents()
    model = LogisticRegression(C=2.0, max_iter=1000).fit(X, y)
    explainer = InfluenceExplainer(model, solver=solver)
    tracemalloc.start()
    explainer.fit(X, y)
    explainer.influence(X[:10], y[:10])
    explainer.influence(X[:100], y[:100], aggregate="mean")
    explainer.loo_predict()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    filled = 8 * X.shape[0] * X.shape[1]  # 192 MB
    assert peak < 0.6 * filled


def test_solvers_agree_on_text():
    X, y = documents(400, 5000)
    model = LogisticRegression(C=2.0, max_iter=1000).fit(X, y)
    found = [
        InfluenceExplainer(model, solver=solver).fit(X, y) for solver in ("dual", "cg")
    ]
    values = [e.influence(X[:5], y[:5]) for e in found]
    error = np.abs(values[1] - values[0]).max()
    assert error < 1e-8 * np.abs(values[0]).max()
    loo = [e.loo_predict("decision_function") for e in found]
    np.testing.assert_allclose(loo[1], loo[0], rtol=1e-7, atol=1e-9)


def test_pipelines_that_make_sparse_features():
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 150, size=(400, 3))
    y = (raw.sum(axis=1) + 40 * rng.normal(size=400) > 220).astype(int)
    steps = OneHotEncoder(handle_unknown="ignore"), MaxAbsScaler()
    model = make_pipeline(*steps, LogisticRegression(max_iter=1000)).fit(raw, y)
    dense = make_pipeline(
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        MaxAbsScaler(),
        LogisticRegression(max_iter=1000),
    ).fit(raw, y)
    found, truth = (
        InfluenceExplainer(m).fit(raw, y).influence(raw[:5], y[:5])
        for m in (model, dense)
    )
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-7 * np.abs(truth).max())


def test_rows_of_a_slice_are_those_of_scipy():
    X = as_csr(dense_rows())
    for rows in (slice(0, N), slice(3, 20), slice(40, 90), slice(7, 7), slice(None)):
        part = csr_rows(X, rows)
        np.testing.assert_array_equal(part.toarray(), X.toarray()[rows])
        assert part.has_canonical_format
    for rows in (slice(1, 30, 3), [4, 2]):
        np.testing.assert_array_equal(csr_rows(X, rows).toarray(), X.toarray()[rows])


@pytest.mark.parametrize("name", ["ridge", "logistic", "mean form"])
def test_entries_in_the_same_place_add_up_and_stay(name):
    X = dense_rows()
    y = targets(name, X)
    model, truth = MODELS[name].fit(X, y), sparse.csr_array(X)
    twice = sparse.csr_array(
        (
            np.concatenate([0.25 * truth.data, 0.75 * truth.data]),
            np.concatenate([truth.indices, truth.indices]),
            2 * truth.indptr,
        ),
        shape=X.shape,
    )
    # Rows hold their entries one after the other, each of them twice.
    order = np.argsort(np.tile(np.repeat(np.arange(N), np.diff(truth.indptr)), 2))
    twice = sparse.csr_array(
        (twice.data[order], twice.indices[order], twice.indptr), shape=X.shape
    )
    before = [part.copy() for part in (twice.data, twice.indices, twice.indptr)]
    for solver in ("direct", "dual", "cg"):
        explainers = [
            InfluenceExplainer(model, solver=solver).fit(A, y) for A in (twice, X)
        ]
        found, expected = (answers(e, X, y) for e in explainers)
        agree(found, expected, 1e-7 if solver == "cg" else 1e-10)
        explainers[0].influence(twice[:5], y[:5])
        for part, old in zip(
            (twice.data, twice.indices, twice.indptr), before, strict=True
        ):
            np.testing.assert_array_equal(part, old)
