"""Dual solver: a matrix of n Kb rows in place of one of D columns, for n Kb < D.

With ``Z = R' X~`` the rows scaled by roots of their second derivatives, ``M_i = R_i R_i'``,
and P the penalty, ``H = Z'Z + P``. Woodbury's identity on the penalised entries E leaves
``N = I + Z_E inv(P) Z_E'``; the unpenalised ones U (intercepts) border it, with the Schur
complement ``S = Z_U' inv(N) Z_U``. So do the few that rows hold many times as hard as
the penalty and as the others (a column in another unit), or they would take the digits of
N; their penalty stands in S. No (D, D) matrix is ever made.

References
----------
.. [1] Hager (1989). Updating the inverse of a matrix. :doi:`10.1137/1031049`.
.. [2] Hastie & Tibshirani (2004). Efficient quadratic regularization for expression
   arrays. :doi:`10.1093/biostatistics/kxh010`.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    like,
    masked,
    of_group,
    placed,
    take_rows,
)
from skinfluence._design import Design
from skinfluence._kernels import densified, kernels
from skinfluence._rows import map_over_rows
from skinfluence.curvature import AbstractCurvature, Shifts, row_roots
from skinfluence.exceptions import IndefiniteCurvatureError, InvalidParameterError
from skinfluence.solvers._base import AbstractFactor, AbstractSolver, Solution
from skinfluence.solvers._cholesky import Cholesky
from skinfluence.solvers._condition import penalised_condition

# Eigenvalues of the Schur complement below this, relative to the largest, are gauge.
_RANK_TOLERANCE = 1e-11
# 1 - h is known to rounding; a leverage h above this keeps all digits that matter.
_LEAST_LEVERAGE = 1e-3
# Where N spreads wider than this, a solution is refined once by its own residual.
_WELL_CONDITIONED = 1e5
# Columns of the inverse of N pulled back at once.
_COLUMNS = 256
# Entries that rows hold this much harder than the penalty does, and than the median of
# the others, border N, if they are few.
_HELD_BY_ROWS, _HELD_BY_FAR, _MOST_HELD = 1e5, 1e4, 64
# Rows that depend on each other more than the first take six digits of N; rows
# that weigh more than the second beside the penalty, all of ``inv(P)`` less a product.
# H is factored in place of N then, up to this many columns: a few seconds, and 2 GiB.
_MOST_DEPENDENCE, _MOST_SPREAD, _MOST_DIRECT = 1e6, 1e15, 8192
_NOT_DEFINITE = (
    "The matrix of the rows is not positive definite: solver='dual' needs a loss without "
    "negative second derivatives, and a penalty that rounding does not hide beside the "
    "rows. Use solver='direct' or 'cg', or penalise more."
)
# Power iterations on the matrix of the rows.
_DOMINANT_STEPS = 8


@final
@dataclass(frozen=True)
class Dual(AbstractSolver):
    """Factor the (n Kb, n Kb) matrix of the rows of each group; needs a penalty.

    Cost: ``n**2 p`` flops for the Gram matrix of the rows, ``2 (n Kb)**3 / 3`` for its
    factor and the inverse of that, ``2 n p + (n Kb)**2`` for a solve. Where the penalty
    is so small beside the rows, and they so dependent, that it would lose the digits of a
    solution, H itself is factored if it has few columns.
    """

    name: ClassVar[str] = "dual"

    def prepare(self, curvature: AbstractCurvature) -> AbstractFactor:
        strength, xp = curvature.diagonal_part, array_namespace(curvature.diagonal_part)
        if not bool(xp.any(strength > 0)):
            raise InvalidParameterError(
                "solver='dual' inverts the penalty, but this model has none. Use "
                "solver='direct', or 'cg' where the Hessian does not fit in memory."
            )
        M = curvature.row_hessians(slice(None))  # (n, G or 1, Kb, Kb)
        n_own = max(strength.shape[0], M.shape[1])
        bends = [of_group(M, g, axis=1) for g in range(n_own)]
        groups = []
        for g, bend in enumerate(bends):
            group = _group(curvature, g, bend)
            if (group is None or group.is_coarse) and curvature.size <= _MOST_DIRECT:
                return Cholesky().prepare(curvature)
            if group is None:
                raise IndefiniteCurvatureError(_NOT_DEFINITE)
            groups.append(group)
        return DualFactor(curvature, groups)


class _Group(NamedTuple):
    """One group of coupled outputs, prepared."""

    inverse_strength: Any  # (D,) 1 / P on the entries E, else 0
    border: Any  # (D, z) unit vectors of the entries U
    roots: Any  # (n, Kb, r) R_i
    T: Any  # (n r, n r) with T T' = inv(N)
    remainder: Any  # (n r,) diagonal of Q = inv(N) - inv(N) Z_U inv(S) Z_U' inv(N)
    dependence: float  # largest product of it with the diagonal of N, free of units
    pulled: Any  # (n r, z) inv(N) Z_U
    inverse_schur: Any  # (z, z) inv(S), on the quotient by the gauge
    rank_deficient: bool
    spread: float  # largest diagonal entry of N, whose smallest eigenvalue is 1
    steepest: Any  # (n, Kb) R_i w_i, w near the eigenvector of N's largest eigenvalue

    @property
    def is_coarse(self) -> bool:
        """Whether rounding takes six digits of a solution or more."""
        return self.dependence > _MOST_DEPENDENCE or self.spread > _MOST_SPREAD

    def inner(self, moves: Array, border: Array) -> tuple[Any, Any]:
        """From ``X~ inv(P) c`` (n, Kb, m) and ``c_U`` (z, m): weights of rows, ``x_U``."""
        xp = array_namespace(moves)
        n, r = self.roots.shape[0], self.roots.shape[2]
        w = xp.matmul(xp.matrix_transpose(self.roots), moves)  # (n, r, m)
        w = xp.reshape(w, (n * r, w.shape[2]))
        x_U = self.inverse_schur @ (border - self.pulled.T @ w)
        a = self.T @ (self.T.T @ w) + self.pulled @ x_U
        return xp.matmul(self.roots, xp.reshape(a, (n, r, -1))), x_U


class _WithinRows(NamedTuple):
    """A solve of one group, as the rows see it."""

    group: _Group
    moves: Any  # (n, Kb, m) X~ inv(P) c
    border: Any  # (z, m) c_U
    slope: Any  # (n, Kb, m) weights of the rows
    x_U: Any  # (z, m)


@final
@dataclass(frozen=True, eq=False)
class DualFactor(AbstractFactor):
    """``inv(H)`` as ``inv(P)`` less a product through the rows."""

    groups: list[_Group]  # G of them, or one for all
    affordable: ClassVar[int] = 100
    has_leverages: ClassVar[bool] = True

    @property
    def _all_groups(self) -> list[_Group]:
        """One for each group."""
        every = range(self.layout.n_groups)
        return [self.groups[min(g, len(self.groups) - 1)] for g in every]

    @cached_property
    def condition(self) -> float:
        xp = array_namespace(self.curvature.theta)
        slopes = [group.steepest for group in self._all_groups]
        slope = xp.concat(slopes, axis=1)  # (n, K)
        steepest = self.curvature.objective.pulled_back(slope)
        return penalised_condition(self.curvature, steepest)

    @cached_property
    def effective_dof(self) -> float:  # the trace of I - Q
        xp = array_namespace(self.curvature.theta)
        total = sum(float(xp.sum(1 - group.remainder)) for group in self.groups)
        return total * self.layout.n_groups / len(self.groups)

    @cached_property
    def rank_deficient(self) -> bool:
        return any(group.rank_deficient for group in self.groups)

    @property
    def _ill_conditioned(self) -> bool:
        return max(group.spread for group in self.groups) > _WELL_CONDITIONED

    def norm(self, vectors: Array) -> Any:
        if self._ill_conditioned:
            return super().norm(vectors)
        xp = array_namespace(vectors)
        squared = 0.0 * vectors[0, 0, :]
        for g, part in enumerate(self._within_rows(vectors)):  # no step of length D
            scale = part.group.inverse_strength[:, None]
            squared = squared + xp.sum(scale * vectors[g, ...] ** 2, axis=0)
            squared = squared - xp.sum(part.moves * part.slope, axis=(0, 1))
            squared = squared + xp.sum(part.border * part.x_U, axis=0)
        return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))

    def solve(self, rhs: Array) -> Solution:
        value = self._once(rhs)
        if self._ill_conditioned:
            # In the span of the rows, entries are a difference of larger ones.
            left = self.curvature.within(rhs - self.curvature.matvec(value))
            value = value + self._once(left)
        return Solution.exact(value)

    def _once(self, rhs: Array) -> Any:
        parts, xp = self._within_rows(rhs), array_namespace(rhs)
        slope = xp.stack([part.slope for part in parts], axis=1)  # (n, G, Kb, m)
        slope = xp.reshape(slope, (slope.shape[0], -1, rhs.shape[-1]))
        scale = xp.stack([part.group.inverse_strength for part in parts])[..., None]
        borders = xp.stack([part.group.border @ part.x_U for part in parts])
        return scale * (rhs - self.curvature.objective.lifted_sum(slope)) + borders

    def _within_rows(self, rhs: Array) -> "list[_WithinRows]":
        """Of each group, what ``inv(H) rhs`` needs of the rows; one pass over them."""
        layout, xp, own = self.layout, array_namespace(rhs), self._all_groups
        scale = xp.stack([group.inverse_strength for group in own])[..., None]
        moves = self.curvature.objective.moves(scale * rhs)  # (n, K, m)
        shape = (moves.shape[0], layout.n_groups, layout.group_size, rhs.shape[-1])
        moves = xp.reshape(moves, shape)
        parts = []
        for g, group in enumerate(own):
            c_U = group.border.T @ rhs[g, ...]
            slope, x_U = group.inner(moves[:, g, :, :], c_U)
            parts.append(_WithinRows(group, moves[:, g, :, :], c_U, slope, x_U))
        return parts

    def diagonal_of_inverse(self) -> Any:
        """``inv(P)`` less what the rows know, and the intercepts': n D numbers."""
        xp, own = array_namespace(self.curvature.theta), self._all_groups
        scale = xp.stack([group.inverse_strength for group in own])  # (G, D)
        known, n_columns = xp.zeros_like(scale), own[0].T.shape[0]
        for first in range(0, n_columns, _COLUMNS):
            columns = slice(first, min(first + _COLUMNS, n_columns))
            pulled = self._pulled_back([group.T[:, columns] for group in own])
            known = known + xp.sum(pulled**2, axis=-1)
        diagonal = scale - scale**2 * known
        pulled = scale[..., None] * self._pulled_back([group.pulled for group in own])
        for g, group in enumerate(own):
            border = group.border - pulled[g, ...]  # (D, z)
            unpenalised = xp.sum((border @ group.inverse_schur) * border, axis=1)
            diagonal[g, :] = diagonal[g, :] + unpenalised
        # What the rows know all about has lost its digits in the difference.
        if bool(xp.any(diagonal < _LEAST_LEVERAGE * scale)):
            return super().diagonal_of_inverse()
        return diagonal

    def _pulled_back(self, weights: list[Any]) -> Any:
        """``Z' A`` for weights A of each group's rows, (n r, m), as (G, D, m)."""
        xp, slopes = array_namespace(weights[0]), []
        for group, weight in zip(self._all_groups, weights, strict=True):
            n, _, r = group.roots.shape
            slopes.append(xp.matmul(group.roots, xp.reshape(weight, (n, r, -1))))
        return self.curvature.objective.lifted_sum(xp.concat(slopes, axis=1))

    def row_blocks_of_inverse(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        if share is not None:
            return super().row_blocks_of_inverse(block, share)
        if rows is None or self.layout.group_size > 1:
            return self._by_products(block)
        return self._by_remainders(block, rows)

    def loss_blocks(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        return self.row_blocks_of_inverse(block, share, rows)

    def _by_remainders(self, block: Array, rows: Rows) -> Any:
        """Training rows have ``M_i A_i = I - Q_ii``: nothing left to multiply."""
        columns, xp = [], array_namespace(self.curvature.theta)
        for group in self.groups:
            root = take_rows(group.roots[:, 0, 0], rows)
            q = take_rows(group.remainder, rows)
            large = 1 - q > _LEAST_LEVERAGE
            safe = xp.where(large, root, xp.ones_like(root))
            columns.append(xp.where(large, (1 - q) / safe**2, xp.nan * q))
        A = xp.stack(columns, axis=1)[:, :, None, None]
        # Small leverages have lost digits in 1 - Q_ii.
        small = xp.any(xp.isnan(A), axis=(1, 2, 3))
        if not bool(xp.any(small)):
            return A
        exact = self._by_products(masked(densified(block), small))
        return xp.where(small[:, None, None, None], placed(exact, small), A)

    def _by_products(self, block: Array) -> Any:
        dense = densified(block)
        parts = [self._products(dense, group) for group in self.groups]
        return array_namespace(dense).stack(parts, axis=1)

    def _products(self, block: Array, group: _Group) -> Any:
        """``A_i`` of any rows (b, q) in one group, (b, Kb, Kb)."""
        xp = array_namespace(block)
        Kb, q, b = self.layout.group_size, self.layout.width, block.shape[0]
        n, r = group.roots.shape[0], group.roots.shape[2]
        scale = xp.reshape(group.inverse_strength, (Kb, q))
        border = xp.reshape(group.border, (Kb, q, group.border.shape[1]))
        total = []
        for k in range(Kb):
            cross = _times(self.curvature.objective.design, (block * scale[k, :]).T)
            w = group.roots[:, k, None, :] * cross[:, :, None]  # (n, b, r)
            w = xp.reshape(xp.permute_dims(w, (1, 0, 2)), (b, n * r))
            total.append((w @ group.T, block @ border[k, ...] - w @ group.pulled))
        half = xp.stack([part for part, _ in total], axis=1)  # (b, Kb, n r)
        left = xp.stack([part for _, part in total], axis=1)  # (b, Kb, z)
        A = xp.matmul(left @ group.inverse_schur, xp.matrix_transpose(left))
        A = A - xp.matmul(half, xp.matrix_transpose(half))
        own = (block**2) @ scale.T  # (b, Kb)
        eye = xp.eye(Kb, dtype=own.dtype, device=device_of(own))
        return A + own[..., None] * eye


def _group(curvature: AbstractCurvature, g: int, bend: Array) -> _Group | None:
    """One group; None where its N is not positive definite to rounding."""
    objective, strength = curvature.objective, of_group(curvature.diagonal_part, g)
    xp = array_namespace(strength)
    penalised = (strength > 0) & ~_held_by_rows(curvature, g)
    bordering = ~penalised
    if curvature.moving is not None:
        bordering = bordering & of_group(curvature.moving, g)
    safe = xp.where(penalised, strength, xp.ones_like(strength))
    inverse = xp.where(penalised, 1 / safe, xp.zeros_like(strength))
    entries = xp.arange(curvature.size, device=device_of(strength))
    units = entries[:, None] == xp.nonzero(bordering)[0][None, :]
    border = xp.astype(units, strength.dtype)  # (D, z)
    roots = row_roots(bend)
    N = _inner_matrix(objective.design, inverse, roots)
    own = 1 * xp.linalg.diagonal(N)  # a copy
    spread = float(xp.max(own))
    steepest = xp.reshape(_dominant(N), (roots.shape[0], -1, 1))
    steepest = xp.matmul(roots, steepest)[..., 0]
    T = kernels(N).inverse_root_in_place(N)
    if T is None:
        return None
    norms = xp.concat(  # by blocks: no second matrix of this size
        [
            xp.sum(T[first : min(first + _COLUMNS, T.shape[0]), :] ** 2, axis=1)
            for first in range(0, T.shape[0], _COLUMNS)
        ]
    )
    half = T.T @ _bordering_rows(objective.design, border, roots)  # (n r, z)
    S = half.T @ half + border.T @ (strength[:, None] * border)
    inverse_schur, rank = _pseudo_inverse(S)
    shifts, n_shifts = _shifts_within(curvature, g, bordering), 0
    if shifts is not None:
        n_shifts = shifts.count
        for _ in range(2):  # from the left, and from the right
            wide = shifts.without((border @ inverse_schur)[None, ...])[0, ...]
            inverse_schur = (border.T @ wide).T
    deficient = rank < border.shape[1] - n_shifts
    pulled = T @ half
    remainder = norms - xp.sum((pulled @ inverse_schur) * pulled, axis=1)
    return _Group(
        inverse,
        border,
        roots,
        T,
        remainder,
        float(xp.max(own * remainder)),
        pulled,
        inverse_schur,
        deficient,
        spread,
        steepest,
    )


def _held_by_rows(curvature: AbstractCurvature, g: int) -> Any:
    """Penalised entries of a group that belong to the border, (D,) bool."""
    strength = of_group(curvature.diagonal_part, g)
    xp, penalised = array_namespace(strength), strength > 0
    safe = xp.where(penalised, strength, xp.ones_like(strength))
    ratio = xp.where(penalised, of_group(curvature.diagonal(), g) / safe, 0.0)
    others = xp.sort(masked(ratio, penalised))
    median = others[others.shape[0] // 2] if others.shape[0] else 0.0
    held = (ratio > _HELD_BY_ROWS) & (ratio > _HELD_BY_FAR * median)
    table = xp.reshape(held, (curvature.layout.group_size, -1))
    table = xp.broadcast_to(xp.any(table, axis=0, keepdims=True), table.shape)
    held = xp.reshape(table, held.shape) & penalised  # of all outputs alike
    few = int(xp.count_nonzero(held)) <= min(_MOST_HELD, curvature.objective.n_rows)
    return held if few else xp.zeros_like(held)


def _shifts_within(
    curvature: AbstractCurvature, g: int, bordering: Array
) -> Shifts | None:
    """Shifts of a group whose entries are all in the border: S need not see them."""
    if curvature.shifts is None:
        return None
    shifts, xp = curvature.shifts.of_group(g), array_namespace(bordering)
    whole = xp.all(xp.reshape(bordering, (curvature.layout.group_size, -1)), axis=0)
    return replace(shifts, present=shifts.present * xp.astype(whole, xp.float64))


def _dominant(N: Any) -> Any:
    """About the eigenvector of the largest eigenvalue, (n r,): a few cheap products."""
    xp = array_namespace(N)
    vector = like(np.random.default_rng(0).normal(size=N.shape[0]), N)
    for _ in range(_DOMINANT_STEPS):
        vector = N @ vector
        vector = vector / xp.sqrt(xp.sum(vector**2))
    return vector


def _inner_matrix(design: Design, inverse_strength: Array, roots: Array) -> Any:
    """``N = I + Z_E inv(P) Z_E'``, (n r, n r), in memory that may be overwritten."""
    xp = array_namespace(roots)
    n, Kb, r = roots.shape
    scale = xp.reshape(inverse_strength, (Kb, -1))
    framed = kernels(roots).framed_identity
    if Kb == 1:
        gram, kept = design.row_gram(scale[0, :])
        return framed(gram, roots[:, 0, 0], overwrite=not kept)
    total, alike = None, bool(xp.all(scale == scale[:1, :]))
    if alike:  # one Gram matrix for all outputs: their roots' products stand before it
        flat = xp.reshape(xp.permute_dims(roots, (1, 0, 2)), (Kb, n * r))
        total = kernels(flat).products_of_rows(flat.T)
        total *= _spread_out(design.row_gram(scale[0, :])[0], r)
    else:
        total = xp.zeros((n * r, n * r), dtype=roots.dtype, device=device_of(roots))
        for k in range(Kb):
            flat = xp.reshape(roots[:, k, :], (n * r,))
            gram = _spread_out(design.row_gram(scale[k, :])[0], r)
            total += flat[:, None] * gram * flat[None, :]
    return framed(total, xp.ones_like(total[0, :]), overwrite=True)


def _spread_out(gram: Array, r: int) -> Any:
    """Each entry r times along both axes."""
    xp = array_namespace(gram)
    return xp.repeat(xp.repeat(gram, r, axis=0), r, axis=1)


def _bordering_rows(design: Design, border: Array, roots: Array) -> Any:
    """``Z_U``: rows of the unpenalised entries, (n r, z)."""
    xp = array_namespace(roots)
    n, Kb, r = roots.shape
    z = border.shape[1]
    parts = xp.reshape(border, (Kb, border.shape[0] // Kb, z))
    if design.has_intercept and not bool(xp.any(parts[:, :-1, :] != 0)):
        last = xp.astype(parts[:, -1, :], roots.dtype)  # intercepts: no pass over X
        outputs = xp.broadcast_to(last, (n, Kb, z))
    else:
        columns = [_times(design, parts[k, ...]) for k in range(Kb)]
        outputs = xp.stack(columns, axis=1)
    return xp.reshape(xp.matmul(xp.matrix_transpose(roots), outputs), (n * r, z))


def _times(design: Design, vectors: Array) -> Any:
    """Training rows times vectors (q, m) of one output, (n, m)."""
    return map_over_rows(lambda block: block @ vectors, design)


def _pseudo_inverse(S: Any) -> tuple[Any, int]:
    """A generalised inverse of a small symmetric matrix, and its rank."""
    xp = array_namespace(S)
    if S.shape[0] == 0:
        return S, 0
    diagonal = xp.linalg.diagonal(S)
    scale = xp.sqrt(xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)))
    values, vectors = xp.linalg.eigh(S / scale[:, None] / scale)
    kept = values > _RANK_TOLERANCE * values[-1]
    inverse = xp.where(kept, 1 / xp.where(kept, values, xp.ones_like(values)), 0.0)
    vectors = vectors / scale[:, None]
    return (vectors * inverse) @ vectors.T, int(xp.sum(xp.astype(kept, xp.int64)))
