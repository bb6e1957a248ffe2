"""Losses of one row as functions of its linear outputs ``u``: formulas, nothing else."""

from skinfluence.losses._base import AbstractLoss
from skinfluence.losses._expected import ExpectedInformation
from skinfluence.losses._exponential_family import (
    ExponentialFamilyLoss,
    HalfTweedieIdentityLoss,
    HalfTweedieLoss,
)
from skinfluence.losses._families import (
    AbstractFamily,
    Binomial,
    Gamma,
    Gaussian,
    InverseGaussian,
    NegativeBinomial,
    Poisson,
    Tweedie,
)
from skinfluence.losses._hinge import ModifiedHuber, SquaredHinge
from skinfluence.losses._huber import HuberLoss, HuberScaleLoss
from skinfluence.losses._links import (
    AbstractLink,
    CLogLog,
    Identity,
    Log,
    Logit,
    LogLog,
    Power,
    Probit,
)
from skinfluence.losses._logistic import HalfBinomialLoss, HalfMultinomialLoss
from skinfluence.losses._repeated import Repeated
from skinfluence.losses._squared import HalfSquaredError, SquaredEpsilonInsensitive

__all__ = [
    "AbstractLoss",
    "ExponentialFamilyLoss",
    "HalfBinomialLoss",
    "HalfMultinomialLoss",
    "HalfSquaredError",
    "HalfTweedieIdentityLoss",
    "HalfTweedieLoss",
    "HuberLoss",
    "HuberScaleLoss",
    "ModifiedHuber",
    "SquaredEpsilonInsensitive",
    "SquaredHinge",
    "ExpectedInformation",
    "Repeated",
    "AbstractFamily",
    "Binomial",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "NegativeBinomial",
    "Poisson",
    "Tweedie",
    "AbstractLink",
    "CLogLog",
    "Identity",
    "Log",
    "LogLog",
    "Logit",
    "Power",
    "Probit",
]
