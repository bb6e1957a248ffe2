"""The effect of each training row on a mean loss: of test rows, or of the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skinfluence import questions
from skinfluence._array import to_numpy
from skinfluence._rows import iterate
from skinfluence.study import Asked, Study, answer

# Share of the rows, those with the largest leave-one-out loss, that harm is not
# measured on where no test rows are given. Flipped labels would otherwise come out as
# helpful: they make the model less sure of itself where other flips are.
LEFT_ASIDE = 0.1

# For this many pairs of rows it takes half a minute to evaluate the loss of each row
# under the model without each other one. Beyond, the first-order change is used: it
# differs by a factor 1 / (1 - leverage), and with so many rows leverages are small.
MOST_PAIRS = 5e8


@dataclass(frozen=True, eq=False)
class Effect:
    """Effect of each training row on a mean loss."""

    # (n,) derivative of the mean loss in the weight of the row; positive: harmful
    influence: np.ndarray
    # (n,) mean loss without the row minus with it; negative: harmful
    loo_delta: np.ndarray
    mean_loss: float  # with all rows
    n_rows: int  # whose mean it is
    on: str  # the same, for a sentence
    linear: bool  # whether loo_delta is of first order, to save time


def on_test(study: Study, X: Any, y: Any) -> Effect:
    """Effect on the mean loss of test rows."""
    asked = study.asked(X, y, "loss")
    losses = _losses(study, asked)
    influence, delta, linear = _mean_effects(study, asked)
    on = f"the {len(losses):,} test rows"
    return Effect(influence, delta, float(losses.mean()), len(losses), on, linear)


def on_others(study: Study, loss: np.ndarray, loo_loss: np.ndarray) -> Effect:
    """Effect on the mean loss of the other training rows that can be predicted at all.

    The row's own loss is taken out: every row would seem to help, by helping itself.
    """
    core = _core(loo_loss)
    size = int(core.sum())

    def without_own(mean: np.ndarray, own: np.ndarray) -> np.ndarray:
        return (size * mean - np.where(core, own, 0.0)) / (size - core)

    mean_influence, mean_delta, linear = _mean_effects(
        study, study.about_training(np.flatnonzero(core))
    )
    own = to_numpy(answer(study, questions.self_influence))
    influence = without_own(mean_influence, own)
    if linear:
        delta = _first_order(study, influence)
    else:
        jackknife = study.options.deletion == "jackknife"
        own_delta = _first_order(study, own) if jackknife else loo_loss - loss
        delta = without_own(mean_delta, own_delta)
    on = f"the other training rows (all but the {LEFT_ASIDE:.0%} hardest to predict)"
    return Effect(influence, delta, float(loss[core].mean()), size, on, linear)


def group_effects(
    study: Study, groups: questions.Groups, X: Any, y: Any, loo_loss: np.ndarray
) -> np.ndarray:
    """What leaving each group out does to the mean loss, (n_groups,).

    Without test rows it is the mean loss of the rows outside the group that can be
    predicted at all.
    """
    if X is not None:
        asked = study.asked(X, y, "loss")
        return to_numpy(_group_deltas(study, asked, groups))
    core = _core(loo_loss)
    deltas = np.full(len(groups.members), np.nan)
    for i, rows in enumerate(groups.members):
        others = core.copy()
        others[rows] = False
        if others.any():
            asked = study.about_training(np.flatnonzero(others))
            alone = questions.Groups([rows], groups.labels[i : i + 1])
            deltas[i] = to_numpy(_group_deltas(study, asked, alone))[0]
    return deltas


def _group_deltas(study: Study, asked: Asked, groups: questions.Groups) -> Any:
    return answer(study, questions.group_delta_on, asked, groups, "mean")


def _mean_effects(study: Study, asked: Asked) -> tuple[np.ndarray, np.ndarray, bool]:
    """Influence and deltas on the mean, (n,) each, and whether those are linear."""
    influence = to_numpy(answer(study, questions.influence_on, asked, "mean"))
    n_pairs = study.n_train * asked.design.n_rows
    if study.options.deletion != "jackknife" and n_pairs > MOST_PAIRS:
        return influence, _first_order(study, influence), True
    delta = answer(study, questions.loo_delta_on, asked, "mean")
    return influence, to_numpy(delta), False


def _core(loo_loss: np.ndarray) -> np.ndarray:
    """Mask of the rows whose own leave-one-out loss is not among the largest, (n,)."""
    if np.isnan(loo_loss).all():
        return np.ones(len(loo_loss), dtype=bool)
    return loo_loss <= np.nanquantile(loo_loss, 1 - LEFT_ASIDE)  # NaN is no core


def _losses(study: Study, asked: Asked) -> np.ndarray:
    B = study.objective.layout.unpack(study.point.theta).T
    (loss,) = asked.quantities
    blocks = iterate(asked.design)
    parts = [to_numpy(loss.value(block @ B, rows)) for rows, (block,) in blocks]
    return np.concatenate(parts)


def _first_order(study: Study, influence: np.ndarray) -> np.ndarray:
    objective = study.objective
    return -to_numpy(objective.weight) / objective.weight_sum * influence
