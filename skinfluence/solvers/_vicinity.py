"""How much second derivatives can change around a minimum, from the rows' leverages.

With ``|l'''[v, v, d]| <= c width(d) l''[v, v]``, a move d of the parameters multiplies the
second derivatives of row j by no less than ``exp(-e)`` and no more than ``exp(e)``, with
``e = c width(X~_j d) <= rho_j |d|``. Lengths are measured by H, the curvature at the
minimum, and ``rho_j`` is c times the widest move of the outputs of row j by a vector of
length 1: for one output, ``rho_j**2 = c**2 x_j' inv(H) x_j``.

References
----------
.. [1] Bach (2010). Self-concordant analysis for logistic regression.
   :doi:`10.1214/09-EJS521`. Propositions 1 and 2.
.. [2] Ostrovskii & Bach (2021). Finite-sample analysis of M-estimators using
   self-concordance. :doi:`10.1214/20-EJS1780`. Section 2.
"""

from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence._array import Array, array_namespace, device_of, like, masked, to_numpy
from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._rows import stream_blocks, training_blocks
from skinfluence.curvature import AbstractCurvature
from skinfluence.solvers._base import AbstractFactor

# Rows beyond a width may hold this part of H: where their second derivatives may grow as
# the step is long, and where they may only vanish.
_MOST_GROWN, _MOST_LOST = 1e-3, 0.1
# A narrower width, and how many are tried.
_NARROWER, _MOST_TRIALS = 1.25, 60
# With rows beyond a width, steps are vouched for up to this R: their end is then at most
# ``-log(1 - R) / rho`` away.
_MOST_R = 0.9
_MOST_EXPONENT = 600.0
# -log(1 - R) / R - 1 by its series below this, which rounding would take otherwise.
_SMALL_R = 1e-4


class _Widths(NamedTuple):
    """Bounds of ``rho_j``, and the part of H that rows beyond them hold; or b of each."""

    widest: Any  # of all rows
    near: Any  # of all but few
    few: Any  # what these hold at the end of the longest step, relative to H
    core: Any  # of all but some, whose second derivatives may vanish
    some: Any  # what these hold, relative to H
    typical: Any  # root mean square, by what rows hold of H


