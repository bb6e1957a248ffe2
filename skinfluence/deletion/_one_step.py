"""One step from the minimum: the infinitesimal jackknife and the Newton step.

Both have the form ``delta_i = inv(H) X~_i' c_i`` with coefficients ``c_i`` (G, Kb), so
leave-one-out outputs need only ``A_i = X~_i inv(H) X~_i'`` and no vector of length D.
"""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, final

from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence._tolerances import LEAST_REMAINDER
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.solvers import (
    Point,
    RowTerms,
    own_outputs,
    row_gradients,
    row_terms,
)


class AbstractOneStep(AbstractDeletion):
    """Deltas that are one solve away from coefficients of the row."""

    @abc.abstractmethod
    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        """``(c, unidentified)``, shapes (b, G, Kb) and (b,); A if it is at hand."""

    @abc.abstractmethod
    def certified(self, theta: Array) -> tuple[Any, Any]:
        """``(n_steps, last_step)`` of these deltas."""

    def deltas(self, rows: Rows) -> Deltas:
        return self.deltas_of(row_terms(self.point, rows))

    def deltas_of(self, terms: RowTerms, A: Array | None = None) -> Deltas:
        """The same where the terms of the rows, perhaps also A, are at hand."""
        c, unidentified = self.coefficients(terms, A)
        xp, theta = array_namespace(c), self._steps(terms, c)
        n_steps, last_step = self.certified(theta)
        none = xp.zeros_like(unidentified)
        return Deltas(theta, n_steps, last_step, ~none, unidentified, none)

    def _steps(self, terms: RowTerms, c: Any) -> Any:
        factor, layout = self.point.factor, self.point.objective.layout
        share = self._downdated(terms)
        if terms.share is None:
            return factor.row_steps(terms.block, c, layout, share)
        if not _alike(terms.share):
            return factor.steps(row_gradients(self.point, terms, c), share)
        steps = factor.row_steps(terms.block, c, layout, share)
        return steps + penalty_steps(self.point, terms, share)

    def outputs(self, rows: Rows) -> tuple[Any, Any, Any]:
        terms = row_terms(self.point, rows, by_formula=True)
        layout, share = self.point.objective.layout, self._downdated(terms)
        A = self.point.factor.row_blocks_of_inverse(
            terms.block, layout, share, terms.rows
        )
        c, unidentified = self.coefficients(terms, A)
        shift = product(A, c)
        if terms.share is not None:
            shift = shift + penalty_pull(self.point, terms, share)
        unbounded = array_namespace(c).zeros_like(unidentified)
        return terms.outputs + layout.ungrouped(shift), unidentified, unbounded

    @abc.abstractmethod
    def _downdated(self, terms: RowTerms) -> Any:
        """Shares of the penalty that leave the curvature too, (b,) or None."""


@final
@dataclass(frozen=True)
class Jackknife(AbstractOneStep):
    """``delta_i = inv(H) s_i g_i``: the derivative in the weight, times the weight.

    References
    ----------
    .. [1] Giordano et al. (2019). A Swiss army infinitesimal jackknife. Definition 1.
    """

    point: Point
    linear: ClassVar[bool] = True

    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        xp = array_namespace(terms.slope)
        never = xp.zeros_like(terms.weight, dtype=xp.bool)
        return terms.weight[:, None, None] * terms.slope, never

    def _downdated(self, terms: RowTerms) -> None:
        return None  # the derivative at full weight

    def certified(self, theta: Array) -> tuple[Any, Any]:
        xp = array_namespace(theta)
        steps = xp.zeros(theta.shape[0], dtype=xp.int64, device=device_of(theta))
        return steps, xp.full_like(theta, xp.inf)


