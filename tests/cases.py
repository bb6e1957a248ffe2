"""The one registry: data sets, and every estimator and option that is supported.

A case says which estimator is fitted to which data and, independently of the library,
which objective that is: loss, penalty in sum form, weights. ``test_reference_cases``
proves each of them against scikit-learn's own fit. A new estimator is one line here.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from reference import (
    Problem,
    loss_value,
    minimise,
    output_gradients,
    refit_without,
    row_gradients,
)
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skinfluence.losses import (
    Binomial,
    CLogLog,
    Gamma,
    Gaussian,
    HalfMultinomialLoss,
    Identity,
    InverseGaussian,
    Log,
    Logit,
    LogLog,
    NegativeBinomial,
    Poisson,
    Power,
    Probit,
    Tweedie,
)

# --- data ---


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test rows; the weights are used by the weighted cases only."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    sample_weight: np.ndarray


@cache
def load(name):
    """A data set of ``DATA`` by its name; read-only, so that nobody changes it."""
    X, y, X_test, y_test = DATA[name]()
    rng = np.random.default_rng(7)
    weight = rng.uniform(0.3, 3.0, len(y))
    weight[[4, 11, len(y) - 1]] = 0.0
    data = Data(X, y, X_test, y_test, weight)
    for array in vars(data).values():
        array.flags.writeable = False
    return data


def training_rows(name):
    """X and y of a data set."""
    return load(name).X, load(name).y


def _features(seed, n, p, m=7):
    rng = np.random.default_rng(seed)
    mixing = np.eye(p) + 0.3 * rng.normal(size=(p, p)) / np.sqrt(p)
    X = rng.normal(size=(n + m, p)) @ mixing + rng.normal(size=p)
    return rng, X


def _split(X, y, m=7):
    return X[:-m].copy(), y[:-m].copy(), X[-m:].copy(), y[-m:].copy()


def _one_target(n=40, p=4, noise=1.0, seed=0):
    rng, X = _features(seed, n, p)
    y = 3 + X @ rng.normal(size=p) + noise * rng.normal(size=len(X))
    return _split(X, y)


def _two_targets():
    rng, X = _features(1, 40, 4)
    Y = X @ rng.normal(size=(4, 2)) + [5, -2] + rng.normal(size=(len(X), 2))
    return _split(X, Y)


def _classes(labels, n, p, seed, sharpness=1.0):
    rng, X = _features(seed, n, p)
    logits = (X - X.mean(axis=0)) @ rng.normal(size=(p, len(labels))) * sharpness
    noise = rng.gumbel(size=logits.shape)
    return _split(X, np.asarray(labels)[np.argmax(logits + noise, axis=1)])


def _duplicated(factor):
    X, y, X_test, y_test = _one_target()
    wider = [np.hstack([A, factor * A[:, [1]]]) for A in (X, X_test)]
    return wider[0], y, wider[1], y_test


DATA = {
    "one target": _one_target,
    "two targets": _two_targets,
    "wide": lambda: _one_target(n=20, p=50, seed=3),
    "two classes": lambda: _classes([0, 1], 60, 4, seed=4),
    "two truths": lambda: _classes([False, True], 60, 4, seed=4),
    "two words": lambda: _classes(["no", "yes"], 60, 4, seed=4),
    "wide classes": lambda: _classes([-1, 1], 30, 45, seed=6, sharpness=0.3),
    "three classes": lambda: _classes([0, 1, 2], 80, 4, seed=8),
    "three words": lambda: _classes(["ant", "bee", "cat"], 80, 4, seed=8),
    "duplicated column": lambda: _duplicated(1.0),
    "duplicated column, doubled": lambda: _duplicated(2.0),
}


# --- cases ---


def alpha_of(model):
    """Penalty of a ridge: its alpha(s), fitted or given."""
    alpha = getattr(model, "alpha_", None)
    return np.asarray(model.alpha if alpha is None else alpha, float)


def inverse_C_of(model):
    """Penalty of a logistic regression: 1 / C, fitted or given."""
    C = getattr(model, "C_", None)
    return 1.0 / np.asarray(model.C if C is None else C, float)


def nothing_of(_model):
    return np.zeros(())


PENALTIES = {"squared": alpha_of, "logistic": inverse_C_of, "least squares": nothing_of}


@dataclass(frozen=True, eq=False)
class Case:
    """An estimator, the data it is fitted to, and the kind of objective that is."""

    name: str
    kind: str  # a key of PENALTIES
    data: str  # a key of DATA
    estimator: Any
    weighted: bool = False
    tight: bool = True  # the estimator's own fit reaches the minimum to 1e-6

    def __str__(self):
        return self.name

    @property
    def quadratic(self):
        return self.kind != "logistic"

    @property
    def is_classifier(self):
        return hasattr(fitted(self), "classes_")

    @property
    def multiclass(self):
        return self.is_classifier and len(fitted(self).classes_) > 2

    @property
    def on(self):
        """What ``transform`` looks at when there are no labels."""
        return "decision" if self.is_classifier else "prediction"

    @property
    def sample_weight(self):
        return load(self.data).sample_weight if self.weighted else None

    @property
    def fit_params(self):
        """How ``InfluenceExplainer.fit`` learns of the weights."""
        return {"sample_weight": self.sample_weight} if self.weighted else {}


def fit_estimator(case, estimator=None):
    """A clone of the case's estimator, fitted by scikit-learn alone."""
    estimator = clone(case.estimator if estimator is None else estimator)
    data, weight = load(case.data), case.sample_weight
    if weight is None:
        return estimator.fit(data.X, data.y)
    if hasattr(estimator, "steps"):
        name = estimator.steps[-1][0]
        return estimator.fit(data.X, data.y, **{f"{name}__sample_weight": weight})
    return estimator.fit(data.X, data.y, sample_weight=weight)


