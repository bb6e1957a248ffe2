"""Losses of one row as functions of its linear outputs ``u``: formulas, nothing else."""

from skinfluence.losses._base import AbstractLoss
from skinfluence.losses._deviance import HalfPoissonLoss
from skinfluence.losses._expected import ExpectedInformation
from skinfluence.losses._logistic import HalfBinomialLoss, HalfMultinomialLoss
from skinfluence.losses._squared import HalfSquaredError

__all__ = [
    "AbstractLoss",
    "ExpectedInformation",
    "HalfBinomialLoss",
    "HalfMultinomialLoss",
    "HalfPoissonLoss",
    "HalfSquaredError",
]
