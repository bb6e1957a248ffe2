"""Steps whose edges or knots are spread between the extremes of each column."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.preprocessing import KBinsDiscretizer, SplineTransformer

from skinfluence._array import to_numpy
from skinfluence.preprocessing._base import (
    AbstractState,
    Deciding,
    NotFollowed,
    Rule,
    StepColumns,
)
from skinfluence.preprocessing._fitted import refuse_other_rows
from skinfluence.preprocessing._guards import GuardedState
from skinfluence.preprocessing._registry import register_transformer

_BINS = "the edges of its bins move when a row leaves"
_KNOTS = "its knots move when a row leaves"


def _between_extremes(
    step: StepColumns, first: np.ndarray, last: np.ndarray, reason: str
) -> AbstractState:
    """Edges, the first and last (p,), between the least and the greatest entry."""
    if step.given is None:
        raise NotFollowed(reason)
    X = np.asarray(step.given.rows, dtype=float)
    least, greatest = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
    known, span = np.isfinite(first) & np.isfinite(least), greatest - least
    refuse_other_rows(least[known], first[known], span[known])
    refuse_other_rows(greatest[known], last[known], span[known])
    # Rows at one of the extremes, (n, 2 p): edges move where all of one column leave.
    holds = csr_array(np.concatenate([X == least, X == greatest], axis=1))
    n_holding, n_columns = holds.sum(axis=0), len(step.own)
    alone = holds[:, n_holding == 1].sum(axis=1) > 0

    def changed(Z: Any, rows: Any) -> np.ndarray:
        leaving = holds[to_numpy(rows)].sum(axis=0)
        all_leave = np.any((leaving == n_holding) & (n_holding > 0))
        return np.full(n_columns, bool(all_leave))

    return GuardedState(changed, Deciding(alone, reason))


def _rule_of_bins(bins: KBinsDiscretizer) -> Rule | str:
    if bins.strategy != "uniform":
        return _BINS
    return Rule(_bins, decides=True)


def _bins(bins: KBinsDiscretizer, step: StepColumns, weight: Any) -> AbstractState:
    if bins.subsample is not None and step.columns.shape[0] > bins.subsample:
        raise NotFollowed(f"it is fitted to {bins.subsample} rows that it draws")
    first, last = ([each[k] for each in bins.bin_edges_] for k in (0, -1))
    return _between_extremes(step, np.array(first), np.array(last), _BINS)


def _splines(
    splines: SplineTransformer, step: StepColumns, weight: Any
) -> AbstractState:
    beyond = splines.degree  # knots on each side of the range
    first, last = ([each.t[k] for each in splines.bsplines_] for k in (beyond, ~beyond))
    return _between_extremes(step, np.array(first), np.array(last), _KNOTS)


def _rule_of_splines(splines: SplineTransformer) -> Rule | str:
    if not isinstance(splines.knots, str):
        return Rule()  # the user's own
    if splines.knots != "uniform":
        return _KNOTS
    return Rule(
        _splines,
        absorbs_shifts=True,
        absorbs_scales=True,
        decides=True,
    )


register_transformer(KBinsDiscretizer, _rule_of_bins)
register_transformer(SplineTransformer, _rule_of_splines)