@cache
def fitted(case):
    """The fitted estimator of a case; shared, so never fit it again."""
    return fit_estimator(case)


def last_step(model):
    """The linear model inside searches, frozen estimators and pipelines."""
    if hasattr(model, "best_estimator_"):
        return last_step(model.best_estimator_)
    if isinstance(model, FrozenEstimator):
        return last_step(model.estimator)
    if hasattr(model, "steps"):
        return last_step(model.steps[-1][1])
    return model


def features(model, X):
    """``X`` as the linear model inside sees it."""
    if hasattr(model, "best_estimator_"):
        return features(model.best_estimator_, X)
    if isinstance(model, FrozenEstimator):
        return features(model.estimator, X)
    return model[:-1].transform(X) if hasattr(model, "steps") else X


def targets_of(case, y):
    """What the loss compares with the linear outputs, shape (n, K)."""
    if not case.is_classifier:
        return y.reshape(len(y), -1)
    hot = (np.asarray(y)[:, None] == fitted(case).classes_).astype(float)
    if case.kind == "logistic":
        return hot if case.multiclass else hot[:, 1:]
    return 2 * hot - 1 if case.multiclass else 2 * hot[:, 1:] - 1


def weights_of(case):
    """Sample weight times class weight, as scikit-learn counts them at the fit."""
    y, model = load(case.data).y, last_step(fitted(case))
    sample = np.ones(len(y)) if case.sample_weight is None else case.sample_weight
    given = getattr(model, "class_weight", None)
    if given is None:
        return sample.copy()
    if isinstance(given, dict):
        return sample * np.array([given.get(label, 1.0) for label in y])
    # "balanced" counts weights in LogisticRegression but rows in RidgeClassifier
    counted = sample if case.kind == "logistic" else np.ones(len(y))
    same = y[:, None] == y[None, :]
    return sample * counted.sum() / (len(model.classes_) * (same @ counted))


@cache
def problem_of(case):
    """The objective of a case, rebuilt by hand from public attributes."""
    data, model = load(case.data), last_step(fitted(case))
    X = features(fitted(case), data.X)
    targets = targets_of(case, data.y)
    penalty = np.broadcast_to(PENALTIES[case.kind](model), targets.shape[1])
    ridge = np.repeat(penalty[:, None], X.shape[1] + model.fit_intercept, axis=1)
    if model.fit_intercept:  # free, except as the weight of a column in liblinear
        liblinear = getattr(model, "solver", None) == "liblinear"
        ridge[:, -1] = penalty / model.intercept_scaling**2 if liblinear else 0.0
    loss = "multinomial" if case.multiclass else "binomial"
    loss = loss if case.kind == "logistic" else "squared"
    return Problem(X, targets, weights_of(case), loss, ridge, model.fit_intercept)


