"""Thousands of deletions beside their stated bounds, judged with 42 digits.

``make campaign`` runs it and writes the table of the documentation. Each kind draws
small models at random, hard ones included; the rows of largest leverage and some others
are deleted by every method. A bound is *exceeded* if the error in ``coef_`` and
``intercept_`` is larger. A delta is *off, unflagged* if it is wrong by more than 1 % of
itself and neither its bound nor a warning says so. ``--offenders`` prints each of
these, and each that is off by more than half without a warning, with a line of Python
that asks for it again.
"""

import argparse
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import judge
import numpy as np
from judge import real
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.svm import LinearSVC, LinearSVR

from skinfluence import InfluenceExplainer, register_estimator
from skinfluence.losses import (
    Binomial,
    ExponentialFamilyLoss,
    Log,
    NegativeBinomial,
    Probit,
)

TABLE = Path(__file__).parents[2] / "docs" / "tables" / "certificates.rst"
METHODS = ("newton", "halley", "exact")
ROWS = 8  # deleted from each model
SIZES = 12, 40  # of models, in rows
OFF = 0.01


@dataclass(frozen=True, eq=False)
class Drawn:
    """A model, its rows, and its objective for the judge."""

    model: object
    X: np.ndarray
    y: np.ndarray
    problem: Callable  # of the fitted model
    weight: np.ndarray | None = None


@dataclass
class Tally:
    """What was seen of one kind."""

    deletions: int = 0
    unanswered: int = 0
    exceeded: int = 0
    off: int = 0  # by more than 1 %
    silent: int = 0  # of these, with a bound below 1 % and no warning
    hopeless: int = 0  # off by more than half, of the methods that warn
    unwarned: int = 0  # of these, without a warning
    ratios: list = field(default_factory=list)  # bound over error
    worst: float = 0.0  # error over bound
    bounded: int = 0
    offenders: list = field(default_factory=list)  # in words

    def add(self, other):
        """Add the counts of another."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            setattr(self, name, max(mine, value) if name == "worst" else mine + value)


# --- features, hard in different ways ---


def normal(rng, n, p):
    return rng.normal(size=(n, p))


def heavy(rng, n, p):
    return rng.standard_t(2, size=(n, p))


def scaled(rng, n, p):
    return rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-4, 4, p)


def collinear(rng, n, p):
    X = rng.normal(size=(n, p))
    X[:, 1] = X[:, 0] + 10.0 ** rng.uniform(-6, -1) * rng.normal(size=n)
    return X


def wild(rng, n, p):
    X = rng.normal(size=(n, p))
    X[rng.integers(n), rng.integers(p)] = 10.0 ** rng.uniform(1, 8)
    return X


def leveraged(rng, n, p):
    X = rng.normal(size=(n, p))
    X[rng.integers(n)] *= 10.0 ** rng.uniform(0.5, 3)
    return X


FEATURES = (normal, heavy, scaled, collinear, wild, leveraged)
MILD = (normal, heavy, collinear, leveraged)


def outputs(rng, X):
    """A linear predictor of the features, of size about 1 whatever their units."""
    size = np.median(np.abs(X), axis=0)
    return (X / np.where(size > 0, size, 1)) @ rng.normal(size=X.shape[1]) / 1.5


# --- kinds ---


def penalty(K, p, strength, intercept=0.0):
    ridge = np.full((K, p + 1), strength, dtype=object)
    ridge[:, -1] = intercept
    return ridge


def described(loss, ridge, l1=None, **kwargs):
    """What makes a judge's problem of fitted rows."""

    def problem(X, y, weight):
        A = judge.exactly(np.c_[X, np.ones(len(X))])
        zero = judge.exactly(0.0 * np.asarray(ridge, float))
        own = zero if l1 is None else l1
        s = judge.exactly(np.ones(len(y)) if weight is None else weight)
        rows = A, judge.exactly(y), s
        return judge.Problem(*rows, loss, zero + ridge, zero + own, **kwargs)

    return problem


def least_squares(rng, X):
    y = np.clip(outputs(rng, X), -1e3, 1e3) + rng.normal(size=len(X))
    weight = rng.uniform(0.2, 2, len(X)) if rng.random() < 0.5 else None
    ridge = penalty(1, X.shape[1], real(0))
    return Drawn(LinearRegression(), X, y, described(judge.Squared(), ridge), weight)


