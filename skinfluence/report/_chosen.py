"""Which rows are named: the worst, the best, the suspicious, and the extreme."""

from typing import Any

import numpy as np

from skinfluence._array import to_numpy
from skinfluence.cleaning._flags import flagged
from skinfluence.report._rows import Rows
from skinfluence.study import Study

# Numbers by which a row can be extreme, so that it stays in a table of not all rows.
_RANKED = ("loo_delta", "influence", "loo_loss", "self_influence", "cooks_distance")


def top(delta: np.ndarray, k: int) -> np.ndarray:
    """At most ``k`` rows with the most negative deltas, lowest first."""
    order = np.argsort(delta, kind="stable")[:k]  # NaN comes last
    return order[delta[order] < 0]


def extremes(columns: dict[str, np.ndarray], most: int) -> np.ndarray:
    """All rows, or those that rank highest by any of the numbers, in their order."""
    n = len(columns["row"])
    if n <= most:
        return np.arange(n)
    best = np.full(n, n)
    for name in _RANKED:
        if name in columns:
            size = np.abs(np.nan_to_num(columns[name]))
            rank = np.empty(n, dtype=int)
            rank[np.argsort(-size, kind="stable")] = np.arange(n)
            best = np.minimum(best, rank)
    return np.sort(np.argsort(best, kind="stable")[:most])


def suspects(study: Study, rows: Rows, top: int) -> dict[str, Any]:
    """Rows whose target the model without them contradicts, worst first."""
    present = to_numpy(study.objective.weight) > 0
    suspicious = flagged(rows.left_out, present) & present
    if study.classifies:
        by, kind = rows.columns["loo_loss"], "labels"
        rule = (
            "the model trained without the row predicts another label than it has; "
            "those with the highest loss first"
        )
    else:
        by, kind = _outlying(rows), "targets"
        rule = (
            "the residual is larger than chance allows among so many rows (outlier "
            "test on externally studentized residuals, Bonferroni at 5 %; on residuals "
            "scaled by their median deviation where those are not defined)"
        )
    chosen = np.flatnonzero(suspicious)
    chosen = chosen[np.argsort(-np.nan_to_num(by[chosen]), kind="stable")]
    return {"kind": kind, "rule": rule, "count": len(chosen), "rows": chosen[:top]}


def _outlying(rows: Rows) -> np.ndarray:
    columns = rows.columns
    if "resid_studentized_external" in columns:
        return np.abs(columns["resid_studentized_external"])
    return columns["loo_loss"]
