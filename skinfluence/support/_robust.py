"""Rows of robust regression: Huber's, its scale fitted jointly."""

from typing import Any

import numpy as np
from sklearn.linear_model import HuberRegressor

from skinfluence.losses import AbstractLoss, HuberScaleLoss
from skinfluence.support._table import numbers, register

# A scale this small against the range of the targets is that of a perfect fit.
_LEAST_SCALE = 1e-8


def _huber(estimator: Any) -> AbstractLoss:
    return HuberScaleLoss(float(estimator.epsilon))


def _scale(estimator: Any) -> dict[str, float]:
    return {"scale": float(estimator.scale_)}


def _perfect_fit(estimator: Any, y: Any) -> str | None:
    if estimator.scale_ > _LEAST_SCALE * np.ptp(y):
        return None
    return (
        f"the fitted scale of this HuberRegressor is zero ({estimator.scale_:.1e}, where "
        f"the targets range over {np.ptp(y):.1e}): it meets the rows exactly, and its "
        "objective has no derivative there. Penalise it more (a larger alpha), use fewer "
        "features, or Ridge."
    )


register(
    HuberRegressor,
    _huber,
    numbers,
    strength=lambda estimator: 2.0 * estimator.alpha,  # alpha |w|**2, no half
    extra=_scale,
    degenerate=_perfect_fit,
)
