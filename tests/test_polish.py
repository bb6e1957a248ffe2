"""Damped Newton steps: to the minimum from anywhere, or a word that there is none."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from objectives import SETTINGS, build, judged

from skinfluence._penalty import Penalty
from skinfluence.solvers import Cholesky, expand, has_no_minimum, polish

SOLVER = Cholesky()
every_setting = pytest.mark.parametrize("name", SETTINGS)
STRONGLY_BENT = [name for name in SETTINGS if "target" not in name]


def polished(objective, theta, length=1e-11, max_iter=60):
    return polish(
        expand(objective, theta, SOLVER), SOLVER, length=length, max_iter=max_iter
    )


def far(theta, objective, size=10.0):
    """A start where full Newton steps of log losses lead nowhere."""
    noise = size * np.random.default_rng(0).normal(size=theta.shape)
    return theta + (noise if objective.free is None else noise * objective.free)


def free_gradient(objective, theta):
    g = objective.first_order(theta).gradient
    return g if objective.free is None else g * objective.free


@every_setting
@pytest.mark.parametrize("size", [0.0, 1.0, 10.0])
def test_the_minimum_is_reached_from_far(name, size):
    objective, theta, _ = build(SETTINGS[name])
    end = polished(objective, far(theta, objective, size))
    assert end.converged and not end.unbounded
    g = free_gradient(objective, end.point.theta)
    largest = np.abs(free_gradient(objective, 0 * theta)).max()
    assert np.abs(g).max() < 1e-8 * largest


@pytest.mark.parametrize("name", [n for n, s in SETTINGS.items() if not s.held])
def test_the_minimum_is_the_judges(name):
    setting = SETTINGS[name]
    problem, _ = judged(setting)
    objective, theta, _ = build(setting)
    truth = problem.design @ reference.minimise(problem).T
    found = polished(objective, theta).point.outputs
    if objective.loss.shift_invariant:  # a constant added to all classes is not seen
        truth, found = (u - u.mean(axis=1, keepdims=True) for u in (truth, found))
    assert reference.relative_error(found, truth) < 1e-9


@pytest.mark.parametrize("name", STRONGLY_BENT)
def test_full_steps_from_there_would_diverge(name):
    """So that the test above says something about damping."""
    objective, theta, _ = build(SETTINGS[name])
    point = expand(objective, far(theta, objective), SOLVER)
    after = replace(point.curvature, theta=point.theta + point.newton_step)
    assert after.value > point.curvature.value


@every_setting
def test_no_step_raises_the_objective(name):
    objective, theta, _ = build(SETTINGS[name])
    start = far(theta, objective)
    values = [
        polished(objective, start, max_iter=n).point.curvature.value for n in range(8)
    ]
    rounding = 1e-12 * abs(values[0])
    assert np.all(np.diff(values) <= rounding)
    assert values[1] < values[0]


@every_setting
def test_steps_are_counted_and_bounded(name):
    objective, theta, _ = build(SETTINGS[name])
    end = polished(objective, far(theta, objective), max_iter=2)
    assert end.n_steps <= 2
    assert end.converged == objective.loss.quadratic


@pytest.mark.parametrize("name", [n for n in SETTINGS if "target" in n])
def test_a_quadratic_takes_one_step_and_keeps_its_factor(name):
    objective, theta, _ = build(SETTINGS[name])
    start = expand(objective, far(theta, objective), SOLVER)
    end = polish(start, SOLVER, length=1e-9, max_iter=60)
    assert end.n_steps == 1
    assert end.point.factor is start.factor


@every_setting
def test_distance_is_measured_by_the_curvature(name):
    """``|step|_H``: twice the decrease that the quadratic model promises, rooted."""
    objective, theta, _ = build(SETTINGS[name])
    point = expand(objective, theta, SOLVER)
    decrease = -np.sum(point.gradient * point.newton_step)
    assert point.distance == pytest.approx(np.sqrt(decrease), rel=1e-9)


@every_setting
def test_held_entries_are_not_moved(name):
    objective, theta, _ = build(SETTINGS[name])
    if objective.free is not None:
        end = polished(objective, theta)
        held = ~np.broadcast_to(objective.free, theta.shape)
        np.testing.assert_array_equal(end.point.theta[held], theta[held])


# --- no minimum ---


def separable(name, strength=0.0):
    """The classes lie apart along the first feature."""
    objective, theta, _ = build(SETTINGS[name])
    X, y = objective.design.source.on_host().copy(), objective.targets
    side = y @ np.arange(y.shape[1]) if y.shape[1] > 1 else y[:, 0]
    X[:, 0] += 20 * side
    X[:, 1] += 20 * (side == 1)
    design = objective.design.of(X).centred_by(objective.weight)
    table = np.full((objective.layout.n_outputs, design.width), strength)
    table[:, -1] = 0.0
    penalty = Penalty(objective.layout.pack(table.T))
    return replace(objective, design=design, penalty=penalty), 0 * theta


@pytest.mark.parametrize("name", ["binary", "softmax"])
def test_separable_classes_have_no_minimum(name):
    end = polished(*separable(name))
    assert end.unbounded
    assert not end.converged


@pytest.mark.parametrize("name", ["binary", "softmax"])
def test_a_penalty_gives_separable_classes_a_minimum(name):
    end = polished(*separable(name, strength=0.1))
    assert end.converged and not end.unbounded


@pytest.mark.parametrize("name", ["binary", "softmax"])
def test_outputs_on_the_right_sides_prove_it_without_a_step(name):
    objective, _ = separable(name)
    u = 2 * objective.targets - 1
    assert has_no_minimum(objective, u)
    assert not has_no_minimum(objective, -u)
    assert not has_no_minimum(separable(name, strength=0.1)[0], u)


@pytest.mark.parametrize("name", ["binary", "softmax"])
def test_rows_without_weight_do_not_stand_in_the_way(name):
    objective, _ = separable(name)
    u = 2 * objective.targets - 1
    u[3] *= -1  # on the wrong side
    assert objective.weight[3] == 0
    assert has_no_minimum(objective, u)
    u[4] *= -1
    assert not has_no_minimum(objective, u)


@pytest.mark.parametrize("name", ["binary", "softmax"])
def test_a_class_of_rows_without_weight_has_no_minimum(name):
    """However strong the penalty of the coefficients is, the intercept is free."""
    objective, theta, _ = build(SETTINGS[name])
    there = objective.targets[:, 0] > 0.5
    gone = replace(objective, weight=np.where(there, 0.0, objective.weight))
    assert not has_no_minimum(objective, objective.outputs(theta))
    assert has_no_minimum(gone, gone.outputs(theta))


# --- steps with a factor from before ---


class Counting(Cholesky.__bases__[0]):
    """A solver that counts its factors."""

    name = "direct"

    def __init__(self):
        self.n_factors = 0

    def prepare(self, curvature):
        self.n_factors += 1
        return SOLVER.prepare(curvature)


@pytest.mark.parametrize("name", [n for n in STRONGLY_BENT if not SETTINGS[n].held])
def test_near_the_minimum_two_factors_are_enough(name):
    """One where the model is, one at the minimum; and that is the one handed back."""
    objective, theta, _ = build(SETTINGS[name])
    start = polished(objective, theta).point.theta
    start = start + 1e-5 * np.random.default_rng(0).normal(size=start.shape)
    counting = Counting()
    end = polish(expand(objective, start, counting), counting, length=1e-9, max_iter=60)
    assert end.converged and end.n_steps > 1
    assert counting.n_factors == 2
    fresh = expand(objective, end.point.theta, SOLVER)
    assert end.point.distance == pytest.approx(fresh.distance, rel=1e-6, abs=1e-14)
    vectors = np.random.default_rng(1).normal(size=(*theta.shape, 3))
    found = end.point.factor.norm(vectors)
    np.testing.assert_allclose(found, fresh.factor.norm(vectors), rtol=1e-12)
