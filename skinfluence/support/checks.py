"""The door: parameters and data are checked here, and trusted inside."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from skinfluence._array import array_namespace, is_dask_array, is_foreign, to_numpy
from skinfluence._sources import FrameSource
from skinfluence._warn import warn
from skinfluence.exceptions import (
    DoubtfulInputWarning,
    InvalidDataError,
    InvalidParameterError,
    InvalidTypeError,
    InvalidWeightError,
    SingleClassError,
    SkinfluenceError,
)
from skinfluence.support._frames import numeric_columns

# Types that are read block by block as they are; everything else becomes float64.
_TYPES = (np.float64, np.float32, *(np.dtype(code).type for code in "?bhilqBHILQ"))
_READ: dict[str, Any] = {"accept_sparse": ("csr", "csc"), "dtype": _TYPES}
# Characters of an argument that an error repeats.
_LONGEST = 80
# Entries searched for NaN at a time.
_ENTRIES = 2**20


@contextmanager
def unchanged_on_failure(estimator: Any) -> Iterator[None]:
    """Give the object its old attributes back if the block fails: never half-fitted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def data_errors() -> Iterator[None]:
    """Turn the errors of scikit-learn's validation into ``InvalidDataError``."""
    try:
        yield
    except (SkinfluenceError, NotFittedError, UnsetMetadataPassedError):
        raise
    except TypeError as error:
        raise InvalidTypeError(str(error)) from error
    except ValueError as error:
        raise InvalidDataError(str(error)) from error


@contextmanager
def in_range() -> Iterator[None]:
    """Say in words that sums over the rows leave the range of floating point."""
    try:
        yield
    except SkinfluenceError:
        raise
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise InvalidDataError(
            "The rows are too large or too small for sums of their squares to be "
            "floating-point numbers. Give the columns, the targets or the weights in "
            "another unit."
        ) from error


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse a value that is not among the allowed ones."""
    is_text = isinstance(value, str)  # which another string may equal
    if not any(value is choice or (is_text and value == choice) for choice in allowed):
        raise InvalidParameterError(
            f"{name} must be one of {list(allowed)}; got {brief(value)}."
        )


def at_least(name: str, value: Any, least: float, kind: type = Real) -> None:
    """Refuse a number below ``least``, and anything that is not such a number."""
    good = isinstance(value, kind) and not isinstance(value, bool)
    if not (good and value >= least and value < np.inf):
        word = "an integer" if kind is Integral else "a finite number"
        raise InvalidParameterError(
            f"{name} must be {word} of at least {least}; got {brief(value)}."
        )


def option(name: str, value: Any, *kinds: type) -> None:
    """Refuse an argument of another type, unless it is None."""
    if value is not None and not isinstance(value, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidParameterError(f"{name} must be {names}; got {brief(value)}.")


def jobs(n_jobs: Any) -> None:
    """Refuse what is no number of processes."""
    option("n_jobs", n_jobs, Integral)
    if n_jobs == 0:
        raise InvalidParameterError("n_jobs must not be 0: give None for one process.")


def switch(name: str, value: Any) -> None:
    """Refuse what is neither true nor false nor a level of some kind."""
    option(name, value, bool, np.bool_, Integral)


def brief(value: Any) -> str:
    """An argument as an error shows it: long ones by their type and shape."""
    text = repr(value)
    if len(text) <= _LONGEST and "\n" not in text:
        return text
    shape = getattr(value, "shape", None)
    of_shape = "" if shape is None else f" of shape {shape}"
    return f"{type(value).__name__}{of_shape}"


def rows(explainer: Any, X: Any, *, reset: bool, reads_X: bool) -> Any:
    """X as rows to read if the linear model reads it itself, else as it came.

    Arrays of other libraries stay what and where they are; integers, float32, and
    frames of numbers are not converted as a whole.
    """
    refuse_masked("X", X)
    if hasattr(X, "collect") and not hasattr(X, "shape"):
        raise InvalidDataError(
            f"X is a {type(X).__name__}, whose rows are not known yet: give "
            "X.collect()."
        )
    if is_dask_array(X):
        raise InvalidDataError(
            "X is a Dask array of chunks, which cannot be explained yet. Give "
            "X.compute() where it fits the memory; a memory-mapped NumPy array is read "
            "block by block."
        )
    with data_errors():
        if not reads_X or is_foreign(X):
            validate_data(explainer, X, reset=reset, skip_check_array=True)
            return _foreign_table(X) if is_foreign(X) else X
        columns = numeric_columns(X)
        if columns is None:
            return validate_data(explainer, X, reset=reset, **_READ)
        validate_data(explainer, X, reset=reset, skip_check_array=True)
        return _finite(FrameSource(columns), explainer)


def transformed(X: Any) -> Any:
    """What the held transformers made of X, as a finite numeric array."""
    with data_errors():
        if is_foreign(X):
            return _foreign_table(X)
        columns = numeric_columns(X)
        if columns is None:
            return check_array(X, **_READ)
        return _finite(FrameSource(columns))


def _finite(frame: FrameSource, estimator: Any = None) -> FrameSource:
    """The frame, searched for NaN by scikit-learn block by block."""
    n, p = frame.shape
    size = max(_ENTRIES // p, 1)
    for first in range(0, n, size):
        block = frame.read(slice(first, first + size), None)
        check_array(block, estimator=estimator, input_name="X")
    return frame


def _foreign_table(X: Any) -> Any:
    """A finite table of real numbers, by the rules of ``check_array``, where it is."""
    xp = array_namespace(X)
    if X.ndim != 2:
        raise InvalidDataError(
            f"Expected 2D array, got {X.ndim}D array instead: give one row per sample "
            "and one column per feature."
        )
    if 0 in X.shape:
        raise InvalidDataError(
            f"Found array with {X.shape[0]} sample(s) and {X.shape[1]} feature(s) "
            f"(shape={tuple(X.shape)}) while a minimum of 1 is required."
        )
    if not xp.isdtype(X.dtype, ("real floating", "integral", "bool")):
        raise InvalidDataError(f"X must hold real numbers; got dtype {X.dtype}.")
    X = X.detach() if hasattr(X, "detach") else X  # no derivatives through torch
    if not xp.isdtype(X.dtype, "real floating"):
        return xp.astype(X, xp.float64)
    n, size = X.shape[0], max(_ENTRIES // X.shape[1], 1)
    for first in range(0, n, size):
        if not bool(xp.all(xp.isfinite(X[first : min(first + size, n), :]))):
            raise InvalidDataError(
                "Input X contains NaN or infinity. Drop or impute such entries first."
            )
    return X


def known_rows(explainer: Any, estimator: Any, model: Any, X: Any, checked: Any) -> Any:
    """Training rows as the linear model reads them, by the features it was fitted with."""
    with data_errors():
        validate_data(estimator, X, reset=False, skip_check_array=True)
    if model.transformer is None:
        return checked
    with data_errors():
        return transformed(model.transformed(X))


def targets(X: Any, y: Any, *, classifier: bool) -> Any:
    """Finite y of X's length: 1-D, or 2-D with several outputs."""
    if y is None:
        raise InvalidDataError(
            "This call requires y to be passed, but the target y is None. Give the "
            "target of every row."
        )
    refuse_chunks("y", y)
    refuse_masked("y", y)
    warn_of_other_order(getattr(X, "index", None), y=y)
    y = to_numpy(y) if is_foreign(y) else y
    with data_errors():
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        if classifier:
            if y.ndim == 2 and y.shape[1] == 1:
                y = column_or_1d(y, warn=True)
            if y.dtype.kind not in "biuUS":  # integers and texts are labels, unsearched
                check_classification_targets(y)
        elif y.dtype.kind not in "fiub":
            y = floats("y", y)
        check_consistent_length(X, y)
    return y


