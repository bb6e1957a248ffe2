"""Forms of sparse rows from entries of inv(H) are those of the rows made dense."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from test_solvers import TIGHT, agree, answers

from skinfluence import InfluenceExplainer
from skinfluence._design import Design
from skinfluence._kernels import GatheredForms, _blas
from skinfluence._sources import source_of

N, P = 60, 300


def uneven_rows(seed=0):
    """Rows of no entry to 40, one of them twice in the same place."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, size=N)
    counts[:3] = 0
    columns = np.concatenate([rng.choice(P, size=c, replace=False) for c in counts])
    columns[1] = columns[0]
    start = np.concatenate([[0], np.cumsum(counts)])
    values = rng.normal(size=len(columns)) + 0.5
    return sparse.csr_array((values, columns, start), shape=(N, P))


def roots_of(n_groups, size, *, triangular, seed=1):
    rng = np.random.default_rng(seed)
    root = np.stack([np.eye(size) + 0.1 * rng.normal(size=(size, size))] * n_groups)
    root *= 1 + np.arange(n_groups)[:, None, None]
    root = np.triu(root) if triangular else root
    return np.asfortranarray(root[0])[None] if n_groups == 1 else root


def always(monkeypatch):
    """Matrices cost nothing to form, and their products less than any other."""
    monkeypatch.setattr(GatheredForms, "_worth", always_formed)


def always_formed(forms, block, with_them, without):
    if forms._entries is None:
        forms._entries = forms._formed(block.centre, block.has_intercept)
    return forms._entries


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("n_groups", "n_outputs", "triangular"),
    [(1, 1, True), (1, 1, False), (3, 1, False), (1, 3, False), (2, 2, False)],
)
def test_forms_are_those_of_dense_rows(
    monkeypatch, n_groups, n_outputs, triangular, intercept
):
    always(monkeypatch)
    X = uneven_rows()
    centre = X.mean(axis=0) if intercept else np.zeros(P)
    block = Design(source_of(X), centre, intercept).block(slice(0, N))
    q = P + intercept
    root = roots_of(n_groups, n_outputs * q, triangular=triangular)
    found = GatheredForms(root, n_outputs, triangular=triangular).of(block)
    half = np.einsum(
        "bq,gkqr->bgkr", block.dense(), root.reshape(n_groups, n_outputs, q, -1)
    )
    truth = np.einsum("bgkr,bgjr->bgkj", half, half)
    np.testing.assert_allclose(found, truth, rtol=1e-11, atol=1e-13 * truth.max())


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n_groups", "n_factors"), [(1, 1), (3, 3), (3, 1)])
def test_steps_are_those_of_dense_rows(monkeypatch, n_groups, n_factors, intercept):
    always(monkeypatch)
    X = uneven_rows()
    centre = X.mean(axis=0) if intercept else np.zeros(P)
    block = Design(source_of(X), centre, intercept).block(slice(0, N))
    root = roots_of(n_factors, P + intercept, triangular=False)
    slope = np.random.default_rng(4).normal(size=(N, n_groups, 1))
    forms = GatheredForms(root, 1, triangular=False)
    found = forms.steps(block, slope)
    inverse = np.broadcast_to(
        root @ np.swapaxes(root, 1, 2), (n_groups, *root.shape[1:])
    )
    truth = np.einsum("bgo,gdq,bq->bgd", slope, inverse, block.dense())
    np.testing.assert_allclose(found, truth, atol=1e-12 * np.abs(truth).max())
    assert forms.steps(block[:0], slope[:0]).shape == (0, n_groups, P + intercept)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n_groups", "n_outputs"), [(1, 1), (3, 1), (2, 3)])
def test_products_with_the_root_are_those_of_dense_rows(n_groups, n_outputs, intercept):
    X = uneven_rows()
    centre = X.mean(axis=0) if intercept else np.zeros(P)
    block = Design(source_of(X), centre, intercept).block(slice(0, N))
    q = P + intercept
    root = roots_of(n_groups, n_outputs * q, triangular=n_outputs == 1)
    found = GatheredForms(root, n_outputs, triangular=False).halves(block)
    truth = block.dense() @ root.reshape(n_groups * n_outputs, q, -1)
    np.testing.assert_allclose(found, truth, atol=1e-12 * np.abs(truth).max())


@pytest.mark.parametrize("triangular", [True, False])
def test_large_inverses_are_formed_by_blocks(monkeypatch, triangular):
    monkeypatch.setattr(_blas, "MOST_WHOLE", 100)
    monkeypatch.setattr(_blas, "BLOCK", 64)
    root = roots_of(1, P, triangular=triangular)
    V = GatheredForms(root, 1, triangular=triangular)._inverse(root[0])
    np.testing.assert_allclose(V, root[0] @ root[0].T, atol=1e-13 * np.abs(V).max())
    np.testing.assert_array_equal(V, V.T)


