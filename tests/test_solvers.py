"""Every solver answers as the direct one does, to the tolerance it promises."""

import tracemalloc
import warnings
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)

from skinfluence import InfluenceExplainer
from skinfluence._array import array_namespace
from skinfluence._kernels import _blas, kernels
from skinfluence._kernels._numpy import NUMPY
from skinfluence.exceptions import InvalidParameterError, NotConvergedWarning
from skinfluence.solvers import ConjugateGradient, Dual, Lissa, expand
from skinfluence.solvers._choose import TABLE, Sizes
from skinfluence.solvers._preconditioner import OutputBlocks
from skinfluence.study import study_of
from skinfluence.support import read

TIGHT = {"tol": 1e-10, "max_iter": 5000}
WIDE, TALL = (30, 50), (90, 12)

MODELS = {
    "ridge": (Ridge(2.0), 0),
    "ridge, no intercept": (Ridge(2.0, fit_intercept=False), 0),
    "ridge, alphas": (Ridge([0.5, 30.0]), -2),
    "one-vs-rest ridge": (RidgeClassifier(3.0), 3),
    "logistic": (LogisticRegression(C=0.5, **TIGHT), 2),
    "logistic, no intercept": (
        LogisticRegression(C=0.5, fit_intercept=False, **TIGHT),
        2,
    ),
    "logistic, intercept penalised": (
        LogisticRegression(C=0.5, solver="liblinear", **TIGHT),
        2,
    ),
    "softmax": (LogisticRegression(C=0.5, **TIGHT), 3),
    "softmax, no intercept": (
        LogisticRegression(C=0.5, fit_intercept=False, **TIGHT),
        3,
    ),
    "mean form": (PoissonRegressor(alpha=0.3, **TIGHT), 1),
}


def problem(name, shape, seed=0):
    """X, y and weights, one of them zero, for a model of the registry."""
    kind = MODELS[name][1]
    rng = np.random.default_rng(seed)
    X = rng.normal(size=shape) + rng.normal(size=shape[1])
    signal = X[:, :3] - X[:, :3].mean(axis=0)
    y = {
        0: signal.sum(axis=1) + rng.normal(size=len(X)),
        -2: signal[:, :2] + rng.normal(size=(len(X), 2)),
        1: rng.poisson(np.exp(0.3 * signal[:, 0])).astype(float),
        2: (signal[:, 0] + rng.logistic(size=len(X)) > 0).astype(int),
        3: np.argmax(signal + rng.gumbel(size=signal.shape), axis=1),
    }[kind]
    weight = rng.uniform(0.3, 2.0, len(X))
    weight[4] = 0.0
    return X, y, weight


@cache
def explained(name, shape, solver, weighted=True, damping=0.0, deletion="newton"):
    X, y, weight = problem(name, shape)
    model = fitted(name, shape, weighted)
    explainer = InfluenceExplainer(
        model, solver=solver, damping=damping, deletion=deletion, random_state=0
    )
    return explainer.fit(X, y, sample_weight=weight if weighted else None)


@cache
def fitted(name, shape, weighted):
    X, y, weight = problem(name, shape)
    model = clone(MODELS[name][0])
    return model.fit(X, y, sample_weight=weight if weighted else None)


def answers(explainer, X, y):
    """One number or more from every method that solves."""
    method = "predict" if "Poisson" in str(explainer.estimator_) else None
    classifies = hasattr(explainer, "classes_")
    method = "decision_function" if classifies and method is None else "predict"
    deltas = explainer.loo_params(rows=[0, 7])
    return {
        "influence": explainer.influence(X[:6], y[:6]),
        "mean influence": explainer.influence(X[:6], y[:6], aggregate="mean"),
        "without labels": explainer.influence(X[:6]),
        "loo_delta": explainer.loo_delta(X[:6], y[:6]),
        "loo_params": deltas.coef,
        "loo_params, intercept": np.append(deltas.intercept, 1.0),
        "param_influence": explainer.param_influence(rows=[3, 4]).coef,
        "self_influence": explainer.self_influence(),
        "score_samples": explainer.score_samples(X[:4], y[:4]),
        "loo_predict": explainer.loo_predict(method),
        "top_influences": explainer.top_influences(X[:3], y[:3], k=4)[0],
    }


def agree(found, truth, tol):
    for name, values in truth.items():
        error = np.nanmax(np.abs(found[name] - values)) / np.nanmax(np.abs(values))
        assert error < tol, (name, error)
        np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(values))


