"""Negative curvature, wherever it is met, raises: it is never clipped or left out."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from objectives import SETTINGS, build

from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence._sources import source_of
from skinfluence.curvature import RowwiseCurvature, row_roots
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.losses import AbstractLoss
from skinfluence.solvers import (
    AbstractFactor,
    Cholesky,
    ConjugateGradient,
    Dual,
    Lissa,
    Solution,
    expand,
    polish,
)


@dataclass(frozen=True)
class Cauchy(AbstractLoss):
    """``loss = sum_k log(1 + r_k**2)`` of ``r = u - y``, concave for ``|r| > 1``."""

    convex: bool = False

    def n_groups(self, n_outputs):
        return n_outputs

    def value(self, y, u):
        return np.sum(np.log1p((u - y) ** 2), axis=-1)

    def gradient(self, y, u):
        r = u - y
        return 2 * r / (1 + r**2)

    def hessian(self, y, u):
        r = u - y
        return (2 * (1 - r**2) / (1 + r**2) ** 2)[..., None, None]


@dataclass(frozen=True)
class CauchyLength(Cauchy):
    """``loss = log(1 + |r|**2)``, of two outputs that it couples."""

    def n_groups(self, n_outputs):
        return 1

    def value(self, y, u):
        return np.log1p(np.sum((u - y) ** 2, axis=-1))

    def gradient(self, y, u):
        r = u - y
        return 2 * r / (1 + np.sum(r**2, axis=-1, keepdims=True))

    def hessian(self, y, u):
        r = u - y
        size = 1 + np.sum(r**2, axis=-1)[..., None, None]
        outer = r[..., :, None] * r[..., None, :]
        return (2 * np.eye(r.shape[-1]) / size - 4 * outer / size**2)[..., None, :, :]


N, P = 80, 3


def name(solver):
    return solver.name


def problem(loss, noise=1e-3, n_outputs=1, strength=0.0):
    """80 rows, some far off; the third column is the first and a little noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    X[:, 2] = X[:, 0] + noise * rng.normal(size=N)
    u = X @ rng.normal(size=(P, n_outputs))
    y = u + 0.3 * rng.standard_t(2, size=(N, n_outputs))
    y[::10] += 4.0
    design = Design(source_of(X), np.zeros(P), True).centred_by(np.ones(N))
    groups = loss.n_groups(n_outputs)
    layout = Layout(design.width, groups, n_outputs // groups)
    penalty = Penalty(np.full((1, layout.size), strength))
    objective = Objective(loss, design, y, np.ones(N), penalty, layout)
    least = np.linalg.lstsq(design.block(slice(None)), y, rcond=None)[0]
    return objective, layout.pack(least)


@cache
def minimum(noise):
    """A true minimum: steps with less and less damping, the last without."""
    objective, theta = problem(Cauchy(), noise)
    for damping in (2.0, 0.5, 0.1, 0.02, 0.0):
        for _ in range(200):
            curvature = RowwiseCurvature(objective, theta, damping)
            gradient = curvature.first_order.gradient
            step = Cholesky().prepare(curvature).steps(gradient[None, ...])[0, ...]
            theta = theta - step
            if np.abs(step).max() < 1e-3 * np.abs(theta).max():
                break
    end = polish(
        expand(objective, theta, Cholesky()), Cholesky(), length=0.0, max_iter=50
    )
    assert end.converged
    return end.point


def exact_inverse(H):
    """In 18 digits, by elimination: two and a half more than H itself has."""
    n = len(H)
    rows = np.hstack([H.astype(np.longdouble), np.eye(n, dtype=np.longdouble)])
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(rows[k:, k])))
        rows[[k, pivot]] = rows[[pivot, k]]
        rows[k] /= rows[k, k]
        for i in range(n):
            if i != k:
                rows[i] -= rows[i, k] * rows[k]
    return rows[:, n:].astype(float)


def exact_matrix(objective, theta):
    """H of one output, its sums in 18 digits."""
    Z = objective.design.block(slice(None)).astype(np.longdouble)
    u = (Z @ theta[0])[:, None]
    bend = objective.loss.hessian(objective.targets.astype(np.longdouble), u)
    return Z.T @ (bend[:, 0, 0] * Z)


@pytest.mark.parametrize("solver", [Cholesky(), ConjugateGradient()], ids=name)
@pytest.mark.parametrize("noise", [1.0, 1e-2, 1e-3, 1e-4])
def test_a_loss_that_is_not_convex_is_right_at_a_minimum(noise, solver):
    """To the digits that H has: the condition number of H, in rounding errors."""
    point = minimum(noise)
    objective = point.objective
    H = exact_matrix(objective, point.theta)
    bends = objective.loss.hessian(objective.targets, point.outputs)
    assert bends.min() < -0.1
    Z = objective.design.block(slice(None))
    truth = Z @ exact_inverse(H) @ Z.T
    factor = solver.prepare(point.curvature)
    found = Z @ factor.solve(Z.T[None, ...]).value[0]
    d = np.sqrt(np.diag(H.astype(float)))
    condition = np.linalg.cond(H.astype(float) / d / d[:, None])
    if noise < 1e-2:
        assert condition > 1e5
    limit = 1e-15 * condition + (1e-8 if solver.residuals is not None else 0.0)
    assert np.abs(found - truth).max() < 100 * limit * np.abs(truth).max()
    assert not factor.rank_deficient


