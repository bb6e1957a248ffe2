"""Rows that are divided by their lengths, where the columns that make them are scaled.

Tf-idf: without row i the terms of all rows have other factors, and each row another
length. In the units of the fit a row x is then ``x (1 + a)``, with ``a`` from
``(1 + a)**-p = 1 + Z ((1 + s)**p - 1)``, Z its shares of ``|x|**p`` and ``1 + s`` the
growth of each term; to first order ``a = -Z s``. On the host, where such rows are.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from scipy.sparse import issparse

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
    def of(
        cls, design: Design, norm: Norm, rows: Rows | None = None
    ) -> "NormedColumns":
        """Those of a design, of all of its rows or some."""
        X = design.source.on_host()
        X = (
            X
            if rows is None
            else X[rows if isinstance(rows, slice) else to_numpy(rows)]
        )
        return cls(X[:, norm.columns], norm)

    @cached_property
    def shares(self) -> Any:
        """Z, (m, q); zeros in rows without length."""
        sizes = abs(self.X)
        sizes = (
            sizes.multiply(sizes)
            if issparse(sizes) and self.norm.power == 2
            else (sizes if self.norm.power == 1 else sizes**2)
        )
        total = np.asarray(sizes.sum(axis=1)).reshape(-1, 1)
        scale = 1 / np.where(total > 0, total, 1.0)
        return sizes.multiply(scale).tocsr() if issparse(sizes) else sizes * scale

    def gains(self, growth: np.ndarray, linear: bool) -> np.ndarray:
        """``a`` of each row for each of b growths (b, q), (m, b)."""
        if linear:
            return -np.asarray(self.shares @ growth.T)
        return self._gains(np.asarray(self.shares @ self._powers(growth).T))

    def own_gains(self, growth: np.ndarray, linear: bool) -> np.ndarray:
        """``a`` of each row for a growth of its own, (m, q) to (m,)."""
        powers = growth if linear else self._powers(growth)
        Z = self.shares
        own = (
            Z.multiply(powers).sum(axis=1) if issparse(Z) else (Z * powers).sum(axis=1)
        )
        own = np.asarray(own).reshape(-1)
        return -own if linear else self._gains(own)

    def _powers(self, growth: np.ndarray) -> np.ndarray:
        return growth if self.norm.power == 1 else growth * (2 + growth)

    def _gains(self, more: np.ndarray) -> np.ndarray:
        return np.expm1(-np.log1p(more) / self.norm.power)

    def outputs(self, objective: Objective, theta: Array) -> np.ndarray:
        """Their part of the outputs at theta (b, G, D), (m, K, b)."""
        coef, _ = objective.design.to_estimator(objective.layout.unpack(theta))
        own = to_numpy(coef)[..., self.norm.columns]  # (b, K, q)
        flat = own.reshape(-1, own.shape[-1])
        outputs = np.asarray(self.X @ flat.T).reshape(-1, *own.shape[:2])
        return outputs.transpose(0, 2, 1)


def norm_outputs(
    objective: Objective,
    design: Design,
    rows: Rows,
    theta: Array,
    growth: Array,
    linear: bool,
) -> Any:
    """What rows gain by their lengths, at theta (b or 1, G, D) of b groups, (m, K, b)."""
    total, first, host = 0.0, 0, to_numpy(growth)
    for norm in objective.norms:
        columns = NormedColumns.of(design, norm, rows)
        own = slice(first, first + len(norm.columns))
        gains = columns.gains(host[:, own], linear)
        total = total + columns.outputs(objective, theta) * gains[:, None, :]
        first = own.stop
    return like(total, theta)


def own_norm_outputs(
    objective: Objective, rows: Rows, theta: Array, growth: Array, linear: bool
) -> Any:
    """The same of training rows by what is learned without each, (b, K)."""
    total, first, host = 0.0, 0, to_numpy(growth)
    for norm in objective.norms:
        columns = NormedColumns.of(objective.design, norm, rows)
        own = slice(first, first + len(norm.columns))
        gains = columns.own_gains(host[:, own], linear)
        coef, _ = objective.design.to_estimator(objective.layout.unpack(theta))
        part = to_numpy(coef)[..., norm.columns]  # (b, K, q)
        X = columns.X.toarray() if issparse(columns.X) else np.asarray(columns.X)
        total = total + gains[:, None] * np.sum(part * X[:, None, :], axis=2)
        first = own.stop
    return like(total, theta)


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
        total = np.zeros((len(growth), layout.n_outputs, layout.width))
        first = 0
        for columns, bent in zip(self.columns, self.bent, strict=True):
            own = slice(first, first + len(columns.norm.columns))
            gains, first = columns.gains(growth[:, own], leaving is None), own.stop
            for k, rows in enumerate(leaving or []):
                gains[rows, k] = 0.0
            for c in range(layout.n_outputs):
                moved, pulled = (
                    gains * bent[:, c : c + 1],
                    gains * self.slopes[:, c : c + 1],
                )
                wide = np.asarray(X.T @ moved)
                direct = np.asarray(columns.X.T @ pulled)
                wide[columns.norm.columns] += direct
                total[:, c, : len(used)] += wide[used].T
                sums = moved.sum(axis=0)
                total[:, c, : len(used)] -= sums[:, None] * centre
                if design.has_intercept:
                    total[:, c, -1] += sums
        return total