every_model = pytest.mark.parametrize("name", MODELS)


@every_model
@pytest.mark.parametrize("weighted", [True, False], ids=["weights", "no weights"])
def test_dual_is_direct_where_rows_are_few(name, weighted):
    X, y, _ = problem(name, WIDE)
    found = explained(name, WIDE, "dual", weighted)
    truth = explained(name, WIDE, "direct", weighted)
    assert found.solver_ == "dual"
    agree(answers(found, X, y), answers(truth, X, y), 1e-10)
    assert found.effective_dof_ == pytest.approx(truth.effective_dof_, rel=1e-10)


@pytest.mark.parametrize("name", ["logistic", "softmax", "ridge, alphas"])
def test_dual_is_direct_where_rows_are_many(name):
    """Slower than it need be, but no less right."""
    X, y, _ = problem(name, TALL)
    found = answers(explained(name, TALL, "dual"), X, y)
    agree(found, answers(explained(name, TALL, "direct"), X, y), 1e-10)


@pytest.mark.parametrize("strength", [1e-6, 1e-3, 1e4])
def test_dual_keeps_its_digits_at_any_strength(strength):
    X, y, _ = problem("logistic", WIDE)
    model = Ridge(strength).fit(X, y)
    solved = [InfluenceExplainer(model, solver=s).fit(X, y) for s in ("dual", "direct")]
    found, truth = (e.self_influence() for e in solved)
    np.testing.assert_allclose(found, truth, rtol=1e-7)
    # The remainder 1 - h is about the strength: that many digits are lost, no more.
    found, truth = (e.loo_predict() for e in solved)
    np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-6)


@every_model
@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])
def test_conjugate_gradients_are_direct_to_their_tolerance(name, shape):
    X, y, _ = problem(name, shape)
    found = explained(name, shape, "cg")
    truth = explained(name, shape, "direct")
    agree(answers(found, X, y), answers(truth, X, y), 1e-7)
    assert 0 < found.residual_ <= 1e-10
    assert found.effective_dof_ == pytest.approx(truth.effective_dof_, rel=0.15)


@pytest.mark.parametrize("solver", ["dual", "cg"])
@pytest.mark.parametrize("name", ["logistic", "softmax", "mean form"])
def test_exact_deletion_with_the_solver(name, solver):
    found, truth = (
        explained(name, WIDE, s, deletion="exact").loo_params(rows=[1, 2])
        for s in (solver, "direct")
    )
    scale = np.abs(truth.coef).max()
    np.testing.assert_allclose(found.coef, truth.coef, atol=1e-6 * scale)


@pytest.mark.parametrize("solver", ["dual", "cg"])
@pytest.mark.parametrize("name", ["ridge", "softmax", "mean form"])
def test_damping_with_the_solver(name, solver):
    X, y, _ = problem(name, WIDE)
    found = explained(name, WIDE, solver, damping=0.05)
    truth = explained(name, WIDE, "direct", damping=0.05)
    plain = explained(name, WIDE, "direct")
    agree(answers(found, X, y), answers(truth, X, y), 1e-7)
    gap = truth.self_influence() - plain.self_influence()
    assert np.abs(gap).max() > 1e-3 * np.abs(plain.self_influence()).max()


# --- conjugate gradients ---


def curvature_of(name, shape, weighted=True):
    X, y, weight = problem(name, shape)
    weight = weight if weighted else np.ones(len(X))
    model = read(fitted(name, shape, weighted))
    return expand(*model.objective(X, y, weight), Dual()).curvature


@every_model
def test_solutions_satisfy_their_equations(name):
    """Of gradients, which have no part along the gauge; columns of all sizes at once."""
    curvature = curvature_of(name, WIDE)
    objective = curvature.objective
    slopes = np.random.default_rng(1).normal(
        size=(WIDE[0], objective.layout.n_outputs, 5)
    )
    if objective.loss.shift_invariant:
        slopes -= slopes.mean(axis=1, keepdims=True)
    rhs = objective.lifted_sum(slopes) * [1e-12, 1.0, 0.0, 1e12, 3.0]
    solution = ConjugateGradient().prepare(curvature).solve(rhs)
    assert solution.converged.all()
    left = np.abs(curvature.matvec(solution.value) - rhs).max(axis=(0, 1))
    assert (left <= 1e-8 * np.abs(rhs).max(axis=(0, 1))).all()
    assert np.abs(solution.value[..., 2]).max() == 0


