"""``SelfInfluenceDisplay``: which rows pull the model towards themselves, by class."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skinfluence._array import to_numpy
from skinfluence.explainer import InfluenceExplainer
from skinfluence.plotting._canvas import (
    HARMFUL,
    HELPFUL,
    MOST_POINTS,
    Axes,
    cloud,
    draw_bars,
    font_size,
    largest,
    short,
)
from skinfluence.plotting._display import AbstractDisplay
from skinfluence.plotting._scales import plain, readable
from skinfluence.study import study_of

_MOST_GROUPS = 20
# Decades below the largest magnitude that are still shown.
_DECADES = 12
# Nine in ten rows of a group, and the middle half.
_WIDTHS = {0.05: 1, 0.25: 5}


@dataclass(eq=False, repr=False)
class SelfInfluenceDisplay(AbstractDisplay):
    """Distribution of self-influence by class, or by quarters of the target.

    Self-influence is the influence of a row on its own loss, 0 or less (*influence*:
    positive = up-weighting raises the loss). The further below zero, the harder the row
    pulls the model towards itself. Wrong labels and outliers are on the right.

    Parameters
    ----------
    self_influence : ndarray of shape (n_train,)
        0 or less. Unit: loss per unit of the total weight.
    groups : ndarray of shape (n_train,)
        The class of each row, or another label.
    names : array-like of shape (n_train,)
        Names of the training rows.
    by : str, default="class"
        Name of the grouping.

    Attributes
    ----------
    groups_ : list
        The groups drawn, top to bottom: at most 20, those with the most extreme rows.
    %(ax_)s
    %(figure_)s

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinfluence import InfluenceExplainer, SelfInfluenceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> explainer = InfluenceExplainer(model).fit(X, y)
    >>> SelfInfluenceDisplay.from_explainer(explainer).groups_
    [0, 1, 2]
    """

    self_influence: np.ndarray
    groups: np.ndarray
    names: ArrayLike
    _: KW_ONLY
    by: str = "class"

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
        explainer : InfluenceExplainer
            A fitted explainer. Of several targets, the first one groups the rows.
        %(names)s
        ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : SelfInfluenceDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Notes
        -----
        Cost: ``n d**2`` multiplications, as for all leverages.

        Examples
        --------
        %(example)s
        >>> from skinfluence import SelfInfluenceDisplay
        >>> display = SelfInfluenceDisplay.from_explainer(explainer)
        >>> display.by
        'quarter of the target'
        """
        study = study_of(explainer)
        y = study.y.reshape(study.n_train, -1)[:, 0]
        groups = y if study.classifies else _quarters(y)
        display = cls(
            to_numpy(explainer.self_influence()),
            groups,
            cls._names_of(study, names),
            by="class" if study.classifies else "quarter of the target",
        )
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Axes = None, *, k: int = 5, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        k : int, default=5
            Rows to name, the most extreme of all.
        %(name)s
        **kwargs : dict
            For ``Axes.scatter``, which draws the rows where they are at most 5,000.

        Returns
        -------
        display : SelfInfluenceDisplay

        Raises
        ------
        %(MissingDependencyError)s

        Examples
        --------
        %(example)s
        >>> from skinfluence import SelfInfluenceDisplay
        >>> display = SelfInfluenceDisplay.from_explainer(explainer)
        >>> display.plot(k=2).ax_.get_xscale()
        'log'
        """
        ax = self._start(ax)
        pull = _above_floor(-np.asarray(self.self_influence, dtype=float))
        labels, codes = np.unique(self.groups, return_inverse=True)
        worst = np.array([np.nanmax(pull[codes == g]) for g in range(len(labels))])
        shown = np.sort(largest(worst, _MOST_GROUPS))
        self.groups_ = labels[shown].tolist()
        heights = np.full(len(labels), np.nan)  # NaN where not drawn
        heights[shown] = range(len(shown))
        height = heights[codes]  # of each row
        ax.set_xscale("log")
        if np.sum(np.isfinite(height) & np.isfinite(pull)) <= MOST_POINTS:
            jitter = (np.arange(len(pull)) * 0.618034) % 1 - 0.5  # even, not random
            style = {"color": HELPFUL, "s": 7, "alpha": 0.35, "rasterized": True}
            cloud(ax, pull, height + 0.5 * jitter, kwargs, **style)
        for place, g in enumerate(shown):
            drawn = pull[(codes == g) & np.isfinite(pull)]
            if len(drawn):
                draw_bars(ax, drawn, place, widths=_WIDTHS, color="black")
                ax.plot(np.median(drawn), place, "o", color="white", markersize=4)
        counts = np.bincount(codes)
        ax.set_yticks(
            range(len(shown)),
            [f"{short(labels[g])}\n{counts[g]:,} rows" for g in shown],
            fontsize=min(8, font_size(ax, 2 * len(shown))),
        )
        ax.set(
            xlabel="− self-influence,\nloss per unit of weight",  # noqa: RUF001
            ylabel=self.by,
            ylim=(len(shown) - 0.5, -0.5),
        )
        ax.margins(x=0.08)
        readable(ax.xaxis)
        self._finish(name)
        rows = largest(np.where(np.isnan(height), np.nan, pull), k)
        self._label(rows, pull, height, HARMFUL)
        return self


def _above_floor(pull: np.ndarray) -> np.ndarray:
    """Values that a logarithmic axis can show: none is 0."""
    top = float(np.nanmax(pull, initial=0.0))
    return np.maximum(pull, top / 10**_DECADES if top > 0 else 1.0)  # NaN stays NaN


def _quarters(y: np.ndarray) -> np.ndarray:
    """Which quarter of the target each row lies in, in words that sort."""
    edges = np.unique(np.quantile(y, [0, 0.25, 0.5, 0.75, 1]))
    if len(edges) < 3:
        return np.full(len(y), "all rows")
    words = [
        f"{g + 1}: {plain(edges[g])} to {plain(edges[g + 1])}"
        for g in range(len(edges) - 1)
    ]
    place = np.searchsorted(edges, y, side="left") - 1
    return np.array(words)[np.clip(place, 0, len(words) - 1)]
