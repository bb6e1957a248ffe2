"""Valid ranges of the constructor's parameters."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from skinfluence.deletion import DELETIONS
from skinfluence.exceptions import InvalidParameterError
from skinfluence.solvers import SOLVERS
from skinfluence.study import NEGLIGIBLE
from skinfluence.support import checks

PREPROCESSING = ("auto", "held", "refitted")
BACKENDS = ("auto", "numpy", "cupy", "torch")


def check_parameters(explainer: Any) -> None:
    """Refuse constructor parameters outside their valid ranges."""
    checks.one_of("prefit", explainer.prefit, ("auto", True, False))
    checks.one_of("deletion", explainer.deletion, DELETIONS)
    checks.one_of("preprocessing", explainer.preprocessing, PREPROCESSING)
    checks.one_of("solver", explainer.solver, SOLVERS)
    checks.one_of("backend", explainer.backend, BACKENDS)
    _check_polish(explainer.polish)
    checks.at_least("damping", explainer.damping, 0.0)
    checks.at_least("tol", explainer.tol, np.finfo(float).eps)
    checks.switch("verbose", explainer.verbose)
    checks.jobs(explainer.n_jobs)
    if explainer.max_iter is not None:
        checks.at_least("max_iter", explainer.max_iter, 1, Integral)


def _check_polish(polish: Any) -> None:
    if isinstance(polish, (bool, np.bool_)):
        return
    if not (isinstance(polish, Real) and NEGLIGIBLE <= float(polish) < np.inf):
        raise InvalidParameterError(
            "polish must be True, False or a distance from the minimum in median "
            f"deletion effects, of at least {NEGLIGIBLE:g}; got {polish!r}."
        )


def near_enough(polish: Any) -> float:
    """Distance from the minimum, in median deletion effects, at which a polish stops."""
    if isinstance(polish, (bool, np.bool_)):
        return NEGLIGIBLE if polish else np.inf
    return float(polish)
