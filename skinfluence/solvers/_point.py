"""An objective at one theta: its curvature, a factor of that, and the Newton step."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any, final

from skinfluence._array import Array, array_namespace, to_numpy
from skinfluence._objective import Objective
from skinfluence.curvature import RowwiseCurvature
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.losses import ExpectedInformation
from skinfluence.solvers._base import AbstractFactor, AbstractSolver
from skinfluence.solvers._class_sums import ClassSums
from skinfluence.solvers._filled import FillSizes, fill_gradients
from skinfluence.solvers._no_minimum import needed_rows
from skinfluence.solvers._normed import NormedRows
from skinfluence.solvers._rounding import rounding_of_theta
from skinfluence.solvers._trusted import trusted_length
from skinfluence.solvers._vicinity import Vicinity, euclidean_length


@final
@dataclass(frozen=True, eq=False)
class Point:
    """An objective at one theta, with its curvature and the factor of that."""

    curvature: RowwiseCurvature
    factor: AbstractFactor
    expected: bool = False  # the factor is that of the expected curvature

    @property
    def objective(self) -> Objective:
        """The objective."""
        return self.curvature.objective

    @property
    def theta(self) -> Any:
        """Parameters (G, D)."""
        return self.curvature.theta

    @property
    def outputs(self) -> Any:
        """Linear outputs u of the training rows, (n, K)."""
        return self.curvature.first_order.outputs

    @property
    def gradient(self) -> Any:
        """Gradient of the objective, (G, D)."""
        return self.curvature.first_order.gradient

    @property
    def value(self) -> float:
        """The objective, with its corners where they are held elsewhere."""
        objective, theta = self.objective, self.theta
        if objective.wider is None:
            return self.curvature.value
        wide = objective.selection.spread(theta)
        return objective.wider.value(wide, self.outputs)

    @cached_property
    def newton_step(self) -> Any:
        """Step to the minimum of the quadratic model, (G, D)."""
        step = self.factor.loss_steps(self.gradient[None, ...])[0, ...]
        shifts = self.curvature.shifts
        if shifts is None:
            return -step
        return -step - shifts.solved(self._penalty_gradient)[..., 0]

    @cached_property
    def distance(self) -> float:
        """Length of the Newton step, measured by the curvature."""
        gradient, shifts = self.gradient[..., None], self.curvature.shifts
        if shifts is not None:
            gradient = shifts.without(gradient) + shifts.part(self._penalty_gradient)
        return float(self.factor.norm(gradient)[0])

    @property
    def _penalty_gradient(self) -> Any:
        """All that the gradient has along shifts, rounding apart, (G, D, 1)."""
        return self.objective.penalty.gradient(self.theta)[..., None]

    @cached_property
    def needed_rows(self) -> Any:
        """Indices of the rows without which there is no finite optimum."""
        return needed_rows(self.objective, self.outputs)

    @cached_property
    def inverse_diagonal(self) -> Any:
        """The diagonals of inv(H), (G or 1, D); None where no root of it is at hand."""
        root = self.factor.inverse_root
        if root is None or self.curvature.shifts is not None:
            return None
        return array_namespace(root).sum(root**2, axis=-1)

    @cached_property
    def class_sums(self) -> ClassSums | None:
        """Sums over the rows of each class; None where class weights are held."""
        balanced = self.objective.balanced
        return None if balanced is None else ClassSums(self.curvature, balanced)

    def without(self, rows: Array) -> Objective:
        """The objective without rows, other rows as they are learned again.

        What steps fill in moves to first order: a linear term.
        """
        objective = self.objective.without(rows)
        tilt = self.tilts(rows, "without_group")
        return objective if tilt is None else replace(objective, tilt=tilt[0, ...])

    def tilts(self, rows: Array, of: str, fills: Array | None = None) -> Any:
        """What the gradient here gains as other rows change without rows, (b, G, D).

        ``of`` is as in ``Objective.fills``, which are not asked for again if they are
        given. None where rows change by units alone.
        """
        of_norms = self._norm_tilts(rows, of)
        of_fills = self._fill_tilts(rows, of, fills)
        if of_fills is None or of_norms is None:
            return of_norms if of_fills is None else of_fills
        return of_fills + of_norms

    def _norm_tilts(self, rows: Array, of: str) -> Any:
        growths = self.objective.growths(rows, of)
        if growths is None:
            return None
        host, leaving = to_numpy(rows), None
        if of != "derivative":
            leaving = [host] if of == "without_group" else list(host[:, None])
        return self._normed_rows.tilts(growths, leaving)

    @cached_property
    def _normed_rows(self) -> NormedRows:
        return NormedRows.of(self.curvature)

    def _fill_tilts(self, rows: Array, of: str, fills: Array | None) -> Any:
        moves = self.objective.fills(rows, of) if fills is None else fills
        if moves is None:
            return None
        xp, directions = array_namespace(moves), self._fill_gradients
        if of == "without_group":  # their own gaps leave with them
            gone = RowwiseCurvature(self.objective.only(rows), self.theta)
            directions = directions - fill_gradients(gone)
        flat = moves @ xp.reshape(directions, (directions.shape[0], -1))
        return xp.reshape(flat, (moves.shape[0], *self.theta.shape))

    @cached_property
    def _fill_gradients(self) -> Any:
        """Derivatives of the gradient in what steps fill in, (w, G, D)."""
        return fill_gradients(self.curvature)

    @cached_property
    def fill_sizes(self) -> FillSizes:
        """Bounds of what moves of each fill do."""
        return FillSizes.of(self.curvature, self.factor, self._fill_gradients)

    @cached_property
    def rounding_of_outputs(self) -> float:
        """What rounding makes of an output of the rows, as of a sum of D terms."""
        xp, n_terms = array_namespace(self.outputs), self.theta.shape[-1]
        largest = float(xp.max(xp.abs(self.outputs)))
        return float(xp.finfo(self.outputs.dtype).eps) * largest * n_terms**0.5

    # --- bounds -----------------------------------------------------------------------

    @cached_property
    def vicinity(self) -> Vicinity | None:
        """How much the curvature can change around here.

        None where that is not known, and where it never changes.
        """
        loss = self.objective.loss
        known = loss.self_concordance < inf and not loss.quadratic
        if not known or not self.factor.has_leverages or self.curvature.damping:
            return None
        return Vicinity.of(self.curvature, self.factor)

    @cached_property
    def trusted_length(self) -> float:
        """Length up to which steps are not in doubt where the vicinity is not known."""
        if self.curvature.damping or self.objective.loss.quadratic:
            return inf
        if self.factor.has_leverages:
            return trusted_length(self.curvature, self.factor)
        # A step of 1 / c changes the curvature several times, if the rows are alike.
        constant = self.objective.loss.self_concordance
        return 1 / constant if 0 < constant < inf else inf

    @cached_property
    def error(self) -> float:
        """Bound of the distance to the minimum, rounding included, as H measures it."""
        return self.distance + rounding_of_theta(self.curvature, self.factor)

    @property
    def euclidean_error(self) -> float:
        """The same in the units of the estimator, if steps leave at most 3/4 of the way.

        Far out, where classes are all but separated, they hardly do better.
        """
        return 4 * self.unit_length * self.error

    @cached_property
    def unit_length(self) -> float:
        """Largest Euclidean length of a vector that the curvature measures as 1."""
        return euclidean_length(self.curvature, self.factor)


def expand(
    objective: Objective, theta: Array, solver: AbstractSolver, damping: float = 0.0
) -> Point:
    """Curvature and factor of the objective at theta."""
    curvature = RowwiseCurvature(objective, theta, damping)
    return Point(curvature, solver.prepare(curvature))


def expand_for_steps(
    objective: Objective, theta: Array, solver: AbstractSolver, damping: float = 0.0
) -> Point:
    """As ``expand``; where the objective bends downwards, good for a step only.

    Its factor is that of the expected curvature then, which never does.
    """
    return factored_for_steps(RowwiseCurvature(objective, theta, damping), solver)


def factored_for_steps(curvature: RowwiseCurvature, solver: AbstractSolver) -> Point:
    """The same where the curvature is known."""
    objective = curvature.objective
    try:
        point = Point(curvature, solver.prepare(curvature))
        if not objective.loss.convex:  # an iteration sees it only when it solves
            _ = point.newton_step
        return point
    except IndefiniteCurvatureError:
        if not objective.loss.exponential_family:
            raise
    expected = replace(objective, loss=ExpectedInformation(objective.loss))
    factor = solver.prepare(replace(curvature, objective=expected))
    return Point(curvature, factor, expected=True)