@final
@dataclass(frozen=True)
class Newton(AbstractOneStep):
    """One Newton step without the row: ``c_i = inv(I - s_i M_i A_i) s_i g_i``.

    In mean form, the row's share of the penalty leaves both the gradient, where it adds
    ``s_i M_i X~_i inv(H) share`` to ``s_i g_i``, and H. ``H - s_i X~_i' M_i X~_i`` is
    inverted by the push-through form of Woodbury's identity, which allows a singular
    ``M_i`` (softmax). Exact for quadratic losses.

    References
    ----------
    .. [1] Pregibon (1981). Logistic regression diagnostics.
       :doi:`10.1214/aos/1176345513`. One-step estimate.
    .. [2] Rad & Maleki (2020). A scalable estimate of the out-of-sample prediction
       error via approximate leave-one-out cross-validation. Equation 7.
    """

    point: Point

    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        if A is None:
            A = self.point.factor.row_blocks_of_inverse(
                terms.block, self.point.objective.layout, terms.share, terms.rows
            )
        inverse, unidentified = downdated_inverse(terms.bend, A)
        slope = terms.weight[:, None, None] * terms.slope
        if terms.share is not None:
            slope = slope + product(
                terms.bend, penalty_pull(self.point, terms, terms.share)
            )
        return product(inverse, slope), unidentified

    def _downdated(self, terms: RowTerms) -> Any:
        return terms.share

    def certified(self, theta: Array) -> tuple[Any, Any]:
        xp = array_namespace(theta)
        steps = xp.ones(theta.shape[0], dtype=xp.int64, device=device_of(theta))
        exact = self.point.objective.loss.quadratic
        return steps, xp.full_like(theta, 0.0 if exact else xp.inf)


def penalty_pull(point: Point, terms: RowTerms, share: Array) -> Any:
    """``X~_i inv(H) share_i penalty'``: a row's outputs moved by its share, (b, G, Kb)."""
    layout, steps = point.objective.layout, penalty_steps(point, terms, share)
    if not _alike(terms.share):
        return own_outputs(terms.block, steps, layout)
    return layout.grouped(terms.block @ layout.unpack(steps)[0, ...].T)


def penalty_steps(point: Point, terms: RowTerms, share: Array) -> Any:
    """``inv(H) share_i penalty'``, (b, G, D); one for all, (1, G, D), if shares agree."""
    shares = terms.share
    if _alike(shares):
        shares, share = shares[:1], None if share is None else share[:1]
    penalty = point.objective.penalty.gradient(point.theta)
    return point.factor.steps(shares[:, None, None] * penalty, share)


def _alike(shares: Array) -> bool:
    return bool(array_namespace(shares).all(shares == shares[:1]))


def downdated_inverse(bend: Array, A: Array) -> tuple[Any, Any]:
    """``inv(I - s_i M_i A_i)`` (b, G, Kb, Kb), NaN and True where it does not exist."""
    xp = array_namespace(A)
    nothing = xp.asarray(xp.nan, dtype=A.dtype, device=device_of(A))
    if A.shape[-1] == 1:  # plain division then, many times faster
        remainder = 1 - bend * A
        lost = xp.abs(remainder) < LEAST_REMAINDER
        inverse = 1 / xp.where(lost, nothing, remainder)
        return inverse, xp.any(lost[..., 0, 0], axis=1)
    eye = xp.eye(A.shape[-1], dtype=A.dtype, device=device_of(A))
    remainder = eye - xp.matmul(bend, A)
    singular = xp.linalg.det(remainder) == 0
    inverse = xp.linalg.inv(xp.where(singular[..., None, None], eye, remainder))
    largest = xp.max(xp.abs(inverse), axis=(-2, -1))
    lost = singular | (largest * LEAST_REMAINDER > 1)
    return xp.where(lost[..., None, None], nothing, inverse), xp.any(lost, axis=1)


def downdated_rhs(point: Point, terms: Any, inverse: Any, rhs: Array) -> Any:
    """What ``inv(H)`` has to be applied to for ``inv(H_-i) rhs_i``, (b, G, D).

    ``terms`` has the block, bend and share of each row; ``inverse`` is that of
    ``I - s_i M_i A_i``. Push-through form of Woodbury's identity.
    """
    layout = point.objective.layout
    inner = own_outputs(terms.block, point.factor.steps(rhs, terms.share), layout)
    inner = product(inverse, product(terms.bend, inner))
    return rhs + layout.lifted(terms.block, inner)


def product(matrices: Array, vectors: Array) -> Any:
    """``matrices @ vectors`` for (b, G or 1, Kb, Kb) and (b, G, Kb)."""
    if vectors.shape[-1] == 1:  # many times faster
        return matrices[..., 0] * vectors
    return array_namespace(vectors).matmul(matrices, vectors[..., None])[..., 0]
