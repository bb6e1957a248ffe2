"""Totals ``sum_i w_it x_i x_i'`` for several weights of each row at once."""

import abc
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from skinfluence._array import Array, array_namespace
from skinfluence._kernels._centred import densified
from skinfluence._kernels._generic import AbstractKernels

# Weights from which all products of two columns are worth forming, and the most columns.
_LEAST_WEIGHTS, _MOST_WIDTH = 15, 80
# Products of columns that are formed at a time, 4 MiB: a product of matrices is fast
# where both have hundreds of rows.
_PRODUCTS = 2**19


class AbstractGrams(abc.ABC):
    """T weighted Gram matrices (q, q), added up block by block."""

    @property
    def exact(self) -> bool:
        """Whether the totals have kept their digits."""
        return True

    @abc.abstractmethod
    def add(self, block: Array, weights: Array) -> None:
        """Add the rows (b, q) of a block with their weights (b, T)."""

    @abc.abstractmethod
    def finished(self) -> list[Any]:
        """The T totals as full symmetric matrices."""

    @abc.abstractmethod
    def __add__(self, other: Any) -> Any:
        """Totals of these rows and those."""


@final
@dataclass(eq=False)
class SeparateGrams(AbstractGrams):
    """One symmetric product for each weight."""

    totals: list[Any]
    kernel: AbstractKernels[Any]

    def add(self, block: Array, weights: Array) -> None:
        columns = array_namespace(weights).asarray(weights.T, copy=True)  # contiguous
        for t, total in enumerate(self.totals):
            self.totals[t] = self.kernel.add_gram(total, block, columns[t, :])

    def finished(self) -> list[Any]:
        return [self.kernel.finished_gram(total) for total in self.totals]

    def __add__(self, other: Any) -> "SeparateGrams":
        pairs = zip(self.totals, other.totals, strict=True)
        return SeparateGrams([a + b for a, b in pairs], self.kernel)


@final
class PairwiseGrams(AbstractGrams):
    """All weights in one product: weights' (T, b) by products of two columns (b, Q).

    The Khatri-Rao form: ``Q = q (q + 1) / 2`` products of columns are formed once for
    all T weights. Dense NumPy rows.
    """

    def __init__(self, total: Array, width: int) -> None:
        self.total, self.width = total, width  # (T, Q)
        size = max(_PRODUCTS // total.shape[1], 32)
        self._products = np.empty((total.shape[1], size))

    @classmethod
    def empty(cls, n_weights: int, width: int) -> "PairwiseGrams":
        """Zero totals."""
        return cls(np.zeros((n_weights, width * (width + 1) // 2)), width)

    def add(self, block: Array, weights: Array) -> None:
        block, size = densified(block), self._products.shape[1]
        for first in range(0, block.shape[0], size):
            part = slice(first, min(first + size, block.shape[0]))
            products = self._products[:, : part.stop - first]
            _multiply_pairs(block[part].T.copy(), products)
            self.total += np.dot(weights[part].T, products.T)

    def finished(self) -> list[Any]:
        full = np.empty((self.total.shape[0], self.width, self.width))
        first = 0
        for i in range(self.width):
            part = self.total[:, first : first + self.width - i]
            full[:, i, i:] = full[:, i:, i] = part
            first += self.width - i
        return list(full)

    def __add__(self, other: Any) -> "PairwiseGrams":
        return PairwiseGrams(self.total + other.total, self.width)


def _multiply_pairs(columns: Array, out: Any) -> None:
    """``x_a x_b`` for a <= b of columns (q, b), into (Q, b)."""
    first = 0
    for i in range(columns.shape[0]):
        after = first + columns.shape[0] - i
        np.multiply(columns[i], columns[i:], out=out[first:after])
        first = after


def pays(n_weights: int, width: int) -> bool:
    """Whether one product of all pairs of columns is faster than a Gram a weight."""
    return n_weights >= _LEAST_WEIGHTS and width <= _MOST_WIDTH
