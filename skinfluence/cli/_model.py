"""A plain scikit-learn pipeline for a table, and the rule that chooses its model."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone
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
from skinfluence.cli._table import Column, Table
from skinfluence.cli._task import (
    COUNTS,
    POSITIVE,
    AbstractTask,
    Classes,
    Numbers,
    is_number,
    is_whole,
)

FEW_VALUES = 10
ROWS_PER_VALUE = 3
MAX_CATEGORIES = 50
# Columns have unit variance, so this spans from no shrinkage to shrinkage to the mean.
ALPHAS = np.geomspace(1e-3, 1e6, 37)
# Of the mean deviance: small enough that all categories of a column may have a
# coefficient.
GLM_ALPHA = 1e-3

RULE = (
    "auto is logistic if the target is text, boolean or categorical, or has at most\n"
    f"  {FEW_VALUES} distinct whole numbers, with {ROWS_PER_VALUE} rows or more each on "
    "average; otherwise\n  it is ridge"
)


@dataclass(frozen=True)
class Model:
    """One kind of model that the command line can fit.

    Parameters
    ----------
    task : AbstractTask
        What it predicts.
    estimator : BaseEstimator
        Unfitted. Solvers and tolerances are those that get closest to the minimum,
        which all numbers are about.
    words : str
        What it is, with attributes of the fitted estimator in braces.
    help : str
        What it is, for the help.
    drop : {"first", None}
        Category left out of each column. An unpenalised model needs one: the columns
        of all categories add up to its intercept.
    """

    task: AbstractTask
    estimator: BaseEstimator
    words: str
    help: str
    drop: str | None = None


MODELS = {
    "linear": Model(
        Numbers(), LinearRegression(), "linear regression", "LinearRegression", "first"
    ),
    "ridge": Model(
        Numbers(),
        RidgeCV(alphas=ALPHAS),
        "ridge regression, alpha={alpha_:.4g} by leave-one-out",
        "RidgeCV, its alpha then held",
    ),
    "lasso": Model(
        Numbers(),
        LassoCV(tol=1e-8, max_iter=100_000),
        "lasso, alpha={alpha_:.4g} by 5-fold cross-validation",
        "LassoCV, its alpha then held",
    ),
    "elasticnet": Model(
        Numbers(),
        ElasticNetCV(tol=1e-8, max_iter=100_000),
        "elastic net, alpha={alpha_:.4g} by 5-fold cross-validation, l1_ratio=0.5",
        "ElasticNetCV with l1_ratio=0.5, its alpha then held",
    ),
    "huber": Model(
        Numbers(),
        HuberRegressor(tol=1e-8, max_iter=10_000),
        "Huber regression, epsilon={epsilon:g}",
        "HuberRegressor with epsilon=1.35, for targets with outliers",
        "first",
    ),
    "poisson": Model(
        COUNTS,
        PoissonRegressor(alpha=GLM_ALPHA, solver="newton-cholesky", tol=1e-8),
        "Poisson regression, alpha={alpha:g}",
        f"PoissonRegressor with alpha={GLM_ALPHA:g}, for counts",
    ),
    "gamma": Model(
        POSITIVE,
        GammaRegressor(
            alpha=GLM_ALPHA, solver="newton-cholesky", tol=1e-8, max_iter=1000
        ),
        "gamma regression, alpha={alpha:g}",
        f"GammaRegressor with alpha={GLM_ALPHA:g}, for amounts above 0",
    ),
    "logistic": Model(
        Classes(),
        LogisticRegression(tol=1e-8, max_iter=1000, solver="newton-cholesky"),
        "logistic regression, C={C:g}",
        "LogisticRegression with C=1",
    ),
    "svm": Model(
        Classes(),
        LinearSVC(tol=1e-8, max_iter=100_000, dual=False),
        "linear SVM with squared hinge, C={C:g}",
        "LinearSVC with C=1 (squared hinge)",
    ),
}


class Wording(NamedTuple):
    """What a loss and the score that goes with it are called.

    A deviance is known up to a constant, so percentages of it mean nothing.
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
    "ModifiedHuber": Wording("modified Huber loss", "accuracy"),
    "SquaredEpsilonInsensitive": Wording("squared epsilon-insensitive loss", "R2"),
    "HuberLoss": Wording("Huber loss", "R2"),
    "HuberScaleLoss": Wording("Huber loss", "R2"),
    "ExponentialFamilyLoss": DEVIANCE._replace(score="score"),  # the estimator's own
    "HalfTweedieLoss": DEVIANCE,
    "HalfTweedieIdentityLoss": DEVIANCE,
}


def wording(loss: str) -> Wording:
    """Words for a class of loss."""
    return OF_LOSS.get(loss, Wording("loss", "score", has_zero=False))


def choose(column: Column) -> tuple[str, str]:
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
    return Pipeline([("encode", encoder), ("model", clone(model.estimator))])


def by_weight(fitted: Pipeline, X: Table) -> list[str]:
    """Column names, those that move the prediction most first.

    The weight of a column is the largest ``|coefficient| * standard deviation`` among
    the columns it was encoded to.
    """
    names = fitted[:-1].get_feature_names_out()
    spread = fitted[:-1].transform(X).std(axis=0)
    weights = np.abs(np.atleast_2d(fitted[-1].coef_)).max(axis=0) * spread
    largest: dict[str, float] = {}
    columns = set(X.columns)
    for name, weight in zip(names, weights, strict=True):
        column = name.partition("__")[2]
        while column not in columns:  # "column=category"
            column = column.rpartition("=")[0]
        largest[column] = max(largest.get(column, 0.0), weight)
    return sorted(largest, key=lambda column: -largest[column])


def _column_first(feature: str, category: object) -> str:
    return f"{feature}={category}"
