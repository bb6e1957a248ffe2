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
    letters,
    settle,
    short,
)
from skinfluence.plotting._names import named
from skinfluence.plotting._scales import few_ticks, follow_spread, number
from skinfluence.support import checks

_UNITS = {
    "influence": "influence on {},\nper unit of weight",
    "loo_delta": "{} without the row − with it",  # noqa: RUF001
}
# In units of the machine's epsilon and of the mean loss: no effect below is drawn.
_NOISE = {"influence": 4096, "loo_delta": 4}
_MIDDLE = {"ha": "center", "va": "center", "color": LINE}


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
    cloud_ : PathCollection or QuadMesh
        The points, or the density of many; ``kind="loss"`` only.
    ax_ : Axes
        What was drawn on.
    figure_ : Figure
        What they belong to.

    See Also
    --------
    InfluenceExplainer.influence, InfluenceExplainer.loo_delta : The numbers.

    Notes
    -----
    Effects on a loss are not drawn, and the axes say so, where even the largest is
    rounding noise: up to 4096 (influence) or 4 (delta) machine epsilons times the mean
    loss. The mean training loss of a model without penalty is such a case: its gradient
    is zero, and so is every row's influence on it.

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
        self,
        ax: Any = None,
        *,
        kind: str = "rows",
        k: int = 10,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to; None makes a figure.
        kind : {"rows", "loss"}, default="rows"
            "rows": bars of the k most harmful and k most helpful rows. "loss": all rows
            against their own loss, or their density from 5,000 rows, the k most extreme
            of either side named. An axis whose largest magnitude is more than 50 times
            its median one is linear below the median and logarithmic above (asinh).
        k : int, default=10
            Rows on each side.
        name : str or None, default=None
            Title of the axes, such as what the model is called.
        **kwargs : dict
            For ``Axes.barh``, or for ``Axes.scatter`` and, from 5,000 rows,
            ``Axes.pcolormesh``.

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
        if noise := self._noise():
            harm = np.zeros_like(self._harm)
            self.ax_.text(0.5, 0.5, noise, transform=self.ax_.transAxes, **_MIDDLE)
        else:
            harm = self._harm
        harmful, helpful = largest(harm, k), largest(-harm, k)
        harmful, helpful = harmful[harm[harmful] > 0], helpful[harm[helpful] < 0]
        if kind == "rows":
            self._bars(harmful, helpful, kwargs)
            settle(self.ax_, name)
        else:
            self._against_loss(harm, kwargs)
            settle(self.ax_, name)
            for rows, color in ((harmful, HARMFUL), (helpful, HELPFUL)):
                names = np.asarray(self.names)[rows]
                named(self.ax_, self.loss[rows], self.values[rows], names, color)
        return self

    def _noise(self) -> str:
        """A sentence for the axes where all effects are noise, or none."""
        values = np.asarray(self.values, dtype=float)
        loss = np.asarray(self.loss, dtype=float)
        values, loss = values[np.isfinite(values)], loss[np.isfinite(loss)]
        if self.on != "loss" or not len(values) or not len(loss):
            return ""
        epsilon = np.finfo(np.result_type(self.values, np.float32)).eps
        largest_effect, scale = np.abs(values).max(), np.abs(loss).mean()
        if largest_effect > _NOISE[self.quantity] * epsilon * scale:
            return ""
        return (
            f"No row has an effect beyond rounding:\nat most {number(largest_effect)}"
            f"\nwhere losses are {number(scale)}"
        )

    def _bars(self, harmful: Any, helpful: Any, kwargs: dict[str, Any]) -> None:
        ax = self.ax_
        rows = np.concatenate([helpful, harmful[::-1]])  # the most harmful on top
        colors = [HELPFUL] * len(helpful) + [HARMFUL] * len(harmful)
        places = np.arange(len(rows))
        self.bars_ = ax.barh(
            places, self.values[rows], **{"color": colors, "height": 0.75, **kwargs}
        )
        ax.set_yticks(places, [short(np.asarray(self.names)[row]) for row in rows])
        ax.tick_params(axis="y", labelsize=letters(ax, len(rows)))
        ax.set(
            xlabel=self._label,
            ylabel="training row",
            ylim=(-0.6, max(len(rows), 1) - 0.4),
        )
        few_ticks(ax.xaxis)
        if len(rows) == 0:
            ax.set_xticks([])
            return
        ax.axvline(0, color=LINE, linewidth=0.8)
        # The two colours meet in the middle: each word stands on its bars' empty side.
        positive = self.quantity == "influence"
        self._word(0, "left" if positive else "right", "top")
        self._word(1, "right" if positive else "left", "bottom")

    def _against_loss(self, harm: Any, kwargs: dict[str, Any]) -> None:
        ax, effect = self.ax_, harm.any()
        loss, values = (
            np.asarray(v)[: None if effect else 0] for v in (self.loss, self.values)
        )
        follow_spread(ax.xaxis, loss)
        follow_spread(ax.yaxis, values)
        self.cloud_ = cloud(ax, loss, values, kwargs)
        ax.set(xlabel="the row's own loss", ylabel=self._label)
        ax.margins(x=0.08, y=0.12)
        if not effect:
            ax.set(xticks=[], yticks=[])
            return
        ax.axhline(0, color=LINE, linewidth=0.8)
        positive = self.quantity == "influence"
        self._word(0, "right", "top" if positive else "bottom")
        self._word(1, "right", "bottom" if positive else "top")

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
