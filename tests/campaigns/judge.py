"""The judge of certificates: Newton's method on the definitions, with 42 digits.

Written from the formulas of the estimators; nothing here imports the library under test.
The objective is ``sum_i s_i loss(y_i, u_i) + 1/2 sum ridge theta**2 + sum l1 |theta|``
with K linear outputs ``u_i = theta a_i``, where ``a_i`` is the row of X followed by a
one. Arrays hold numbers of gmpy2 or, where it is not installed, of mpmath, which takes
ten times as long.
"""

from dataclasses import dataclass, replace

import numpy as np

try:
    import gmpy2 as library
except ImportError:
    from mpmath import mp as library

    real = library.mpf
else:
    real = library.mpfr

_BITS = 140
_MOST_STEPS, _MOST_HALVINGS, _MOST_PIVOTS = 200, 60, 100
_FAR = 10**6  # an exponent beyond is none that a minimum has


def use_many_digits():
    """Set the precision of this thread."""
    if hasattr(library, "get_context"):
        library.get_context().precision = _BITS
    else:
        library.prec = _BITS


use_many_digits()


@dataclass(frozen=True, eq=False)
class Problem:
    """A model as its objective; arrays of many digits."""

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
        kept = self.weight[keep].sum() / self.weight.sum() if self.mean else real(1)
        return replace(
            self,
            X=self.X[keep],
            y=self.y[keep],
            weight=self.weight[keep],
            ridge=kept * self.ridge,
            l1=kept * self.l1,
        )


# --- functions of arrays of many digits ---

_exp = np.frompyfunc(lambda v: library.exp(max(min(v, _FAR), -_FAR)), 1, 1)
_log = np.frompyfunc(library.log, 1, 1)
_log1p = np.frompyfunc(library.log1p, 1, 1)
_erfc = np.frompyfunc(library.erfc, 1, 1)


def _sigmoid(u):
    """``1 / (1 + exp(-u))``, its slope, and its integral ``log(1 + exp(u))``."""
    e = _exp(-abs(u))
    p = np.where(u > 0, 1, e) / (1 + e)
    return p, e / (1 + e) ** 2, np.maximum(u, 0) + _log1p(e)


def _alone(value, slope, bend):
    """Derivatives in the only output, as those in K = 1 outputs."""
    return value, slope[:, None], bend[:, None, None]


# --- losses: value (n,), first (n, K) and second derivatives (n, K, K) in u (n, K) ---


class Squared:
    """Half the squared error."""

    def __call__(self, y, u):
        r = u[:, 0] - y
        return _alone(r * r / 2, r, 0 * r + 1)


class Binomial:
    """``log(1 + exp(u)) - y u``."""

    def __call__(self, y, u):
        p, bend, softplus = _sigmoid(u[:, 0])
        return _alone(softplus - y * u[:, 0], p - y, bend)


class Probit:
    """``-log Phi(u)`` for y = 1, ``-log Phi(-u)`` for y = 0."""

    def __call__(self, y, u):
        side = 2 * y - 1
        m = side * u[:, 0]
        Phi = _erfc(-m / library.sqrt(real(2))) / 2
        slope = _exp(-m * m / 2) / library.sqrt(8 * library.atan(real(1))) / Phi
        return _alone(-_log(Phi), -side * slope, slope * (m + slope))


@dataclass
class NegativeBinomial:
    """``(y + 1 / a) log(1 + a mu) - y log(mu)`` of ``mu = exp(u)``."""

    dispersion: object

    def __call__(self, y, u):
        a = real(self.dispersion)
        q, bend, softplus = _sigmoid(u[:, 0] + library.log(a))
        trials = y + 1 / a
        return _alone(trials * softplus - y * u[:, 0], trials * q - y, trials * bend)


class Multinomial:
    """``log sum exp(u) - u_y``."""

    def __call__(self, y, u):
        top = u.max(axis=1)
        e = _exp(u - top[:, None])
        total, K = e.sum(axis=1), u.shape[1]
        p, label = e / total[:, None], y.astype(int)
        value = top + _log(total) - u[np.arange(len(y)), label]
        bend = p[:, :, None] * (np.eye(K, dtype=int) - p[:, None, :])
        return value, p - np.eye(K, dtype=int)[label], bend


