"""Rows that are divided by their lengths, where the columns that make them are scaled.

Tf-idf: without row i the terms of all rows have other factors, and each row another
length. In the units of the fit a row x is then ``x (1 + a)``, with ``a`` from
``(1 + a)**-p = 1 + Z ((1 + s)**p - 1)``, Z its shares of ``|x|**p`` and ``1 + s`` the
growth of each term; to first order ``a = -Z s``. On the host, where such rows are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from scipy.sparse import hstack, issparse

from skinfluence._array import Array, Rows, like, to_numpy
from skinfluence._design import Design
from skinfluence._following import Norm
from skinfluence._objective import Objective
from skinfluence.curvature import RowwiseCurvature

# Entries of an array of rows by deletions.
_ENTRIES = 2**22


@final
@dataclass(frozen=True, eq=False)
class NormedColumns:
    """Columns of some rows, with their shares of the lengths."""

    X: Any  # (m, q) dense or sparse
    norm: Norm

    @classmethod
    def of(cls, design: Design, norm: Norm) -> "NormedColumns":
        """Those of all rows of a design."""
        return cls(design.source.on_host()[:, norm.columns], norm)

    @cached_property
    def shares(self) -> Any:
        """Z, (m, q); zeros in rows without length."""
        sizes = abs(self.X)
        if self.norm.power == 2:
            sizes = _times(sizes, sizes)
        total = np.asarray(sizes.sum(axis=1)).reshape(-1, 1)
        return _times(sizes, 1 / np.where(total > 0, total, 1.0))

    def gains(self, growth: np.ndarray, linear: bool) -> np.ndarray:
        """``a`` of each row for each of b growths (b, q), (m, b)."""
        if linear:
            return -np.asarray(self.shares @ growth.T)
        return self._gains(np.asarray(self.shares @ self._powers(growth).T))

    def own_gains(self, growth: np.ndarray, linear: bool) -> np.ndarray:
        """``a`` of each row for a growth of its own, (m, q) to (m,)."""
        powers = growth if linear else self._powers(growth)
        own = np.asarray(_times(self.shares, powers).sum(axis=1)).reshape(-1)
        return -own if linear else self._gains(own)

    def _powers(self, growth: np.ndarray) -> np.ndarray:
        return growth if self.norm.power == 1 else growth * (2 + growth)

    def _gains(self, more: np.ndarray) -> np.ndarray:
        return np.expm1(-np.log1p(more) / self.norm.power)

    def outputs(self, objective: Objective, theta: Array) -> np.ndarray:
        """Their part of the outputs at theta (b, G, D), (m, K, b)."""
        own = self._coefficients(objective, theta)
        flat = own.reshape(-1, own.shape[-1])
        outputs = np.asarray(self.X @ flat.T).reshape(-1, *own.shape[:2])
        return outputs.transpose(0, 2, 1)

    def own_outputs(self, objective: Objective, theta: Array) -> np.ndarray:
        """The part of each row at a theta of its own (m or 1, G, D), (m, K)."""
        own = self._coefficients(objective, theta)
        parts = (_times(self.X, own[:, k]) for k in range(own.shape[1]))
        return np.stack([np.asarray(x.sum(axis=1)).reshape(-1) for x in parts], axis=1)

    def _coefficients(self, objective: Objective, theta: Array) -> np.ndarray:
        """Of these columns, (b, K, q)."""
        coef, _ = objective.design.to_estimator(objective.layout.unpack(theta))
        return to_numpy(coef)[..., self.norm.columns]


def _times(X: Any, factors: Any) -> Any:
    """Entries times factors that broadcast, dense or sparse as X is."""
    return X.multiply(factors).tocsr() if issparse(X) else X * factors


def norm_outputs(
    objective: Objective,
    design: Design,
    rows: Rows,
    theta: Array,
    growth: Array,
    linear: bool,
) -> Any:
    """What rows gain by their lengths, at theta (b or 1, G, D) of b groups, (m, K, b)."""
    total: Any = 0.0
    for columns, own in _by_norm(objective, design.take(rows), growth):
        gains = columns.gains(own, linear)
        total = total + columns.outputs(objective, theta) * gains[:, None, :]
    return like(total, theta)


def own_norm_outputs(
    objective: Objective, rows: Rows, theta: Array, growth: Array, linear: bool
) -> Any:
    """The same of training rows by what is learned without each, (b, K)."""
    total: Any = 0.0
    for columns, own in _by_norm(objective, objective.design.take(rows), growth):
        gains = columns.own_gains(own, linear)
        total = total + gains[:, None] * columns.own_outputs(objective, theta)
    return like(total, theta)


def norm_derivatives(
    objective: Objective, design: Design, theta: Array, slopes: Array
) -> Any:
    """Derivatives in the growths of what rows of these slopes (m, K) gain, (m, q)."""
    parts = []
    for norm in objective.norms:
        columns = NormedColumns.of(design, norm)
        own = columns.outputs(objective, theta[None, ...])[..., 0]  # (m, K)
        pulled = np.sum(to_numpy(slopes) * own, axis=1)[:, None]
        parts.append(_times(columns.shares, -pulled))
    if len(parts) == 1:
        return parts[0]
    return hstack(parts, "csr") if issparse(parts[0]) else np.hstack(parts)


def _by_norm(
    objective: Objective, design: Design, growth: Array
) -> Iterator[tuple[NormedColumns, np.ndarray]]:
    """Columns of each norm of some rows, and how they grow, of (b, q) in all."""
    parts = _split(to_numpy(growth), objective.norms)
    for norm, own in zip(objective.norms, parts, strict=True):
        yield NormedColumns.of(design, norm), own


def _split(growth: np.ndarray, norms: tuple[Norm, ...]) -> list[np.ndarray]:
    """Growths (b, q) of the columns of each norm."""
    ends = np.cumsum([len(norm.columns) for norm in norms])
    return np.split(growth, ends[:-1], axis=1)


@final
@dataclass(frozen=True, eq=False)
class NormedRows:
    """What the training rows pull when their lengths change."""

    objective: Objective
    columns: list[NormedColumns]
    slopes: np.ndarray  # (n, K) weighted gradients of the losses
    bent: list[np.ndarray]  # (n, K) weighted second derivatives times the own outputs

    @classmethod
    def of(cls, curvature: RowwiseCurvature) -> "NormedRows":
        """At the point of a curvature."""
        objective, theta = curvature.objective, curvature.theta
        layout, loss, y = objective.layout, objective.loss, objective.targets
        u, s = curvature.first_order.outputs, to_numpy(objective.weight)
        M = to_numpy(loss.hessian(y, u))
        columns = [NormedColumns.of(objective.design, norm) for norm in objective.norms]
        bent = []
        for each in columns:
            own = each.outputs(objective, theta[None, ...])[..., 0]
            grouped = np.asarray(layout.grouped(own))
            product = np.matmul(M, grouped[..., None])[..., 0]
            bent.append(s[:, None] * np.asarray(layout.ungrouped(product)))
        slopes = s[:, None] * to_numpy(loss.gradient(y, u))
        return cls(objective, columns, slopes, bent)

    def tilts(self, growth: Array, leaving: list[np.ndarray] | None) -> Any:
        """What the gradient gains by growths (b, q), (b, G, D).

        Of the rows but those ``leaving`` with each, if given: else to first order.
        """
        host, place = to_numpy(growth), self.objective.weight
        size = max(_ENTRIES // max(self.objective.n_rows, 1), 1)
        parts = []
        for first in range(0, len(host), size):
            some = slice(first, first + size)
            gone = None if leaving is None else leaving[some]
            parts.append(self._tilts(host[some], gone))
        layout = self.objective.layout
        table = np.concatenate(parts)  # (b, K, q)
        return like(table.reshape(len(table), layout.n_groups, layout.size), place)

    def _tilts(
        self, growth: np.ndarray, leaving: list[np.ndarray] | None
    ) -> np.ndarray:
        design, layout = self.objective.design, self.objective.layout
        X, p = design.source.on_host(), design.n_features
        used = np.arange(p) if design.columns is None else to_numpy(design.columns)
        centre = to_numpy(design.centre)
        n_used = len(used)
        total = np.zeros((len(growth), layout.n_outputs, layout.width))
        parts = _split(growth, self.objective.norms)
        for columns, bent, own in zip(self.columns, self.bent, parts, strict=True):
            gains = columns.gains(own, leaving is None)
            for k, rows in enumerate(leaving or []):
                gains[rows, k] = 0.0
            for c in range(layout.n_outputs):
                moved = gains * bent[:, [c]]
                wide, sums = np.asarray(X.T @ moved), moved.sum(axis=0)
                pulled = columns.X.T @ (gains * self.slopes[:, [c]])
                wide[columns.norm.columns] += np.asarray(pulled)
                total[:, c, :n_used] += wide[used].T - sums[:, None] * centre
                if design.has_intercept:
                    total[:, c, -1] += sums
        return total
