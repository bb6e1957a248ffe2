"""``DfbetasDisplay``: how each left-out row moves the coefficients."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skinfluence._array import to_numpy
from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.plotting._canvas import (
    DISTINCT,
    LINE,
    Axes,
    draw_bars,
    font_size,
    largest,
    short,
)
from skinfluence.plotting._display import AbstractDisplay
from skinfluence.plotting._names import label_points
from skinfluence.plotting._scales import few_ticks
from skinfluence.study import study_of

# Up to this many rows the paths can be told apart; of more, quantiles are drawn.
_MOST_PATHS = 200
_MOST_PARAMETERS = 40
# Points of height that a name in letters of 5.5 points needs.
_LEAST_HEIGHT = 6.5
# One for each named row.
_MARKERS = "os^Dv"
# Up to this many coefficients lines can be followed; over more, a row is dots.
_MOST_JOINED = 8
# All rows, nine in ten of them, and half of them.
_WIDTHS = {0: 1, 0.05: 4, 0.25: 8}
_PREFIX = "dfbetas_"


@dataclass(eq=False, repr=False)
class DfbetasDisplay(AbstractDisplay):
    """Change of each coefficient by each row, in standard errors (DFBETAS).

    Sign, as usual for DFBETAS and opposite to a delta: the coefficient *with* the row
    minus without it. A row far to the right makes the coefficient larger.

    Parameters
    ----------
    dfbetas : ndarray of shape (n_train, n_parameters)
        Change of each coefficient by each row, in standard errors.
    parameters : list of str
        Names of the coefficients.
    names : array-like of shape (n_train,)
        Names of the training rows.
    unit : str, default="standard errors"
        Unit of the changes.

    Attributes
    ----------
    shown_ : ndarray of int
        Indices of the coefficients drawn, top to bottom: those that move most, at most 40
        or as many as there is room for.
    rows_ : ndarray of int
        Indices of the labelled rows, most extreme first.
    %(ax_)s
    %(figure_)s

    Notes
    -----
    Each labelled row has its own colour and mark, and its label where it is most extreme.
    With at most eight coefficients, lines join its marks. All rows are grey: lines if
    both rows and coefficients are few, otherwise bars that cover all rows, nine in ten,
    and half of them.

    For least squares and generalized linear models these are the columns ``dfbetas_...``
    of ``InfluenceExplainer.diagnostics``. Other models have no textbook standard error;
    their changes are divided by the jackknife standard error of the same deltas,
    ``sqrt((n - 1) / n sum_i (delta_ij - mean_j)**2)``.

    References
    ----------
    .. [1] Belsley, Kuh & Welsch (1980). Regression diagnostics. Equation 2.7, and its
       bound ``2 / sqrt(n)``, which is dotted.
    .. [2] Efron & Tibshirani (1993). An introduction to the bootstrap. Equation 11.5.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import LinearRegression
    >>> from skinfluence import DfbetasDisplay, InfluenceExplainer
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    >>> display = DfbetasDisplay.from_explainer(explainer)
    >>> display.dfbetas.shape, display.parameters[:2]
    ((442, 11), ['age', 'sex'])
    """

    dfbetas: np.ndarray
    parameters: list[str]
    names: ArrayLike
    _: KW_ONLY
    unit: str = "standard errors"

    @classmethod
    def from_explainer(
        cls,
        explainer: InfluenceExplainer,
        *,
        names: ArrayLike | None = None,
        ax: Axes = None,
        **kwargs: Any,
    ) -> Self:
        """Compute from an explainer, and draw.

        Parameters
        ----------
        %(explainer)s
        %(names)s
        ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : DfbetasDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Notes
        -----
        Cost: the deltas of all coefficients, ``n d**2``, and an array of n times d.

        Examples
        --------
        %(example)s
        >>> from skinfluence import DfbetasDisplay
        >>> DfbetasDisplay.from_explainer(explainer, k=3).dfbetas.shape
        (442, 11)
        """
        names = cls._names_of(study_of(explainer), names)
        try:
            table = explainer.diagnostics()
        except UnsupportedEstimatorError:
            values, parameters = _by_jackknife(explainer)
            display = cls(values, parameters, names, unit="jackknife standard errors")
        else:
            columns = [key for key in table if str(key).startswith(_PREFIX)]
            values = np.column_stack([np.asarray(table[key]) for key in columns])
            parameters = [str(key).removeprefix(_PREFIX) for key in columns]
            display = cls(values, parameters, names)
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Axes = None, *, k: int = 5, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        k : int, default=5
            Rows to name, at most 5: those with the largest change of any coefficient.
        %(name)s
        **kwargs : dict
            For ``Axes.plot``, which draws the marks of the named rows.

        Returns
        -------
        display : DfbetasDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Examples
        --------
        %(example)s
        >>> from skinfluence import DfbetasDisplay
        >>> display = DfbetasDisplay.from_explainer(explainer)
        >>> len(display.plot(k=3).rows_)
        3
        """
        ax = self._start(ax)
        size = np.abs(np.nan_to_num(self.dfbetas))
        room = int(ax.bbox.height * 72 / ax.figure.dpi / _LEAST_HEIGHT)
        most = max(min(_MOST_PARAMETERS, room), 1)
        shown = self.shown_ = np.sort(largest(size.max(axis=0), most))
        self.rows_ = largest(size.max(axis=1), k)[: len(DISTINCT)]
        values, places = self.dfbetas[:, shown], np.arange(len(shown))
        finite = values[np.isfinite(values).all(axis=1)]
        joined = len(shown) <= _MOST_JOINED
        if joined and len(finite) <= _MOST_PATHS:
            ax.plot(finite.T, places, color=LINE, linewidth=0.6, alpha=0.3)
        else:
            style = {"color": LINE, "alpha": 0.35, "zorder": 1}
            draw_bars(ax, finite, places, widths=_WIDTHS, **style)
        style = {"linestyle": "-" if joined else "none", "linewidth": 0.8}
        style |= {"markersize": 3.5, "alpha": 0.9}
        marks = list(zip(self.rows_, DISTINCT, _MARKERS, strict=False))
        for row, color, marker in marks:
            own = {"color": color, "marker": marker}
            ax.plot(values[row], places, **own | style | kwargs)
        self._draw_axes(ax, len(values))
        self._finish(name)
        for row, color, marker in marks:
            end = largest(np.abs(values[row]), 1)  # named where it is most extreme
            row_name = np.asarray(self.names)[[row]]
            label_points(ax, values[row][end], places[end], row_name, color, marker)
        return self

    def _draw_axes(self, ax: Axes, n_rows: int) -> None:
        """Bounds, names of the coefficients, and what is measured."""
        shown, total = self.shown_, len(self.parameters)
        for bound in (-2, 2):
            ax.axvline(
                bound / np.sqrt(n_rows), color=LINE, linewidth=0.8, linestyle=":"
            )
        ax.axvline(0, color=LINE, linewidth=0.8)
        labels = [short(self.parameters[j]) for j in shown]
        ax.set_yticks(range(len(shown)), labels, fontsize=font_size(ax, len(shown)))
        ax.grid(axis="y", linewidth=0.3)
        ax.set_axisbelow(True)
        ax.set(
            xlabel=f"dfbetas: with − without the row,\nin {self.unit}",  # noqa: RUF001
            ylim=(len(shown) - 0.5, -0.5),
        )
        if len(shown) < total:
            ax.set_ylabel(f"{len(shown)} of {total} coefficients")
        ax.margins(x=0.1)
        few_ticks(ax.xaxis)


def _by_jackknife(explainer: InfluenceExplainer) -> tuple[np.ndarray, list[str]]:
    """Changes over their jackknife standard errors, and the coefficients' names."""
    deltas, n = explainer.loo_params(), explainer.n_train_
    coef = to_numpy(deltas["coef"])
    coef = coef.reshape(n, -1, coef.shape[-1])  # (n, K, p)
    features = study_of(explainer).coefficient_names
    classes = getattr(explainer, "classes_", range(coef.shape[1]))
    prefix = [""] if coef.shape[1] == 1 else [f"{label}: " for label in classes]
    names = [f"{output}{feature}" for output in prefix for feature in features]
    values = coef.reshape(n, -1)
    intercept = to_numpy(deltas["intercept"]).reshape(n, -1)
    if np.any(np.nan_to_num(intercept)):
        values = np.hstack([values, intercept])
        names += [f"{output}intercept" for output in prefix][: intercept.shape[1]]
    spread = values - np.nanmean(values, axis=0)
    error = np.sqrt((n - 1) / n * np.nansum(spread**2, axis=0))
    return -values / np.where(error > 0, error, 1.0), names
