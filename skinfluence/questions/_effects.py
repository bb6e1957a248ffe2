"""What each training row did to test points: to their loss, or to their predictions."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from numbers import Integral
from typing import Any

import numpy as np

from skinfluence._array import array_namespace, device_of
from skinfluence._sources import working_entries
from skinfluence.exceptions import InvalidParameterError
from skinfluence.influence import (
    delta_blocks,
    influence_blocks,
    relative_blocks,
    self_influence_of,
    top_blocks,
)
from skinfluence.influence import feature_influence as feature_influence_of
from skinfluence.influence._effects import Blocks
from skinfluence.study import Asked, Study, verdicts
from skinfluence.support import checks, fewer_rows, room_on_device

# Blocks of training rows, (rows, values), for some points and one of their quantities.
_BlocksOf = Callable[[Asked, int], Blocks]

# Values that a top-k keeps beside those of a block of training rows.
_KEPT_BY_TOP = 4 * 4096


def influence(
    study: Study, X: Any, y: Any, on: str, aggregate: str | None, relative: bool
) -> Any:
    """See ``InfluenceExplainer.influence``."""
    _check_aggregate(aggregate)
    checks.one_of("relative", relative, (True, False))
    return influence_on(study, study.asked(X, y, on), aggregate, relative)


def influence_on(
    study: Study, asked: Asked, aggregate: str | None, relative: bool = False
) -> Any:
    """The same on points that are at hand."""
    n_points = asked.design.n_rows
    parts = [slice(0, n_points)] if aggregate else _point_blocks(study, n_points)
    with _room_for(study, asked):
        values = _empty(study, asked, aggregate)
        for part in parts:
            some = asked.part(part)
            for i in range(len(some.quantities)):
                blocks = _influences(study, some, i, aggregate, relative)
                _fill(study, values, blocks, i, () if aggregate else (part,))
    return values


def loo_delta(study: Study, X: Any, y: Any, on: str, aggregate: str | None) -> Any:
    """See ``InfluenceExplainer.loo_delta``."""
    _check_aggregate(aggregate)
    return loo_delta_on(study, study.asked(X, y, on), aggregate)


def loo_delta_on(study: Study, asked: Asked, aggregate: str | None) -> Any:
    """The same on points that are at hand."""
    points = () if aggregate else (slice(None),)
    with _room_for(study, asked):
        values = _empty(study, asked, aggregate)
        for i in range(len(asked.quantities)):
            _fill(study, values, _deltas(study, asked, i, aggregate), i, points)
    return values


def top_influences(
    study: Study,
    X: Any,
    y: Any,
    k: int,
    order: str,
    on: str,
    quantity: str,
    relative: bool,
    aggregate: str | None,
) -> tuple[Any, Any]:
    """See ``InfluenceExplainer.top_influences``."""
    _check_top(study, k, order, quantity, relative)
    _check_aggregate(aggregate)
    asked = study.asked(X, y, on)
    n_points, n_quantities = asked.design.n_rows, len(asked.quantities)
    parts = [slice(0, n_points)] if aggregate else _point_blocks(study, n_points)

    def blocks_of(some: Asked, i: int) -> Blocks:
        if quantity == "influence":
            blocks = _influences(study, some, i, aggregate, relative)
        else:
            blocks = _deltas(study, some, i, aggregate)
        return ((rows, v[None, :] if aggregate else v) for rows, v in blocks)

    sign = 1.0 if quantity == "influence" else -1.0
    tops = [
        [top_blocks(blocks_of(asked.part(p), i), k, order, sign) for p in parts]
        for i in range(n_quantities)
    ]
    xp = array_namespace(study.point.theta)
    values, indices = (
        xp.concat(
            [xp.concat([top[j] for top in column], axis=0) for column in tops], axis=1
        )
        for j in range(2)
    )
    return (values[0, :], indices[0, :]) if aggregate else (values, indices)


def score_samples(study: Study, X: Any, y: Any) -> Any:
    """See ``InfluenceExplainer.score_samples``."""
    design, quantities = study.asked(X, y)
    return sum(self_influence_of(study.point, design, q) for q in quantities)


def feature_influence(study: Study, X: Any, y: Any, rows: Any) -> Any:
    """See ``InfluenceExplainer.feature_influence``."""
    design, (loss,) = study.asked(X, y, "loss")
    n_train = study.n_train
    chosen = np.arange(n_train) if rows is None else checks.indices(rows, n_train)
    return feature_influence_of(study.point, design, loss, study.here(chosen))


def _check_aggregate(aggregate: str | None) -> None:
    checks.one_of("aggregate", aggregate, (None, "mean", "sum"))


def _check_top(study: Study, k: int, order: str, quantity: str, relative: bool) -> None:
    checks.one_of("order", order, ("absolute", "harmful", "helpful"))
    checks.one_of("quantity", quantity, ("influence", "loo_delta"))
    checks.one_of("relative", relative, (True, False))
    if relative and quantity != "influence":
        raise InvalidParameterError(
            f"relative=True divides influences; got quantity={quantity!r}. Use "
            "quantity='influence'."
        )
    checks.at_least("k", k, 1, Integral)
    if k > study.n_train:
        raise InvalidParameterError(
            f"k must not exceed the number of training rows, {study.n_train}; got "
            f"{k}. Use influence for all of them."
        )


def _influences(
    study: Study, asked: Asked, i: int, aggregate: str | None, relative: bool
) -> Blocks:
    """Influence on quantity i, in blocks of training rows."""
    point, quantity = study.point, asked.quantities[i]
    blocks = influence_blocks(point, asked.design, quantity, aggregate)
    return relative_blocks(point, blocks) if relative else blocks


def _deltas(study: Study, asked: Asked, i: int, aggregate: str | None) -> Blocks:
    """Deletion deltas of quantity i, in blocks of training rows."""
    return delta_blocks(
        study.point,
        study.deletion(study.n_train),
        asked.design,
        asked.quantities[i],
        aggregate,
        entries=working_entries(),
        watch=verdicts().note_rows,
        alone=study.in_order,
    )


def _point_blocks(study: Study, n_points: int) -> list[slice]:
    """Slices of points whose blocks of effects fit the working memory."""
    size = max(working_entries() // (study.vector_length + _KEPT_BY_TOP), 16)
    starts = range(0, n_points, size)
    return [slice(first, min(first + size, n_points)) for first in starts]


def _room_for(study: Study, asked: Asked) -> AbstractContextManager[None]:
    """Advice where the matrix of an answer does not fit a device."""
    n_values = study.n_train * len(asked.quantities)
    advice = fewer_rows(asked.design.n_rows, n_values)
    return room_on_device(study.point.theta, advice)


def _empty(study: Study, asked: Asked, aggregate: str | None) -> Any:
    """Room for the effects of all training rows, one quantity beside the other."""
    place, n = study.point.theta, study.n_train * len(asked.quantities)
    shape = (n,) if aggregate else (asked.design.n_rows, n)
    xp = array_namespace(place)
    return xp.empty(shape, dtype=xp.float64, device=device_of(place))


def _fill(
    study: Study, values: Any, blocks: Blocks, i: int, points: tuple[slice, ...]
) -> None:
    """Write blocks of training rows where they stay: quantity i, some points."""
    for rows, part in blocks:
        first = i * study.n_train + rows.start
        values[(*points, slice(first, first + part.shape[-1]))] = part
