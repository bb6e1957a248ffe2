"""``LeaveOneOutDisplay``: estimates against refits."""

from typing import Any, Self

import numpy as np

from skinfluence.plotting._canvas import (
    HARMFUL,
    HELPFUL,
    LINE,
    axes_of,
    cloud,
    largest,
    settle,
)
from skinfluence.plotting._names import named
from skinfluence.plotting._scales import few_ticks
from skinfluence.refit import check_leave_one_out


class LeaveOneOutDisplay:
    """Estimated change of the loss when a row is left out, against a real refit.

    Both are deltas, without the row minus with it: a positive one means that the row
    helps. On the line, estimate and refit agree.

    Parameters
    ----------
    predicted, refit : ndarray of shape (n_rows,)
        Change of the loss by the explainer, and by refitting. Unit: of the loss.
    pearson, slope : float
        Their correlation, and the slope of the refit in the estimate.
    names : array-like of shape (n_rows,)
        Names of the rows left out.

    Attributes
    ----------
    cloud_ : PathCollection or QuadMesh
        The points, or the density of many.
    line_ : AxLine
        Where both agree.
    ax_ : Axes
        What was drawn on.
    figure_ : Figure
        What they belong to.

    See Also
    --------
    check_leave_one_out : The numbers.

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

    def __init__(
        self, predicted: Any, refit: Any, pearson: float, slope: float, names: Any
    ) -> None:
        self.predicted = predicted
        self.refit = refit
        self.pearson = pearson
        self.slope = slope
        self.names = names

    @classmethod
    def from_explainer(
        cls,
        explainer: Any,
        X: Any,
        y: Any,
        *,
        rows: Any = 100,
        X_test: Any = None,
        y_test: Any = None,
        ax: Any = None,
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
        MissingDependencyError
            If matplotlib is not installed.

        Notes
        -----
        Cost: one refit per row.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer, LeaveOneOutDisplay
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge()).fit(X, y)
        >>> display = LeaveOneOutDisplay.from_explainer(explainer, X, y, rows=10)
        >>> round(display.pearson, 6)
        1.0
        """
        found = check_leave_one_out(
            explainer, X, y, rows=rows, X_test=X_test, y_test=y_test
        )
        names = np.asarray(explainer.train_index_)[np.asarray(found.rows)]
        return cls.from_check(found, names=names, ax=ax, **kwargs)

    @classmethod
    def from_check(
        cls, found: Any, *, names: Any = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw what ``check_leave_one_out`` returned.

        Parameters
        ----------
        found : Bunch
            Its result.
        names : array-like of shape (n_rows,) or None, default=None
            Names of the rows left out; None takes their numbers.
        ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : LeaveOneOutDisplay

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import (
        ...     InfluenceExplainer,
        ...     LeaveOneOutDisplay,
        ...     check_leave_one_out,
        ... )
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge()).fit(X, y)
        >>> found = check_leave_one_out(explainer, X, y, rows=10)
        >>> LeaveOneOutDisplay.from_check(found).refit.shape
        (10,)
        """
        display = cls(
            np.asarray(found.predicted),
            np.asarray(found.refit),
            float(found.pearson),
            float(found.slope),
            np.asarray(found.rows if names is None else names),
        )
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Any = None, *, k: int = 3, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to; None makes a figure.
        k : int, default=3
            Rows to name, those furthest from the line.
        name : str or None, default=None
            Title of the axes, such as what the model is called.
        **kwargs : dict
            For ``Axes.scatter``, or ``Axes.pcolormesh`` from 5,000 rows.

        Returns
        -------
        display : LeaveOneOutDisplay

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
        >>> from skinfluence import InfluenceExplainer, LeaveOneOutDisplay
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge()).fit(X, y)
        >>> display = LeaveOneOutDisplay.from_explainer(explainer, X, y, rows=10)
        >>> display.plot(k=1).ax_.get_ylabel()
        'change of the loss by refitting'
        """
        ax = self.ax_ = axes_of(ax)
        self.figure_ = ax.figure
        self.cloud_ = cloud(
            ax, self.predicted, self.refit, kwargs, {"color": HELPFUL, "alpha": 0.7}
        )
        both = np.concatenate([self.predicted, self.refit])
        both = both[np.isfinite(both)]
        if len(both):
            low, high = float(both.min()), float(both.max())
            gap = 0.08 * (high - low) or 1.0
            ax.set(xlim=(low - gap, high + gap), ylim=(low - gap, high + gap))
            self.line_ = ax.axline(
                (low, low), slope=1, color=LINE, linewidth=0.8, zorder=0
            )
        ax.set(
            xlabel="estimated change of the loss\n(without − with)",  # noqa: RUF001
            ylabel="change of the loss by refitting",
            title=f"r = {self.pearson:.6f}, slope = {self.slope:.4f}, "
            f"{len(self.refit)} rows",
        )
        for axis in (ax.xaxis, ax.yaxis):
            few_ticks(axis)
        settle(ax, name)
        error = np.abs(self.predicted - self.refit)
        # What cannot be seen off the line is not named.
        rows = largest(error, k)
        rows = rows[error[rows] > 0.01 * np.ptp(both)] if len(both) else rows[:0]
        named(
            ax,
            self.predicted[rows],
            self.refit[rows],
            np.asarray(self.names)[rows],
            HARMFUL,
        )
        return self
