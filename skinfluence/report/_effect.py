"""The effect of each training row on a mean loss: of test rows, or of the others."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skinfluence._array import to_numpy
from skinfluence._rows import iterate
from skinfluence.explainer._groups import groups_of

# Share of the rows, those with the largest leave-one-out loss, that harm is not
# measured on where no test rows are given. Flipped labels would otherwise come out as
# helpful: they make the model less sure of itself where other flips are.
LEFT_ASIDE = 0.1

# Evaluating the loss of every row under the model without every other one takes half a
# minute for so many pairs. Beyond, the first-order change is used: it differs by a
# share 1 / (1 - leverage), and with so many rows leverages are small.
MOST_PAIRS = 5e8


@dataclass(frozen=True, eq=False)
class Effect:
    """Effect of each training row on a mean loss."""

    influence: Any  # (n,) derivative of the mean loss in its weight; positive: harmful
    loo_delta: Any  # (n,) mean loss without the row minus with it; negative: harmful
    mean_loss: float  # with all rows
    n_rows: int  # whose mean it is
    on: str  # the same, for a sentence
    linear: bool  # whether loo_delta is of first order, to save time


def on_test(explainer: Any, X: Any, y: Any) -> Effect:
    """Effect on the mean loss of test rows."""
    losses = _losses(explainer, X, y)
    influence = to_numpy(explainer.influence(X, y, on="loss", aggregate="mean"))
    linear = _too_many(explainer, len(losses))
    if linear:
        delta = _first_order(explainer, influence)
    else:
        delta = explainer.loo_delta(X, y, on="loss", aggregate="mean")
    on = f"the {len(losses):,} test rows"
    mean_loss = float(losses.mean())
    return Effect(influence, to_numpy(delta), mean_loss, len(losses), on, linear)


def on_others(explainer: Any, loss: Any, loo_loss: Any) -> Effect:
    """Effect on the mean loss of the other training rows that can be predicted at all.

    The row's own loss is taken out: every row would seem to help, by helping itself.
    """
    core = _core(loo_loss)
    inner, X = reading(explainer)
    X, y, size = X[core], explainer._train_y[core], int(core.sum())

    def without_own(mean: Any, own: Any) -> Any:
        return (size * to_numpy(mean) - np.where(core, own, 0.0)) / (size - core)

    own = to_numpy(explainer.self_influence())
    mean = inner.influence(X, y, on="loss", aggregate="mean")
    influence = without_own(mean, own)
    linear = _too_many(explainer, size)
    if linear:
        delta = _first_order(explainer, influence)
    else:
        jackknife = explainer.deletion == "jackknife"
        own = _first_order(explainer, own) if jackknife else loo_loss - loss
        mean = inner.loo_delta(X, y, on="loss", aggregate="mean")
        delta = without_own(mean, own)
    on = f"the other training rows (all but the {LEFT_ASIDE:.0%} hardest to predict)"
    return Effect(influence, delta, float(loss[core].mean()), size, on, linear)


def group_effects(
    explainer: Any, groups: Any, X: Any, y: Any, loo_loss: Any
) -> tuple[list[str], list[Any], Any]:
    """Names and rows of the groups, and what leaving each out does to the mean loss.

    Without test rows it is the mean loss of the rows outside the group that can be
    predicted at all.
    """
    members, names = groups_of(groups, explainer.n_train_)
    names = [name.removeprefix("group ") for name in names]
    if X is not None:
        delta = explainer.group_delta(groups, X, y, on="loss", aggregate="mean")
        return names, members, to_numpy(delta)
    core = _core(loo_loss)
    inner, rows = reading(explainer)
    deltas = []
    for member in members:
        others = core.copy()
        others[member] = False
        if not others.any():
            deltas.append(np.nan)
            continue
        asked = rows[others], explainer._train_y[others]
        deltas.append(
            inner.group_delta([member], *asked, on="loss", aggregate="mean")[0]
        )
    return names, members, np.asarray(deltas, dtype=float)


def reading(explainer: Any) -> tuple[Any, Any]:
    """An explainer that is asked about rows as the linear model reads them, and those."""
    inner = copy.copy(explainer)
    inner._model = replace(explainer._model, transformer=None)
    X = explainer._point.objective.design.X
    inner.n_features_in_ = X.shape[1]
    vars(inner).pop("feature_names_in_", None)
    return inner, X.tocsr() if hasattr(X, "tocsr") else X


def _core(loo_loss: Any) -> Any:
    """Mask of the rows whose own leave-one-out loss is not among the largest, (n,)."""
    if np.isnan(loo_loss).all():
        return np.ones(len(loo_loss), dtype=bool)
    return loo_loss <= np.nanquantile(loo_loss, 1 - LEFT_ASIDE)  # NaN is no core


def _losses(explainer: Any, X: Any, y: Any) -> Any:
    design, (quantity,) = explainer._asked(X, y, "loss", None)
    point = explainer._point
    B = point.objective.layout.unpack(point.theta).T
    blocks = iterate(design)
    parts = [to_numpy(quantity.value(block @ B, rows)) for rows, (block,) in blocks]
    return np.concatenate(parts)


def _first_order(explainer: Any, influence: Any) -> Any:
    objective = explainer._point.objective
    return -to_numpy(objective.weight) / objective.weight_sum * influence


def _too_many(explainer: Any, n_rows: int) -> bool:
    return (
        explainer.deletion != "jackknife" and explainer.n_train_ * n_rows > MOST_PAIRS
    )