@cache
def minimum_of(case):
    """Theta at the minimum of the case's objective, shape (K, q)."""
    return minimise(problem_of(case))


@cache
def refits_of(case):
    """Theta of the tightly converged refit without each row, shape (n, K, q)."""
    problem, theta = problem_of(case), minimum_of(case)
    return np.array([refit_without(problem, theta, i) for i in range(len(problem.X))])


def targets_at_test(case):
    return targets_of(case, load(case.data).y_test)


def features_at_test(case):
    return features(fitted(case), load(case.data).X_test)


def chosen_outputs(case):
    """The linear outputs that ``on="prediction"`` or ``"decision"`` looks at.

    All of a regressor, one beside the other; of a classifier one per test row, that of
    the class which the model predicts.
    """
    problem, theta = problem_of(case), minimum_of(case)
    if not case.is_classifier:
        return list(range(len(theta)))
    if not case.multiclass:
        return [0]
    u = problem.rows_of(features_at_test(case)) @ theta.T
    return [np.argmax(u, axis=1)]


def gradients_at_test(case, on):
    """Gradients in theta of what is looked at, for the test rows: a list of (m, d)."""
    problem, theta, X = problem_of(case), minimum_of(case), features_at_test(case)
    if on == "loss":
        return [row_gradients(problem, theta, X, targets_at_test(case))]
    return [output_gradients(problem, X, k) for k in chosen_outputs(case)]


def values_at_test(case, on, theta):
    """What is looked at, for the test rows at some theta: a list of (m,)."""
    problem, X = problem_of(case), features_at_test(case)
    u = problem.rows_of(X) @ theta.T
    if on == "loss":
        return [loss_value(problem, targets_at_test(case), u)]
    each = np.arange(len(X))
    return [u[each, k] for k in chosen_outputs(case)]


def theta_of(model):
    """``coef_`` and ``intercept_`` side by side, shape (K, q)."""
    coef = np.atleast_2d(model.coef_)
    if not model.fit_intercept:
        return coef
    intercept = np.broadcast_to(model.intercept_, len(coef))
    return np.hstack([coef, intercept[:, None]])


def rows_of(bunch, case):
    """``coef`` and ``intercept`` of many rows side by side, shape (rows, K, q)."""
    K = len(problem_of(case).ridge)
    coef = np.asarray(bunch.coef).reshape(len(bunch.coef), K, -1)
    if not last_step(fitted(case)).fit_intercept:
        assert not np.any(bunch.intercept), "an intercept that is not fitted moved"
        return coef
    return np.concatenate([coef, np.reshape(bunch.intercept, (-1, K, 1))], axis=2)


def least_squares(name, data="one target", estimator=None, **options):
    return Case(name, "least squares", data, estimator or LinearRegression(), **options)


def ridge(name, data, estimator, **options):
    return Case(name, "squared", data, estimator, **options)


def logistic(name, data, estimator, **options):
    return Case(name, "logistic", data, estimator, **options)


TIGHT = {"tol": 1e-12, "max_iter": 10_000}
SEARCHED_CV = {
    "Cs": [0.1, 1.0],
    "l1_ratios": (0.0,),
    "scoring": "neg_log_loss",
    "cv": 3,
    "use_legacy_attributes": False,
    **TIGHT,
}
THREE_C = {"C": [0.3, 1.0, 3.0]}

LEAST_SQUARES = [
    least_squares("linear"),
    least_squares("linear, weighted", weighted=True),
    least_squares(
        "linear, no intercept", estimator=LinearRegression(fit_intercept=False)
    ),
    least_squares("linear, two targets", "two targets", weighted=True),
    least_squares(
        "linear, pipeline",
        estimator=make_pipeline(
            StandardScaler(),
            PolynomialFeatures(2, include_bias=False),
            LinearRegression(),
        ),
    ),
]

