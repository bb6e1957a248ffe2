"""The same minimum with the expected information in place of the observed Hessian."""

from dataclasses import replace

from skinfluence.losses import ExpectedInformation
from skinfluence.solvers import AbstractSolver, Point, expand


def at_expected_information(point: Point, solver: AbstractSolver) -> Point:
    """The point with Fisher weights; itself where the link is canonical."""
    objective = point.objective
    if objective.loss.canonical:
        return point
    expected = replace(objective, loss=ExpectedInformation(objective.loss))
    return expand(expected, point.theta, solver, point.curvature.damping)
