"""Valid ranges of the constructor's parameters."""

from numbers import Integral
from typing import Any

import numpy as np

from skinfluence.solvers import SOLVERS
from skinfluence.support import checks

DELETIONS = ("jackknife", "newton", "halley", "exact")


def check_parameters(explainer: Any) -> None:
    """Refuse constructor parameters outside their valid ranges."""
    checks.one_of("prefit", explainer.prefit, ("auto", True, False))
    checks.one_of("deletion", explainer.deletion, DELETIONS)
    checks.one_of("solver", explainer.solver, SOLVERS)
    checks.one_of("backend", explainer.backend, ("auto", "numpy"))
    checks.one_of("polish", explainer.polish, (True, False))
    checks.at_least("damping", explainer.damping, 0.0)
    checks.at_least("tol", explainer.tol, np.finfo(float).eps)
    if explainer.max_iter is not None:
        checks.at_least("max_iter", explainer.max_iter, 1, Integral)
