"""Whether a step was fitted to the rows that are to leave it."""

from typing import Any

import numpy as np

from skinfluence._array import to_numpy
from skinfluence.preprocessing._base import NotFollowed

# Outputs in float32 have seven digits.
_SAME = 1e-4


def refuse_other_rows(seen: Any, fitted: Any, size: Any = None) -> None:
    """Refuse columns whose statistics (q,) are not those that the step has fitted.

    ``size`` is what they are compared with, by default the fitted ones themselves.
    """
    seen, fitted = to_numpy(seen), to_numpy(fitted)
    size = np.abs(fitted) if size is None else to_numpy(size)
    if np.any(np.abs(seen - fitted) > _SAME * size):
        raise NotFollowed(
            "what it has learned is not what these training rows give: it was fitted to "
            "other rows, or with weights that are not known here"
        )
