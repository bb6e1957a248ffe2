"""Rows of Bayesian least squares, the hyper-parameters held as they were fitted."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import ARDRegression, BayesianRidge, Ridge

from skinfluence.losses import HalfSquaredError
from skinfluence.support._table import numbers, register


class HeldARD(RegressorMixin, BaseEstimator):
    """Ridge regression with a strength of its own for each feature, some left out."""

    def __init__(self, strength: Any, active: Any, fit_intercept: bool = True) -> None:
        self.strength = strength
        self.active = active
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "HeldARD":
        """Ridge on the active columns, each divided by the root of its strength.

        Parameters
        ----------
        X : array-like of shape (n, p)
            Rows.
        y : array-like of shape (n,)
            Their targets.
        sample_weight : array-like of shape (n,), default=None
            Their weights.

        Returns
        -------
        self : HeldARD
        """
        columns = np.flatnonzero(self.active)
        scale = np.sqrt(self.strength[columns])
        ridge = Ridge(1.0, fit_intercept=self.fit_intercept)
        # A column of zeros, so that there is one where all features are pruned.
        scaled = np.hstack([X[:, columns] / scale, np.zeros((X.shape[0], 1))])
        ridge.fit(scaled, y, sample_weight)
        self.coef_ = np.zeros(len(self.active))
        self.coef_[columns] = ridge.coef_[:-1] / scale
        self.intercept_ = ridge.intercept_
        return self


def _ratio(estimator: Any) -> Any:
    """Precision of the coefficients over that of the noise."""
    return np.asarray(estimator.lambda_, dtype=float) / float(estimator.alpha_)


def _held_ridge(estimator: Any) -> Any:
    return Ridge(float(_ratio(estimator)), fit_intercept=estimator.fit_intercept)


def _kept(estimator: Any) -> Any:
    """Features that automatic relevance determination has not pruned, (p,)."""
    return np.asarray(estimator.lambda_) < estimator.threshold_lambda


def _strengths(estimator: Any) -> Any:
    return np.where(_kept(estimator), _ratio(estimator), 1.0)[None, :]


def _held_ard(estimator: Any) -> Any:
    return HeldARD(_ratio(estimator), _kept(estimator), estimator.fit_intercept)


register(BayesianRidge, HalfSquaredError(), numbers, strength=_ratio, held=_held_ridge)
register(
    ARDRegression,
    HalfSquaredError(),
    numbers,
    strength=_strengths,
    active=lambda estimator: _kept(estimator)[None, :],
    held=_held_ard,
)