def test_matrices_are_formed_when_they_pay_and_not_before():
    X = uneven_rows()
    block = Design(source_of(X), np.zeros(P), False).block(slice(0, N))
    forms = GatheredForms(roots_of(1, P, triangular=True), 1, triangular=True)
    answered = [forms.of(block[:1]) is not None]
    for _ in range(200):
        answered.append(forms.of(block) is not None)
    assert not answered[0]
    assert answered[-1]
    assert answered == sorted(answered)
    assert pickle.loads(pickle.dumps(forms))._entries is None


def test_full_rows_are_left_to_products():
    X = sparse.csr_array(np.random.default_rng(0).normal(size=(N, P)))
    block = Design(source_of(X), np.zeros(P), False).block(slice(0, N))
    forms = GatheredForms(roots_of(1, P, triangular=True), 1, triangular=True)
    assert all(forms.of(block) is None for _ in range(200))


def test_rows_whose_terms_cancel_are_left_to_products(monkeypatch):
    always(monkeypatch)
    X = uneven_rows().toarray()
    X[:, 7] = 1e4 + np.random.default_rng(3).normal(size=N)
    S = sparse.csr_array(X)
    block = Design(source_of(S), X.mean(axis=0), True).block(slice(0, N))
    root = roots_of(1, P + 1, triangular=True)
    found = GatheredForms(root, 1, triangular=True).of(block)
    assert np.isnan(found).all()
    y = X[:, :3].sum(axis=1)
    explainer = InfluenceExplainer(Ridge(2.0).fit(S, y), solver="direct").fit(S, y)
    factor, layout = (
        explainer._study.point.factor,
        explainer._study.point.objective.layout,
    )
    slope = np.random.default_rng(1).normal(size=(N, 1, 1))
    steps = factor.row_steps(block, slope)
    truth = factor.steps(layout.lifted(block, slope))
    np.testing.assert_allclose(steps, truth, rtol=1e-13)
    found = factor.row_blocks_of_inverse(block)
    dense = factor._by_products(block.dense(), None)
    np.testing.assert_allclose(found, dense, rtol=1e-10)


MODELS = {
    "ridge": Ridge(2.0),
    "logistic": LogisticRegression(C=0.5, **TIGHT),
    "softmax": LogisticRegression(C=0.5, **TIGHT),
    "mean form": PoissonRegressor(alpha=0.3, **TIGHT),
}


def targets(name, X):
    rng = np.random.default_rng(2)
    score = X[:, :3] * 2
    if name == "softmax":
        return np.argmax(score + rng.gumbel(size=score.shape), axis=1)
    if name == "logistic":
        return (score.sum(axis=1) + rng.logistic(size=len(X)) > 0).astype(int)
    if name == "mean form":
        return rng.poisson(2.0, size=len(X)).astype(float)
    return score.sum(axis=1) + rng.normal(size=len(X))


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_dense_rows(monkeypatch, name, weighted):
    always(monkeypatch)
    given = []
    of = GatheredForms.of

    def watched(forms, block):
        given.append(of(forms, block))
        return given[-1]

    monkeypatch.setattr(GatheredForms, "of", watched)
    S = uneven_rows()
    X = S.toarray()
    y = targets(name, X)
    weight = np.linspace(0.2, 2.0, N) if weighted else None
    model = MODELS[name].fit(X, y, sample_weight=weight)
    found, truth = (
        answers(
            InfluenceExplainer(model, solver="direct").fit(A, y, sample_weight=weight),
            A,
            y,
        )
        for A in (S, X)
    )
    agree(found, truth, 1e-10)
    assert any(part is not None for part in given)
    assert not any(np.isnan(part).any() for part in given if part is not None)


@pytest.mark.parametrize("sparsely", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("weighted", [True, False])
def test_shares_of_the_penalty_leave_with_the_rows(sparsely, weighted):
    """The Newton step from H less the row and its share, each by a solve of its own."""
    X = uneven_rows()
    y = targets("mean form", X.toarray())
    weight = np.linspace(0.2, 2.0, N) if weighted else np.ones(N)
    model = MODELS["mean form"].fit(X, y, sample_weight=weight)
    explainer = InfluenceExplainer(model, solver="direct")
    explainer.fit(X if sparsely else X.toarray(), y, sample_weight=weight)
    full = explainer.estimator_
    rows = np.column_stack([X.toarray(), np.ones(N)])
    theta = np.append(full.coef_, full.intercept_)  # some 1e-7 from the minimum
    mean, share = np.exp(rows @ theta), weight / weight.sum()
    P_ = np.append(np.full(P, full.alpha), 0.0)  # F is the mean loss plus the penalty
    H = rows.T @ ((share * mean)[:, None] * rows) + np.diag(P_)
    deltas = explainer.loo_params()
    for i in (0, 5, 30):
        slope = share[i] * (mean[i] - y[i])
        left = H - share[i] * (mean[i] * np.outer(rows[i], rows[i]) + np.diag(P_))
        step = np.linalg.solve(left, slope * rows[i] + share[i] * P_ * theta)
        found = np.append(deltas.coef[i], deltas.intercept[i])
        np.testing.assert_allclose(found, step, rtol=0, atol=1e-6 * np.abs(step).max())
        moved = np.exp(rows[i] @ (theta + step))
        assert explainer.loo_predict()[i] == pytest.approx(moved, rel=1e-6)
