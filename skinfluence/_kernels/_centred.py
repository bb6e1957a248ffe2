"""Rows centred by formula: operators that leave X as it is."""

import abc
from types import ModuleType
from typing import Any, Self

import array_api_compat.numpy as compat_numpy
import numpy as np

from skinfluence._kernels._numpy import NUMPY


class AbstractCentredRows(abc.ABC):
    """``X~ = [X - 1 centre', 1]`` as an operator; X (b, p) stays as it is.

    It multiplies dense arrays from both sides, ``rows @ V`` and ``U @ rows``, and gives
    some of its rows. Whoever needs entries asks ``dense`` of few rows.
    """

    __array_ufunc__ = None  # ndarray @ rows: NumPy is to leave that to __rmatmul__
    ndim = 2

    def __init__(self, X: Any, centre: np.ndarray, has_intercept: bool) -> None:
        self.X = X
        self.centre = centre  # (p,)
        self.has_intercept = has_intercept

    @property
    def shape(self) -> tuple[int, int]:
        """Rows b and working columns q."""
        return self.X.shape[0], self.X.shape[1] + self.has_intercept

    def __array_namespace__(self, api_version: Any = None) -> ModuleType:
        return compat_numpy

    def __len__(self) -> int:
        return self.X.shape[0]

    def __getitem__(self, key: Any) -> Self:
        rows = key[0] if isinstance(key, tuple) else key
        return type(self)(self.X[rows], self.centre, self.has_intercept)

    def __matmul__(self, vectors: np.ndarray) -> Any:
        if not self.has_intercept:
            return self.X @ vectors
        features = vectors[:-1]
        return self.X @ features + (vectors[-1] - self.centre @ features)

    def __rmatmul__(self, rows: np.ndarray) -> Any:
        product = self._pulled_back(rows)  # (p,) or (p, m)
        if not self.has_intercept:
            return product.T
        total = rows.sum(axis=-1)
        whole = np.empty((self.shape[1], *product.shape[1:]))
        np.multiply.outer(-self.centre, total, out=whole[:-1])
        whole[:-1] += product
        whole[-1] = total
        return whole.T

    def _pulled_back(self, rows: np.ndarray) -> Any:
        """``X' rows'``, by what is fastest."""
        return self.X.T @ np.ascontiguousarray(rows.T)

    def dense(self) -> np.ndarray:
        """The rows as an array (b, q)."""
        X = self._entries()
        if not self.has_intercept:
            return X
        dense = np.empty(self.shape)
        np.subtract(X, self.centre, out=dense[:, :-1])
        dense[:, -1] = 1.0
        return dense

    def _entries(self) -> Any:
        """X as an array."""
        return self.X

    def squared_columns(self, weight: np.ndarray) -> np.ndarray:
        """``sum_i weight_ik x~_ij**2``, (K, q), for weights (b, K)."""
        squares, pulls = self._squares(weight)
        if not self.has_intercept:
            return squares
        mass, c = weight.sum(axis=0)[:, None], self.centre
        return np.concatenate([squares + c * (mass * c - 2 * pulls), mass], axis=1)

    @abc.abstractmethod
    def _squares(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``weight' X**2`` and ``weight' X``, (K, p) each."""

    def squared_row_norms(self, T: np.ndarray, *, triangular: bool) -> np.ndarray:
        """Squared norms of the rows of ``X~ @ T``, (b,); T may be upper triangular."""
        return NUMPY.squared_row_norms(self.dense(), T, triangular=triangular)


def densified(block: Any) -> Any:
    """Working rows as an array (b, q): for few rows, or where q is small."""
    return block.dense() if isinstance(block, AbstractCentredRows) else block
