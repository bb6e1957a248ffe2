"""Rows centred by formula: operators that leave X as it is."""

import abc
from types import ModuleType
from typing import Any, Self, final

import array_api_compat.numpy as compat_numpy
import numpy as np


class AbstractCentredRows(abc.ABC):
    """``X~ = [X - 1 centre', 1]`` as an operator; X (b, p) stays as it is.

    It multiplies dense arrays from both sides, ``rows @ V`` and ``U @ rows``, and gives
    some of its rows. Whoever needs entries asks ``densified`` for few rows.
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

    @abc.abstractmethod
    def dense(self) -> Any:
        """The rows as an array (b, q)."""


@final
class ShiftedRows(AbstractCentredRows):
    """Dense NumPy rows, for columns whose spread is not far below their mean."""

    def _pulled_back(self, rows: np.ndarray) -> Any:
        # Threads overlap in np.dot; where a row is multiplied by @, they do not.
        return np.dot(rows, self.X).T

    def dense(self) -> Any:
        dense = np.empty(self.shape)
        dense[:, -1] = 1.0
        p = self.centre.shape[0]
        np.subtract(self.X, self.centre, out=dense[:, :p])
        return dense


@final
class SparseRows(AbstractCentredRows):
    """Rows of a CSR array in float64, never densified.

    ``frequent`` tells columns (p,) with so many entries that they are dense in all but
    name, where there are any.
    """

    def __init__(
        self, X: Any, centre: np.ndarray, has_intercept: bool, frequent: Any = None
    ) -> None:
        super().__init__(X, centre, has_intercept)
        self.frequent = frequent

    def __getitem__(self, key: Any) -> Self:
        part = super().__getitem__(key)
        part.frequent = self.frequent
        return part

    def dense(self) -> Any:
        if not self.has_intercept:
            return self.X.toarray()
        dense = np.empty(self.shape)
        dense[:, -1] = 1.0
        dense[:, :-1] = self.X.toarray()
        dense[:, :-1] -= self.centre
        return dense


def densified(block: Any) -> Any:
    """Working rows as an array (b, q): for few rows, or where q is small."""
    return block.dense() if isinstance(block, AbstractCentredRows) else block
