"""Solvers of ``H x = rhs``, in two halves, and the steps to a minimum."""

from skinfluence.solvers._active_set import (
    Boundary,
    CurvatureRows,
    boundary,
    flat_corners,
    minimise_with_corners,
    on_active_set,
    on_all_features,
    to_all_features,
)
from skinfluence.solvers._base import AbstractFactor, AbstractSolver, Solution
from skinfluence.solvers._cholesky import Cholesky
from skinfluence.solvers._choose import SOLVERS, solver_for
from skinfluence.solvers._conjugate_gradient import ConjugateGradient
from skinfluence.solvers._corners import (
    AbstractSquare,
    CornerMinimum,
    corner_minimum,
)
from skinfluence.solvers._filled import fill_outputs
from skinfluence.solvers._lissa import Lissa
from skinfluence.solvers._no_minimum import has_no_minimum
from skinfluence.solvers._normed import (
    norm_derivatives,
    norm_outputs,
    own_norm_outputs,
)
from skinfluence.solvers._point import Point, expand, expand_for_steps
from skinfluence.solvers._polish import Polished, descend, polish
from skinfluence.solvers._row_terms import (
    RowTerms,
    gradient_lengths,
    indices_of,
    learned_gradients,
    learned_self_influence,
    learned_steps,
    own_outputs,
    per_weight,
    row_gradients,
    row_terms,
)
from skinfluence.solvers._vicinity import Nearby
from skinfluence.solvers._woodbury import Dual