def ridge(rng, X):
    y, alpha = outputs(rng, X) + rng.normal(size=len(X)), 10.0 ** rng.uniform(-6, 4)
    problem = described(judge.Squared(), penalty(1, X.shape[1], real(alpha)))
    return Drawn(Ridge(alpha=alpha), X, y, problem)


def elastic(rng, X):
    n, p = X.shape
    y = np.clip(outputs(rng, X), -1e3, 1e3) + rng.normal(size=n)
    alpha, ratio = 10.0 ** rng.uniform(-4, 0), rng.choice([0.3, 1.0])
    kinds = {"tol": 1e-12, "max_iter": 10**5}
    model = Lasso(alpha=alpha, **kinds)
    if ratio < 1:
        model = ElasticNet(alpha=alpha, l1_ratio=ratio, **kinds)
    strength = real(alpha) * n
    parts = (1 - real(ratio)) * strength, real(ratio) * strength
    l2, l1 = (penalty(1, p, part) for part in parts)
    return Drawn(model, X, y, described(judge.Squared(), l2, l1, mean=True))


def positive(rng, X):
    y = np.clip(outputs(rng, X), -1e3, 1e3) + rng.normal(size=len(X))
    ridge = penalty(1, X.shape[1], real(0))
    problem = described(judge.Squared(), ridge, positive=True)
    return Drawn(LinearRegression(positive=True), X, y, problem)


def logistic(rng, X, far=8):
    y = (outputs(rng, X) + rng.logistic(size=len(X)) > 0).astype(int)
    y[:2] = 0, 1
    C = 10.0 ** rng.uniform(-6, far)
    model = LogisticRegression(C=C, tol=1e-8, max_iter=1000, solver="newton-cholesky")
    problem = described(judge.Binomial(), penalty(1, X.shape[1], 1 / real(C)))
    weight = rng.uniform(0.2, 2, len(X)) if rng.random() < 0.5 else None
    return Drawn(model, X, y, problem, weight)


def sparse_logistic(rng, X):
    y = (outputs(rng, X) + rng.logistic(size=len(X)) > 0).astype(int)
    y[:2] = 0, 1
    C = 10.0 ** rng.uniform(-1, 2)
    model = LogisticRegression(C=C, l1_ratio=1, solver="saga", tol=1e-8, max_iter=20000)
    p = X.shape[1]
    l1 = penalty(1, p, 1 / real(C))
    return Drawn(model, X, y, described(judge.Binomial(), penalty(1, p, real(0)), l1))


def softmax(rng, X):
    logits = np.stack([outputs(rng, X) for _ in range(3)], axis=1)
    y = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    y[:6] = 0, 1, 2, 0, 1, 2
    C = np.inf if rng.random() < 0.2 else 10.0 ** rng.uniform(-4, 4)
    model = LogisticRegression(C=C, tol=1e-8, max_iter=1000, solver="newton-cholesky")
    strength = real(0) if C == np.inf else 1 / real(C)
    problem = described(judge.Multinomial(), penalty(3, X.shape[1], strength))
    return Drawn(model, X, y, problem)


def sparse_softmax(rng, X):
    logits = np.stack([outputs(rng, X) for _ in range(3)], axis=1)
    y = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    y[:6] = 0, 1, 2, 0, 1, 2
    C, p = 10.0 ** rng.uniform(-1, 1), X.shape[1]
    model = LogisticRegression(C=C, l1_ratio=1, solver="saga", tol=1e-8, max_iter=20000)
    l1 = penalty(3, p, 1 / real(C))
    ridge = penalty(3, p, real(0))
    return Drawn(model, X, y, described(judge.Multinomial(), ridge, l1))


