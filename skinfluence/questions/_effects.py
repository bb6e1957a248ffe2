"""What each training row did to test points: to their loss, or to their predictions."""

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from skinfluence._array import array_namespace, device_of
from skinfluence._design import Design
from skinfluence._sources import working_entries
from skinfluence.exceptions import InvalidParameterError
from skinfluence.influence import (
    AbstractQuantity,
    delta_blocks,
    influence_blocks,
    relative_blocks,
    self_influence_of,
    top_blocks,
)
from skinfluence.influence import feature_influence as feature_influence_of
from skinfluence.influence._effects import Blocks
from skinfluence.questions._refits import Changes, refuse_derivative
from skinfluence.study import Asked, Study, verdicts
from skinfluence.support import checks, fewer_rows, room_on_device

AGGREGATES = (None, "mean", "sum")
# Values that a top-k keeps beside those of a block of training rows.
_KEPT_BY_TOP = 4 * 4096


def influence(
    study: Study, X: Any, y: Any, on: str, aggregate: str | None, relative: bool
) -> Any:
    """See ``InfluenceExplainer.influence``."""
    checks.one_of("aggregate", aggregate, AGGREGATES)
    checks.one_of("relative", relative, (True, False))
    return influence_on(study, study.asked(X, y, on), aggregate, relative)


def influence_on(
    study: Study, asked: Asked, aggregate: str | None, relative: bool = False
) -> Any:
    """The same on points that are at hand."""
    refuse_derivative(study)
    blocks_of = partial(_influences, study, aggregate, relative)
    return _effects(study, asked, aggregate, blocks_of, _parts(study, asked, aggregate))


def loo_delta(study: Study, X: Any, y: Any, on: str, aggregate: str | None) -> Any:
    """See ``InfluenceExplainer.loo_delta``."""
    checks.one_of("aggregate", aggregate, AGGREGATES)
    return loo_delta_on(study, study.asked(X, y, on), aggregate)


def loo_delta_on(study: Study, asked: Asked, aggregate: str | None) -> Any:
    """The same on points that are at hand."""
    refitted = Changes.of_rows(study, asked, aggregate)
    if study.refits_all:
        return refitted.values
    blocks_of, every = partial(_deltas, study, aggregate), slice(0, asked.design.n_rows)
    return _effects(study, asked, aggregate, blocks_of, [every], refitted)


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
    checks.one_of("aggregate", aggregate, AGGREGATES)
    blocks_of, sign = partial(_influences, study, aggregate, relative), 1.0
    if quantity == "influence":
        refuse_derivative(study)
    elif study.refits_all:
        return _top_of_refits(study, study.asked(X, y, on), aggregate, k, order)
    xp, asked, tops = array_namespace(study.point.theta), study.asked(X, y, on), []
    refitted = None
    if quantity != "influence":
        blocks_of, sign = partial(_deltas, study, aggregate), -1.0
        refitted = Changes.of_rows(study, asked, aggregate)
    for part in _parts(study, asked, aggregate):
        design, quantities, *_ = asked.part(part)
        by_quantity = []
        for i, each in enumerate(quantities):
            blocks = _merged(blocks_of(design, each), refitted, i, part)
            tables = ((rows, v[None, :] if aggregate else v) for rows, v in blocks)
            by_quantity.append(top_blocks(tables, k, order, sign))
        tops.append([xp.concat(c, axis=1) for c in zip(*by_quantity, strict=True)])
    values, indices = (xp.concat(column, axis=0) for column in zip(*tops, strict=True))
    return (values[0, :], indices[0, :]) if aggregate else (values, indices)


def _top_of_refits(
    study: Study, asked: Asked, aggregate: str | None, k: int, order: str
) -> tuple[Any, Any]:
    """The same of deltas by refits."""
    deltas, n = loo_delta_on(study, asked, aggregate), study.n_train
    xp = array_namespace(deltas)
    table = xp.reshape(deltas, (-1, n * len(asked.quantities)))
    parts = [table[:, i * n : (i + 1) * n] for i in range(len(asked.quantities))]
    tops = [top_blocks(iter([(slice(0, n), part)]), k, order, -1.0) for part in parts]
    values, indices = (xp.concat(c, axis=1) for c in zip(*tops, strict=True))
    return (values[0, :], indices[0, :]) if aggregate else (values, indices)


def score_samples(study: Study, X: Any, y: Any) -> Any:
    """See ``InfluenceExplainer.score_samples``."""
    refuse_derivative(study)
    design, quantities, *_ = study.asked(X, y)
    return sum(self_influence_of(study.point, design, q) for q in quantities)


def feature_influence(study: Study, X: Any, y: Any, rows: Any) -> Any:
    """See ``InfluenceExplainer.feature_influence``."""
    refuse_derivative(study)
    design, (loss,), *_ = study.asked(X, y, "loss")
    n_train = study.n_train
    chosen = np.arange(n_train) if rows is None else checks.indices(rows, n_train)
    return feature_influence_of(study.point, design, loss, study.here(chosen))


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
    study: Study,
    aggregate: str | None,
    relative: bool,
    design: Design,
    quantity: AbstractQuantity,
) -> Blocks:
    """Influence on a quantity of points, in blocks of training rows."""
    blocks = influence_blocks(study.point, design, quantity, aggregate)
    return relative_blocks(study.point, blocks) if relative else blocks


def _deltas(
    study: Study, aggregate: str | None, design: Design, quantity: AbstractQuantity
) -> Blocks:
    """Deletion deltas of a quantity of points, in blocks of training rows."""
    return delta_blocks(
        study.point,
        study.deletion(study.n_train),
        design,
        quantity,
        aggregate,
        entries=working_entries(),
        watch=verdicts().note_rows,
        in_order=study.in_order,
    )


def _merged(
    blocks: Blocks, refitted: Changes | None, quantity: int, points: slice
) -> Blocks:
    """Blocks of a quantity at some points, what is known by refits put in."""
    for rows, values in blocks:
        if refitted is not None:
            refitted.put(values, rows, quantity, points)
        yield rows, values


def _parts(study: Study, asked: Asked, aggregate: str | None) -> list[slice]:
    """Slices of points whose blocks of effects fit the working memory."""
    n_points = asked.design.n_rows
    if aggregate:
        return [slice(0, n_points)]
    size = max(working_entries() // (study.vector_length + _KEPT_BY_TOP), 16)
    return list(gen_batches(n_points, size))


def _effects(
    study: Study,
    asked: Asked,
    aggregate: str | None,
    blocks_of: Callable[[Design, AbstractQuantity], Blocks],
    parts: list[slice],
    refitted: Changes | None = None,
) -> Any:
    """Effects of all training rows, (m, n) or (n,), one quantity beside the other."""
    place, n_train, n_points = study.point.theta, study.n_train, asked.design.n_rows
    n, xp = n_train * len(asked.quantities), array_namespace(place)
    shape = (n,) if aggregate else (n_points, n)
    with room_on_device(place, fewer_rows, n_points, n):
        values = xp.empty(shape, dtype=xp.float64, device=device_of(place))
        for part in parts:
            design, quantities, *_ = asked.part(part)
            for i, quantity in enumerate(quantities):
                blocks = blocks_of(design, quantity)
                for rows, block in _merged(blocks, refitted, i, part):
                    first = i * n_train + rows.start
                    columns = slice(first, first + block.shape[-1])
                    values[columns if aggregate else (part, columns)] = block
    return values