def refuse_single_class(y: Any) -> None:
    """Refuse 1-D labels of one class only."""
    if np.ndim(y) == 1 and np.all(y == y[0]):
        raise SingleClassError(
            "A classifier needs at least 2 classes, but y holds only one class: "
            f"{y[0]}. Give rows of another class too."
        )


def floats(name: str, values: Any, error: type[Exception] = InvalidDataError) -> Any:
    """Values in float64 on the host; complex numbers, dates and texts are refused."""
    refuse_chunks(name, values)
    refuse_masked(name, values)
    try:
        values = to_numpy(values)
    except (TypeError, ValueError) as failure:
        raise error(f"{name} must hold real numbers: {failure}") from failure
    try:
        if values.dtype.kind not in "cmM":  # which NumPy would make numbers of
            return values.astype(float)
    except (TypeError, ValueError):
        pass
    word = {"c": "complex numbers", "m": "durations", "M": "dates"}
    first = ", ".join(map(repr, values.ravel()[:1].tolist()))
    what = word.get(values.dtype.kind, f"values such as {first}")
    raise error(
        f"{name} must hold real numbers; got {what} (type {values.dtype}). Turn them "
        "into numbers first."
    )


def refuse_masked(name: str, values: Any) -> None:
    """Refuse masked entries: what stands below the mask would be read as a number."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InvalidDataError(
            f"{name} has masked entries, which count as missing. Leave such rows out, or "
            "fill the entries first."
        )


def refuse_chunks(name: str, values: Any) -> None:
    """Refuse Dask's collections, which would be computed as a whole."""
    if type(values).__module__.partition(".")[0].startswith("dask"):
        raise InvalidDataError(
            f"{name} is a Dask {type(values).__name__}, which would be computed as a "
            f"whole. Give {name}.compute()."
        )


