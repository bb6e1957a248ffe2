"""A plain scikit-learn pipeline for a table, and the rule that chooses its model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeCV,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from skinfluence.cli._features import Features
from skinfluence.cli._task import (
    AbstractTask,
    Classes,
    Counts,
    Numbers,
    Positive,
    is_number,
    is_whole,
)

FEW_VALUES = 10
ROWS_PER_VALUE = 3
MAX_CATEGORIES = 50
# Columns have unit variance, so this spans from no shrinkage to shrinkage to the mean.
ALPHAS = np.geomspace(1e-3, 1e6, 37)
# Of the mean deviance: enough that all categories of a column may have a coefficient.
GLM_ALPHA = 1e-3

RULE = (
    "auto is logistic if the target is text, boolean or categorical, or holds at\n"
    f"  most {FEW_VALUES} different whole numbers, {ROWS_PER_VALUE} rows or more each on "
    "average; else ridge"
)


@dataclass(frozen=True)
class Model:
    """One kind of model that the command line can fit.

    Parameters
    ----------
    task : type
        What it predicts.
    estimator : callable
        Makes the unfitted estimator. Solvers and tolerances are those that get closest
        to the minimum, which all numbers are about.
    drop : {"first", None}
        Category left out of each column. An unpenalised model needs one: the columns
        of all categories add up to its intercept.
    describe : callable
        Fitted estimator to words.
    help : str
        What it is, for the help.
    """

    task: type[AbstractTask]
    estimator: Callable[[], Any]
    drop: str | None
    describe: Callable[[Any], str]
    help: str


MODELS = {
    "linear": Model(
        Numbers,
        LinearRegression,
        "first",
        lambda fitted: "linear regression",
        "LinearRegression",
    ),
    "ridge": Model(
        Numbers,
        lambda: RidgeCV(alphas=ALPHAS),
        None,
        lambda fitted: f"ridge regression, alpha={fitted.alpha_:.4g} by leave-one-out",
        "RidgeCV, its alpha then held",
    ),
    "lasso": Model(
        Numbers,
        lambda: LassoCV(tol=1e-8, max_iter=100_000),
        None,
        lambda fitted: f"lasso, alpha={fitted.alpha_:.4g} by 5-fold cross-validation",
        "LassoCV, its alpha then held",
    ),
    "elasticnet": Model(
        Numbers,
        lambda: ElasticNetCV(tol=1e-8, max_iter=100_000),
        None,
        lambda fitted: (
            f"elastic net, alpha={fitted.alpha_:.4g} by 5-fold "
            "cross-validation, l1_ratio=0.5"
        ),
        "ElasticNetCV with l1_ratio=0.5, its alpha then held",
    ),
    "huber": Model(
        Numbers,
        lambda: HuberRegressor(tol=1e-8, max_iter=10_000),
        "first",
        lambda fitted: f"Huber regression, epsilon={fitted.epsilon:g}",
        "HuberRegressor with epsilon=1.35, for targets with outliers",
    ),
    "poisson": Model(
        Counts,
        lambda: PoissonRegressor(alpha=GLM_ALPHA, solver="newton-cholesky", tol=1e-8),
        None,
        lambda fitted: f"Poisson regression, alpha={fitted.alpha:g}",
        f"PoissonRegressor with alpha={GLM_ALPHA:g}, for counts",
    ),
    "gamma": Model(
        Positive,
        lambda: GammaRegressor(
            alpha=GLM_ALPHA, solver="newton-cholesky", tol=1e-8, max_iter=1000
        ),
        None,
        lambda fitted: f"gamma regression, alpha={fitted.alpha:g}",
        f"GammaRegressor with alpha={GLM_ALPHA:g}, for amounts above 0",
    ),
    "logistic": Model(
        Classes,
        lambda: LogisticRegression(tol=1e-8, max_iter=1000, solver="newton-cholesky"),
        None,
        lambda fitted: f"logistic regression, C={fitted.C:g}",
        "LogisticRegression with C=1",
    ),
    "svm": Model(
        Classes,
        lambda: LinearSVC(tol=1e-8, max_iter=100_000, dual=False),
        None,
        lambda fitted: f"linear SVM with squared hinge, C={fitted.C:g}",
        "LinearSVC with C=1 (squared hinge)",
    ),
}


class Wording(NamedTuple):
    """What a loss and the score that goes with it are called.

    A deviance is known up to a constant, so that percentages of it say nothing.
    """

    loss: str
    score: str
    has_zero: bool = True


DEVIANCE = Wording("half deviance (up to a constant)", "D2", has_zero=False)
OF_LOSS = {
    "HalfSquaredError": Wording("half squared error", "R2"),
    "HalfBinomialLoss": Wording("log loss", "accuracy"),
    "HalfMultinomialLoss": Wording("log loss", "accuracy"),
    "SquaredHinge": Wording("squared hinge", "accuracy"),
    "HuberScaleLoss": Wording("Huber loss", "R2"),
    "HalfTweedieLoss": DEVIANCE,
    "HalfTweedieIdentityLoss": DEVIANCE,
}


def wording(loss: str) -> Wording:
    """Words for a class of loss."""
    return OF_LOSS.get(loss, Wording("loss", "score", has_zero=False))


def choose(column: Any) -> tuple[str, str]:
    """Name the model for a target without missing values, and the reason."""
    if not is_number(column):
        return "logistic", "the target is not a number"
    values = column.nunique()
    few = values <= FEW_VALUES and values * ROWS_PER_VALUE <= len(column)
    if few and is_whole(column):
        return "logistic", f"the target has {values} different values"
    return "ridge", "the target is a number"


def pipeline(model: Model, features: Features) -> Pipeline:
    """Impute, scale and encode the columns, then fit the model."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(
            drop=model.drop,
            handle_unknown="infrequent_if_exist",
            max_categories=MAX_CATEGORIES,
            sparse_output=False,
            feature_name_combiner=_column_first,
        ),
    )
    encoder = ColumnTransformer(
        [
            ("numbers", numbers, list(features.numeric)),
            ("categories", categories, list(features.categorical)),
        ]
    )
    return Pipeline([("encode", encoder), ("model", model.estimator())])


def by_weight(fitted: Pipeline, X: Any) -> list[str]:
    """Column names, those that move the prediction most first.

    The weight of a column is the largest ``|coefficient| * standard deviation`` among
    the columns it was encoded to.
    """
    names = fitted[:-1].get_feature_names_out()
    spread = fitted[:-1].transform(X).std(axis=0)
    weights = np.abs(np.atleast_2d(fitted[-1].coef_)).max(axis=0) * spread
    largest: dict[str, float] = {}
    for name, weight in zip(names, weights, strict=True):
        column = name.split("__", 1)[1].split("\0", 1)[0]
        largest[column] = max(largest.get(column, 0.0), weight)
    return sorted(largest, key=lambda column: -largest[column])


def _column_first(feature: str, category: object) -> str:
    # No column name holds a NUL, so the column can be told from the category.
    return f"{feature}\0{category}"
