"""What each training row did to the parameters, and to its own loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence._rows import row_blocks, stream_blocks, training_blocks
from skinfluence.deletion import Deltas
from skinfluence.influence import influence_on_parameters
from skinfluence.influence import self_influence as self_influence_of
from skinfluence.study import Study, verdicts
from skinfluence.support import checks


def param_influence(study: Study, rows: Any = None) -> Bunch:
    """See ``InfluenceExplainer.param_influence``."""
    xp = array_namespace(study.point.theta)

    def influence(some: Rows) -> tuple[Any, Any]:
        theta = influence_on_parameters(study.point, some)
        return theta, _error_bound(study, theta, xp.zeros_like(theta))

    theta, bounds = _blockwise(study, _indices(study, rows), influence)
    return Bunch(
        **study.parameters(theta),
        n_steps=study.here(np.zeros(theta.shape[0], dtype=np.int64)),
        error_bound=xp.concat(bounds),
    )


def loo_params(study: Study, rows: Any = None) -> Bunch:
    """See ``InfluenceExplainer.loo_params``."""
    chosen = _indices(study, rows)
    deletion = study.deletion(study.n_train if chosen is None else len(chosen))
    xp = array_namespace(study.point.theta)

    def deleted(some: Rows) -> tuple[Any, tuple[Rows, Deltas, Any]]:
        deltas = deletion.deltas(some)
        bound = _error_bound(study, deltas.theta, deltas.last_step)
        return deltas.theta, (some, deltas._replace(theta=None, last_step=None), bound)

    theta, blocks = _blockwise(study, chosen, deleted)
    for some, flags, _ in blocks:
        verdicts().note_rows(some, flags)
    if rows is not None:
        verdicts().refuse()
    _, flags, bounds = zip(*blocks, strict=True)
    result = Bunch(
        **study.parameters(theta),
        n_steps=xp.concat([each.n_steps for each in flags]),
        error_bound=xp.concat(bounds),
    )
    if flags[0].active_set_changes is not None:  # the penalty has corners
        result.active_set_changes = xp.concat([f.active_set_changes for f in flags])
    return result


def self_influence(study: Study) -> Any:
    """See ``InfluenceExplainer.self_influence``."""
    values, _ = _blockwise(
        study, None, lambda some: (self_influence_of(study.point, some), None)
    )
    return values


def _indices(study: Study, rows: Any) -> np.ndarray | None:
    """Indices of training rows; None for all."""
    return None if rows is None else checks.indices(rows, study.n_train)


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


def _error_bound(study: Study, theta: Array, last_step: Array) -> Any:
    """Euclidean length of the last certified steps, and of rounding, (b,)."""
    design, layout = study.objective.design, study.objective.layout
    xp = array_namespace(theta)

    def length(vectors: Array) -> Any:
        coef, intercept = design.to_estimator(layout.unpack(vectors))
        squared = xp.sum(coef**2, axis=(1, 2)) + xp.sum(intercept**2, axis=1)
        return xp.sqrt(squared)

    finite = xp.all(xp.isfinite(last_step), axis=(1, 2))
    if not bool(xp.any(finite)):
        return xp.full_like(theta[:, 0, 0], xp.inf)
    zeros = xp.zeros_like(last_step)
    certified = length(xp.where(finite[:, None, None], last_step, zeros))
    size = length(theta) + length(study.point.theta[None, ...])
    condition = study.point.factor.condition
    rounding = float(64 * np.finfo(float).eps * condition**0.5) * size
    bound = certified + rounding
    return xp.where(finite, bound, xp.full_like(bound, xp.inf))
