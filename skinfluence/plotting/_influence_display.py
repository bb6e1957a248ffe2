"""``InfluenceDisplay``: the most harmful and helpful rows."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skinfluence._array import to_numpy
from skinfluence.explainer import InfluenceExplainer
from skinfluence.plotting._canvas import (
    HARMFUL,
    HELPFUL,
    LINE,
    Axes,
    cloud,
    font_size,
    largest,
    short,
)
from skinfluence.plotting._display import AbstractDisplay
from skinfluence.plotting._scales import few_ticks, follow_spread, number
from skinfluence.study import study_of
from skinfluence.support import checks

_KINDS = ("rows", "loss")
_UNITS = {
    "influence": "influence on mean {},\nper unit of weight",
    "loo_delta": "mean {} without the row − with it",  # noqa: RUF001
}
# No effect below this many machine epsilons of the mean loss is drawn: rounding.
_NOISE = {"influence": 4096, "loo_delta": 4}


@dataclass(eq=False, repr=False)
class InfluenceDisplay(AbstractDisplay):
    """The training rows with the largest effects, or all rows against their own loss.

    Signs: *influence*: positive = up-weighting the row raises the loss (harmful).
    *Delta*: without the row minus with it, so a negative loss delta is harmful too.
    Harmful rows are orange and helpful rows blue; if the quantity is not a loss, rows
    that raise it are orange.

    Parameters
    ----------
    values : ndarray of shape (n_train,)
        Influence or deletion delta of each training row, as the mean over the test rows.
        Unit: of the loss or prediction (influence: per unit of the total weight).
    loss : ndarray of shape (n_train,)
        Each training row's own loss, unweighted.
    names : array-like of shape (n_train,)
        Names of the training rows.
    quantity : {"influence", "loo_delta"}, default="influence"
        The kind of ``values``.
    on : {"loss", "prediction", "decision"}, default="loss"
        The quantity that the rows change.

    Attributes
    ----------
    bars_ : BarContainer
        The bars; ``kind="rows"`` only.
    cloud_ : PathCollection or QuadMesh
        The points, or the density of many; ``kind="loss"`` only.
    %(ax_)s
    %(figure_)s

    See Also
    --------
    InfluenceExplainer.influence, InfluenceExplainer.loo_delta : The values.

    Notes
    -----
    Effects on a loss are not drawn, and the axes say so, if even the largest is a
    rounding error: up to 4096 (influence) or 4 (delta) machine epsilons times the mean
    loss. For example, the mean training loss of an unpenalised model has zero gradient,
    so the influence of every row on it is zero.

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

    values: np.ndarray
    loss: np.ndarray
    names: ArrayLike
    _: KW_ONLY
    quantity: str = "influence"
    on: str = "loss"

    @classmethod
    def from_explainer(
        cls,
        explainer: InfluenceExplainer,
        X: Any,
        y: Any = None,
        *,
        quantity: str = "influence",
        on: str = "auto",
        kind: str = "rows",
        k: int = 10,
        names: ArrayLike | None = None,
        ax: Axes = None,
        **kwargs: Any,
    ) -> Self:
        """Compute from an explainer, and draw.

        Parameters
        ----------
        explainer : InfluenceExplainer
            A fitted explainer, with one output unless ``on`` is the loss.
        X, y : array-like
            Test rows; the effect on their mean is drawn.
        quantity : {"influence", "loo_delta"}, default="influence"
            The method that computes the effects.
        on : {"auto", "loss", "prediction", "decision"}, default="auto"
            As for ``InfluenceExplainer.influence``.
        %(names)s
        kind, k, ax, **kwargs
            As for ``plot``.

        Returns
        -------
        display : InfluenceDisplay

        Raises
        ------
        InvalidParameterError
            If a parameter is out of range.
        %(MissingDependencyError)s

        Notes
        -----
        Cost: one solve ("influence"), or the deltas of all rows ("loo_delta").

        Examples
        --------
        %(example)s
        >>> from skinfluence import InfluenceDisplay
        >>> display = InfluenceDisplay.from_explainer(explainer, X[:9], y[:9])
        >>> display.values.shape
        (442,)
        """
        checks.one_of("quantity", quantity, tuple(_UNITS))
        checks.one_of("kind", kind, _KINDS)
        study = study_of(explainer)
        names = cls._names_of(study, names)
        values = getattr(explainer, quantity)(X, y, on=on, aggregate="mean")
        objective = study.objective
        loss = objective.loss.value(objective.targets, study.point.outputs)
        if on == "auto":
            plain = "decision" if study.classifies else "prediction"
            on = plain if y is None else "loss"
        display = cls(
            to_numpy(values)[: explainer.n_train_],  # the first of several outputs
            to_numpy(loss),
            names,
            quantity=quantity,
            on=on,
        )
        return display.plot(ax, kind=kind, k=k, **kwargs)

    def plot(
        self,
        ax: Axes = None,
        *,
        kind: str = "rows",
        k: int = 10,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        %(ax)s
        kind : {"rows", "loss"}, default="rows"
            "rows": bars of the k most harmful and k most helpful rows. "loss": all rows
            against their own loss, or the density of more than 5,000; the k most extreme
            of either side are named. An axis whose largest magnitude is more than 50 times
            its median one is linear below the median and logarithmic above (asinh).
        k : int, default=10
            Rows on each side.
        %(name)s
        **kwargs : dict
            For ``Axes.barh``; or for ``Axes.scatter``, beyond 5,000 rows
            ``Axes.pcolormesh``.

        Returns
        -------
        display : InfluenceDisplay

        Raises
        ------
        InvalidParameterError
            If ``kind`` is unknown.
        %(MissingDependencyError)s

        Examples
        --------
        %(example)s
        >>> from skinfluence import InfluenceDisplay
        >>> display = InfluenceDisplay.from_explainer(explainer, X[:9], y[:9])
        >>> display.plot(k=2).ax_.get_ylabel()
        'training row'
        """
        checks.one_of("kind", kind, _KINDS)
        ax = self._start(ax)
        harm = self.values if self.quantity == "influence" else -self.values
        if noise := self._noise():
            harm = np.zeros_like(harm)
            middle = {"ha": "center", "va": "center", "color": LINE}
            ax.text(0.5, 0.5, noise, transform=ax.transAxes, **middle)
        harmful, helpful = largest(harm, k), largest(-harm, k)
        harmful, helpful = harmful[harm[harmful] > 0], helpful[harm[helpful] < 0]
        if kind == "rows":
            self._draw_bars(harmful, helpful, **kwargs)
            self._finish(name)
        else:
            self._draw_against_loss(bool(harm.any()), **kwargs)
            self._finish(name)
            self._label(harmful, self.loss, self.values, HARMFUL)
            self._label(helpful, self.loss, self.values, HELPFUL)
        return self

    def _noise(self) -> str:
        """A sentence for the axes where all effects are noise, or none."""
        values, loss = np.asarray(self.values, float), np.asarray(self.loss, float)
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

    @property
    def _axis_label(self) -> str:
        about = "decision value" if self.on == "decision" else self.on
        return _UNITS[self.quantity].format(about)

    def _draw_bars(
        self, harmful: np.ndarray, helpful: np.ndarray, **options: Any
    ) -> None:
        ax = self.ax_
        rows = np.concatenate([helpful, harmful[::-1]])  # the most harmful on top
        colors = [HELPFUL] * len(helpful) + [HARMFUL] * len(harmful)
        style = {"color": colors, "height": 0.75, **options}
        places = np.arange(len(rows))
        self.bars_ = ax.barh(places, self.values[rows], **style)
        ax.set_yticks(places, [short(np.asarray(self.names)[row]) for row in rows])
        ax.tick_params(axis="y", labelsize=font_size(ax, len(rows)))
        top = max(len(rows), 1) - 0.4
        ax.set(xlabel=self._axis_label, ylabel="training row", ylim=(-0.6, top))
        few_ticks(ax.xaxis)
        if len(rows) == 0:
            ax.set_xticks([])
            return
        ax.axvline(0, color=LINE, linewidth=0.8)
        # The two colours meet in the middle: each word stands on its bars' empty side.
        positive = self.quantity == "influence"
        self._write_words((not positive, True), (positive, False))

    def _draw_against_loss(self, effect: bool, **options: Any) -> None:
        ax, n_shown = self.ax_, len(self.loss) if effect else 0
        loss, values = self.loss[:n_shown], self.values[:n_shown]
        follow_spread(ax.xaxis, loss)
        follow_spread(ax.yaxis, values)
        self.cloud_ = cloud(ax, loss, values, options)
        ax.set(xlabel="the row's own loss", ylabel=self._axis_label)
        ax.margins(x=0.08, y=0.12)
        if not effect:
            ax.set(xticks=[], yticks=[])
            return
        ax.axhline(0, color=LINE, linewidth=0.8)
        positive = self.quantity == "influence"
        self._write_words((True, positive), (True, not positive))

    def _write_words(self, *corners: tuple[bool, bool]) -> None:
        """What each colour means, in a corner: on the right or not, at the top or not."""
        words = [f"raises the {self.on}", f"lowers the {self.on}"]
        if self.on == "loss":
            words = ["harmful", "helpful"]
        colors = (HARMFUL, HELPFUL)
        for word, color, (right, top) in zip(words, colors, corners, strict=True):
            place = 0.98 if right else 0.02, 0.98 if top else 0.02
            text = self.ax_.text(*place, word, transform=self.ax_.transAxes)
            text.set(ha="right" if right else "left", va="top" if top else "bottom")
            text.set(color=color, weight="bold")