def test_matvec_is_the_matrix():
    for name in MODELS:
        curvature = curvature_of(name, TALL)
        v = np.random.default_rng(0).normal(size=(*curvature.theta.shape, 3))
        H = curvature.as_matrix()
        np.testing.assert_allclose(curvature.matvec(v), H @ v, rtol=1e-9, atol=1e-9)
        diagonal = np.broadcast_to(np.diagonal(H, axis1=-2, axis2=-1), v.shape[:2])
        np.testing.assert_allclose(curvature.diagonal(), diagonal, rtol=1e-12)
        q = curvature.objective.layout.width
        np.testing.assert_allclose(
            curvature.output_block(0), H[0][:q, :q], rtol=1e-10, atol=1e-10
        )


def large_softmax(n=400, p=60, K=8):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) / np.sqrt(p)
    y = np.argmax(X @ rng.normal(size=(p, K)) / 5 + rng.gumbel(size=(n, K)), axis=1)
    model = LogisticRegression(C=10.0, max_iter=2000).fit(X, y)
    objective, theta = read(model).objective(X, y, np.ones(n))
    return expand(objective, theta, ConjugateGradient()).curvature


def test_centring_across_the_classes_makes_the_iteration_short():
    curvature = large_softmax()
    objective = curvature.objective
    slopes = curvature.objective.loss.gradient(
        objective.targets, curvature.first_order.outputs
    )
    rhs = objective.lifted_sum(slopes[:, :, None] * np.eye(400)[:, None, :6])
    factor = ConjugateGradient().prepare(curvature)
    solution = factor.solve(rhs)
    assert solution.converged.all()
    assert solution.n_iter <= 40  # blocks without centring need hundreds
    assert isinstance(factor.preconditioner, OutputBlocks)


def test_jacobi_undoes_the_units_of_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 40)) * np.logspace(-4, 4, 40)
    y = rng.normal(size=300)
    objective, theta = read(Ridge(1e-12, solver="svd").fit(X, y)).objective(
        X, y, np.ones(300)
    )
    factor = expand(objective, theta, ConjugateGradient()).factor
    solution = factor.solve(objective.pulled_back(y[:, None])[..., None])
    assert solution.converged.all()
    assert solution.n_iter <= 30
    assert factor.condition < 10


def test_columns_that_do_not_converge_are_counted_once():
    X, y, _ = problem("logistic", TALL)
    explainer = InfluenceExplainer(fitted("logistic", TALL, False), solver="cg")
    explainer.fit(X, y)
    explainer._study.point.factor.solver.__dict__["max_iter"] = (
        2  # frozen, but for tests
    )
    with pytest.warns(NotConvergedWarning, match="in 5 of") as caught:
        explainer.influence(X[:5], y[:5])
    assert len(caught) == 1
    assert explainer.residual_ > 1e-10
    assert f"{explainer.residual_:.1e}" in str(caught[0].message)
    explainer._study.point.factor.solver.__dict__["max_iter"] = 1000
    explainer.influence(X[:5], y[:5])  # and not again


def test_leverages_of_many_rows_come_from_the_dual():
    explainer = explained("logistic", WIDE, "cg")
    explainer.loo_predict()
    factor = explainer._study.point.factor
    assert "_dual" in vars(factor)  # 30 rows: a few leverages pay for it
    tall = explained("logistic", TALL, "cg")
    tall.loo_predict()
    assert "_dual" not in vars(tall._study.point.factor)


# --- LiSSA ---


def test_lissa_is_direct_to_some_per_cent():
    X, y, _ = problem("logistic", TALL)
    found = explained("logistic", TALL, "lissa")
    truth = explained("logistic", TALL, "direct")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        values = found.influence(X[:5], y[:5], aggregate="mean")
    right = truth.influence(X[:5], y[:5], aggregate="mean")
    assert np.corrcoef(values, right)[0, 1] > 0.97
    assert np.abs(values - right).max() < 0.2 * np.abs(right).max()
    assert found.residual_ > 1e-4  # it says so, too


