"""``LeverageDisplay``: residuals against leverage, with Cook's distances."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skinfluence.exceptions import InvalidParameterError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.plotting._canvas import HARMFUL, LINE, Axes, cloud, largest
from skinfluence.plotting._display import AbstractDisplay
from skinfluence.plotting._scales import follow_spread, number
from skinfluence.study import study_of
from skinfluence.support import checks

# Cook's distances that textbooks call large.
_LARGE = (0.5, 1.0)


@dataclass(eq=False, repr=False)
class LeverageDisplay(AbstractDisplay):
    """Studentized residual against leverage, with contours of Cook's distance.

    Rows on the right have leverage, and rows far from zero are fitted badly; a row that
    is both moves the coefficients.

    Parameters
    ----------
    leverage : ndarray of shape (n_train,)
        Hat values, 0 to 1.
    residual : ndarray of shape (n_train,)
        Internally studentized Pearson residuals; positive if the target is above the
        fitted mean.
    cooks_distance : ndarray of shape (n_train,)
        Cook's distances; the rows with the largest are labelled.
    effective_dof : float
        Effective degrees of freedom, used by the contours.
    names : array-like of shape (n_train,)
        Names of the training rows.

    Attributes
    ----------
    levels_ : tuple of float
        Cook's distances of the contours.
    cloud_ : PathCollection or QuadMesh
        The points, or the density of many.
    %(ax_)s
    %(figure_)s

    Notes
    -----
    An axis whose largest magnitude is more than 50 times its median one is linear below
    the median and logarithmic above (asinh); otherwise most rows would share a corner.

    On a contour ``residual**2 * leverage / (1 - leverage) / effective_dof`` is constant:
    Cook's distance itself for least squares, that of one step of Fisher scoring for
    generalized linear models. With ``deletion="exact"`` the distances of the latter, by
    which rows are labelled, may be larger. Deltas of the coefficients, without the row
    minus with it, are in ``InfluenceExplainer.loo_params``.

    References
    ----------
    .. [1] Cook & Weisberg (1982). Residuals and influence in regression. Equation 3.2.3.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import LinearRegression
    >>> from skinfluence import InfluenceExplainer, LeverageDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    >>> display = LeverageDisplay.from_explainer(explainer)
    >>> display.levels_
    (0.004, 0.02)
    """

    leverage: np.ndarray
    residual: np.ndarray
    cooks_distance: np.ndarray
    effective_dof: float
    names: ArrayLike

    @classmethod
    def from_explainer(
        cls,
        explainer: InfluenceExplainer,
        *,
        output: int = 0,
        names: ArrayLike | None = None,
        ax: Axes = None,
        **kwargs: Any,
    ) -> Self:
        """Compute from an explainer, and draw.

        Parameters
        ----------
        explainer : InfluenceExplainer
            A fitted explainer of least squares or a generalized linear model.
        output : int, default=0
            Index of the target, if there are several.
        %(names)s
        ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : LeverageDisplay

        Raises
        ------
        UnsupportedEstimatorError
            If the model has no such diagnostics (Huber, hinge, softmax).
        InvalidParameterError
            If there is no such output.
        %(MissingDependencyError)s

        Examples
        --------
        %(example)s
        >>> from skinfluence import LeverageDisplay
        >>> display = LeverageDisplay.from_explainer(explainer)
        >>> round(display.effective_dof, 6)
        4.942284
        """
        names = cls._names_of(study_of(explainer), names)
        checks.at_least("output", output, 0, Integral)
        table = explainer.diagnostics()
        leverage, distance, pearson, deviance, studentized = (
            _column_of(table, name, output)
            for name in (
                "leverage",
                "cooks_distance",
                "resid_pearson",
                "resid_deviance",
                "resid_studentized_internal",  # resid_deviance over its standard error
            )
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = np.where(deviance == 0, 0.0, pearson * studentized / deviance)
        display = cls(
            leverage,
            residual,
            distance,
            float(np.nansum(leverage)),
            names,
        )
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes = None,
        *,
        k: int = 5,
        levels: tuple[float, ...] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        k : int, default=5
            Number of rows to label, by Cook's distance.
        levels : tuple of float or None, default=None
            Cook's distances to draw contours of; None is 0.5 and 1, or round numbers
            below the largest distance where that is smaller.
        %(name)s
        **kwargs : dict
            For ``Axes.scatter``, or ``Axes.pcolormesh`` beyond 5,000 rows.

        Returns
        -------
        display : LeverageDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Examples
        --------
        %(example)s
        >>> from skinfluence import LeverageDisplay
        >>> display = LeverageDisplay.from_explainer(explainer)
        >>> display.plot(k=2).ax_.get_ylabel()
        'studentized residual'
        """
        checks.option("levels", levels, tuple, list)
        for level in levels or ():
            checks.at_least("Each of levels", level, 0)
        ax = self._start(ax)
        follow_spread(ax.xaxis, self.leverage)
        follow_spread(ax.yaxis, self.residual)
        self.cloud_ = cloud(ax, self.leverage, self.residual, kwargs)
        ax.axhline(0, color=LINE, linewidth=0.8)
        ax.margins(x=0.08, y=0.12)
        ax.autoscale_view()
        ax.set_xlim(0, ax.get_xlim()[1])
        self.levels_ = _levels(self.cooks_distance) if levels is None else levels
        self._contours(ax)
        drawn = " and ".join(number(level) for level in self.levels_)
        dashed = f"\n(dashed: Cook's distance {drawn})" if drawn else ""
        ax.set(xlabel=f"leverage{dashed}", ylabel="studentized residual")
        self._finish(name)
        rows = largest(self.cooks_distance, k)
        self._label(rows, self.leverage, self.residual, HARMFUL)
        return self

    def _contours(self, ax: Axes) -> None:
        right, bounds = ax.get_xlim()[1], ax.get_ylim()
        h = np.geomspace(right / 1e4, min(right, 1 - 1e-6), 500)
        for level in self.levels_:
            t = np.sqrt(level * self.effective_dof * (1 - h) / h)
            for sign in (1, -1):
                ax.plot(h, sign * t, "--", color=LINE, linewidth=0.8)
        ax.set(xlim=(0, right), ylim=bounds)


def _column_of(table: Any, name: str, output: int) -> np.ndarray:
    """A column of ``diagnostics()``, of one of several outputs."""
    for key in (f"{name}_output_{output}", name if output == 0 else ""):
        if key in table:
            return np.asarray(table[key])
    raise InvalidParameterError(
        f"output={output} is none of the model's outputs. Count them from 0."
    )


def _levels(distance: np.ndarray) -> tuple[float, ...]:
    """Two distances whose contours are in sight."""
    worst = float(np.nanmax(distance)) if np.isfinite(distance).any() else 0.0
    if worst >= _LARGE[0]:
        return _LARGE
    if worst <= 0:
        return ()
    size = 10.0 ** np.floor(np.log10(worst))
    top = float(max(step for step in (1, 2, 5) if step * size <= worst) * size)
    return (top / 5, top)
