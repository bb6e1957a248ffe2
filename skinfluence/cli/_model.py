"""A plain scikit-learn pipeline for a table, and the rule that chooses its model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence.cli._features import Features
from skinfluence.cli._task import AbstractTask, Classes, Numbers, is_number, is_whole

FEW_VALUES = 10
ROWS_PER_VALUE = 3
MAX_CATEGORIES = 50
# Columns have unit variance, so this spans from no shrinkage to shrinkage to the mean.
ALPHAS = np.geomspace(1e-3, 1e6, 37)

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
        Makes the unfitted estimator.
    drop : {"first", None}
        Category left out of each column. An unpenalised model needs one: the columns
        of all categories add up to its intercept.
    describe : callable
        Fitted estimator to words.
    """

    task: type[AbstractTask]
    estimator: Callable[[], Any]
    drop: str | None
    describe: Callable[[Any], str]


MODELS = {
    "linear": Model(
        Numbers, LinearRegression, "first", lambda fitted: "linear regression"
    ),
    "ridge": Model(
        Numbers,
        lambda: RidgeCV(alphas=ALPHAS),
        None,
        lambda fitted: f"ridge regression, alpha={fitted.alpha_:.4g} by leave-one-out",
    ),
    "logistic": Model(
        Classes,
        # The solver that gets closest to the minimum: its own losses are reported.
        lambda: LogisticRegression(tol=1e-8, max_iter=1000, solver="newton-cholesky"),
        None,
        lambda fitted: f"logistic regression, C={fitted.C:g}",
    ),
}


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
