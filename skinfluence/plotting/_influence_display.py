"""``InfluenceDisplay``: the rows that hurt and help."""

from typing import Any, Self

import numpy as np

from skinfluence._array import to_numpy
from skinfluence.plotting._canvas import (
    HARMFUL,
    HELPFUL,
    LINE,
    axes_of,
    cloud,
    largest,
    named,
    plain_numbers,
    short,
)
from skinfluence.support import checks

_UNITS = {
    "influence": "influence on {},\nper unit of weight",
    "loo_delta": "{} without the row − with it",  # noqa: RUF001
}


class InfluenceDisplay:
    """The training rows that matter most to test rows, or all against their own loss.

    Signs: *influence*: positive = up-weighting the row raises the loss (harmful).
    *Delta*: without the row minus with it, so a positive loss delta means that the row
    helps. Harmful rows are orange and helpful ones blue; where the quantity is no loss,
    rows that raise it are orange.

    Parameters
    ----------
    values : ndarray of shape (n_train,)
        Influence of each training row, or its deletion delta, as the mean over the rows
        asked about. Unit: of the loss or prediction (influence: per unit of weight,
        where the weights of all rows sum to one).
    loss : ndarray of shape (n_train,)
        Each training row's own loss, unweighted.
    names : array-like of shape (n_train,)
        Names of the training rows.
    quantity : {"influence", "loo_delta"}, default="influence"
        What ``values`` are.
    on : {"loss", "prediction", "decision"}, default="loss"
        What they are about.

    Attributes
    ----------
    bars_ : BarContainer
        The bars; ``kind="rows"`` only.
    cloud_ : PathCollection or PolyCollection
        The points, or the density of many; ``kind="loss"`` only.
    ax_ : Axes
        What was drawn on.
    figure_ : Figure
        What they belong to.

    See Also
    --------
    InfluenceExplainer.influence, InfluenceExplainer.loo_delta : The numbers.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skinfluence import InfluenceDisplay, InfluenceExplainer
    >>> X, y = load_diabetes(return_X_y=True)
    >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
    >>> display = InfluenceDisplay.from_explainer(explainer, X[300:], y[300:], k=3)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()][-1]
    '37'
    """

    def __init__(
        self,
        values: Any,
        loss: Any,
        names: Any,
        *,
        quantity: str = "influence",
        on: str = "loss",
    ) -> None:
        self.values = values
        self.loss = loss
        self.names = names
        self.quantity = quantity
        self.on = on

    @classmethod
    def from_explainer(
        cls,
        explainer: Any,
        X: Any,
        y: Any = None,
        *,
        quantity: str = "influence",
        on: str = "auto",
        kind: str = "rows",
        k: int = 10,
        names: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Ask an explainer, and draw.

        Parameters
        ----------
        explainer : InfluenceExplainer
            Fitted, of one output where ``on`` is no loss.
        X, y : array-like
            One test row or several; the effect on their mean is drawn.
        quantity : {"influence", "loo_delta"}, default="influence"
            Which of the methods is asked.
        on : {"auto", "loss", "prediction", "decision"}, default="auto"
            As for ``InfluenceExplainer.influence``.
        names : array-like of shape (n_train,) or None, default=None
            Names of the training rows; None takes ``train_index_``.
        kind, k, ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : InfluenceDisplay

        Raises
        ------
        InvalidParameterError
            If a parameter is none of those named.
        MissingDependencyError
            If matplotlib is not installed.

        Notes
        -----
        Cost: one solve ("influence"), or the deltas of all rows ("loo_delta").

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceDisplay, InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge()).fit(X[:300], y[:300])
        >>> display = InfluenceDisplay.from_explainer(explainer, X[300:], y[300:])
        >>> display.values.shape
        (300,)
        """
        checks.one_of("quantity", quantity, tuple(_UNITS))
        checks.one_of("kind", kind, ("rows", "loss"))
        values = getattr(explainer, quantity)(X, y, on=on, aggregate="mean")
        point = explainer._point
        objective = point.objective
        loss = objective.loss.value(objective.targets, point.outputs)
        if on == "auto":
            plain = "decision" if explainer._classifies else "prediction"
            on = plain if y is None else "loss"
        display = cls(
            to_numpy(values)[: explainer.n_train_],  # the first of several outputs
            to_numpy(loss),
            explainer.train_index_ if names is None else names,
            quantity=quantity,
            on=on,
        )
        return display.plot(ax, kind=kind, k=k, **kwargs)

    @property
    def _harm(self) -> Any:
        """The values, larger = raises what they are about, or harms it."""
        return self.values if self.quantity == "influence" else -self.values

    @property
    def _label(self) -> str:
        about = {"decision": "decision value"}.get(self.on, self.on)
        return _UNITS[self.quantity].format(f"mean {about}")

    @property
    def _words(self) -> tuple[str, str]:
        if self.on == "loss":
            return "harmful", "helpful"
        return f"raises the {self.on}", f"lowers the {self.on}"

    def plot(
        self, ax: Any = None, *, kind: str = "rows", k: int = 10, **kwargs: Any
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to; None makes a figure.
        kind : {"rows", "loss"}, default="rows"
            "rows": bars of the k most harmful and k most helpful rows. "loss": all rows
            against their own loss, or their density from 5,000 rows, the k most extreme
            of either side named.
        k : int, default=10
            Rows on each side.
        **kwargs : dict
            For ``Axes.barh``, or for ``Axes.scatter`` and ``Axes.hexbin``.

        Returns
        -------
        display : InfluenceDisplay

        Raises
        ------
        InvalidParameterError
            If ``kind`` is none of those.
        MissingDependencyError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceDisplay, InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge()).fit(X[:300], y[:300])
        >>> display = InfluenceDisplay.from_explainer(explainer, X[300:], y[300:])
        >>> display.plot(k=2).ax_.get_ylabel()
        'training row'
        """
        checks.one_of("kind", kind, ("rows", "loss"))
        self.ax_ = axes_of(ax)
        self.figure_ = self.ax_.figure
        harm = self._harm
        harmful, helpful = largest(harm, k), largest(-harm, k)
        harmful, helpful = harmful[harm[harmful] > 0], helpful[harm[helpful] < 0]
        if kind == "rows":
            self._bars(harmful, helpful, kwargs)
        else:
            self._against_loss(harmful, helpful, kwargs)
        return self

    def _bars(self, harmful: Any, helpful: Any, kwargs: dict[str, Any]) -> None:
        ax = self.ax_
        rows = np.concatenate([helpful, harmful[::-1]])  # the most harmful on top
        colors = [HELPFUL] * len(helpful) + [HARMFUL] * len(harmful)
        places = np.arange(len(rows))
        self.bars_ = ax.barh(
            places, self.values[rows], **{"color": colors, "height": 0.75, **kwargs}
        )
        ax.axvline(0, color=LINE, linewidth=0.8)
        ax.set_yticks(places, [short(np.asarray(self.names)[row]) for row in rows])
        ax.tick_params(axis="y", labelsize=_fitting(len(rows)))
        ax.set(xlabel=self._label, ylabel="training row", ylim=(-0.6, len(rows) - 0.4))
        plain_numbers(ax.xaxis)
        # The two colours meet in the middle: each word stands on its bars' empty side.
        positive = self.quantity == "influence"
        self._word(0, "left" if positive else "right", "top")
        self._word(1, "right" if positive else "left", "bottom")

    def _against_loss(self, harmful: Any, helpful: Any, kwargs: dict[str, Any]) -> None:
        ax = self.ax_
        self.cloud_ = cloud(ax, self.loss, self.values, **kwargs)
        ax.axhline(0, color=LINE, linewidth=0.8)
        ax.set(xlabel="the row's own loss", ylabel=self._label)
        plain_numbers(ax.xaxis, ax.yaxis)
        ax.margins(x=0.08, y=0.12)
        positive = self.quantity == "influence"
        self._word(0, "right", "top" if positive else "bottom")
        self._word(1, "right", "bottom" if positive else "top")
        for rows, color in ((harmful, HARMFUL), (helpful, HELPFUL)):
            names = np.asarray(self.names)[rows]
            named(ax, self.loss[rows], self.values[rows], names, color)

    def _word(self, which: int, side: str, height: str) -> None:
        """The word for one of the colours, in a corner."""
        self.ax_.text(
            0.98 if side == "right" else 0.02,
            0.98 if height == "top" else 0.02,
            self._words[which],
            color=(HARMFUL, HELPFUL)[which],
            transform=self.ax_.transAxes,
            ha=side,
            va=height,
            weight="bold",
        )


def _fitting(n_bars: int) -> float:
    """A size of letters at which so many names stand below each other."""
    return float(np.clip(180 / max(n_bars, 1), 5, 9))
