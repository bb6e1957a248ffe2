"""``SelfInfluenceDisplay``: which rows pull the model towards themselves, by class."""

from typing import Any, Self

import numpy as np

from skinfluence._array import to_numpy
from skinfluence.plotting._canvas import (
    HARMFUL,
    HELPFUL,
    MOST_POINTS,
    axes_of,
    largest,
    letters,
    settle,
    short,
)
from skinfluence.plotting._names import named
from skinfluence.plotting._scales import plain, readable

_MOST_GROUPS = 20
_QUARTERS = 4
# Decades below the largest magnitude that are still shown.
_DECADES = 12


class SelfInfluenceDisplay:
    """Distribution of self-influence by class, or by quarters of the target.

    Self-influence is the influence of a row on its own loss, 0 or less (*influence*:
    positive = up-weighting raises the loss): the further below zero, the harder the row
    pulls the model towards itself. Wrong labels and outliers stand out on the right.

    Parameters
    ----------
    self_influence : ndarray of shape (n_train,)
        0 or less. Unit: loss per unit of weight, where all weights sum to one.
    groups : ndarray of shape (n_train,)
        The class of each row, or another label.
    names : array-like of shape (n_train,)
        Names of the training rows.
    by : str, default="class"
        What the groups are.

    Attributes
    ----------
    groups_ : list
        The groups drawn, top to bottom: at most 20, those with the most extreme rows.
    ax_ : Axes
        What was drawn on.
    figure_ : Figure
        What they belong to.

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

    def __init__(
        self, self_influence: Any, groups: Any, names: Any, *, by: str = "class"
    ) -> None:
        self.by = by
        self.self_influence = self_influence
        self.groups = groups
        self.names = names

    @classmethod
    def from_explainer(
        cls, explainer: Any, *, names: Any = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Ask an explainer, and draw.

        Parameters
        ----------
        explainer : InfluenceExplainer
            Fitted. Of several targets, the first one groups the rows.
        names : array-like of shape (n_train,) or None, default=None
            Names of the training rows; None takes ``train_index_``.
        ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : SelfInfluenceDisplay

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.

        Notes
        -----
        Cost: ``n d**2`` multiplications, as for all leverages.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer, SelfInfluenceDisplay
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge()).fit(X, y)
        >>> display = SelfInfluenceDisplay.from_explainer(explainer)
        >>> display.by
        'quarter of the target'
        """
        y = to_numpy(explainer._train_y).reshape(explainer.n_train_, -1)[:, 0]
        groups = y if explainer._classifies else _quarters(y)
        display = cls(
            to_numpy(explainer.self_influence()),
            groups,
            explainer.train_index_ if names is None else names,
            by="class" if explainer._classifies else "quarter of the target",
        )
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Any = None, *, k: int = 5, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to; None makes a figure.
        k : int, default=5
            Rows to name, the most extreme of all.
        name : str or None, default=None
            Title of the axes, such as what the model is called.
        **kwargs : dict
            For ``Axes.scatter``, which draws the rows where they are at most 5,000.

        Returns
        -------
        display : SelfInfluenceDisplay

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
        >>> from skinfluence import InfluenceExplainer, SelfInfluenceDisplay
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge()).fit(X, y)
        >>> display = SelfInfluenceDisplay.from_explainer(explainer)
        >>> display.plot(k=2).ax_.get_xscale()
        'log'
        """
        ax = self.ax_ = axes_of(ax)
        self.figure_ = ax.figure
        pull = -np.asarray(self.self_influence, dtype=float)
        top = float(np.nanmax(pull, initial=0.0))
        floor = top / 10**_DECADES if top > 0 else 1.0
        pull = np.where(np.isnan(pull), np.nan, np.maximum(pull, floor))
        labels, codes = np.unique(self.groups, return_inverse=True)
        worst = np.array([np.nanmax(pull[codes == g]) for g in range(len(labels))])
        shown = np.sort(largest(worst, _MOST_GROUPS))
        self.groups_ = labels[shown].tolist()
        height = np.full(len(pull), np.nan)  # of each row, NaN where not drawn
        for place, g in enumerate(shown):
            height[codes == g] = place
        ax.set_xscale("log")
        self._dots(pull, height, kwargs)
        for place, g in enumerate(shown):
            self._spread(pull[codes == g], place)
        counts = np.bincount(codes)
        ax.set_yticks(
            range(len(shown)),
            [f"{short(labels[g])}\n{counts[g]:,} rows" for g in shown],
            fontsize=min(8, letters(ax, 2 * len(shown))),
        )
        ax.set(
            xlabel="− self-influence,\nloss per unit of weight",  # noqa: RUF001
            ylabel=self.by,
            ylim=(len(shown) - 0.5, -0.5),
        )
        ax.margins(x=0.08)
        readable(ax.xaxis)
        settle(ax, name)
        rows = largest(np.where(np.isnan(height), np.nan, pull), k)
        named(ax, pull[rows], height[rows], np.asarray(self.names)[rows], HARMFUL)
        return self

    def _dots(self, pull: Any, height: Any, kwargs: dict[str, Any]) -> None:
        """Single rows, spread so that they do not hide each other, where they are few."""
        drawn = np.isfinite(height) & np.isfinite(pull)
        if drawn.sum() > MOST_POINTS:
            return
        jitter = (np.arange(len(pull)) * 0.618034) % 1 - 0.5  # evenly, without chance
        self.ax_.scatter(
            pull[drawn],
            (height + 0.5 * jitter)[drawn],
            rasterized=True,
            **{"s": 7, "color": HELPFUL, "alpha": 0.35, "linewidths": 0, **kwargs},
        )

    def _spread(self, pull: Any, place: int) -> None:
        """The middle half of a group, nine in ten of its rows, and its median."""
        pull = pull[np.isfinite(pull)]
        if len(pull) == 0:
            return
        five, lower, middle, upper, most = np.quantile(
            pull, [0.05, 0.25, 0.5, 0.75, 0.95]
        )
        self.ax_.hlines(place, five, most, color="black", linewidth=1)
        self.ax_.hlines(place, lower, upper, color="black", linewidth=5)
        self.ax_.plot(middle, place, "o", color="white", markersize=4)


def _quarters(y: Any) -> Any:
    """Which quarter of the target each row lies in, in words that sort."""
    edges = np.unique(np.quantile(y, np.linspace(0, 1, _QUARTERS + 1)))
    if len(edges) < 3:
        return np.full(len(y), "all rows")
    place = np.clip(np.searchsorted(edges, y, side="left") - 1, 0, len(edges) - 2)
    words = [
        f"{g + 1}: {plain(edges[g])} to {plain(edges[g + 1])}"
        for g in range(len(edges) - 1)
    ]
    return np.array(words)[place]
