"""Rows whose loss is not defined by the model: an error that names them."""

from dataclasses import replace

import numpy as np

from skinfluence._array import to_numpy
from skinfluence._design import Design
from skinfluence.exceptions import InvalidDataError
from skinfluence.solvers import Point

_SHOWN = 10


def refuse_outside_domain(point: Point, design: Design) -> None:
    """Refuse rows whose outputs have no finite loss, as a mean that is not positive."""
    objective = point.objective
    if not objective.loss.bounded_domain:
        return
    outputs = replace(objective, design=design).outputs(point.theta)
    lost = np.flatnonzero(~to_numpy(objective.loss.within_domain(outputs)))
    if len(lost):
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise InvalidDataError(
            "The model predicts a mean that its family does not allow (such as 0 or "
            f"less) for rows {lost[:_SHOWN].tolist()}{more} of X: their loss is not "
            "defined. Leave them out, ask on='prediction', or use a link that keeps the "
            "mean in range, such as link='log'."
        )