def test_lissa_of_equal_rows_is_the_truncated_series():
    """Whichever row is drawn, ``v <- b + (I - H / scale) v``, depth times."""
    X, y, _ = problem("logistic", TALL)
    X, y = np.tile(X[:1], (20, 1)), np.arange(20) % 2
    model = LogisticRegression(C=0.5, fit_intercept=False, **TIGHT).fit(X, y)
    curvature = study_of(InfluenceExplainer(model).fit(X, y)).point.curvature
    factor = Lissa(depth=300, repeats=2).prepare(curvature)
    H = curvature.as_matrix()[0] / 20
    rhs = np.random.default_rng(0).normal(size=(1, 12, 2))
    step = np.eye(12) - H / factor.scale
    value = rhs[0]
    for _ in range(300):
        value = rhs[0] + step @ value
    truth = value / factor.scale / 20
    found = factor.solve(rhs).value[0]
    np.testing.assert_allclose(found, truth, atol=1e-12 * np.abs(truth).max())


def test_lissa_repeats_itself_by_its_random_state():
    curvature = curvature_of("ridge", TALL)
    rhs = curvature.first_order.gradient[..., None] + 1.0
    draws = [
        Lissa(depth=50, repeats=2, random_state=seed)
        .prepare(curvature)
        .solve(rhs)
        .value
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 0


def test_lissa_scale_bounds_the_curvature_of_every_row():
    for name in ("logistic", "softmax", "ridge, alphas"):
        curvature = curvature_of(name, TALL)
        factor = Lissa().prepare(curvature)
        objective, S = curvature.objective, curvature.objective.weight_sum
        block = objective.design.block(slice(0, TALL[0]))
        M = objective.loss.hessian(objective.targets, curvature.first_order.outputs)
        largest = max(
            np.linalg.eigvalsh(np.kron(M[i, g], np.outer(x, x)))[-1]
            for i, x in enumerate(block[:20])
            for g in range(M.shape[1])
        )
        assert largest + curvature.diagonal_part.max() / S <= factor.scale * (1 + 1e-9)


# --- the choice ---


def chosen(**sizes):
    full = {"rows": 1000, "entries": 50, "factors": 1, "unpenalised": 1} | sizes
    return next(rule.solver for rule in TABLE if rule.suits(Sizes(**full)))


def test_the_table_chooses():
    assert chosen() == "direct"
    assert chosen(rows=100, entries=20_000) == "dual"
    assert chosen(rows=100, entries=1_000, unpenalised=1_000) == "direct"
    assert chosen(rows=20_000, entries=50_001) == "cg"
    assert chosen(rows=10**6, entries=30_000) == "cg"
    assert chosen(rows=100, entries=20_000, unpenalised=20_000) == "cg"


@pytest.mark.parametrize(
    ("name", "shape", "solver"),
    [("logistic", TALL, "direct"), ("softmax", WIDE, "dual"), ("ridge", WIDE, "dual")],
)
def test_auto_says_what_it_chose(name, shape, solver):
    explainer = explained(name, shape, "auto")
    assert explainer.solver_ == solver
    assert explainer.residual_ == 0.0


def test_dual_takes_a_softmax_that_is_certain_of_its_classes():
    X, y, _ = problem("softmax", WIDE)
    model = LogisticRegression(C=1e5, **TIGHT).fit(X, y)
    found, truth = (
        InfluenceExplainer(model, solver=solver).fit(X, y).influence(X[:3], y[:3])
        for solver in ("dual", "direct")
    )
    assert np.abs(found - truth).max() < 1e-4 * np.abs(truth).max()


@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NotStationaryWarning")
@pytest.mark.parametrize("unit", [1e5, 1e7])
@pytest.mark.parametrize("name", ["ridge", "logistic", "softmax"])
def test_dual_takes_a_column_in_another_unit(name, unit):
    X, y, _ = problem(name, WIDE)
    model = clone(MODELS[name][0]).fit(X, y)
    X[:, 0] *= unit
    model.coef_[..., 0] /= unit  # the polish goes on where no optimiser would
    found, truth = (
        InfluenceExplainer(model, solver=solver).fit(X, y)
        for solver in ("auto", "direct")
    )
    assert found.solver_ == "dual"
    values, right = (e.influence(X[:3], y[:3]) for e in (found, truth))
    assert np.abs(values - right).max() < 1e-8 * np.abs(right).max()
    values, right = (e.self_influence() for e in (found, truth))
    assert np.abs(values - right).max() < 1e-8 * np.abs(right).max()
    assert found.effective_dof_ == pytest.approx(truth.effective_dof_, rel=1e-8)


def test_dual_without_a_penalty_is_refused():
    X, y, _ = problem("ridge", TALL)
    explainer = InfluenceExplainer(LinearRegression(), solver="dual")
    with pytest.raises(InvalidParameterError, match="has none"):
        explainer.fit(X, y)


def test_an_unknown_solver_is_refused():
    X, y, _ = problem("ridge", TALL)
    with pytest.raises(InvalidParameterError, match="solver must be one of"):
        InfluenceExplainer(Ridge(), solver="qr").fit(X, y)


def test_the_dual_makes_no_matrix_of_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4000))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    model = LogisticRegression(C=0.01).fit(X, y)
    tracemalloc.start()
    explainer = InfluenceExplainer(model).fit(X, y)
    explainer.influence(X[:5], y[:5])
    explainer.loo_predict()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert explainer.solver_ == "dual"
    assert peak < 8 * 4000**2 / 4  # a quarter of H; the rows themselves are 2 MB


