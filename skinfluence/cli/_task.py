"""What a target asks for: numbers or classes, and how they are coded."""

import abc
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np

from skinfluence.cli._errors import UsageError, listed, plural
from skinfluence.cli._features import stray_text, text_of, texts
from skinfluence.cli._table import Column
from skinfluence.cli._text import number

MAX_CLASSES = 100


class AbstractTask(abc.ABC):
    """The kind of a target: everything that differs between numbers and classes."""

    @abc.abstractmethod
    def fitted(self, column: Column, source: str) -> Self:
        """The task of a training target without missing values, or a UsageError."""

    @abc.abstractmethod
    def code(self, column: Column, source: str) -> np.ndarray:
        """Target as the model takes it, shape (n,)."""

    @abc.abstractmethod
    def wording(self, prediction: Any) -> str:
        """Prediction of a row for a reader."""

    @abc.abstractmethod
    def describe(self, y: np.ndarray) -> str:
        """Values of the target for a reader."""


@final
@dataclass(frozen=True)
class Numbers(AbstractTask):
    """A numeric target.

    Parameters
    ----------
    least : float
        Smallest target allowed.
    domain : str
        Which numbers are allowed, in words.
    """

    least: float = -np.inf
    domain: str = "a number"

    def fitted(self, column, source):
        """Refuse text, and a target that never varies."""
        y = self.code(column, source)
        if np.ptp(y) == 0:
            raise UsageError(
                f"The target '{column.name}' is {number(y[0])} in every row of "
                f"{source}; there is nothing to explain."
            )
        return self

    def code(self, column, source):
        """Float64."""
        import pandas as pd

        values = pd.to_numeric(column.astype(object), errors="coerce")
        if values.isna().any():
            what = stray_text(column) or f"it holds '{column.iloc[0]}'"
            raise UsageError(
                f"The target '{column.name}' of {source} is not numeric: {what}. "
                "Correct it, or use --model logistic."
            )
        y = values.to_numpy(dtype=float)
        if (y < self.least).any():
            row = column.index[np.argmax(y < self.least)]
            raise UsageError(
                f"The target '{column.name}' of {source} must be {self.domain} for "
                f"this model; row {row} holds {number(values[row])}. Use another --model."
            )
        return y

    def wording(self, prediction):
        """Print a number."""
        return number(prediction)

    def describe(self, y):
        """Range and mean."""
        return f"{number(y.min())} to {number(y.max())}, mean {number(y.mean())}"


COUNTS = Numbers(0.0, "0 or more")
POSITIVE = Numbers(np.nextafter(0.0, 1.0), "above 0")


@final
@dataclass(frozen=True)
class Classes(AbstractTask):
    """Labels.

    Parameters
    ----------
    labels : tuple
        Sorted, as the model takes them; empty before ``fitted``.
    dtype : dtype
        Type of the coded target.
    """

    labels: tuple[Any, ...] = ()
    dtype: Any = object

    def fitted(self, column, source):
        """Refuse a single class, and too many to be classes."""
        labels = np.unique(_labels(column))
        rows = plural(len(column), "row")
        if len(labels) == 1:
            raise UsageError(
                f"The target '{column.name}' has one class only in {source} "
                f"('{labels[0]}' in {rows}); there is nothing to tell apart."
            )
        if len(labels) > min(MAX_CLASSES, len(column) / 2):
            stray = stray_text(column)
            raise UsageError(
                f"The target '{column.name}' of {source} has {len(labels)} different "
                f"values in {rows}, too many to be classes"
                f"{f'; {stray}' if stray else ''}. If it is a number, use --model "
                "ridge; else name another --target."
            )
        return Classes(tuple(labels.tolist()), labels.dtype)

    def code(self, column, source):
        """Labels of the training type; unknown ones are refused."""
        known = {text_of(label): label for label in self.labels}
        words = texts(column)
        unknown = ~words.isin(list(known))
        if unknown.any():
            rows = plural(int(unknown.sum()), "row")
            raise UsageError(
                f"The target '{column.name}' of {source} has classes that the "
                f"training data lack: {listed(np.unique(words[unknown]))} ({rows}). "
                "Remove these rows."
            )
        return np.array([known[word] for word in words], dtype=self.dtype)

    def wording(self, prediction):
        """Print the label."""
        missing = prediction is None or prediction != prediction
        return "n/a" if missing else str(prediction)

    def describe(self, y):
        """Count of each class."""
        labels, counts = np.unique(y, return_counts=True)
        pairs = zip(labels, counts, strict=True)
        return listed((f"{label} {count}" for label, count in pairs), 5)


def is_whole(column: Column) -> bool:
    """Whether every value of a numeric column is a whole number."""
    values = column.to_numpy(dtype=float)
    return bool(np.all(values == np.round(values)))


def is_number(column: Column) -> bool:
    """Whether a column holds numbers: not truth values, dates or categories."""
    import pandas as pd

    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def _labels(column: Column) -> np.ndarray:
    if is_number(column) and is_whole(column):
        return column.to_numpy(dtype=float).astype(np.int64)
    # One dtype for all: NumPy's own, which sorts as np.unique and scikit-learn do.
    return np.array(texts(column).tolist(), dtype=str).astype(object)
