"""The effect of each training row on a mean loss: of test rows, or of the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skinfluence.cli._console import Console
from skinfluence.cli._data import Data

# Share of the rows, those with the largest leave-one-out loss, that harm is not
# measured on. With 5 % of the labels of the breast-cancer data flipped, 9 or 10 of the
# ten most harmful rows are then flips; measured on all rows, flips come out as helpful,
# because they make the model less sure of itself where other flips are.
LEFT_ASIDE = 0.1

# Evaluating the loss of every row under the model without every other one takes half a
# minute for so many pairs. Beyond, the first-order change is used: it differs by a
# share 1 / (1 - leverage), and with so many rows leverages are small.
MOST_PAIRS = 5e8


@dataclass(frozen=True)
class Effect:
    """Effect of each training row on a mean loss.

    Parameters
    ----------
    influence : ndarray of shape (n,)
        Derivative of the mean loss in the weight of the row; positive is harmful.
    loo_delta : ndarray of shape (n,)
        Mean loss without the row minus with it; negative is harmful.
    mean_loss : float
        The mean loss with all rows.
    on : str
        Whose mean loss it is, for a sentence.
    """

    influence: np.ndarray
    loo_delta: np.ndarray
    mean_loss: float
    on: str


def on_test(explainer: Any, test: Data, mean_loss: float, console: Console) -> Effect:
    """Effect on the mean loss of a test set."""
    influence = explainer.influence(test.X, test.y, aggregate="mean")
    if _linear(explainer, len(test), console):
        delta = -influence / explainer.n_train_
    else:
        delta = explainer.loo_delta(test.X, test.y, aggregate="mean")
    return Effect(influence, delta, mean_loss, "the test rows")


def on_others(
    explainer: Any, data: Data, rows: dict[str, np.ndarray], console: Console
) -> Effect:
    """Effect on the mean loss of the other training rows that can be predicted at all.

    The mean over *all* others would say nothing: they are fitted at their expense by
    each row, so that every row would seem harmful to them.
    """
    loo_loss = rows["loo_loss"]
    core = loo_loss <= np.nanquantile(loo_loss, 1 - LEFT_ASIDE)  # NaN is no core
    X, y, size = data.X[core], data.y[core], core.sum()

    def without_own(mean: np.ndarray, own: np.ndarray) -> np.ndarray:
        return (size * mean - np.where(core, own, 0.0)) / (size - core)

    influence = without_own(
        explainer.influence(X, y, aggregate="mean"), rows["self_influence"]
    )
    if _linear(explainer, len(y), console):
        delta = -influence / explainer.n_train_
    else:
        delta = without_own(
            explainer.loo_delta(X, y, aggregate="mean"), loo_loss - rows["loss"]
        )
    mean_loss = float(rows["loss"][core].mean())
    on = f"the other rows (all but the {LEFT_ASIDE:.0%} hardest to predict)"
    return Effect(influence, delta, mean_loss, on)


def _linear(explainer: Any, n_rows: int, console: Console) -> bool:
    """Whether deltas are ``-influence / n``: asked for, or for want of time."""
    if explainer.deletion != "newton":
        return explainer.deletion == "jackknife"
    many = explainer.n_train_ * n_rows > MOST_PAIRS
    if many:
        console.note(
            f"the effects of {explainer.n_train_} rows on {n_rows} are first-order "
            "(loo_delta = -influence / n) to save time; --deletion exact saves none"
        )
    return many
