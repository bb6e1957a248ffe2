"""The judge: plain NumPy formulas, written from the definitions and nothing else.

The objective is ``F(theta) = sum_i s_i loss(y_i, u_i) + 1/2 sum_j ridge_j theta_j^2``
with K linear outputs ``u_i = theta a_i``, where ``a_i`` is the row of X, followed by a
one if the model has an intercept; ``theta`` has shape (K, q) and is raveled row by row.
Nothing here imports the library under test, and nothing here is fast.
"""

from dataclasses import dataclass, replace

import numpy as np

CUT = 1e-11  # relative size below which an eigenvalue of the curvature is a zero


@dataclass(frozen=True, eq=False)
class Problem:
    """One fitted model as its objective: data, weights, loss and penalty."""

    X: np.ndarray  # (n, p) what the last step of the pipeline sees
    targets: np.ndarray  # (n, K): numbers, 0/1, or one-hot rows
    weight: np.ndarray  # (n,) sample weight times class weight
    loss: str  # "squared", "binomial" or "multinomial"
    ridge: np.ndarray  # (K, q) second derivative of the penalty
    intercept: bool = True

    @property
    def design(self):
        return self.rows_of(self.X)

    def rows_of(self, X):
        """``X`` with its column of ones, if the model has an intercept."""
        ones = np.ones((len(X), 1))
        return np.hstack([X, ones]) if self.intercept else np.asarray(X, float)

    def without(self, row):
        """The same problem where ``row`` weighs nothing: it is deleted."""
        weight = self.weight.copy()
        weight[row] = 0.0
        return replace(self, weight=weight)


# --- losses: value (n,), gradient (n, K), hessian (n, K, K) in the linear outputs ---


def loss_value(problem, targets, u):
    if problem.loss == "squared":
        return 0.5 * np.sum((u - targets) ** 2, axis=1)
    if problem.loss == "binomial":
        return np.logaddexp(0.0, u[:, 0]) - targets[:, 0] * u[:, 0]
    return np.logaddexp.reduce(u, axis=1) - np.sum(targets * u, axis=1)


def loss_gradient(problem, targets, u):
    return mean_of(problem, u) - targets


def loss_hessian(problem, u):
    K = u.shape[1]
    if problem.loss == "squared":
        return np.broadcast_to(np.eye(K), (len(u), K, K))
    mu = mean_of(problem, u)
    if problem.loss == "binomial":
        return (mu * (1 - mu))[:, :, None]
    return mu[:, :, None] * np.eye(K) - mu[:, :, None] * mu[:, None, :]


def mean_of(problem, u):
    """Fitted mean: the output itself, or probabilities."""
    if problem.loss == "squared":
        return u
    if problem.loss == "binomial":
        return 0.5 * (1 + np.tanh(0.5 * u))
    e = np.exp(u - u.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# --- the objective ---


def objective(problem, theta):
    u = problem.design @ theta.T
    data = problem.weight @ loss_value(problem, problem.targets, u)
    return data + 0.5 * np.sum(problem.ridge * theta**2)


def gradient(problem, theta):
    rows = row_gradients(problem, theta, problem.X, problem.targets)
    return problem.weight @ rows + (problem.ridge * theta).ravel()


def curvature(problem, theta, penalty=True):
    """``sum_i s_i A_i' M_i A_i + penalty''``, shape (K q, K q)."""
    A = problem.design
    M = loss_hessian(problem, A @ theta.T) * problem.weight[:, None, None]
    H = np.einsum("nkl,ni,nj->kilj", M, A, A, optimize=True)
    H = H.reshape(theta.size, theta.size)
    return H + np.diag(problem.ridge.ravel()) if penalty else H


def row_gradients(problem, theta, X, targets):
    """Unweighted gradient of each row's loss in theta, shape (n, K q)."""
    A = problem.rows_of(X)
    g = loss_gradient(problem, targets, A @ theta.T)
    return (g[:, :, None] * A[:, None, :]).reshape(len(A), -1)


def output_gradients(problem, X, output):
    """Gradient of ``u[:, output]`` in theta; ``output`` a number or one per row."""
    A = problem.rows_of(X)
    K, q = problem.ridge.shape
    chosen = np.eye(K)[np.broadcast_to(output, len(A))]
    return (chosen[:, :, None] * A[:, None, :]).reshape(len(A), K * q)


def solve(H, rhs):
    """Minimum-norm solution, so that directions F does not see stay still."""
    return np.linalg.pinv(H, rcond=CUT, hermitian=True) @ rhs


def minimise(problem, start=None, max_iter=200):
    """Newton with step halving to rounding; theta of shape (K, q)."""
    theta = np.zeros(problem.ridge.shape) if start is None else start.copy()
    value = objective(problem, theta)
    smallest = np.inf
    for _ in range(max_iter):
        H, g = curvature(problem, theta), gradient(problem, theta)
        step = -solve(H, g).reshape(theta.shape)
        decrement = -g @ step.ravel()
        done = decrement <= 1e-18 * (1 + abs(value)) and decrement >= smallest / 4
        if done or decrement <= 0:
            return theta
        smallest = min(smallest, decrement)
        length = 1.0
        while True:
            candidate = theta + length * step
            new = objective(problem, candidate)
            if new <= value + 1e-12 * (1 + abs(value)) or length < 1e-10:
                break
            length /= 2
        theta, value = candidate, new
    raise AssertionError("the judge did not converge: is there a minimum at all?")


# --- the quantities of the library, by their definitions ---


def influence_on_parameters(problem, theta):
    """``-H_bar^-1 g_i`` with ``H_bar = H / S`` and ``g_i`` unweighted, (n, K q)."""
    H_bar = curvature(problem, theta) / problem.weight.sum()
    g = row_gradients(problem, theta, problem.X, problem.targets)
    return -solve(H_bar, g.T).T


def influence(problem, theta, test_gradients):
    """``-grad' H_bar^-1 g_i`` for each test gradient, shape (m, n)."""
    return test_gradients @ influence_on_parameters(problem, theta).T


def effective_dof(problem, theta):
    H, data = curvature(problem, theta), curvature(problem, theta, penalty=False)
    return np.trace(solve(H, data))


def refit_without(problem, theta, row):
    """Theta of the tightly converged refit without ``row``."""
    return minimise(problem.without(row), start=theta)


def newton_without(problem, theta, row):
    """Theta after one Newton step on the objective without ``row``."""
    rest = problem.without(row)
    step = solve(curvature(rest, theta), gradient(rest, theta))
    return theta - step.reshape(theta.shape)


def jackknife_without(problem, theta, row):
    """Theta after one linear term: ``theta + H^-1 s_i g_i``."""
    g = row_gradients(problem, theta, problem.X, problem.targets)[row]
    step = solve(curvature(problem, theta), problem.weight[row] * g)
    return theta + step.reshape(theta.shape)


DELETIONS = {
    "jackknife": jackknife_without,
    "newton": newton_without,
    "exact": refit_without,
}


# --- comparison ---


def relative_error(found, truth):
    """Largest absolute error over the largest absolute value of the truth."""
    found, truth = np.asarray(found, float), np.asarray(truth, float)
    assert found.shape == truth.shape, f"shape {found.shape}, expected {truth.shape}"
    largest = np.abs(truth).max()
    assert largest > 0, "a truth of zeros proves nothing"
    return np.abs(found - truth).max() / largest