RIDGES = [
    ridge("ridge", "one target", Ridge()),
    ridge("ridge, weighted", "one target", Ridge(3.0), weighted=True),
    ridge("ridge, no intercept", "one target", Ridge(2.0, fit_intercept=False)),
    ridge("ridge, svd", "one target", Ridge(solver="svd")),
    ridge("ridge, cholesky", "one target", Ridge(solver="cholesky"), weighted=True),
    ridge("ridge, lsqr", "one target", Ridge(solver="lsqr")),
    ridge("ridge, sparse_cg", "one target", Ridge(solver="sparse_cg")),
    ridge("ridge, sag", "one target", Ridge(solver="sag", random_state=0), tight=False),
    ridge("ridge, two targets", "two targets", Ridge(2.0)),
    ridge("ridge, alphas", "two targets", Ridge([0.5, 30.0]), weighted=True),
    ridge(
        "ridge, alphas, no intercept",
        "two targets",
        Ridge([0.5, 30.0], fit_intercept=False),
    ),
    ridge("ridge, wide", "wide", Ridge(0.5), weighted=True),
    ridge("ridge, wide, no intercept", "wide", Ridge(0.5, fit_intercept=False)),
    ridge("RidgeCV", "one target", RidgeCV([0.1, 1.0, 10.0]), weighted=True),
    ridge(
        "RidgeCV, alpha per target",
        "two targets",
        RidgeCV(np.logspace(-2, 3, 20), alpha_per_target=True),
    ),
    ridge("ridge, pipeline", "one target", make_pipeline(StandardScaler(), Ridge())),
    ridge("RidgeClassifier", "two classes", RidgeClassifier(), weighted=True),
    ridge(
        "RidgeClassifier, three classes, balanced",
        "three words",
        RidgeClassifier(2.0, class_weight="balanced"),
        weighted=True,
    ),
    ridge(
        "RidgeClassifier, no intercept, class weights",
        "two words",
        RidgeClassifier(fit_intercept=False, class_weight={"no": 3.0, "yes": 0.5}),
    ),
    ridge(
        "RidgeClassifier, class weights",
        "two classes",
        RidgeClassifier(class_weight={0: 3.0}),
    ),
    ridge("RidgeClassifierCV", "two words", RidgeClassifierCV([0.1, 10.0])),
    ridge(
        "RidgeClassifierCV, three classes",
        "three classes",
        RidgeClassifierCV([0.1, 10.0]),
        weighted=True,
    ),
]

BINARY = [
    logistic("logistic", "two classes", LogisticRegression(**TIGHT)),
    logistic("logistic, booleans", "two truths", LogisticRegression(**TIGHT)),
    logistic("logistic, default", "two words", LogisticRegression(), tight=False),
    logistic("logistic, C=inf", "two classes", LogisticRegression(C=np.inf, **TIGHT)),
    logistic(
        "logistic, C=inf, no intercept, weighted",
        "two words",
        LogisticRegression(C=np.inf, fit_intercept=False, **TIGHT),
        weighted=True,
    ),
    logistic(
        "logistic, newton-cg, weighted",
        "two classes",
        LogisticRegression(C=0.5, solver="newton-cg", **TIGHT),
        weighted=True,
    ),
    logistic(
        "logistic, newton-cholesky, balanced",
        "two words",
        LogisticRegression(solver="newton-cholesky", class_weight="balanced", **TIGHT),
        weighted=True,
    ),
    logistic(
        "logistic, liblinear",
        "two classes",
        LogisticRegression(C=0.3, solver="liblinear", **TIGHT),
    ),
    logistic(
        "logistic, liblinear, intercept_scaling",
        "two words",
        LogisticRegression(C=0.3, solver="liblinear", intercept_scaling=2.5, **TIGHT),
        weighted=True,
    ),
    logistic(
        "logistic, liblinear, no intercept",
        "two classes",
        LogisticRegression(solver="liblinear", fit_intercept=False, **TIGHT),
    ),
    logistic(
        "logistic, sag",
        "two classes",
        LogisticRegression(solver="sag", random_state=0, max_iter=1000),
        tight=False,
    ),
    logistic(
        "logistic, saga, class weights",
        "two words",
        LogisticRegression(
            solver="saga",
            random_state=0,
            max_iter=1000,
            class_weight={"no": 0.4, "yes": 2.0},
        ),
        tight=False,
    ),
    logistic(
        "logistic, wide",
        "wide classes",
        LogisticRegression(C=0.5, solver="newton-cg", **TIGHT),
    ),
    logistic(
        "LogisticRegressionCV",
        "two classes",
        LogisticRegressionCV(**SEARCHED_CV),
        weighted=True,
    ),
    logistic(
        "logistic, pipeline, weighted",
        "two words",
        make_pipeline(StandardScaler(), LogisticRegression(**TIGHT)),
        weighted=True,
    ),
    logistic(
        "logistic, frozen",
        "two classes",
        FrozenEstimator(
            LogisticRegression(**TIGHT).fit(
                load("two classes").X, load("two classes").y
            )
        ),
    ),
    logistic(
        "logistic, GridSearchCV",
        "two classes",
        GridSearchCV(LogisticRegression(**TIGHT), THREE_C, cv=3),
    ),
    logistic(
        "logistic, GridSearchCV, pipeline",
        "two words",
        GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(**TIGHT)),
            {"logisticregression__C": [0.3, 3.0]},
            cv=3,
        ),
    ),
]