SOLVERS = [Cholesky(), Dual(), ConjugateGradient(), Lissa(depth=10, repeats=1)]


@pytest.mark.parametrize("solver", SOLVERS, ids=name)
@pytest.mark.parametrize("noise", [1.0, 1e-3])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("loss", [Cauchy, CauchyLength])
def test_a_loss_that_says_it_is_convex_and_is_not_is_named(
    loss, n_outputs, noise, solver
):
    objective, theta = problem(loss(convex=True), noise, n_outputs, strength=1.0)
    M = objective.loss.hessian(objective.targets, objective.outputs(theta))
    least = np.linalg.diagonal(M).min(axis=(1, 2))
    words = (
        f"{loss.__name__} says it is convex, but its second derivative is negative for "
        f"row {np.argmin(least)} "
    )
    with pytest.raises(IndefiniteCurvatureError, match=words):
        _ = solver.prepare(RowwiseCurvature(objective, theta)).condition


def test_a_row_without_weight_is_not_held_against_its_loss():
    objective, theta = problem(Cauchy(convex=True))
    r = np.abs(objective.outputs(theta) - objective.targets)[:, 0]
    near = replace(objective, weight=np.where(r < 1, 1.0, 0.0))
    assert Cholesky().prepare(RowwiseCurvature(near, theta)).condition > 1


def test_pairs_of_outputs_that_bend_downwards_have_no_root():
    """Though no second derivative in a single output is negative."""
    M = np.array([[[[1.0, 2.0], [2.0, 1.0]]]])
    with pytest.raises(IndefiniteCurvatureError, match="no real root"):
        row_roots(M)
    R = row_roots(np.array([[[[2.0, -2.0], [-2.0, 2.0]]], [[[3.0, 1.0], [1.0, 2.0]]]]))
    assert np.count_nonzero(R[0, 0, :, 0]) == 0  # its eigenvalue of 0, exactly
    M = R @ np.swapaxes(R, -1, -2)
    np.testing.assert_allclose(M[1, 0], [[3.0, 1.0], [1.0, 2.0]], rtol=1e-14)


def saddle(strength=0.0):
    """Where most rows bend downwards."""
    objective, theta = problem(Cauchy(), noise=1.0, strength=strength)
    return RowwiseCurvature(objective, theta + 20.0)


@pytest.mark.parametrize("solver", [Cholesky(), ConjugateGradient()], ids=name)
def test_a_saddle_point_raises(solver):
    curvature = saddle()
    assert np.linalg.eigvalsh(curvature.as_matrix()[0])[0] < 0
    with pytest.raises(IndefiniteCurvatureError, match="bends downwards"):
        solver.prepare(curvature).steps(curvature.first_order.gradient[None, ...])


def test_conjugate_gradients_raise_where_only_a_direction_bends_downwards():
    """No entry of the diagonal is negative, so it is the iteration that meets it."""
    objective, theta = problem(Cauchy(), noise=1.0)
    flat = 0 * theta
    H = np.array([[[2.0, 3.0, 0, 0], [3.0, 2.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]])

    class Fixed(RowwiseCurvature):
        def matvec(self, vectors):
            return H @ vectors

        def diagonal(self):
            return np.diagonal(H, axis1=1, axis2=2)

    factor = ConjugateGradient().prepare(Fixed(objective, flat))
    rhs = np.random.default_rng(0).normal(size=(1, 4, 3))
    with pytest.raises(IndefiniteCurvatureError, match="p'Hp < 0"):
        factor.solve(rhs)
    with pytest.raises(IndefiniteCurvatureError, match="p'Hp < 0"):
        _ = factor.condition


@dataclass(frozen=True, eq=False)
class Inverse(AbstractFactor):
    """Of a solver that does not look: the inverse, whatever H is."""

    def solve(self, rhs):
        return Solution.exact(np.linalg.solve(self.curvature.as_matrix(), rhs))


def test_lengths_by_any_solver_raise():
    curvature = saddle()
    vectors = np.linalg.eigh(curvature.as_matrix())[1]
    with pytest.raises(IndefiniteCurvatureError, match="g' inv"):
        Inverse(curvature).norm(vectors[..., :1])
    good = RowwiseCurvature(*build(SETTINGS["binary"])[:2])
    g = good.first_order.gradient[..., None]
    np.testing.assert_allclose(
        Inverse(good).norm(g), Cholesky().prepare(good).norm(g), rtol=1e-10
    )