@final
@dataclass(frozen=True, eq=False)
class Vicinity:
    """Widths of all rows around a minimum, and what each holds of H."""

    width: Any  # (n,) rho_j
    leverage: Any  # (n,) traces of M_j A_j

    @classmethod
    def of(cls, curvature: AbstractCurvature, factor: AbstractFactor) -> "Vicinity":
        """By one pass over the leverages of all rows."""
        objective, layout = curvature.objective, curvature.layout
        design, loss = objective.rows, objective.loss

        def widths(rows: slice) -> tuple[slice, Any, Any]:
            A = factor.loss_blocks(design.block(rows), rows=rows)
            M = curvature.row_hessians(rows)
            xp = array_namespace(A)
            squared = xp.max(_squared_width(A, shifts=loss.shift_invariant), axis=1)
            held = xp.max(xp.sum(M * A, axis=(-2, -1)), axis=1)
            there = objective.weight[rows] > 0
            width = loss.self_concordance * xp.sqrt(xp.clip(squared, min=0.0))
            none = xp.zeros_like(width)
            return rows, xp.where(there, width, none), xp.where(there, held, none)

        blocks = training_blocks(design, layout.n_outputs * layout.size)
        n_entries = design.width * layout.n_outputs
        parts = stream_blocks(widths, blocks, design, width=n_entries, in_order=False)
        zeros = array_namespace(objective.weight).zeros_like
        width, held = zeros(objective.weight), zeros(objective.weight)
        for rows, own_width, own_held in parts:
            width[rows], held[rows] = own_width, own_held
        return cls(width, held)

    def around(self, rows: Array, stretch: Array) -> "Nearby":
        """The vicinity without each row (indices), of minima that it has left.

        ``stretch`` (b,) bounds how much longer inv(H) is without the row.
        """
        xp = array_namespace(stretch)
        zero = xp.zeros_like(stretch)
        is_widest = rows == self._widest_row
        columns = (
            xp.where(is_widest, without + zero, of_all + zero)
            for without, of_all in zip(self._others, self._all, strict=True)
        )
        return Nearby.of(_Widths(*columns), stretch)

    def around_group(self, rows: Array, stretch: Array) -> "Nearby":
        """The same without the rows of one group, for a stretch (1,)."""
        xp = array_namespace(stretch)
        widths, zero = self._all, xp.zeros_like(stretch)
        if bool(xp.any(rows == self._widest_row)):
            gone = np.zeros(self.width.shape[0], dtype=bool)
            gone[to_numpy(rows)] = True
            widths = self._without(xp.asarray(gone, device=device_of(rows)))
        return Nearby.of(_Widths(*(width + zero for width in widths)), stretch)

    @cached_property
    def _widest_row(self) -> int:
        return int(array_namespace(self.width).argmax(self.width))

    @cached_property
    def _all(self) -> _Widths:
        return self._without(None)

    @cached_property
    def _others(self) -> _Widths:
        xp = array_namespace(self.width)
        indices = xp.arange(self.width.shape[0], device=device_of(self.width))
        return self._without(indices == self._widest_row)

    def _without(self, gone: Array | None) -> _Widths:
        xp, width = array_namespace(self.width), self.width
        if gone is not None:
            width = xp.where(gone, xp.zeros_like(width), width)
        widest = float(xp.max(width))
        near, few = self._narrowed(width, widest, _MOST_GROWN, grows=True)
        core, some = self._narrowed(width, widest, _MOST_LOST, grows=False)
        held = float(xp.sum(self.leverage))
        squared = float(self.leverage @ (width * width))
        typical = sqrt(squared / held) if held > 0 else 0.0
        return _Widths(widest, near, few, core, some, typical)

    def _narrowed(
        self, width: Array, widest: float, most: float, *, grows: bool
    ) -> tuple[float, float]:
        """The least width tried beyond which rows hold at most ``most`` of H."""
        xp, held = array_namespace(width), 0.0
        longest = -float(np.log1p(-_MOST_R))
        for _ in range(_MOST_TRIALS):
            if not 0 < widest < inf:
                break
            narrower = widest / _NARROWER
            rows = xp.nonzero(width > narrower)[0]
            part = xp.take(self.leverage, rows)
            if grows:
                exponent = longest / narrower * xp.take(width, rows)
                part = part * xp.exp(xp.clip(exponent, max=_MOST_EXPONENT))
            beyond = float(xp.sum(part))
            if not beyond <= most:
                break
            widest, held = narrower, beyond
        return widest, held


@final
@dataclass(frozen=True, eq=False)
class Nearby:
    """The vicinity as b groups see it that have left, in the norms of H without each."""

    widths: _Widths  # (b,) each

    stretch: Any  # (b,)

    @classmethod
    def of(cls, widths: _Widths, stretch: Array) -> "Nearby":
        """Widths of H (b,), where inv(H) without the group is no longer than stretched."""
        root = array_namespace(stretch).sqrt(stretch)
        return cls(
            _Widths(
                widths.widest * root,
                widths.near * root,
                widths.few * stretch,
                widths.core * root,
                widths.some * stretch,
                widths.typical + 0.0 * root,  # inv(H) is longer along the row alone
            ),
            stretch,
        )

    def at(self, mask: Array) -> "Nearby":
        """That of the groups where the mask (b,) holds."""
        widths = _Widths(*(masked(width, mask) for width in self.widths))
        return Nearby(widths, masked(self.stretch, mask))

    def one_step(self, length: Array) -> Any:
        """Bound of the distance from the end of a Newton step (b,) to the minimum, (b,).

        Along the minima of ``F + (1 - t) g' theta``, t from 0 to 1, inv(H) grows by at
        most ``1 / (1 - R t)``, ``R = rho length``: the error is at most
        ``length (-log(1 - R) / R - 1)``. Rows that hold little are left out of rho.
        """
        xp, own = array_namespace(length), self.widths
        of_all = _error_of_step(own.widest, 0.0 * own.few, length, 1.0)
        of_most = _error_of_step(own.near, own.few, length, _MOST_R)
        return xp.where(of_all < of_most, of_all, of_most)

    def remaining(self, moved: Array, step: Array) -> Any:
        """Bound of the distance to the minimum where the next Newton step is known, (b,).

        ``moved`` is the distance from the minimum of all rows. There H is at least
        ``exp(-rho moved)`` of itself, and t further on ``exp(-rho t)`` of that.
        """
        xp, own = array_namespace(step), self.widths
        of_all = _remaining(own.widest, 0.0 * own.some, moved, step)
        of_core = _remaining(own.core, own.some, moved, step)
        return xp.where(of_all < of_core, of_all, of_core)

    @property
    def typical(self) -> Any:
        """Width of a typical row, (b,)."""
        return self.widths.typical

    def expected(self, moved: Array, step: Array) -> Any:
        """The same as ``remaining`` if all rows were of typical width: no bound, (b,)."""
        exponent = self.widths.typical * moved
        xp = array_namespace(exponent)
        return step * xp.exp(xp.clip(exponent, max=_MOST_EXPONENT))

    def gain(self, distance: Array) -> Any:
        """By what part of the distance to the minimum a step with H from here errs, (b,).

        ``distance``: the largest on the way from the minimum of all rows.
        """
        xp = array_namespace(distance)
        exponent = xp.clip(self.widths.widest * distance, max=_MOST_EXPONENT)
        return xp.expm1(exponent)