SOFTMAX = [
    logistic("softmax", "three words", LogisticRegression(**TIGHT)),
    logistic("softmax, default", "three classes", LogisticRegression(), tight=False),
    logistic("softmax, C=inf", "three classes", LogisticRegression(C=np.inf, **TIGHT)),
    logistic(
        "softmax, C=inf, no intercept, weighted",
        "three classes",
        LogisticRegression(C=np.inf, fit_intercept=False, **TIGHT),
        weighted=True,
    ),
    logistic(
        "softmax, newton-cg, no intercept",
        "three classes",
        LogisticRegression(solver="newton-cg", fit_intercept=False, **TIGHT),
    ),
    logistic(
        "softmax, newton-cholesky, weighted",
        "three words",
        LogisticRegression(C=3.0, solver="newton-cholesky", **TIGHT),
        weighted=True,
    ),
    logistic(
        "softmax, saga, balanced",
        "three words",
        LogisticRegression(
            solver="saga", random_state=0, max_iter=1000, class_weight="balanced"
        ),
        weighted=True,
        tight=False,
    ),
    logistic(
        "softmax, LogisticRegressionCV",
        "three words",
        LogisticRegressionCV(**SEARCHED_CV),
    ),
    logistic(
        "softmax, RandomizedSearchCV",
        "three classes",
        RandomizedSearchCV(
            LogisticRegression(**TIGHT), THREE_C, n_iter=2, cv=3, random_state=0
        ),
    ),
]

QUADRATIC = LEAST_SQUARES + RIDGES
LOGISTIC = BINARY + SOFTMAX
CASES = QUADRATIC + LOGISTIC
BY_NAME = {case.name: case for case in CASES}


def pick(*names):
    """Some cases by their names, for tests that need not run over all."""
    return [BY_NAME[name] for name in names]


# One of each shape of coef_, intercept_ and output: for tests of plumbing.
FEW = pick(
    "linear",
    "ridge, alphas",
    "RidgeClassifier, three classes, balanced",
    "logistic, liblinear, intercept_scaling",
    "softmax, C=inf",
)


# --- losses ---


def _numbers(rng, n):
    return rng.normal(size=(n, 2))


def _shares(rng, n):
    return np.concatenate([[0.0, 1.0], rng.uniform(size=n - 2)])[:, None]


def _one_hot(rng, n):
    return np.eye(3)[rng.integers(3, size=n)]


def _counts(rng, n):
    return rng.poisson(2.0, size=(n, 1)).astype(float)


def _positive(rng, n):
    return rng.gamma(2.0, size=(n, 1))


def _positive_or_zero(rng, n):
    return rng.gamma(2.0, size=(n, 1)) * rng.integers(2, size=(n, 1))


