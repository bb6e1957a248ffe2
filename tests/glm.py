"""A generalized linear model of any family and link, for tests of what explains it."""

import numpy as np
from scipy.special import xlogy
from sklearn.base import BaseEstimator, RegressorMixin

from skinfluence.losses import ExponentialFamilyLoss


class GLM(RegressorMixin, BaseEstimator):
    """``sum_i s_i loss(y_i, u_i) + alpha / 2 |w|**2``, by Newton steps to rounding."""

    def __init__(self, family, link, alpha=0.0, start=0.0):
        self.family = family
        self.link = link
        self.alpha = alpha
        self.start = start  # intercept to start from

    @property
    def loss(self):
        return ExponentialFamilyLoss(self.family, self.link)

    def fit(self, X, y, sample_weight=None):
        s = np.ones(len(y)) if sample_weight is None else sample_weight
        Z, y = np.column_stack([X, np.ones(len(X))]), y[:, None]
        ridge = np.full(Z.shape[1], self.alpha)
        ridge[-1] = 0.0
        theta = np.zeros(Z.shape[1])
        theta[-1] = self.start

        def value(theta):
            return s @ self.loss.value(y, Z @ theta[:, None]) + ridge @ theta**2 / 2

        for step_number in range(60):
            u = Z @ theta[:, None]
            gradient = Z.T @ (s * self.loss.gradient(y, u)[:, 0]) + ridge * theta
            # Fisher scoring first: it never leads uphill.
            weight = self.loss.fisher_weight(u)[:, 0]
            if step_number > 15:
                weight = self.loss.hessian(y, u)[:, 0, 0, 0]
            step = np.linalg.solve((Z.T * (s * weight)) @ Z + np.diag(ridge), gradient)
            size = 1.0
            while size > 1e-6 and value(theta - size * step) > value(theta) + 1e-9:
                size /= 2
            theta = theta - size * step
        self.coef_, self.intercept_ = theta[:-1], theta[-1]
        return self

    def predict(self, X):
        return self.loss.response((X @ self.coef_ + self.intercept_)[:, None])[:, 0]


def binomial_deviance(y, mu):
    """Of shares, by the textbook."""
    return 2 * (xlogy(y, y / mu) + xlogy(1 - y, (1 - y) / (1 - mu)))