@dataclass
class Tweedie:
    """Half a Tweedie deviance of ``mu = exp(u)``; p = 1 Poisson, 2 Gamma."""

    power: object

    def __call__(self, y, u):
        p, u = real(self.power), u[:, 0]
        if p == 1:
            mu = _exp(u)
            return _alone(mu - y * u, mu - y, mu)
        if p == 2:
            e = y * _exp(-u)
            return _alone(u + e, 1 - e, e)
        a, b = _exp((2 - p) * u), y * _exp((1 - p) * u)
        bend = (2 - p) * a - (1 - p) * b
        return _alone(a / (2 - p) - b / (1 - p), a - b, bend)


class SquaredHinge:
    """``max(0, 1 - y u)**2``."""

    def __call__(self, y, u):
        lack = np.maximum(1 - y * u[:, 0], 0)
        return _alone(lack * lack, -2 * y * lack, np.where(lack > 0, real(2), real(0)))


@dataclass
class SquaredInsensitive:
    """``max(0, |y - u| - epsilon)**2``."""

    epsilon: object

    def __call__(self, y, u):
        r = u[:, 0] - y
        excess = np.maximum(abs(r) - real(self.epsilon), 0)
        slope = 2 * np.where(r > 0, excess, -excess)
        return _alone(excess**2, slope, np.where(excess > 0, real(2), real(0)))


@dataclass
class HuberScale:
    """``sigma + H(r / sigma) sigma``, the scale sigma the second output."""

    epsilon: object

    def __call__(self, y, u):
        eps, r, sigma = real(self.epsilon), u[:, 0] - y, u[:, 1]
        if (sigma <= 0).any():
            return real("inf") + 0 * r, None, None
        z = r / sigma
        near = abs(z) <= eps
        w = np.where(near, 2 / sigma, real(0))
        z = np.where(near, z, np.where(z > 0, eps, -eps))
        bend = np.stack([w, -w * z, -w * z, w * z * z], axis=1).reshape(-1, 2, 2)
        value = sigma + np.where(near, r * z, 2 * r * z - sigma * eps**2)
        return value, np.stack([2 * z, 1 - z * z], axis=1), bend


# --- the minimum ---


def minimise(problem, start):
    """The minimiser, (K, q)."""
    start = exactly(start)
    corner = (problem.l1 != 0) | (problem.positive & ~_is_intercept(start))
    if corner.any():
        return _by_corners(problem, start, corner)
    free = np.ones(start.shape, bool) if problem.free is None else problem.free
    return _newton(problem, start, free, 0 * problem.ridge)


def _is_intercept(theta):
    return np.broadcast_to(np.arange(theta.shape[1]) == theta.shape[1] - 1, theta.shape)


def _by_corners(problem, theta, corner):
    """Downhill from one choice of signs to the next, until no entry is to change sides.

    With the minimum of a choice as the target, the way there ends where the first entry
    reaches zero, which is held then; from the target itself, the entry is let go that is
    pulled hardest beyond what its corner holds.
    """
    sign = np.where(corner, _signs(theta), 0)
    for _ in range(_MOST_PIVOTS):
        if isinstance(problem.loss, Multinomial):
            theta, sign = _least_shift(theta, sign)
        free = ~corner | (sign != 0)
        target = _newton(problem, theta, free, problem.l1 * sign)
        crossed = np.argwhere(target * sign < 0)
        if len(crossed):
            parts = [theta[i, j] / (theta[i, j] - target[i, j]) for i, j in crossed]
            first = tuple(crossed[np.argmin(parts)])
            theta = theta + min(parts) * (target - theta)
            theta[first], sign[first] = real(0), 0
            continue
        theta, pull = target, _excess_pull(problem, target, free)
        worst = np.unravel_index(np.argmax(abs(pull)), pull.shape)
        if pull[worst] == 0:
            return theta
        sign[worst] = 1 if pull[worst] > 0 else -1
    raise AssertionError("The judge did not find who is at zero.")


