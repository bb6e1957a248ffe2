"""What a target asks for: numbers or classes, and their coding."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from skinfluence.cli._errors import UsageError, listed, plural
from skinfluence.cli._features import stray_text, text_of, texts
from skinfluence.cli._text import number

MAX_CLASSES = 100


class AbstractTask(abc.ABC):
    """The kind of a target: everything that differs between numbers and classes."""

    @classmethod
    @abc.abstractmethod
    def of(cls, column: Any, source: str) -> "AbstractTask":
        """Task of a training target without missing values, or a UsageError."""

    @abc.abstractmethod
    def code(self, column: Any, source: str) -> np.ndarray:
        """Target as the model takes it, shape (n,)."""

    @abc.abstractmethod
    def wording(self, prediction: Any) -> str:
        """Prediction of a row for a reader."""

    @abc.abstractmethod
    def describe(self, y: np.ndarray) -> str:
        """Values of the target for a reader."""


class AbstractNumbers(AbstractTask):
    """A numeric target."""

    #: Smallest target allowed, whether it is one itself, and what says so.
    lowest: ClassVar[float] = -np.inf
    open: ClassVar[bool] = False
    domain: ClassVar[str] = ""

    @classmethod
    def of(cls, column, source):
        """Refuse text, and a target that never varies."""
        y = cls().code(column, source)
        if np.ptp(y) == 0:
            raise UsageError(
                f"The target '{column.name}' is {number(y[0])} in every row of "
                f"{source}; there is nothing to explain."
            )
        return cls()

    def code(self, column, source):
        """Float64."""
        import pandas as pd

        values = pd.to_numeric(column.astype(object), errors="coerce")
        if values.isna().any():
            what = stray_text(column) or f"it holds '{column.iloc[0]}'"
            raise UsageError(
                f"The target '{column.name}' of {source} is not numeric: {what}. Mend "
                "it, or use --model logistic."
            )
        y = values.to_numpy(dtype=float)
        outside = (y < self.lowest) | (self.open & (y == self.lowest))
        if outside.any():
            row = column.index[np.argmax(outside)]
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


@final
@dataclass(frozen=True)
class Numbers(AbstractNumbers):
    """Any number."""


@final
@dataclass(frozen=True)
class Counts(AbstractNumbers):
    """Numbers from 0."""

    lowest = 0.0
    domain = "0 or more"


@final
@dataclass(frozen=True)
class Positive(AbstractNumbers):
    """Numbers above 0."""

    lowest = 0.0
    open = True
    domain = "above 0"


@final
@dataclass(frozen=True)
class Classes(AbstractTask):
    """Labels.

    Parameters
    ----------
    labels : tuple
        Sorted, as the model takes them.
    dtype : dtype
        Of the coded target.
    """

    labels: tuple[Any, ...]
    dtype: Any

    @classmethod
    def of(cls, column, source):
        """Refuse one class, and so many that the target is no class at all."""
        labels = np.unique(_labels(column))
        if len(labels) == 1:
            raise UsageError(
                f"The target '{column.name}' has one class only in {source} "
                f"('{labels[0]}' in {plural(len(column), 'row')}); there is nothing to "
                "tell apart."
            )
        if len(labels) > min(MAX_CLASSES, len(column) / 2):
            stray = stray_text(column)
            raise UsageError(
                f"The target '{column.name}' of {source} has {len(labels)} different "
                f"values in {plural(len(column), 'row')}, too many to be classes"
                f"{f'; {stray}' if stray else ''}. If it is a number, use --model "
                "ridge; else name another --target."
            )
        return cls(tuple(labels.tolist()), labels.dtype)

    def code(self, column, source):
        """Labels of the training type; unknown ones are refused."""
        known = {text_of(label): label for label in self.labels}
        found = texts(column)
        unknown = ~found.isin(list(known))
        if unknown.any():
            rows = plural(int(unknown.sum()), "row")
            raise UsageError(
                f"The target '{column.name}' of {source} has classes that the "
                f"training data lack: {listed(np.unique(found[unknown]))} ({rows}). "
                "Remove these rows."
            )
        return np.array([known[label] for label in found], dtype=self.dtype)

    def wording(self, prediction):
        """Print the label."""
        return (
            "n/a" if prediction is None or prediction != prediction else f"{prediction}"
        )

    def describe(self, y):
        """Count of each class."""
        labels, counts = np.unique(y, return_counts=True)
        pairs = zip(labels, counts, strict=True)
        return listed((f"{label} {count}" for label, count in pairs), 5)


def is_whole(column: Any) -> bool:
    """Whether every value of a numeric column is a whole number."""
    values = column.to_numpy(dtype=float)
    return bool(np.all(values == np.round(values)))


def is_number(column: Any) -> bool:
    """Whether a column holds numbers: not truth values, dates or categories."""
    import pandas as pd

    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def _labels(column: Any) -> np.ndarray:
    if is_number(column) and is_whole(column):
        return column.to_numpy(dtype=float).astype(np.int64)
    # One dtype for all: NumPy's own, which sorts as np.unique and scikit-learn do.
    return np.array(texts(column).tolist(), dtype=str).astype(object)
