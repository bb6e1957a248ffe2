"""Solvers of ``H x = rhs``, in two halves, and the steps to a minimum."""

from skinfluence.solvers._base import AbstractFactor, AbstractSolver, Solution
from skinfluence.solvers._cholesky import Cholesky
from skinfluence.solvers._polish import (
    Point,
    Polished,
    expand,
    has_no_minimum,
    polish,
)
from skinfluence.solvers._row_terms import (
    RowTerms,
    gradient_lengths,
    own_outputs,
    row_gradients,
    row_terms,
    taken,
)

__all__ = [
    "AbstractFactor",
    "AbstractSolver",
    "Cholesky",
    "Point",
    "Polished",
    "RowTerms",
    "Solution",
    "expand",
    "gradient_lengths",
    "has_no_minimum",
    "own_outputs",
    "polish",
    "row_gradients",
    "row_terms",
    "taken",
]
