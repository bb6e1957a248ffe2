"""One warning about columns that an iterative solver could not finish."""

import warnings
from typing import Any

from skinfluence.exceptions import NotConvergedWarning


def speak_of_residuals(solver: Any) -> None:
    """Warn, once per call of a method, about columns that ended above the tolerance."""
    noted = solver.residuals
    if noted is None or noted.n_late == 0:
        return
    late, noted.n_late = noted.n_late, 0
    warnings.warn(
        f"solver={solver.name!r} stopped before its tolerance in {late} of "
        f"{noted.n_columns} columns; the largest relative residual is "
        f"{noted.largest:.1e}. Penalise more, add damping, or use solver='direct' or "
        "'dual' where their factors fit in memory.",
        NotConvergedWarning,
        stacklevel=4,
    )