def _error_of_step(rho: Array, beyond: Array, length: Array, most: float) -> Any:
    xp = array_namespace(length)
    kept = xp.where(beyond < 1, 1 - beyond, xp.nan + beyond)
    longer = length / kept
    R = rho * longer
    inside = R < most
    error = longer * _excess(xp.where(inside, R, xp.zeros_like(R))) + longer * beyond
    return xp.where(inside, error, xp.inf + xp.zeros_like(error))


def _remaining(rho: Array, beyond: Array, moved: Array, step: Array) -> Any:
    xp = array_namespace(step)
    kept = xp.where(beyond < 1, 1 - beyond, xp.nan + beyond)
    exponent = xp.clip(rho * moved, max=_MOST_EXPONENT)
    longer = xp.exp(exponent) * step / kept
    R = rho * longer
    inside = R < 1
    ratio = 1 + _excess(xp.where(inside, R, xp.zeros_like(R)))
    return xp.where(inside, longer * ratio, xp.inf + xp.zeros_like(longer))


def _excess(R: Array) -> Any:
    """``-log(1 - R) / R - 1`` for R from 0 to 1."""
    xp = array_namespace(R)
    large = xp.where(R > _SMALL_R, R, xp.ones_like(R) / 2)
    return xp.where(R > _SMALL_R, -xp.log1p(-large) / large - 1, R / 2 + R**2 / 3)


def _squared_width(A: Array, *, shifts: bool) -> Any:
    """Largest squared move of outputs, or of their differences, (b, G)."""
    xp = array_namespace(A)
    own = xp.linalg.diagonal(A)
    if shifts and A.shape[-1] > 1:
        apart = own[..., :, None] + own[..., None, :] - 2 * A
        return xp.max(apart, axis=(-2, -1))
    return xp.max(own, axis=-1)


# --- units of the estimator -------------------------------------------------------------

# Power iterations, and how much their estimate may lack.
_ITERATIONS, _LACKING = 40, 1.25


def euclidean_length(curvature: AbstractCurvature, factor: AbstractFactor) -> float:
    """Largest Euclidean length, as ``coef_`` and ``intercept_``, of a vector of length 1.

    The root of the largest eigenvalue of ``T inv(H) T'``, T to the units of the estimator.
    """
    theta, layout = curvature.theta, curvature.layout
    xp, design = array_namespace(theta), curvature.objective.design
    random = np.random.default_rng(0).normal(size=(1, *theta.shape))
    vector, value = like(random, theta), 0.0
    for _ in range(_ITERATIONS):
        there = _to_units(vector, layout, design)
        image = factor.steps(there)
        size, value = float(xp.sum(vector * there)), float(xp.sum(image * there))
        if not size > 0 or not value > 0:
            return 0.0
        value = value / size
        vector = image / xp.max(xp.abs(image))
    return sqrt(_LACKING * value)


def _to_units(vectors: Array, layout: Layout, design: Design) -> Any:
    """``T'T v`` of vectors (b, G, D)."""
    if not design.has_intercept:
        return vectors
    xp, shape = array_namespace(vectors), vectors.shape
    B = layout.unpack(vectors)  # (b, K, q)
    coef = B[..., :-1]
    intercept = B[..., -1] - coef @ design.centre
    coef = coef - intercept[..., None] * design.centre
    return xp.reshape(xp.concat([coef, intercept[..., None]], axis=-1), shape)