def counts(rng, X):
    eta = np.clip(outputs(rng, X), -3, 3)
    kind, alpha = rng.integers(3), 10.0 ** rng.uniform(-6, 1)
    options = {"alpha": alpha, "tol": 1e-8, "max_iter": 10000}
    options["solver"] = "newton-cholesky"
    if kind == 0:
        model, power = PoissonRegressor(**options), 1
        y = rng.poisson(np.exp(eta)).astype(float)
        y[0] = 1.0
    elif kind == 1:
        model, power = GammaRegressor(**options), 2
        y = rng.gamma(1.0, np.exp(eta)) + 1e-3
    else:
        model, power = TweedieRegressor(power=1.5, link="log", **options), 1.5
        y = rng.gamma(1.0, np.exp(eta)) * (rng.random(len(X)) < 0.7)
        y[0] = 1.0
    strength = real(alpha) * len(X)
    ridge = penalty(1, X.shape[1], strength)
    return Drawn(model, X, y, described(judge.Tweedie(power), ridge, mean=True))


def margins(rng, X):
    C = 10.0 ** rng.uniform(-4, 3)
    ridge = penalty(1, X.shape[1], 1 / real(C), 1 / real(C))
    options = {"C": C, "tol": 1e-10, "max_iter": 10**6}
    if rng.random() < 0.5:
        y = (outputs(rng, X) + rng.logistic(size=len(X)) > 0).astype(int)
        y[:2] = 0, 1
        problem = described(judge.SquaredHinge(), ridge)
        return Drawn(
            LinearSVC(**options), X, y, lambda X, y, s: problem(X, 2 * y - 1, s)
        )
    y = np.clip(outputs(rng, X), -10, 10) + rng.normal(size=len(X))
    model = LinearSVR(loss="squared_epsilon_insensitive", epsilon=0.3, **options)
    return Drawn(model, X, y, described(judge.SquaredInsensitive(0.3), ridge))


def huber(rng, X):
    y = np.clip(outputs(rng, X), -10, 10) + rng.standard_t(3, size=len(X))
    p, alpha = X.shape[1], 10.0 ** rng.uniform(-4, 1)
    ridge = np.full((2, p + 1), real(0), dtype=object)
    ridge[0, :-1] = 2 * real(alpha)
    free = np.ones((2, p + 1), bool)
    free[1, :-1] = False
    model = HuberRegressor(alpha=alpha, tol=1e-8, max_iter=10000)
    return Drawn(model, X, y, described(judge.HuberScale(1.35), ridge, free=free))


class GeneralizedLinear(RegressorMixin, BaseEstimator):
    """A generalized linear model of any family and link."""

    def __init__(self, loss, alpha):
        self.loss = loss
        self.alpha = alpha

    def fit(self, X, y):
        """Minimise the sum of losses, half a squared penalty added."""
        Z, targets = np.column_stack([X, np.ones(len(X))]), y[:, None]
        ridge = np.append(np.full(X.shape[1], self.alpha), 0.0)

        def objective(theta):
            u = (Z @ theta)[:, None]
            slope = Z.T @ self.loss.gradient(targets, u)[:, 0] + ridge * theta
            value = self.loss.value(targets, u).sum() + ridge @ theta**2 / 2
            return value, slope

        theta = minimize(objective, np.zeros(Z.shape[1]), jac=True).x
        self.coef_, self.intercept_ = theta[:-1], theta[-1]
        return self

    def predict(self, X):
        """Mean of y."""
        return self.loss.response((X @ self.coef_ + self.intercept_)[:, None])[:, 0]


register_estimator(
    GeneralizedLinear, lambda model: model.loss, strength=lambda model: model.alpha
)


def probit(rng, X):
    y = (outputs(rng, X) + rng.normal(size=len(X)) > 0).astype(float)
    y[:2] = 0, 1
    alpha = 10.0 ** rng.uniform(-4, 3)
    model = GeneralizedLinear(ExponentialFamilyLoss(Binomial(), Probit()), alpha)
    ridge = penalty(1, X.shape[1], real(alpha))
    return Drawn(model, X, y, described(judge.Probit(), ridge))


def negative_binomial(rng, X):
    alpha, dispersion = 10.0 ** rng.uniform(-4, 2), 10.0 ** rng.uniform(-1, 1)
    mean = np.exp(np.clip(outputs(rng, X), -3, 3))
    y = rng.poisson(rng.gamma(1 / dispersion, dispersion * mean)).astype(float)
    y[0] = 1.0
    loss = ExponentialFamilyLoss(NegativeBinomial(dispersion), Log())
    ridge = penalty(1, X.shape[1], real(alpha))
    problem = described(judge.NegativeBinomial(dispersion), ridge)
    return Drawn(GeneralizedLinear(loss, alpha), X, y, problem)