def warn_of_other_order(index: Any, **by_row: Any) -> None:
    """Warn of values with the labels of an index in another order: position decides.

    ``index`` is that of X, or None, or a list's method of that name.
    """
    if index is None or callable(index):
        return
    labels = np.asarray(index)
    for name, values in by_row.items():
        if not hasattr(values, "iloc") or len(values) != len(labels):
            continue
        own = values.index
        if not np.array_equal(np.asarray(own), labels) and own.isin(labels).all():
            warn(
                f"{name} has the labels of the rows of X in another order. Rows are "
                f"matched by their position, and labels ignored: if the labels are "
                f"right, give {name}.loc[X.index].",
                DoubtfulInputWarning,
            )


def weights(sample_weight: Any, n_rows: int, index: Any = None) -> Any:
    """Weights (n,) in float64, ones where none are given; ``index`` is that of X."""
    if sample_weight is None:
        return np.ones(n_rows)
    warn_of_other_order(index, sample_weight=sample_weight)
    weight = floats("sample_weight", sample_weight, InvalidWeightError)
    if weight.ndim == 0:
        weight = np.full(n_rows, float(weight))
    if weight.shape != (n_rows,):
        raise InvalidWeightError(
            f"sample_weight must hold one weight per row, shape ({n_rows},); got shape "
            f"{weight.shape}."
        )
    if not np.all(np.isfinite(weight)) or np.any(weight < 0):
        row = int(np.argmax(~np.isfinite(weight) | (weight < 0)))
        raise InvalidWeightError(
            f"sample_weight must not hold NaN, infinite or negative weights; row {row} "
            f"has {weight[row]}. Use 0 to leave a row out."
        )
    if not np.any(weight > 0):
        raise InvalidWeightError(
            "All sample weights are zero: no row is left to fit. Give at least one row "
            "a positive weight."
        )
    return weight


def offsets(offset: Any, n_rows: int, n_outputs: int) -> np.ndarray | None:
    """Offsets of the linear outputs, (n, K), or None where none are given."""
    if offset is None:
        return None
    table = floats("offset", offset)
    table = table[:, None] if table.ndim == 1 else table
    if table.shape != (n_rows, n_outputs):
        wanted = f"({n_rows},)" if n_outputs == 1 else f"({n_rows}, {n_outputs})"
        raise InvalidDataError(
            f"offset must hold what is added to the linear predictor of each row, shape "
            f"{wanted}; got shape {np.shape(offset)}."
        )
    if not np.all(np.isfinite(table)):
        row = int(np.argmax(~np.isfinite(table).all(axis=1)))
        raise InvalidDataError(
            f"offset must not hold NaN or infinity; row {row} has {table[row].tolist()}. "
            "Leave such rows out."
        )
    return table


def scorer(scoring: Any) -> Any:
    """The scorer of a name, or one as it was given."""
    if callable(scoring):
        return scoring
    try:
        if isinstance(scoring, str):
            return get_scorer(scoring)
    except ValueError as error:
        raise InvalidParameterError(f"scoring cannot be used: {error}") from error
    raise InvalidParameterError(
        "scoring must be the name of a scorer, such as 'r2' or 'accuracy', a scorer, or "
        f"None; got {brief(scoring)}."
    )


def folds(
    cv: Any, X: Any, y: np.ndarray, groups: Any, *, classifier: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices of the training and test rows of each fold."""
    try:
        splitter = check_cv(cv, y, classifier=classifier)
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(
            f"cv={brief(cv)} cannot be used: {error}"
        ) from error
    with data_errors():
        pairs = list(splitter.split(X, y, groups))
    if not pairs:
        raise InvalidParameterError(
            f"cv={brief(cv)} has no folds. Give a number of folds, a splitter, or pairs "
            "of training and test rows."
        )
    for k, pair in enumerate(pairs):
        for part, name in zip(pair, ("training", "test"), strict=True):
            if not np.size(part):
                raise InvalidParameterError(
                    f"Fold {k} of cv has no {name} rows. Give each fold at least one."
                )
    try:
        return [
            (indices(train, len(y)), indices(test, len(y))) for train, test in pairs
        ]
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(
            f"cv={brief(cv)} cannot be used: each fold must be a pair of row numbers, "
            f"those to train on and those to test. {error}"
        ) from error


def indices(rows: Any, n_train: int) -> np.ndarray:
    """Indices of training rows, 1-D and within range (negative from the end)."""
    try:
        indices = to_numpy(rows)
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(
            f"rows must be a 1-D list of row numbers: {error}"
        ) from error
    if indices.dtype == bool and indices.shape == (n_train,):
        indices = np.flatnonzero(indices)
    if indices.size == 0:
        raise InvalidParameterError("rows is empty: name at least one training row.")
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise InvalidParameterError(
            "rows must be a 1-D list of row numbers, or a mask of length "
            f"{n_train}; got shape {indices.shape} of type {indices.dtype}."
        )
    if indices.min() < -n_train or indices.max() >= n_train:
        raise InvalidParameterError(
            f"rows must lie between 0 and {n_train - 1}, the training rows; got "
            f"{int(indices.min())} to {int(indices.max())}."
        )
    return indices % n_train
