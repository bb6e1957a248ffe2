"""The judge of certificates: Newton's method on the definitions, with 40 digits.

Written from the formulas of the estimators, in mpmath; nothing here imports the library
under test, and nothing here is fast. The objective is ``sum_i s_i loss(y_i, u_i) +
1/2 sum ridge theta**2 + sum l1 |theta|`` with K linear outputs ``u_i = theta a_i``, where
``a_i`` is the row of X followed by a one.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from mpmath import lu_solve, matrix, mp, mpf

mp.dps = 40
_MOST_STEPS, _MOST_HALVINGS = 200, 60


@dataclass(frozen=True, eq=False)
class Problem:
    """A model as its objective; arrays of mpf."""

    X: np.ndarray  # (n, q), the ones included
    y: np.ndarray  # (n,) targets; classes from 0 for the multinomial loss
    weight: np.ndarray  # (n,)
    loss: object  # an instance of a class below
    ridge: np.ndarray  # (K, q) second derivative of the penalty
    l1: np.ndarray  # (K, q)
    mean: bool = False  # the penalty is tied to the sum of the weights
    positive: bool = False
    free: np.ndarray | None = None  # (K, q) entries that may move

    def without(self, row):
        """The same problem when a row has left, with its share of the penalty."""
        keep = np.arange(len(self.y)) != row
        kept = self.weight[keep].sum() / self.weight.sum() if self.mean else mpf(1)
        return replace(
            self,
            X=self.X[keep],
            y=self.y[keep],
            weight=self.weight[keep],
            ridge=kept * self.ridge,
            l1=kept * self.l1,
        )


# --- losses: value, first and second derivatives in the outputs of one row ---


class Squared:
    """Half the squared error."""

    def __call__(self, y, u):
        r = u[0] - y
        return r * r / 2, [r], [[mpf(1)]]


class Binomial:
    """``log(1 + exp(u)) - y u``."""

    def __call__(self, y, u):
        p = 1 / (1 + mp.exp(-u[0]))
        return mp.log1p(mp.exp(u[0])) - y * u[0], [p - y], [[p * (1 - p)]]


class Multinomial:
    """``log sum exp(u) - u_y``."""

    def __call__(self, y, u):
        top = max(u)
        e = [mp.exp(each - top) for each in u]
        total = sum(e)
        p, label, K = [each / total for each in e], int(y), range(len(u))
        bend = [[p[k] * ((k == j) - p[j]) for j in K] for k in K]
        slope = [p[k] - (k == label) for k in K]
        return top + mp.log(total) - u[label], slope, bend


@dataclass
class Tweedie:
    """Half a Tweedie deviance of ``mu = exp(u)``; p = 1 Poisson, 2 Gamma."""

    power: object

    def __call__(self, y, u):
        p, u = mpf(self.power), u[0]
        if p == 1:
            return mp.exp(u) - y * u, [mp.exp(u) - y], [[mp.exp(u)]]
        if p == 2:
            e = y * mp.exp(-u)
            return u + e, [1 - e], [[e]]
        a, b = mp.exp((2 - p) * u), y * mp.exp((1 - p) * u)
        bend = (2 - p) * a - (1 - p) * b
        return a / (2 - p) - b / (1 - p), [a - b], [[bend]]


class SquaredHinge:
    """``max(0, 1 - y u)**2``."""

    def __call__(self, y, u):
        lack = max(1 - y * u[0], mpf(0))
        return lack * lack, [-2 * y * lack], [[mpf(2 if lack > 0 else 0)]]


@dataclass
class SquaredInsensitive:
    """``max(0, |y - u| - epsilon)**2``."""

    epsilon: object

    def __call__(self, y, u):
        r = u[0] - y
        excess = max(abs(r) - mpf(self.epsilon), mpf(0))
        sign = 1 if r > 0 else -1
        return excess**2, [2 * sign * excess], [[mpf(2 if excess > 0 else 0)]]


@dataclass
class HuberScale:
    """``sigma + H(r / sigma) sigma``, the scale sigma the second output."""

    epsilon: object

    def __call__(self, y, u):
        eps, r, sigma = mpf(self.epsilon), u[0] - y, u[1]
        if sigma <= 0:
            return mpf("inf"), None, None
        z = r / sigma
        if abs(z) <= eps:
            bend = [[2 / sigma, -2 * z / sigma], [-2 * z / sigma, 2 * z * z / sigma]]
            return sigma + r * z, [2 * z, 1 - z * z], bend
        value = sigma + 2 * eps * abs(r) - eps**2 * sigma
        slope = [2 * eps * (1 if r > 0 else -1), 1 - eps**2]
        return value, slope, [[mpf(0)] * 2] * 2


# --- the minimum ---


def minimise(problem, start):
    """The minimiser, (K, q), and how far the last step was."""
    start = as_mpf(start)
    if not (np.any(problem.l1 != 0) or problem.positive):
        free = np.ones(start.shape, bool) if problem.free is None else problem.free
        return _newton(problem, start, free, 0 * problem.ridge)
    held = (problem.l1 == 0) & (not problem.positive or _is_intercept(start))
    guess = np.array([int(mp.sign(t)) for t in start.ravel()])
    corner = np.flatnonzero(~held.ravel())
    choices = [0, 1] if problem.positive else [0, 1, -1]
    patterns = [tuple(guess[corner]), *product(choices, repeat=len(corner))]
    for pattern in patterns:
        sign = np.zeros(start.size, int)
        sign[corner] = pattern
        sign = sign.reshape(start.shape)
        free = held | (sign != 0)
        theta = np.where(free, start, mpf(0))
        theta = _newton(problem, theta, free, problem.l1 * sign)
        if _is_optimal(problem, theta, sign, free):
            return theta
    raise AssertionError("No active set fulfils the conditions of a minimum.")


def _is_intercept(theta):
    return np.arange(theta.shape[1])[None, :] == theta.shape[1] - 1


def _is_optimal(problem, theta, sign, free):
    _, slope, _ = _expansion(problem, theta, 0 * problem.l1)
    tiny = mpf(10) ** -25 * (1 + max(abs(s) for s in slope.ravel()))
    moved = all(t * s >= 0 for t, s in zip(theta.ravel(), sign.ravel(), strict=True))
    rest = [g for g, f in zip(slope.ravel(), free.ravel(), strict=True) if not f]
    limits = [a for a, f in zip(problem.l1.ravel(), free.ravel(), strict=True) if not f]
    if problem.positive:
        return moved and all(g >= -tiny for g in rest)
    pairs = zip(rest, limits, strict=True)
    return moved and all(abs(g) <= a + tiny for g, a in pairs)


def _newton(problem, theta, free, tilt):
    """Damped Newton steps on the free entries, with the slopes of held corners."""
    places = np.flatnonzero(free.ravel())
    if not len(places):
        return theta
    value, slope, H = _expansion(problem, theta, tilt)
    pinned = isinstance(problem.loss, Multinomial)
    for _ in range(_MOST_STEPS):
        small = H[np.ix_(places, places)]
        if pinned:  # what the objective does not see: a shift of all classes
            unseen = (problem.ridge == 0).ravel()[places]
            small = small + np.where(unseen[:, None] & unseen, mpf(1), mpf(0))
        flat = lu_solve(
            matrix(small.tolist()), matrix((-slope.ravel()[places]).tolist())
        )
        step = np.full(theta.size, mpf(0))
        step[places] = list(flat)
        step = step.reshape(theta.shape)
        for _ in range(_MOST_HALVINGS):
            after = _expansion(problem, theta + step, tilt)
            if after[0] <= value + abs(value) * mpf(10) ** -36:
                break
            step = step / 2
        if after[1] is None:
            break
        theta, (value, slope, H) = theta + step, after
        size = max(abs(t) for t in theta.ravel()) + 1
        if max(abs(s) for s in step.ravel()) <= size * mpf(10) ** -30:
            return theta
    raise AssertionError("The judge did not converge.")


def _expansion(problem, theta, tilt):
    """Value, slope (K, q) and second derivatives (K q, K q) of the objective."""
    U = problem.X.dot(theta.T)
    K, q = theta.shape
    value, slope = mpf(0), np.full((K, q), mpf(0))
    H = np.full((K, q, K, q), mpf(0))
    for a, y, s, u in zip(problem.X, problem.y, problem.weight, U, strict=True):
        v, g, M = problem.loss(y, list(u))
        if g is None:
            return mpf("inf"), None, None
        value += s * v
        outer = np.outer(a, a)
        for k in range(K):
            slope[k] += s * g[k] * a
            for j in range(K):
                if M[k][j] != 0:
                    H[k, :, j, :] += s * M[k][j] * outer
    value += (problem.ridge * theta * theta).sum() / 2 + (tilt * theta).sum()
    H = H.reshape(K * q, K * q) + np.diag(problem.ridge.ravel())
    return value, slope + problem.ridge * theta + tilt, H


def as_mpf(values):
    """An array of floats as one of mpf, exactly."""
    values = np.asarray(values)
    if values.dtype == object:
        return values
    flat = [mpf(float(v)) for v in values.ravel()]
    return np.array(flat, dtype=object).reshape(values.shape)