KINDS = {
    "least squares": (least_squares, FEATURES),
    "ridge": (ridge, FEATURES),
    "lasso, elastic net": (elastic, FEATURES),
    "coefficients of one sign": (positive, FEATURES),
    "logistic": (logistic, FEATURES),
    "logistic, L1": (sparse_logistic, MILD),
    "softmax": (softmax, FEATURES),
    "softmax, L1": (sparse_softmax, MILD),
    "probit": (probit, FEATURES),
    "Poisson, Gamma, Tweedie": (counts, MILD),
    "negative binomial": (negative_binomial, MILD),
    "support vectors": (margins, MILD),
    "Huber": (huber, (normal, heavy, leveraged)),
}


# --- judging ---


def judged(drawn, rng, n_rows=ROWS):
    """The tally of each method for some rows of one model; None if it has no fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainers = explained(drawn)
        if explainers is None:
            return None
        fitted = explainers["newton"].estimator_
        theta = np.column_stack([np.atleast_2d(fitted.coef_), fitted.intercept_])
        if isinstance(fitted, HuberRegressor):
            scale = np.zeros_like(theta)
            scale[0, -1] = fitted.scale_
            theta = np.vstack([theta, scale])
        problem = drawn.problem(drawn.X, drawn.y, drawn.weight)
        minimum = judge.minimise(problem, theta)
        size = np.abs(drawn.X - np.median(drawn.X, axis=0)).max(axis=1)
        rows = np.argsort(-size)[: n_rows // 2]
        others = np.setdiff1d(np.arange(len(drawn.X)), rows)
        rows = np.r_[rows, rng.choice(others, n_rows - len(rows), replace=False)]
        truth = []
        for row in rows:
            try:
                truth.append(judge.minimise(problem.without(row), minimum) - minimum)
            except (AssertionError, ZeroDivisionError):
                truth.append(None)  # the rows left have no minimum, or not one alone
    tallies = {method: Tally() for method in explainers}
    for method, explainer in explainers.items():
        for row, delta in zip(rows, truth, strict=True):
            compare(tallies[method], explainer, int(row), delta, method)
    return tallies


def explained(drawn):
    """The model explained by each method that its loss allows."""
    fitted = {}
    for method in METHODS:
        explainer = InfluenceExplainer(drawn.model, deletion=method)
        try:
            explainer.fit(drawn.X, drawn.y, sample_weight=drawn.weight)
            if method == "halley":
                explainer.loo_params(rows=[0])
        except Exception:
            if method == "newton":
                return None  # nothing to explain: the data have no minimum
            continue
        fitted[method] = explainer
    return fitted


def compare(tally, explainer, row, truth, method):
    """Take note of one deletion."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            params = explainer.loo_params(rows=[row])
        except ValueError:  # refused in words
            tally.unanswered += truth is not None
            return
    if truth is None:
        return
    coef = np.atleast_2d(params.coef[0])
    mine = np.column_stack([coef, np.ravel(params.intercept[0])])
    truth = truth[: len(mine)]
    error = judge.norm(judge.exactly(mine) - truth)
    bound, size = float(params.error_bound[0]), judge.norm(truth)
    tally.deletions += 1
    if bound < np.inf:
        tally.bounded += 1
        tally.worst = max(tally.worst, error / bound)
        if error > 0:
            tally.ratios.append(bound / error)
    is_off = error > OFF * size and error > bound_of_rounding(truth, mine)
    is_hopeless = is_off and error > 0.5 * size
    tally.off += is_off
    tally.hopeless += is_hopeless
    faults = {
        "exceeded": not error <= bound,
        "silent": bool(is_off and bound <= OFF * size and not caught),
        "unwarned": bool(is_hopeless and not caught),
    }
    for fault, is_so in faults.items():
        setattr(tally, fault, getattr(tally, fault) + is_so)
    if any(faults.values()):
        names = ", ".join(fault for fault, is_so in faults.items() if is_so)
        sizes = f"error {error:.2g} of {size:.2g}, bound {bound:.2g}"
        tally.offenders.append(f'["{method}"].loo_params([{row}])  # {names}: {sizes}')


