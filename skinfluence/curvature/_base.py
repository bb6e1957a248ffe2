"""The contract of a curvature."""

import abc
from typing import Any

from skinfluence._array import Array


class AbstractCurvature(abc.ABC):
    """A symmetric operator on vectors of G groups, ``H`` of the objective in sum form."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Entries D of one group."""

    @abc.abstractmethod
    def matvec(self, vectors: Array) -> Any:
        """``H @ vectors`` for vectors (G, D, m)."""

    @abc.abstractmethod
    def as_matrix(self) -> Any:
        """H, (G or 1, D, D): one block for all groups if they are equal."""
