"""What a target asks for: numbers or classes; its coding, loss, score and wording."""

import abc
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.special import logsumexp, softmax

from skinfluence.cli._errors import UsageError, listed, plural
from skinfluence.cli._features import stray_text, texts
from skinfluence.cli._text import number

MAX_CLASSES = 100


class AbstractTask(abc.ABC):
    """The kind of a target: everything that differs between numbers and classes."""

    #: Method of the explainer that gives the linear outputs.
    outputs: str
    #: Name of ``score`` and of the loss, for a reader.
    score: str
    loss_name: str
    #: What the brackets of ``wording`` hold.
    in_brackets = ""

    @classmethod
    @abc.abstractmethod
    def of(cls, column: Any, source: str) -> "AbstractTask":
        """Task of a training target without missing values, or a UsageError."""

    @abc.abstractmethod
    def code(self, column: Any, source: str) -> np.ndarray:
        """Target as the model takes it, shape (n,)."""

    @abc.abstractmethod
    def loss(self, y: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Loss of each row at its outputs, shape (n,)."""

    @abc.abstractmethod
    def predictions(self, u: np.ndarray) -> dict[str, np.ndarray]:
        """Named predictions of each row; ``prediction`` is the first."""

    @abc.abstractmethod
    def wording(self, row: dict[str, Any]) -> str:
        """Leave-one-out prediction of a row for a reader."""

    @abc.abstractmethod
    def describe(self, y: np.ndarray) -> str:
        """Values of the target for a reader."""


@final
@dataclass(frozen=True)
class Numbers(AbstractTask):
    """A numeric target under half the squared error."""

    outputs = "predict"
    score = "R2"
    loss_name = "mean half squared error"

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
        return values.to_numpy(dtype=float)

    def loss(self, y, u):
        """``(y - u)**2 / 2``."""
        return 0.5 * (y - u) ** 2

    def predictions(self, u):
        """Only the value itself."""
        return {"prediction": u}

    def wording(self, row):
        """Print a number."""
        return number(row["loo_prediction"])

    def describe(self, y):
        """Range and mean."""
        return f"{number(y.min())} to {number(y.max())}, mean {number(y.mean())}"


@final
@dataclass(frozen=True)
class Classes(AbstractTask):
    """Labels under the logarithmic loss of a logistic model.

    Parameters
    ----------
    labels : tuple
        Sorted: whole numbers if all labels are, else text.
    """

    labels: tuple[Any, ...]

    outputs = "decision_function"
    score = "accuracy"
    loss_name = "mean log loss"
    in_brackets = " (and its probability)"

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
        return cls(tuple(labels.tolist()))

    def code(self, column, source):
        """Labels of the training type; unknown ones are refused."""
        y = _labels(column)
        known = np.array([str(label) for label in self.labels])
        unknown = ~np.isin(y.astype(str), known)
        if unknown.any():
            rows = plural(int(unknown.sum()), "row")
            raise UsageError(
                f"The target '{column.name}' of {source} has classes that the "
                f"training data lack: {listed(np.unique(y[unknown]))} ({rows}). Remove "
                "these rows."
            )
        return y.astype(type(self.labels[0])) if isinstance(self.labels[0], int) else y

    def loss(self, y, u):
        """``log(sum(exp(u))) - u[y]``, with no probability that could round to 0."""
        U = _all_outputs(u)
        return logsumexp(U, axis=1) - U[np.arange(len(y)), self._positions(y)]

    def predictions(self, u):
        """Label, and its probability."""
        U = _all_outputs(u)
        labels = np.array(self.labels, dtype=object)
        label = np.where(np.isnan(U).any(axis=1), None, labels[U.argmax(axis=1)])
        return {"prediction": label, "probability": softmax(U, axis=1).max(axis=1)}

    def wording(self, row):
        """Label, and its probability."""
        label = row["loo_prediction"]
        return "n/a" if label is None else f"{label} ({row['loo_probability']:.2f})"

    def describe(self, y):
        """Count of each class."""
        labels, counts = np.unique(y, return_counts=True)
        pairs = zip(labels, counts, strict=True)
        return listed((f"{label} {count}" for label, count in pairs), 5)

    def _positions(self, y):
        position = {label: i for i, label in enumerate(self.labels)}
        return np.array([position[label] for label in y.tolist()])


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


def _all_outputs(u: np.ndarray) -> np.ndarray:
    # Two classes have one output; the other is the reference at 0.
    return u if u.ndim == 2 else np.stack([np.zeros_like(u), u], axis=1)