def _one_number(rng, n):
    return rng.normal(size=(n, 1))


def _weighed_one_hot(rng, n):
    """Two models of three classes each, and the weights of a row in both."""
    targets = [_one_hot(rng, n), _one_hot(rng, n), rng.uniform(0.5, 2.0, (n, 2))]
    return np.concatenate(targets, axis=1)


def _powers(*powers):
    return tuple({"power": power} for power in powers)


def _signs(rng, n):
    return rng.choice([-1.0, 1.0], size=(n, 1))


@dataclass(frozen=True)
class LossSample:
    """Valid targets of a loss, made by ``targets(rng, n)``, (n, K_y)."""

    targets: Any
    n_outputs: int = 1
    scale: float = 1.0  # of the outputs
    is_straight: bool = True  # nearly, far out
    farthest: float = 800.0  # the largest outputs at which the loss is finite
    options: tuple[dict[str, Any], ...] = ({},)  # of the constructor
    within: Any = lambda u: u  # any outputs to ones that have a finite loss


# Families and what makes targets of theirs; each is tested with each link.
FAMILIES = {
    Gaussian(): _one_number,
    Binomial(): _shares,
    Poisson(): _counts,
    Gamma(): _positive,
    InverseGaussian(): _positive,
    Tweedie(-1.0): _one_number,
    Tweedie(1.5): _positive_or_zero,
    NegativeBinomial(0.7): _counts,
}
LINKS = [
    *(Identity(), Log(), Logit(), Probit(), CLogLog(), LogLog()),
    *(Power(power) for power in (-2.0, -1.0, 0.5, 1.5)),
]


def _between(ends):
    """A function that takes any outputs well within an interval."""
    low, high = ends
    if np.isinf(low) and np.isinf(high):
        return lambda u: u
    if np.isinf(high):
        return lambda u: low + 0.8 + np.abs(u)
    if np.isinf(low):
        return lambda u: high - 0.8 - np.abs(u)
    return lambda u: low + (high - low) * (0.5 + 0.2 * np.tanh(u))


def sample_of(loss):
    """Targets and outputs at which a loss is tested."""
    sample = LOSS_SAMPLES[type(loss).__name__]
    if sample.targets is not None:
        return sample
    family, link = loss.family, loss.link
    return LossSample(
        FAMILIES[family],
        scale=0.4,
        is_straight=family == Binomial() and not loss.bounded_domain,
        farthest=300.0 if link == Log() else 800.0,
        within=_between(link.outputs(family.lower, family.upper)),
    )


# By the name of each class in skinfluence.losses; a new loss is one line here.
LOSS_SAMPLES = {
    "HalfSquaredError": LossSample(_numbers, n_outputs=2),
    "HalfBinomialLoss": LossSample(_shares),
    "HalfMultinomialLoss": LossSample(_one_hot, n_outputs=3),
    "HalfTweedieLoss": LossSample(
        _positive, farthest=300.0, options=_powers(0.0, 1.0, 1.5, 2.0, 3.0)
    ),
    "HalfTweedieIdentityLoss": LossSample(
        _positive,
        options=_powers(-1.0, 1.0, 1.5, 2.0, 3.0),
        within=lambda u: np.abs(u) + 0.3,
    ),
    "ExponentialFamilyLoss": LossSample(
        None,
        options=tuple(
            {"family": family, "link": link} for family in FAMILIES for link in LINKS
        ),
    ),
    "HuberLoss": LossSample(_numbers, n_outputs=2, options=({"epsilon": 0.4},)),
    "HuberScaleLoss": LossSample(
        _one_number,
        n_outputs=2,
        options=({"epsilon": 1.35},),
        within=lambda u: np.abs(u) * [0, 1] + u * [1, 0] + [0, 0.5],
    ),
    "ModifiedHuber": LossSample(_signs),
    "SquaredHinge": LossSample(_signs),
    "SquaredEpsilonInsensitive": LossSample(_one_number, options=({"epsilon": 0.3},)),
    "Repeated": LossSample(
        _weighed_one_hot,
        n_outputs=6,
        options=({"loss": HalfMultinomialLoss(), "n_models": 2},),
    ),
}
