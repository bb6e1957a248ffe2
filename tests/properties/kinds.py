"""Every row of the support table as models whose strength is drawn.

A kind makes an unfitted estimator from the strength of its penalty, and says what its
targets are and which properties its objective has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LassoCV,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC, LinearSVR

# --- targets: (rng, u) to y, with u the linear predictor, about standard normal ---


def numbers(rng, u):
    return u + 0.5 * rng.standard_t(4, size=len(u))


def two_numbers(rng, u):
    return np.column_stack([numbers(rng, u), numbers(rng, -0.5 * u)])


def counts(rng, u):
    return rng.poisson(np.exp(np.clip(0.5 * u + 0.5, -3, 3))).astype(float)


def positive(rng, u):
    return rng.gamma(3.0, np.exp(np.clip(0.5 * u, -3, 3)) / 3) + 1e-3


def classes(n_classes):
    """Labels that overlap; each class has a row where there are enough rows."""

    def labels(rng, u):
        noisy = u + 1.5 * rng.logistic(size=len(u))
        edges = np.quantile(noisy, np.arange(1, n_classes) / n_classes)
        y = np.digitize(noisy, edges)
        y[: 2 * n_classes] = np.arange(2 * n_classes)[: len(y)] % n_classes
        return np.array(["ant", "bee", "cat"])[y]

    return labels


def two_times_two(rng, u):
    labels = classes(2)
    return np.column_stack([labels(rng, u), labels(rng, -u)])


class AllRows:
    """A "cross-validation" that trains and tests on all rows, for searches of one."""

    def split(self, X, y=None, groups=None):
        yield np.arange(len(X)), np.arange(len(X))

    def get_n_splits(self, X=None, y=None, groups=None):
        return 1


# --- the registry ---


@dataclass(frozen=True, eq=False)
class Kind:
    """A row of the support table, or a way to wrap one."""

    name: str
    make: Callable[[float, bool], Any]  # strength, fit_intercept to an estimator
    targets: Callable[[Any, Any], Any] = numbers
    # X times s has the same outputs when the strength is times s**power; None: no such
    # rule, as the intercept is penalised too.
    power: float | None = 2
    judge: str | None = None  # the loss of ``reference.Problem``, if it is one
    third: bool = True  # the loss has third derivatives
    weighs: bool = True  # the estimator takes sample_weight
    repeats: bool = True  # two copies of a row are one of twice the weight
    corners: bool = False  # its penalty has an active set
    wild: bool = True  # the optimiser bears wild rows and scales

    def __str__(self):
        return self.name

    def __repr__(self):
        return f"<{self.name}>"

    @property
    def penalised(self):
        return self.power != 0

    @property
    def n_classes(self):
        """Number of classes, 0 of a regressor."""
        y = self.targets(np.random.default_rng(0), np.arange(6.0))
        return len(np.unique(y)) if y.dtype.kind == "U" else 0

    @property
    def softmax(self):
        return self.judge == "multinomial"


LOOSE = {"max_iter": 200, "tol": 1e-6}  # the polish has the rest of the way to go
SQUARED = "squared_epsilon_insensitive"


def logistic(strength, intercept, **options):
    settings = LOOSE | {"solver": "lbfgs"} | options
    return LogisticRegression(C=1 / strength, fit_intercept=intercept, **settings)


def free(strength, intercept):
    return logistic(1.0, intercept).set_params(C=np.inf)


def searched(strength, intercept):
    return LogisticRegressionCV(
        Cs=[1 / strength],
        l1_ratios=(0.0,),
        cv=AllRows(),
        scoring="neg_log_loss",
        use_legacy_attributes=False,
        fit_intercept=intercept,
        **LOOSE,
    )


def tweedie(power):
    return lambda a, b: TweedieRegressor(
        power=power, alpha=a, fit_intercept=b, link="log", **LOOSE
    )


def sgd(cls, loss):
    return lambda a, b: cls(
        loss, alpha=a, fit_intercept=b, max_iter=300, tol=None, random_state=0
    )


KINDS = [
    Kind(
        "LinearRegression",
        lambda a, b: LinearRegression(fit_intercept=b),
        power=0,
        judge="squared",
    ),
    Kind(
        "LinearRegression, two targets",
        lambda a, b: LinearRegression(fit_intercept=b),
        two_numbers,
        power=0,
        judge="squared",
    ),
    Kind(
        "LinearRegression, positive",
        lambda a, b: LinearRegression(fit_intercept=b, positive=True),
        power=0,
        corners=True,
        wild=False,
    ),
    Kind("Ridge", lambda a, b: Ridge(a, fit_intercept=b), judge="squared"),
    Kind(
        "Ridge, two targets",
        lambda a, b: Ridge([a, 30 * a], fit_intercept=b),
        two_numbers,
        judge="squared",
    ),
    Kind(
        "Ridge, positive",
        lambda a, b: Ridge(a, fit_intercept=b, positive=True),
        corners=True,
        wild=False,
    ),
    Kind("RidgeCV", lambda a, b: RidgeCV([a], fit_intercept=b), judge="squared"),
    Kind(
        "RidgeClassifier",
        lambda a, b: RidgeClassifier(a, fit_intercept=b),
        classes(3),
    ),
    Kind(
        "RidgeClassifierCV",
        lambda a, b: RidgeClassifierCV([a], fit_intercept=b),
        classes(2),
    ),
    Kind("Lasso", lambda a, b: Lasso(a, fit_intercept=b), power=1, corners=True),
    Kind(
        "Lasso, positive",
        lambda a, b: Lasso(a, fit_intercept=b, positive=True),
        power=1,
        corners=True,
    ),
    Kind(
        "LassoCV",
        lambda a, b: LassoCV(alphas=[a], cv=AllRows(), fit_intercept=b),
        power=1,
        corners=True,
    ),
    Kind(
        "LassoLars",
        lambda a, b: LassoLars(a, fit_intercept=b),
        power=1,
        weighs=False,
        corners=True,
        wild=False,
    ),
    Kind(
        "ElasticNet",
        lambda a, b: ElasticNet(a, l1_ratio=0.5, fit_intercept=b),
        power=None,
        corners=True,
    ),
    Kind(
        "ElasticNetCV",
        lambda a, b: ElasticNetCV(
            l1_ratio=0.5, alphas=[a], cv=AllRows(), fit_intercept=b
        ),
        power=None,
        corners=True,
    ),
    Kind(
        "BayesianRidge",
        lambda a, b: BayesianRidge(fit_intercept=b),
        power=None,
        repeats=False,  # the precisions are estimated from the number of rows
        wild=False,
    ),
    Kind(
        "ARDRegression",
        lambda a, b: ARDRegression(fit_intercept=b),
        power=None,
        weighs=False,
        repeats=False,
        wild=False,
    ),
    Kind("LogisticRegression", logistic, classes(2), judge="binomial"),
    Kind("LogisticRegression, C=inf", free, classes(2), power=0, judge="binomial"),
    Kind("softmax", logistic, classes(3), judge="multinomial"),
    Kind("softmax, C=inf", free, classes(3), power=0, judge="multinomial"),
    Kind(
        "LogisticRegression, liblinear",
        lambda a, b: logistic(a, b, solver="liblinear"),
        classes(2),
        power=None,
    ),
    Kind(
        "LogisticRegression, L1",
        lambda a, b: logistic(a, b, solver="liblinear", l1_ratio=1),
        classes(2),
        power=None,
        corners=True,
    ),
    Kind(
        "softmax, elastic net",
        lambda a, b: logistic(a, b, solver="saga", l1_ratio=0.5, random_state=0),
        classes(3),
        power=None,
        corners=True,
        wild=False,
    ),
    Kind("LogisticRegressionCV", searched, classes(3), wild=False),
    Kind(
        "PoissonRegressor",
        lambda a, b: PoissonRegressor(alpha=a, fit_intercept=b, **LOOSE),
        counts,
    ),
    Kind(
        "GammaRegressor",
        lambda a, b: GammaRegressor(alpha=a, fit_intercept=b, **LOOSE),
        positive,
    ),
    Kind("TweedieRegressor, 1.5", tweedie(1.5), counts),
    Kind("TweedieRegressor, 3", tweedie(3), positive, wild=False),
    Kind("TweedieRegressor, 0, log", tweedie(0), positive, wild=False),
    Kind(
        "HuberRegressor",
        lambda a, b: HuberRegressor(alpha=a, fit_intercept=b, max_iter=1000),
        third=False,
        wild=False,
    ),
    Kind(
        "LinearSVC",
        lambda a, b: LinearSVC(C=1 / a, fit_intercept=b, dual=False, **LOOSE),
        classes(3),
        power=None,
        third=False,
    ),
    Kind(
        "LinearSVR",
        lambda a, b: LinearSVR(
            C=1 / a, fit_intercept=b, loss=SQUARED, epsilon=0.1, dual=False, **LOOSE
        ),
        power=None,
        third=False,
    ),
    Kind(
        "SGDClassifier",
        sgd(SGDClassifier, "log_loss"),
        classes(2),
        power=None,
        repeats=False,  # the penalty counts rows, not weights
        wild=False,
    ),
    Kind(
        "SGDRegressor",
        sgd(SGDRegressor, "squared_error"),
        power=None,
        repeats=False,
        wild=False,
    ),
    Kind(
        "OneVsRestClassifier",
        lambda a, b: OneVsRestClassifier(logistic(a, b)),
        classes(3),
        weighs=False,
    ),
    Kind(
        "MultiOutputClassifier",
        lambda a, b: MultiOutputClassifier(logistic(a, b)),
        two_times_two,
        wild=False,
    ),
    Kind(
        "MultiOutputRegressor",
        lambda a, b: MultiOutputRegressor(Ridge(a, fit_intercept=b)),
        two_numbers,
    ),
    Kind(
        "TransformedTargetRegressor",
        lambda a, b: TransformedTargetRegressor(
            Ridge(a, fit_intercept=b), func=np.log, inverse_func=np.exp
        ),
        positive,
    ),
    Kind(
        "pipeline",
        lambda a, b: make_pipeline(FunctionTransformer(), Ridge(a, fit_intercept=b)),
        weighs=False,  # under the name of its last step
    ),
]
BY_NAME = {kind.name: kind for kind in KINDS}
# Rows of the table that are not drawn, and why.
LEFT_OUT = {
    "LassoLarsCV": "a search along its own path, read as LassoLars is",
}


def table_rows(kind):
    """Names of the classes inside an estimator of a kind."""
    estimator, names = kind.make(1.0, True), set()
    while estimator is not None:
        names.add(type(estimator).__name__)
        steps = getattr(estimator, "steps", None)
        estimator = (
            steps[-1][1]
            if steps
            else getattr(estimator, "estimator", getattr(estimator, "regressor", None))
        )
    return names
