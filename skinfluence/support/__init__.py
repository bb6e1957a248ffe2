"""Scikit-learn models as objectives: the support table, and how a model is read."""

from skinfluence.support import _glm, _least_squares, _logistic, checks  # noqa: F401
from skinfluence.support._read import (
    Model,
    is_fitted,
    read,
    reads_features,
    required_row,
    unwrapped,
    weight_name,
)
from skinfluence.support._table import SupportRow, register, supported_estimators

__all__ = [
    "Model",
    "SupportRow",
    "checks",
    "is_fitted",
    "read",
    "reads_features",
    "register",
    "required_row",
    "supported_estimators",
    "unwrapped",
    "weight_name",
]
