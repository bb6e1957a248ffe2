"""Rows of robust regression: Huber's, its scale fitted jointly."""

from typing import Any

import numpy as np
from sklearn.linear_model import HuberRegressor

from skinfluence.losses import AbstractLoss, HuberScaleLoss
from skinfluence.support._table import SupportRow, numbers, register

# The solver's own lower bound of the scale, times the room that it needs above it.
_LEAST_SCALE = 1e3 * np.finfo(float).eps


def _huber(estimator: Any) -> AbstractLoss:
    return HuberScaleLoss(float(estimator.epsilon))


def _scale(estimator: Any) -> dict[str, float]:
    return {"scale": float(estimator.scale_)}


def _refuse_perfect_fit(estimator: Any) -> str | None:
    if getattr(estimator, "scale_", 1.0) < _LEAST_SCALE:
        return (
            "its fitted scale is zero, because it meets the rows exactly: its objective "
            "has no derivative there"
        )
    return None


register(
    SupportRow(
        HuberRegressor,
        _huber,
        numbers,
        strength=lambda estimator: 2.0 * estimator.alpha,  # alpha |w|**2, no half
        extra=_scale,
        refusal=_refuse_perfect_fit,
    )
)
