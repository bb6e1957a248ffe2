"""Deletions of hand-made objectives, against the objective without the row itself.

``Objective.without`` is proved in ``test_curvature``; here it is the judge, also of what
no estimator of the registry has: softmax in mean form, and entries that are held.
"""

from functools import cache

import numpy as np
import pytest
from objectives import SETTINGS, build
from reference import relative_error

from skinfluence.curvature import RowwiseCurvature
from skinfluence.deletion import Exact, Halley, Jackknife, Newton
from skinfluence.deletion._leaving import OneByOne
from skinfluence.solvers import Cholesky, expand, polish, row_gradients, row_terms

SOLVER = Cholesky()
ROWS = np.array([21, 5, 3, 40])  # row 3 weighs nothing
every_setting = pytest.mark.parametrize("name", SETTINGS)


@cache
def minimum(name):
    objective, theta, _ = build(SETTINGS[name])
    start = expand(objective, theta, SOLVER)
    return polish(start, SOLVER, length=1e-13, max_iter=50).point


def newton_without(point, row):
    """One Newton step on the objective without the row, by its own curvature."""
    rest = expand(point.objective.without(row), point.theta, SOLVER)
    return rest.newton_step


def refit_without(point, row):
    start = expand(point.objective.without(row), point.theta, SOLVER)
    end = polish(start, SOLVER, length=1e-12, max_iter=50)
    assert end.converged and not end.unbounded
    return end.point.theta - point.theta


def exact(point, tol=1e-10):
    return Exact(point, SOLVER, typical=1e-3, tol=tol)


def outputs_of(point, deltas):
    """Each row's outputs by its own delta of the parameters, (b, K)."""
    layout = point.objective.layout
    block = point.objective.design.block(ROWS)
    moves = np.einsum("nkq,nq->nk", layout.unpack(deltas), block)
    return point.outputs[ROWS] + moves


@every_setting
def test_newton_deletion_is_one_step_without_the_row(name):
    point = minimum(name)
    truth = np.array([newton_without(point, row) for row in ROWS])
    assert relative_error(Newton(point, SOLVER).deltas(ROWS).theta, truth) < 1e-9


@every_setting
def test_exact_deletion_is_the_minimum_without_the_row(name):
    point = minimum(name)
    truth = np.array([refit_without(point, row) for row in ROWS])
    assert relative_error(exact(point).deltas(ROWS).theta, truth) < 1e-8


@every_setting
def test_jackknife_is_the_derivative_of_the_minimum(name):
    """The row leaves by a small part of its weight, and of its share of the penalty."""
    point, part = minimum(name), 1e-5
    truth = []
    for row in ROWS:
        ends = []
        for sign in (1, -1):
            objective = partly_without(point.objective, row, sign * part)
            start = expand(objective, point.theta, SOLVER)
            end = polish(start, SOLVER, length=1e-13, max_iter=50)
            ends.append(end.point.theta)
        truth.append((ends[0] - ends[1]) / (2 * part))
    assert relative_error(Jackknife(point).deltas(ROWS).theta, np.array(truth)) < 1e-6


def partly_without(objective, row, part):
    """The objective when a part of a row's weight has left."""
    weight, rest = objective.weight, objective.without(row)
    penalty = objective.penalty.without(part * float(weight[row]))
    mixed = (1 - part) * weight + part * rest.weight
    return type(objective)(**{**vars(objective), "weight": mixed, "penalty": penalty})


@every_setting
@pytest.mark.parametrize("way", ["newton", "jackknife", "exact"])
def test_outputs_without_the_row_are_those_of_its_delta(name, way):
    point = minimum(name)
    ways = {"newton": Newton(point, SOLVER), "jackknife": Jackknife(point)}
    deletion = ways.get(way, exact(point))
    found, unidentified, unbounded = deletion.outputs(ROWS)
    assert not np.any(unidentified | unbounded)
    truth = outputs_of(point, deletion.deltas(ROWS).theta)
    assert relative_error(found, truth) < 1e-10


@every_setting
def test_what_leaves_the_gradient_is_the_difference_of_two_objectives(name):
    point = minimum(name)
    terms = row_terms(point, ROWS)
    slope = terms.weight[:, None, None] * terms.slope
    found = row_gradients(point, terms, slope)
    with_all = RowwiseCurvature(point.objective, point.theta).first_order.gradient
    for i, row in enumerate(ROWS):
        rest = point.objective.without(int(row)).first_order(point.theta).gradient
        np.testing.assert_allclose(found[i], with_all - rest, atol=1e-10)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-10])
@every_setting
def test_the_last_step_is_as_short_as_asked_and_counted(name, tol):
    point = minimum(name)
    found = exact(point, tol).deltas(ROWS)
    assert np.all(found.converged)
    lengths = point.factor.norm(hessian_times(point, found.last_step))
    sizes = point.factor.norm(hessian_times(point, found.theta))
    assert np.all(lengths <= 1.1 * tol * np.maximum(sizes, 1e-3) + 1e-12)


def hessian_times(point, vectors):
    """Gradients (G, D, b) whose Newton steps the vectors (b, G, D) are."""
    return point.curvature.matvec(np.moveaxis(vectors, 0, -1))


@every_setting
def test_rows_come_back_in_the_order_in_which_they_are_asked(name):
    point = minimum(name)
    for deletion in (Newton(point, SOLVER), exact(point)):
        one = deletion.deltas(ROWS[1:2]).theta[0]
        again = deletion.deltas(ROWS).theta[1]
        assert relative_error(again, one) < 1e-8


@pytest.mark.parametrize("name", ["one target", "two targets", "two targets alike"])
@pytest.mark.parametrize("remainder", [1e-5, 0.0])
def test_leverage_counts_as_one_when_nothing_but_rounding_is_left(name, remainder):
    """An unpenalised column that only row 7 carries, but for a trace in row 8."""
    objective, theta, _ = build(SETTINGS[name])
    X = objective.design.source.on_host().copy()
    X[:, 2] = 0.0
    X[[7, 8], 2] = 1.0, np.sqrt(remainder)
    design = objective.design.of(X).centred_by(objective.weight)
    penalty = type(objective.penalty)(0.0 * objective.penalty.strength)
    objective = type(objective)(
        **{**vars(objective), "design": design, "penalty": penalty}
    )
    point = expand(objective, theta, SOLVER)
    end = polish(point, SOLVER, length=1e-12, max_iter=5).point
    found = Newton(end, SOLVER).deltas(slice(0, objective.n_rows))
    flagged = np.flatnonzero(found.unidentified)
    assert flagged.tolist() == ([] if remainder else [7])
    assert (
        np.isnan(found.theta).any(axis=(1, 2)).tolist() == found.unidentified.tolist()
    )


CURVED = [n for n, s in SETTINGS.items() if s.loss.has_third and not s.loss.quadratic]


@pytest.mark.parametrize("name", CURVED)
def test_third_derivative_is_the_slope_of_the_curvature_without_the_row(name):
    """``T_-i[v, w]``, what Halley's correction is made of."""
    point, h = minimum(name), 1e-4
    shape = (len(ROWS), *point.theta.shape)
    v, w = np.random.default_rng(0).normal(size=(2, *shape))
    found = Halley(point, SOLVER).third.product(OneByOne.of(point, ROWS), v, w)
    for i, row in enumerate(ROWS):
        rest = point.objective.without(int(row))
        ahead, behind = (
            RowwiseCurvature(rest, point.theta + step * v[i]).matvec(w[i][..., None])
            for step in (h, -h)
        )
        truth = (ahead - behind)[..., 0] / (2 * h)
        assert relative_error(found[i], truth) < 1e-6
