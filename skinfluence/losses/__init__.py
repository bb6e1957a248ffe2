"""Losses of one row as functions of its linear outputs ``u``: formulas, nothing else."""

from skinfluence.losses._base import AbstractLoss
from skinfluence.losses._deviance import HalfTweedieIdentityLoss, HalfTweedieLoss
from skinfluence.losses._expected import ExpectedInformation
from skinfluence.losses._hinge import ModifiedHuber, SquaredHinge
from skinfluence.losses._huber import HuberLoss, HuberScaleLoss
from skinfluence.losses._logistic import HalfBinomialLoss, HalfMultinomialLoss
from skinfluence.losses._repeated import Repeated
from skinfluence.losses._squared import HalfSquaredError, SquaredEpsilonInsensitive

__all__ = [
    "AbstractLoss",
    "ExpectedInformation",
    "HalfBinomialLoss",
    "HalfMultinomialLoss",
    "HalfSquaredError",
    "HalfTweedieIdentityLoss",
    "HalfTweedieLoss",
    "HuberLoss",
    "HuberScaleLoss",
    "ModifiedHuber",
    "Repeated",
    "SquaredEpsilonInsensitive",
    "SquaredHinge",
]