@pytest.mark.parametrize("order", ["C", "F"])
def test_inverse_root_by_blocks_is_that_of_lapack(monkeypatch, order):
    """Beyond 8,192 rows, where OpenBLAS has been seen to crash."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(70, 70))
    A = A @ A.T + np.eye(70)
    truth = kernels(A).inverse_root_in_place(A.copy(order=order))
    monkeypatch.setattr(_blas, "BLOCK", 16)
    monkeypatch.setattr(_blas, "MOST_WHOLE", 32)
    matrix = A.copy(order=order)
    found = kernels(A).inverse_root_in_place(matrix)
    np.testing.assert_allclose(found, truth, atol=1e-12)
    assert np.shares_memory(found, matrix)
    np.testing.assert_allclose(found @ found.T @ A, np.eye(70), atol=1e-9)
    assert kernels(A).inverse_root_in_place(A - 50 * np.eye(70)) is None


# --- single precision ---


@pytest.mark.parametrize("solver", ["direct", "dual", "cg"])
@pytest.mark.parametrize("name", ["ridge", "logistic", "softmax"])
def test_float32_rows_give_the_same_to_1e_4(name, solver):
    X, y, _ = problem(name, WIDE)
    model = fitted(name, WIDE, False)
    truth = InfluenceExplainer(model, solver=solver).fit(X, y)
    single = InfluenceExplainer(model, solver=solver).fit(X.astype(np.float32), y)
    assert array_namespace(single._study.point.theta) is array_namespace(
        truth._study.point.theta
    )
    assert single._study.point.theta.dtype == np.float64
    found = answers(single, X.astype(np.float32), y)
    agree(found, answers(truth, X, y), 1e-4)


def test_a_large_matrix_is_factored_by_blocks(monkeypatch):
    """LAPACK's threaded factor of 20,000 columns has crashed; blocks give the same."""
    A = np.random.default_rng(0).normal(size=(120, 70))
    H = A.T @ A + np.diag(np.logspace(-2, 2, 70))
    whole = NUMPY.inverse_cholesky(H)
    monkeypatch.setattr(_blas, "MOST_WHOLE", 30)
    monkeypatch.setattr(_blas, "BLOCK", 16)
    before = H.copy()
    T, rcond = NUMPY.inverse_cholesky(H)
    np.testing.assert_array_equal(H, before)
    np.testing.assert_allclose(T, whole[0], atol=1e-12 * np.abs(T).max())
    assert rcond == pytest.approx(whole[1], rel=0.5)  # estimates
    assert NUMPY.inverse_cholesky(H - 1e4 * np.eye(70)) is None


@pytest.mark.parametrize("name", ["ridge", "softmax", "mean form"])
@pytest.mark.parametrize("solver", ["direct", "dual", "cg"])
def test_aggregated_influence_is_one_solve(monkeypatch, name, solver):
    X, y, _ = problem(name, WIDE)
    explainer = explained(name, WIDE, solver)
    columns, factor = [], type(explainer._study.point.factor)
    # Solves on decisions of classes leave out the shift of all classes.
    method = "loss_steps" if name == "softmax" and solver == "direct" else "steps"
    steps = getattr(factor, method)

    def counted(self, rows, share=None):
        columns.append(rows.shape[0])
        return steps(self, rows, share)

    monkeypatch.setattr(factor, method, counted)
    for aggregate in ("mean", "sum"):
        explainer.influence(X[:6], y[:6], aggregate=aggregate)
    assert columns == [1, 1]
    explainer.influence(X[:6], y[:6])
    assert columns == [1, 1, 6]
