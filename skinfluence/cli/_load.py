"""A fitted model from a file: skops, which is data; pickles, which are programs."""

from collections.abc import Collection
from pathlib import Path

from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skinfluence._optional import require
from skinfluence.cli._errors import UsageError, listed, plural
from skinfluence.cli._features import Features
from skinfluence.cli._table import Table
from skinfluence.cli._task import AbstractTask, Classes, Numbers

SKOPS, PICKLES = (".skops",), (".joblib", ".pkl", ".pickle")


def is_file(model: str) -> bool:
    """Whether the user named a file rather than a kind of model."""
    return Path(model).suffix.lower() in (*SKOPS, *PICKLES)


def load(path: str, *, trust: bool, trusted: Collection[str]) -> BaseEstimator:
    """Read a fitted estimator.

    Parameters
    ----------
    path : str
        A skops file, or a pickle as joblib writes it.
    trust : bool
        Whether pickles may be read, which runs whatever program they hold.
    trusted : collection of str
        Types that a skops file may hold besides those of NumPy, SciPy and scikit-learn.

    Raises
    ------
    UsageError
        If it cannot be read, or must not be.
    MissingDependencyError
        If skops is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no model file {path}.")
    if file.suffix.lower() in SKOPS:
        model = _skops(path, set(trusted))
    else:
        model = _pickle(path, trust)
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):
        raise UsageError(
            f"{path} holds a {type(model).__name__}, not a scikit-learn estimator."
        )
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise UsageError(
            f"The {type(model).__name__} in {path} is not fitted; fit it before saving."
        ) from None
    return model


def _skops(path: str, trusted: set[str]) -> BaseEstimator:
    io = require("skops.io", "Reading skops files", "cli")
    try:
        unknown = set(io.get_untrusted_types(file=path))
        if unknown <= trusted:
            return io.load(path, trusted=sorted(unknown))
    except Exception as error:  # zip, JSON and skops raise their own
        raise UsageError(f"{path} cannot be read as a skops file: {error}") from None
    names = sorted(unknown - trusted)
    options = " ".join(f"--trust-type {name}" for name in names)
    raise UsageError(
        f"{path} holds {plural(len(names), 'type')} that are not of NumPy, SciPy or "
        f"scikit-learn: {listed(names)}. If you know where the file comes from: {options}"
    )


def _pickle(path: str, trust: bool) -> BaseEstimator:
    if not trust:
        raise UsageError(
            f"Reading {path} executes whatever code it holds. If you know where it "
            "comes from, add --trust; safer is to save the model with skops.io.dump."
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # anything may go wrong in a program
        raise UsageError(f"{path} cannot be read by joblib: {error}") from None


def task_of(model: BaseEstimator) -> AbstractTask:
    """What a fitted model predicts."""
    if not is_classifier(model):
        return Numbers()
    return Classes(tuple(model.classes_.tolist()), model.classes_.dtype)


def features_of(
    model: BaseEstimator, table: Table, source: str, held: Collection[str]
) -> tuple[Features, bool]:
    """Columns that a fitted model reads, and whether by their names.

    A model that was fitted to a table knows their names; another one gets the columns
    of numbers in their order.

    Raises
    ------
    UsageError
        If the table lacks one, or has a different number of columns.
    """
    import pandas as pd

    numbers = [
        name
        for name in table.columns
        if name not in held and pd.api.types.is_numeric_dtype(table[name])
    ]
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        size = getattr(model, "n_features_in_", len(numbers))
        if len(numbers) != size:
            raise UsageError(
                f"The model was fitted to {plural(size, 'column')} without names, but "
                f"{source} has {len(numbers)} numeric ones besides the target: "
                f"{listed(numbers)}. Leave columns out with --drop."
            )
        return Features(tuple(numbers), ()), False
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise UsageError(
            f"The model was fitted to columns that {source} lacks: {listed(missing)}. "
            f"Its columns: {listed(table.columns)}."
        )
    asked = set(names) & set(held)
    if asked:
        raise UsageError(
            f"The model reads {listed(sorted(asked))}, which cannot also be the target, "
            "a weight, a group or left out."
        )
    return Features(
        tuple(name for name in names if name in numbers),
        tuple(name for name in names if name not in numbers),
    ), True
