"""The mathematics on arrays of other libraries gives what it gives on NumPy arrays."""

from functools import cache

import numpy as np
import pytest
from objectives import SETTINGS, build, is_of
from reference import relative_error

from skinfluence._array import device_of, like, to_numpy
from skinfluence.deletion import Exact, Halley, Jackknife, Newton
from skinfluence.influence import (
    Loss,
    Output,
    Response,
    delta_blocks,
    influence_blocks,
    influence_on_parameters,
    self_influence,
    self_influence_of,
    top_blocks,
)
from skinfluence.solvers import (
    Cholesky,
    ConjugateGradient,
    Dual,
    expand,
    gradient_lengths,
    polish,
)

# A device that is not the default one: what is made without naming it, is made elsewhere
# and cannot meet the rest. So an accelerator's rule is tested where there is none.
ELSEWHERE = "array_api_strict elsewhere"
NAMESPACES = ["array_api_strict", ELSEWHERE, "torch"]


def namespace(name):
    if name == ELSEWHERE:
        name = "array_api_strict"
    if name == "torch":
        # Its threads would wait for each other: the arrays here are small.
        pytest.importorskip("torch").set_num_threads(1)
        return pytest.importorskip("array_api_compat.torch")
    return pytest.importorskip(name)


def device(name):
    return namespace(name).Device("device1") if name == ELSEWHERE else None


class Asked:
    """An objective at its minimum, and whatever a question needs."""

    def __init__(self, setting, xp, device):
        self.objective, self.theta, (self.design, y) = build(
            SETTINGS[setting], xp, device=device
        )
        self.solver, self.xp = Cholesky(), xp
        self.start = expand(self.objective, self.theta, self.solver)
        end = polish(self.start, self.solver, length=1e-13, max_iter=50)
        assert end.converged
        self.point = end.point
        self.loss = Loss(self.objective.loss, y)
        one = np.zeros((self.design.n_rows, SETTINGS[setting].n_outputs))
        one[:, 0] = 1.0
        self.indicator = like(one, self.theta)

    def exact(self):
        return Exact(self.point, self.solver, typical=1e-3, tol=1e-11)

    def all_rows(self):
        return slice(0, self.objective.n_rows)

    def indices(self):
        return like([7, 0, 21], self.theta, self.xp.int64)

    def matrix(self, blocks):
        return self.xp.concat([values for _, values in blocks], axis=-1)

    def deltas(self, deletion, aggregate=None):
        blocks = delta_blocks(
            self.point, deletion, self.design, self.loss, aggregate, entries=2**10
        )
        return self.matrix(blocks)

    def influence(self, quantity, aggregate=None):
        return self.matrix(
            influence_blocks(self.point, self.design, quantity, aggregate)
        )

    def top(self, order, which):
        blocks = influence_blocks(self.point, self.design, self.loss, None)
        return top_blocks(blocks, 5, order, 1.0)[which]


def halley(asked):
    """Halley's correction where the loss has it, and Newton's step elsewhere."""
    has_third = asked.objective.loss.has_third
    return (
        Halley(asked.point, asked.solver)
        if has_third
        else Newton(asked.point, asked.solver)
    )


def solved(asked, solver):
    if not asked.xp.any(asked.objective.penalised):
        solver = ConjugateGradient(tol=1e-12)  # the dual inverts the penalty
    factor = solver.prepare(asked.start.curvature)
    return factor.solve(asked.start.gradient[..., None]).value


QUESTIONS = {
    "conjugate gradients": lambda a: solved(a, ConjugateGradient(tol=1e-12)),
    "dual": lambda a: solved(a, Dual()),
    "gradient": lambda a: a.start.gradient,
    "outputs": lambda a: a.start.outputs,
    "curvature": lambda a: a.start.curvature.as_matrix(),
    "product": lambda a: a.start.curvature.matvec(a.theta[..., None]),
    "Newton step": lambda a: a.start.newton_step,
    "minimum": lambda a: a.point.outputs,
    "recentred": lambda a: a.objective.recentred(a.theta, a.start.outputs)[1],
    "lengths": lambda a: gradient_lengths(a.point, a.indices()),
    "parameters": lambda a: influence_on_parameters(a.point, a.indices()),
    "self-influence": lambda a: self_influence(a.point, a.all_rows()),
    "score": lambda a: self_influence_of(a.point, a.design, a.loss),
    "influence on the loss": lambda a: a.influence(a.loss),
    "mean influence": lambda a: a.influence(a.loss, "mean"),
    "influence on an output": lambda a: a.influence(Output(a.indicator)),
    "influence on a response": lambda a: a.influence(
        Response(a.objective.loss, a.indicator)
    ),
    "top values": lambda a: a.top("absolute", 0),
    "top rows": lambda a: a.top("harmful", 1),
    "jackknife": lambda a: Jackknife(a.point).deltas(a.all_rows()).theta,
    "jackknife outputs": lambda a: Jackknife(a.point).outputs(a.all_rows())[0],
    "jackknife deltas": lambda a: a.deltas(Jackknife(a.point)),
    "Newton": lambda a: Newton(a.point, a.solver).deltas(a.indices()).theta,
    "Newton outputs": lambda a: Newton(a.point, a.solver).outputs(a.all_rows())[0],
    "Newton deltas": lambda a: a.deltas(Newton(a.point, a.solver)),
    "sum of Newton deltas": lambda a: a.deltas(Newton(a.point, a.solver), "sum"),
    "Halley": lambda a: halley(a).deltas(a.indices()).theta,
    "Halley outputs": lambda a: halley(a).outputs(a.all_rows())[0],
    "exact": lambda a: a.exact().deltas(a.all_rows()).theta,
    "exact steps": lambda a: a.exact().deltas(a.indices()).last_step,
    "exact outputs": lambda a: a.exact().outputs(a.all_rows())[0],
    "exact deltas": lambda a: a.deltas(a.exact()),
}


@cache
def asked(setting, name="numpy"):
    if name == "numpy":
        return Asked(setting, np, None)
    return Asked(setting, namespace(name), device(name))


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NAMESPACES)
def test_answers_are_those_of_numpy_in_the_callers_namespace(name, setting, question):
    other, answer = namespace(name), QUESTIONS[question]
    found, truth = answer(asked(setting, name)), answer(asked(setting))
    assert is_of(found, other)
    if name == ELSEWHERE:
        assert device_of(found) == device(name)
    close(to_numpy(found), truth, question)


def close(found, truth, question):
    if question == "exact steps":  # the length of rounding; only where it lives counts
        assert found.shape == truth.shape
        return
    lost = np.isnan(truth)  # one softmax deletion leaves separable classes
    np.testing.assert_array_equal(np.isnan(found), lost)
    assert relative_error(found[~lost], truth[~lost]) < 1e-10
