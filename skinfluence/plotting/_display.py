"""Shared by the displays: axes, labels of rows, and the text of their parameters."""

import abc
import inspect
import re
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skinfluence._optional import require
from skinfluence.exceptions import InvalidParameterError
from skinfluence.plotting._canvas import Axes, keep_labels_inside
from skinfluence.plotting._names import label_points
from skinfluence.study import Study
from skinfluence.support import checks


class AbstractDisplay(abc.ABC):
    """The plotted data, and the artists that ``plot`` drew.

    In the docstrings of subclasses ``%(ax)s``, ``%(names)s`` and so on are replaced by
    the entries below, and ``%(example)s`` by the lines of the example.

    Parameters
    ----------
    explainer : InfluenceExplainer
        A fitted explainer.
    names : array-like of shape (n_train,) or None, default=None
        Names of the training rows; None uses ``train_index_``.
    ax : Axes or None, default=None
        The axes to draw on; None makes a figure.
    name : str or None, default=None
        Title of the axes, such as the name of the model.

    Attributes
    ----------
    ax_ : Axes
        The axes drawn on.
    figure_ : Figure
        The figure of the axes.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skinfluence import InfluenceExplainer
    >>> X, y = load_diabetes(return_X_y=True)
    >>> explainer = InfluenceExplainer(Ridge()).fit(X, y)
    """

    names: ArrayLike

    def __init_subclass__(cls) -> None:
        entries = _entries(inspect.getdoc(AbstractDisplay) or "")
        functions = [
            getattr(member, "__func__", member) for member in vars(cls).values()
        ]
        for documented in (cls, *filter(inspect.isfunction, functions)):
            if documented.__doc__:
                documented.__doc__ = inspect.cleandoc(documented.__doc__) % entries

    @abc.abstractmethod
    def plot(self, ax: Axes = None, **kwargs: Any) -> Self:
        """Draw on axes."""

    def _start(self, ax: Axes) -> Axes:
        """The given axes, or those of a new figure; they become attributes."""
        if ax is not None and not hasattr(ax, "annotate"):
            raise InvalidParameterError(
                f"ax must be Axes of matplotlib or None; got {checks.brief(ax)}."
            )
        if ax is None:
            instead = " The plotted values are attributes of the display."
            plt = require("matplotlib.pyplot", "A display", "plot", instead)
            ax = plt.subplots(layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        return ax

    @staticmethod
    def _names_of(study: Study, names: ArrayLike | None) -> ArrayLike:
        """The given names of the training rows, or their labels."""
        if names is None:
            return study.labels
        given = np.asarray(names, dtype=object)
        if given.shape != (study.n_train,):
            raise InvalidParameterError(
                f"names must hold one name for each of the {study.n_train} training "
                f"rows; got shape {given.shape}."
            )
        return given

    def _finish(self, name: str | None) -> None:
        """Write a title above the one that is there, and keep labels in the figure."""
        if name is not None:
            title = self.ax_.get_title()
            self.ax_.set_title(f"{name}\n{title}" if title else name)
        keep_labels_inside(self.ax_)

    def _label(
        self, rows: np.ndarray, x: np.ndarray, y: np.ndarray, color: str
    ) -> None:
        """Write the names of rows beside their points."""
        names = np.asarray(self.names)[rows]
        label_points(self.ax_, x[rows], y[rows], names, color)


def _entries(doc: str) -> dict[str, str]:
    """The entries of a numpydoc docstring by their first words, and its examples."""
    entries = {
        match[1]: match[0].rstrip()
        for match in re.finditer(r"^(\w+).*\n(?: +\S.*\n?)+", doc, re.MULTILINE)
    }
    return {**entries, "example": "\n".join(re.findall("^>>>.*", doc, re.MULTILINE))}
