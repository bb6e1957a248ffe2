"""``LeaveOneOutDisplay``: estimates against refits."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from skinfluence.exceptions import InvalidParameterError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.plotting._canvas import HARMFUL, HELPFUL, LINE, Axes, cloud, largest
from skinfluence.plotting._display import AbstractDisplay
from skinfluence.plotting._scales import few_ticks
from skinfluence.refit import check_leave_one_out


@dataclass(eq=False, repr=False)
class LeaveOneOutDisplay(AbstractDisplay):
    """Estimated change of the loss when a row is left out, against a real refit.

    Both are deltas, without the row minus with it: a negative one is harmful. On the
    line, estimate and refit agree.

    Parameters
    ----------
    predicted, refit : ndarray of shape (n_rows,)
        Change of the loss as estimated by the explainer, and by refits. Unit: of the
        loss.
    pearson, slope : float
        Their correlation, and the slope of the refitted change on the predicted one.
    names : array-like of shape (n_rows,)
        Names of the deleted rows.

    Attributes
    ----------
    cloud_ : PathCollection or QuadMesh
        The points, or the density of many.
    line_ : AxLine
        The line on which both agree.
    %(ax_)s
    %(figure_)s

    See Also
    --------
    check_leave_one_out : The values.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinfluence import InfluenceExplainer, LeaveOneOutDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    >>> display = LeaveOneOutDisplay.from_explainer(explainer, X, y, rows=20)
    >>> round(display.pearson, 6), round(display.slope, 6)
    (1.0, 1.0)
    """

    predicted: np.ndarray
    refit: np.ndarray
    pearson: float
    slope: float
    names: ArrayLike

    @classmethod
    def from_explainer(
        cls,
        explainer: InfluenceExplainer,
        X: Any,
        y: Any,
        *,
        rows: Any = 100,
        X_test: Any = None,
        y_test: Any = None,
        ax: Axes = None,
        **kwargs: Any,
    ) -> Self:
        """Refit without a sample of rows, and draw.

        Parameters
        ----------
        explainer : InfluenceExplainer
            Fitted on X and y.
        X, y, rows, X_test, y_test
            As for ``check_leave_one_out``.
        ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : LeaveOneOutDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Notes
        -----
        Cost: one refit per row.

        Examples
        --------
        %(example)s
        >>> from skinfluence import LeaveOneOutDisplay
        >>> display = LeaveOneOutDisplay.from_explainer(explainer, X, y, rows=10)
        >>> round(display.pearson, 6)
        1.0
        """
        result = check_leave_one_out(
            explainer, X, y, rows=rows, X_test=X_test, y_test=y_test
        )
        names = np.asarray(explainer.train_index_)[np.asarray(result.rows)]
        return cls.from_check(result, names=names, ax=ax, **kwargs)

    @classmethod
    def from_check(
        cls,
        result: Bunch,
        *,
        names: ArrayLike | None = None,
        ax: Axes = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the result of ``check_leave_one_out``.

        Parameters
        ----------
        result : Bunch
            What ``check_leave_one_out`` returned.
        names : array-like of shape (n_rows,) or None, default=None
            Names of the rows left out; None takes their indices.
        ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : LeaveOneOutDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Examples
        --------
        %(example)s
        >>> from skinfluence import LeaveOneOutDisplay, check_leave_one_out
        >>> result = check_leave_one_out(explainer, X, y, rows=10)
        >>> LeaveOneOutDisplay.from_check(result).refit.shape
        (10,)
        """
        if not hasattr(result, "refit") or not hasattr(result, "pearson"):
            raise InvalidParameterError(
                "The result of check_leave_one_out is needed; got "
                f"{type(result).__name__}."
            )
        display = cls(
            np.asarray(result.predicted),
            np.asarray(result.refit),
            float(result.pearson),
            float(result.slope),
            np.asarray(result.rows if names is None else names),
        )
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Axes = None, *, k: int = 3, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        k : int, default=3
            Rows to name, those furthest from the line.
        %(name)s
        **kwargs : dict
            For ``Axes.scatter``, or ``Axes.pcolormesh`` beyond 5,000 rows.

        Returns
        -------
        display : LeaveOneOutDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Examples
        --------
        %(example)s
        >>> from skinfluence import LeaveOneOutDisplay
        >>> display = LeaveOneOutDisplay.from_explainer(explainer, X, y, rows=10)
        >>> display.plot(k=1).ax_.get_ylabel()
        'change of the loss by refitting'
        """
        ax = self._start(ax)
        predicted, refit = self.predicted, self.refit
        self.cloud_ = cloud(ax, predicted, refit, kwargs, color=HELPFUL, alpha=0.7)
        both = np.concatenate([predicted, refit])
        both = both[np.isfinite(both)]
        if len(both):
            low, high = float(both.min()), float(both.max())
            gap = 0.08 * (high - low) or 1.0
            ax.set(xlim=(low - gap, high + gap), ylim=(low - gap, high + gap))
            start = low, low
            self.line_ = ax.axline(start, slope=1, color=LINE, linewidth=0.8, zorder=0)
        ax.set(
            xlabel="estimated change of the loss\n(without − with)",  # noqa: RUF001
            ylabel="change of the loss by refitting",
            title=f"r = {self.pearson:.6f}, slope = {self.slope:.4f}, {len(refit)} rows",
        )
        few_ticks(ax.xaxis)
        few_ticks(ax.yaxis)
        self._finish(name)
        error = np.abs(predicted - refit)
        # What cannot be seen off the line is not named.
        rows = largest(error, k)
        rows = rows[error[rows] > 0.01 * np.ptp(both)] if len(both) else rows[:0]
        self._label(rows, predicted, refit, HARMFUL)
        return self