def _least_shift(theta, sign):
    """A shift of all classes that puts one at zero, where none is: the loss is the same."""
    theta, sign = theta.copy(), sign.copy()
    for j in np.flatnonzero((sign != 0).all(axis=0)):
        middle = np.argsort(theta[:, j])[len(theta) // 2]
        theta[:, j] -= theta[middle, j]
        sign[:, j] = _signs(theta[:, j])
    return theta, sign


def _excess_pull(problem, theta, free):
    """How much harder than its corner each held entry is pulled, with its sign, (K, q)."""
    _, slope, _ = _expansion(problem, theta, 0 * problem.l1)
    tiny = real(10) ** -25 * (1 + abs(slope).max())
    pull = np.maximum(-slope, 0) if problem.positive else -slope
    is_held = free | (abs(pull) <= problem.l1 + tiny)
    return np.where(is_held, real(0), pull - problem.l1 * _signs(pull))


def _signs(values):
    return np.where(values > 0, 1, np.where(values < 0, -1, 0))


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
            unseen = (problem.ridge + problem.l1 == 0).ravel()[places]
            column = np.broadcast_to(np.arange(theta.shape[1]), theta.shape)
            column = column.ravel()[places]
            shifts = unseen[:, None] & unseen & (column[:, None] == column)
            small = small + shifts.astype(int)
        step = np.full(theta.size, real(0))
        step[places] = -_solved(small, slope.ravel()[places])
        step = step.reshape(theta.shape)
        for _ in range(_MOST_HALVINGS):
            after = _expansion(problem, theta + step, tilt)
            if after[0] <= value + abs(value) * real(10) ** -36:
                break
            step = step / 2
        if after[1] is None:
            break
        theta, (value, slope, H) = theta + step, after
        if abs(step).max() <= (abs(theta).max() + 1) * real(10) ** -30:
            return theta
    raise AssertionError("The judge did not converge.")


def _expansion(problem, theta, tilt):
    """Value, slope (K, q) and second derivatives (K q, K q) of the objective."""
    X, s, (K, q) = problem.X, problem.weight, theta.shape
    value, slope, bend = problem.loss(problem.y, X @ theta.T)
    value = s @ value + (problem.ridge * theta * theta).sum() / 2 + (tilt * theta).sum()
    if slope is None:
        return value, None, None
    slope = (s[:, None] * slope).T @ X + problem.ridge * theta + tilt
    H = np.empty((K, q, K, q), dtype=object)
    for k in range(K):
        for j in range(k + 1):
            H[k, :, j, :] = X.T @ ((s * bend[:, k, j])[:, None] * X)
            H[j, :, k, :] = H[k, :, j, :].T
    H = H.reshape(K * q, K * q)
    H[np.diag_indices(K * q)] += problem.ridge.ravel()
    return value, slope, H


def _solved(H, g):
    """``inv(H) g`` by Gaussian elimination, the largest pivots first."""
    M, n = np.column_stack([H, g]), len(g)
    least = abs(H).sum(axis=0).max() * real(2) ** -_BITS
    for k in range(n):
        pivot = k + int(np.argmax(abs(M[k:, k])))
        M[[k, pivot]] = M[[pivot, k]]
        if not abs(M[k, k]) > least:
            raise ZeroDivisionError("The second derivatives are singular.")
        M[k + 1 :] -= (M[k + 1 :, k] / M[k, k])[:, None] * M[k]
    x = np.full(n, real(0))
    for k in reversed(range(n)):
        x[k] = (M[k, n] - (M[k, k + 1 : n] * x[k + 1 :]).sum()) / M[k, k]
    return x


def exactly(values):
    """An array of floats as one of many digits, exactly."""
    values = np.asarray(values)
    if values.dtype == object:
        return values
    flat = [real(float(v)) for v in values.ravel()]
    return np.array(flat, dtype=object).reshape(values.shape)


def norm(values):
    """Euclidean length of an array of many digits."""
    return float(library.sqrt((values * values).sum()))