def bound_of_rounding(truth, mine):
    return 1e-14 * (1 + np.abs(mine).max())


def drawn(kind, i, seed=0, rows=SIZES):
    """The i-th model of a kind, and what draws its rows."""
    number = list(KINDS).index(kind)
    draw, features = KINDS[kind]
    rng = np.random.default_rng([seed, number, i])
    n, p = int(rng.integers(*rows)), int(rng.integers(2, 4))
    return draw(rng, features[i % len(features)](rng, n, p)), rng


def drawn_and_judged(kind, i, seed, n_rows, rows):
    """The tallies of the i-th model of a kind, by method; empty if it has no fit."""
    judge.use_many_digits()
    made, rng = drawn(kind, i, seed, rows)
    if np.linalg.matrix_rank(made.X - made.X.mean(axis=0)) < made.X.shape[1]:
        return {}
    try:
        tallies = judged(made, rng, n_rows) or {}
    except (AssertionError, ZeroDivisionError):
        return {}  # the judge finds no minimum of all rows
    for tally in tallies.values():
        model = f'explained(drawn("{kind}", {i}, {seed}, {rows})[0])'
        tally.offenders = [model + line for line in tally.offenders]
    return tallies


def tallies(n_models, seed=0, kinds=KINDS, n_rows=ROWS, rows=SIZES, run=map):
    """The tally of each kind and method, over so many models of each."""
    calls = [(kind, i, seed, n_rows, rows) for i in range(n_models) for kind in kinds]
    counts = {}
    for kind, parts in run(_judged, calls):
        for method, tally in parts.items():
            counts.setdefault((kind, method), Tally()).add(tally)
    return counts


def _judged(call):
    return call[0], drawn_and_judged(*call)


def until(pool, deadline):
    """A ``map`` in processes that ends at a time, whatever they are at."""

    def run(function, calls):
        results = pool.imap_unordered(function, calls)
        for _ in calls:
            try:
                yield results.next(max(deadline - time.perf_counter(), 0.0))
            except multiprocessing.TimeoutError:
                return

    return run


# --- the table ---


def written(counts, seconds):
    """The table as reStructuredText."""
    total = Tally()
    for tally in counts.values():
        total.add(tally)
    heads = ("model", "method", "deletions", "bound exceeded", "off by more than 1 %")
    heads += ("of these silently", "bound over error, median", "without a bound")
    lines = [
        f"{total.deletions:,} deletions, judged with 42 digits on {date.today()} in "
        f"{seconds / 60:.0f} minutes: {total.exceeded} bounds exceeded, {total.silent} "
        f"deltas off by more than 1 % silently; {total.hopeless} off by more than "
        f"half, {total.unwarned} of them without a warning.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
        *_row(heads),
    ]
    for (kind, method), tally in counts.items():
        ratio = f"{np.median(tally.ratios):.1e}" if tally.ratios else "-"
        cells = (kind, method, tally.deletions, tally.exceeded, tally.off)
        free = tally.deletions - tally.bounded
        lines += _row((*cells, tally.silent, ratio, free))
    return "\n".join(lines) + "\n"


def _row(cells):
    return [("   * - " if i == 0 else "     - ") + str(c) for i, c in enumerate(cells)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=30, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--minutes", type=float, default=60.0, help="at the most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=TABLE)
    parser.add_argument("--offenders", action="store_true", help="print each")
    options = parser.parse_args()
    kinds = {kind: KINDS[kind] for kind in options.kinds}
    start = time.perf_counter()
    with multiprocessing.Pool(options.jobs) as pool:
        run = until(pool, start + 60 * options.minutes)
        counts = tallies(options.models, options.seed, kinds, run=run)
    counts = dict(
        sorted(counts.items(), key=lambda item: list(KINDS).index(item[0][0]))
    )
    for key, tally in counts.items():
        print(key, {k: v for k, v in vars(tally).items() if not isinstance(v, list)})
        if options.offenders:
            print(*tally.offenders, sep="\n")
    table = written(counts, time.perf_counter() - start)
    print(table)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(table)
    sys.exit(any(tally.exceeded or tally.silent for tally in counts.values()))


if __name__ == "__main__":
    main()
