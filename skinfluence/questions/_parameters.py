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
    xp, bounds = array_namespace(study.point.theta), []

    def influence(some: Rows) -> tuple[Any, Any]:
        theta = influence_on_parameters(study.point, some)
        return theta, _error_bound(study, theta, xp.zeros_like(theta))

    theta = _blockwise(
        study,
        _indices(study, rows),
        influence,
        lambda some, bound: bounds.append(bound),
    )
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
    parts, bounds = [], []

    def deltas(some: Rows) -> tuple[Any, tuple[Deltas, Any]]:
        deltas = deletion.deltas(some)
        bound = _error_bound(study, deltas.theta, deltas.last_step)
        return deltas.theta, (deltas._replace(theta=None, last_step=None), bound)

    def note(some: Rows, rest: tuple[Deltas, Any]) -> None:
        verdicts().note_rows(some, rest[0])
        parts.append(rest[0])
        bounds.append(rest[1])

    theta = _blockwise(study, chosen, deltas, note)
    if rows is not None:
        verdicts().refuse()
    return Bunch(
        **study.parameters(theta),
        n_steps=xp.concat([part.n_steps for part in parts], axis=0),
        error_bound=xp.concat(bounds, axis=0),
        **_active_set_changes(parts),
    )


def self_influence(study: Study) -> Any:
    """See ``InfluenceExplainer.self_influence``."""
    return _blockwise(
        study,
        None,
        lambda some: (self_influence_of(study.point, some), None),
        lambda some, rest: None,
    )


def _indices(study: Study, rows: Any) -> np.ndarray | None:
    """Indices of training rows; None for all."""
    return None if rows is None else checks.indices(rows, study.n_train)


def _blockwise(
    study: Study,
    rows: np.ndarray | None,
    function: Callable[[Any], tuple[Any, Any]],
    note: Callable[[Any, Any], None],
) -> Any:
    """Values of rows by index, or of all for None, block by block in one array.

    ``function`` gives values and what ``note`` takes note of, in order.
    """
    design, place = study.objective.design, study.point.theta
    width = study.vector_length
    n_rows = study.n_train if rows is None else len(rows)
    blocks = row_blocks(max(n_rows, 1), width, place=place)
    if rows is None and design.is_sparse:
        blocks = training_blocks(design, width)

    def answer(block: slice) -> tuple[slice, Any, Any, Any]:
        some = block if rows is None else study.here(rows[block])
        return block, some, *function(some)

    whole = None
    for block, some, part, rest in stream_blocks(
        answer, blocks, design, width=width, alone=study.in_order
    ):
        if whole is None:
            shape = (n_rows, *part.shape[1:])
            whole = array_namespace(place).empty(
                shape, dtype=part.dtype, device=device_of(part)
            )
        whole[block, ...] = part
        note(some, rest)
    return whole


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


def _active_set_changes(parts: list[Deltas]) -> dict[str, Any]:
    """The flags of all rows by their name, where the penalty has corners."""
    flags = [part.active_set_changes for part in parts]
    if flags[0] is None:
        return {}
    return dict(active_set_changes=array_namespace(flags[0]).concat(flags))
