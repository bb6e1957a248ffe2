"""What each training row did to the parameters, and to its own loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence._rows import row_blocks, stream_blocks, training_blocks
from skinfluence._tolerances import MOST_CONDITION
from skinfluence.deletion import Deltas, open_parameters
from skinfluence.influence import influence_on_parameters
from skinfluence.influence import self_influence as self_influence_of
from skinfluence.questions._refits import (
    one_by_one,
    refits_without,
    refuse_derivative,
    rows_by_refits,
)
from skinfluence.refit import host_point
from skinfluence.solvers import on_active_set
from skinfluence.study import Study, verdicts
from skinfluence.support import checks

# Products and sums of floats are right to so many units in the last place.
_UNITS = 64 * float(np.finfo(float).eps)


def param_influence(study: Study, rows: Any = None) -> Bunch:
    """See ``InfluenceExplainer.param_influence``."""
    refuse_derivative(study)
    xp = array_namespace(study.point.theta)

    def influence(some: Rows) -> tuple[Any, Any]:
        theta = influence_on_parameters(study.point, some)
        return theta, _rounding(study, theta)

    chosen = _indices(study, rows)
    theta, bounds = _blockwise(study, chosen, influence)
    return Bunch(
        **study.parameters(theta, study.learned_influence(_all(study, chosen))),
        n_steps=study.here(np.zeros(theta.shape[0], dtype=np.int64)),
        error_bound=xp.concat(bounds),
    )


def loo_params(study: Study, rows: Any = None) -> Bunch:
    """See ``InfluenceExplainer.loo_params``."""
    chosen = _indices(study, rows)
    every = np.arange(study.n_train) if chosen is None else chosen
    if study.refits_all:
        return _refitted_params(study, every)
    places = rows_by_refits(study, chosen)
    verdicts().answered(every[places].tolist())
    result = _deleted_params(study, chosen)
    if len(places):
        few = _refitted_params(study, every[places])
        for name, values in few.items():
            for i, place in enumerate(places.tolist()):
                result[name][place, ...] = values[i, ...]
    return result


def _deleted_params(study: Study, chosen: np.ndarray | None) -> Bunch:
    """The same of chosen rows (all) by deletion."""
    deletion = study.deletion(study.n_train if chosen is None else len(chosen))
    xp = array_namespace(study.point.theta)

    def deleted(some: Rows) -> tuple[Any, tuple[Rows, Deltas, Any]]:
        deltas = deletion.deltas(some)
        return deltas.theta, (some, deltas.flags, _error_bound(study, deltas))

    theta, blocks = _blockwise(study, chosen, deleted)
    for some, flags, _ in blocks:
        verdicts().note_rows(some, flags)
    if chosen is not None:
        verdicts().refuse()
    _, flags, bounds = zip(*blocks, strict=True)
    learned = study.learned_deltas(_all(study, chosen), deletion.linear)
    lost = xp.nonzero(xp.concat([each.unidentified for each in flags]))[0]
    result = Bunch(
        **_determined(study, study.parameters(theta, learned), lost, chosen),
        n_steps=xp.concat([each.n_steps for each in flags]),
        error_bound=xp.concat(bounds) * (1.0 if learned is None else learned.stretch),
    )
    if flags[0].active_set_changes is not None:  # the penalty has corners
        result.active_set_changes = xp.concat([f.active_set_changes for f in flags])
    return result


def _refitted_params(study: Study, rows: np.ndarray) -> Bunch:
    """The same by refits of the whole estimator, of which no bound is known."""
    point, theta = (
        host_point(study.point),
        refits_without(study, one_by_one(rows)).theta,
    )
    objective = point.objective
    parameters = study.model.shaped(*objective.as_changes(theta))
    result = Bunch(
        **{name: study.here(values) for name, values in parameters.items()},
        n_steps=study.here(np.zeros(len(rows), dtype=np.int64)),
        error_bound=study.here(np.full(len(rows), np.inf)),
    )
    if objective.penalty.corners is not None:
        moved = (point.theta + theta != 0) != (point.theta != 0)
        result.active_set_changes = study.here(np.any(moved, axis=(1, 2)))
    return result


def _determined(
    study: Study, deltas: dict[str, Any], lost: Array, chosen: np.ndarray | None
) -> dict[str, Any]:
    """Deltas of parameters, NaN where the other rows do not determine them.

    ``lost`` are the places of rows that carry a direction alone: what does not move
    along it is determined.
    """
    if not lost.shape[0] or study.point.factor.rank_deficient:
        return deltas  # all are of minimum norm, as those of the fit
    rows = lost if chosen is None else study.here(chosen)[lost]
    open_ = study.model.shaped(*open_parameters(study.point, rows))
    for name, values in deltas.items():
        own, xp = values[lost, ...], array_namespace(values)
        values[lost, ...] = xp.where(open_[name] != 0, float("nan"), own)
    return deltas


def self_influence(study: Study) -> Any:
    """See ``InfluenceExplainer.self_influence``."""
    refuse_derivative(study)
    values, _ = _blockwise(
        study, None, lambda some: (self_influence_of(study.point, some), None)
    )
    return values


def _indices(study: Study, rows: Any) -> np.ndarray | None:
    """Indices of training rows; None for all."""
    return None if rows is None else checks.indices(rows, study.n_train)


def _all(study: Study, rows: np.ndarray | None) -> Any:
    """Indices of rows beside the training rows, where None stands for all."""
    return study.here(np.arange(study.n_train) if rows is None else rows)


def _blockwise(
    study: Study, rows: np.ndarray | None, function: Callable[[Rows], tuple[Array, Any]]
) -> tuple[Any, list[Any]]:
    """Values of rows by index, or of all for None, block by block in one array.

    ``function`` gives values, and what else there is to say of a block: a list of them.
    """
    design, place = study.objective.design, study.point.theta
    width = study.vector_length
    n_rows = study.n_train if rows is None else len(rows)
    blocks = row_blocks(max(n_rows, 1), width, place=place)
    if rows is None and design.is_sparse:
        blocks = training_blocks(design, width)

    def answer(block: slice) -> tuple[slice, Any, Any]:
        return block, *function(block if rows is None else study.here(rows[block]))

    whole, others = None, []
    for block, part, other in stream_blocks(
        answer, blocks, design, width=width, in_order=study.in_order
    ):
        if whole is None:
            whole = array_namespace(place).empty(
                (n_rows, *part.shape[1:]), dtype=part.dtype, device=device_of(part)
            )
        whole[block, ...] = part
        others.append(other)
    return whole, others


def _error_bound(study: Study, deltas: Deltas) -> Any:
    """Bound of the Euclidean error of deltas in the units of the estimator, (b,).

    What the deletion leaves, and rounding. Near leverage 1 the step is what rounding
    leaves of 1 - h, and the part of theta's own error that leaves with a row is as large:
    both grow as inv(H) does without the row.
    """
    xp, point = array_namespace(deltas.error), on_active_set(study.point)
    if not bool(xp.any(deltas.error < xp.inf)):
        return deltas.error
    own = point.unit_length * (deltas.error + deltas.stretch * point.error)
    bound = own + deltas.stretch * _rounding(study, deltas.theta)
    bound = bound + _UNITS * _length(study, study.point.theta[None, ...])
    return xp.where(xp.isnan(bound), xp.inf + xp.zeros_like(bound), bound)


def _rounding(study: Study, theta: Array) -> Any:
    """What rounding makes of vectors ``inv(H) g``, in the units of the estimator, (b,)."""
    condition = on_active_set(study.point).factor.condition
    if condition > MOST_CONDITION:  # by a root of H, with the root of its condition
        condition = condition**0.5
    return _UNITS * condition * _length(study, theta)


def _length(study: Study, theta: Array) -> Any:
    """Length of vectors (b, G, D) in the units of the estimator, about, (b,).

    And of the intercepts of centred columns, of which those of the estimator are a
    difference: what rounds is as long.
    """
    xp, B = array_namespace(theta), study.objective.layout.unpack(theta)
    coef, intercept = study.objective.design.to_estimator(B)
    squared = xp.sum(coef**2, axis=(1, 2)) + xp.sum(intercept**2, axis=1)
    return xp.sqrt(squared + xp.sum(B[..., -1] ** 2, axis=1))
