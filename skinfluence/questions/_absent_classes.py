"""Predictions by models whose training rows lack whole classes.

The probability of an absent class is 0: the output of its own falls without end. Those of
the others are by the estimator's own refit, which has fewer classes.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import issparse

from skinfluence._array import to_numpy
from skinfluence.refit import refitted_point
from skinfluence.study import Study
from skinfluence.support import host_rows

# The output of an absent class, as ``cross_val_predict`` has it.
_LEAST = float(np.finfo(np.float64).min)


def are_endless(outputs: np.ndarray) -> Any:
    """Whether a class is absent, for outputs (n, K): a mask (n,)."""
    return (np.abs(outputs) == -_LEAST).any(axis=1)


def outputs_without_classes(
    study: Study, rows: np.ndarray, asked: np.ndarray
) -> np.ndarray | None:
    """Outputs of the rows ``asked`` by the model without ``rows``, (m, K).

    None where the other rows have all classes, or have no finite fit: to one class alone
    there is none, but a single row of the other is still known to have probability 0.
    """
    if not study.picks_class:
        return None
    kept = to_numpy(study.objective.weight) > 0
    kept[rows] = False
    is_left = np.isin(study.classes, study.y[kept])
    if is_left.all() or (len(rows) > 1 and is_left.sum() == 1):
        return None
    u = np.full((len(asked), study.outputs.shape[1]), _LEAST)
    if u.shape[1] == 1:
        return u if is_left[0] else -u
    left = np.flatnonzero(is_left)
    if study.objective.offset is not None:  # which estimators do not take
        return None
    X = _columns_without(study, rows)
    decisions = _refitted(study, X, rows, np.flatnonzero(kept), left, asked)
    if decisions is None:
        return None
    u[:, left] = decisions
    return u


def _columns_without(study: Study, rows: np.ndarray) -> Any:
    """X as the model reads it, by what steps learn without rows, on the host."""
    X, following = host_rows(study.objective.design.source), study.objective.following
    if following is None:
        return X
    ratio, shift = (to_numpy(part) for part in following.without_group(rows))
    held = np.isnan(ratio)  # columns that these rows decide
    ratio, shift = np.where(held, 1.0, ratio), np.where(held, 0.0, shift)
    return X.multiply(1 / ratio).tocsr() if issparse(X) else (X - shift) / ratio


def _refitted(
    study: Study,
    X: Any,
    rows: np.ndarray,
    kept: np.ndarray,
    left: np.ndarray,
    asked: np.ndarray,
) -> np.ndarray | None:
    """Outputs for the classes left, by a refit to the rows kept, (m, len(left))."""
    objective, columns, some = study.objective, [], np.arange(study.n_train)
    if objective.balanced is not None:  # class weights are those of the rows kept
        objective, some = objective.without(rows), kept
    weight, at = to_numpy(objective.weight), np.searchsorted(some, kept)
    of_classes = study.model.of_classes(study.y[some], weight[some], left)
    for model, y, weight in of_classes:
        end = refitted_point(model, X[kept], y[at], weight[at])
        if end is None:
            return None
        design = end.objective.design.of(X[asked])
        columns.append(replace(end.objective, design=design).outputs(end.theta))
    if not columns:
        return None
    decisions = np.concatenate(columns, axis=1)
    if decisions.shape[1] == len(left):
        return decisions
    # One output for two classes: softmax has half of it for each.
    share = 0.5 if objective.layout.group_size > 1 else 1.0
    return share * decisions * np.array([-1.0, 1.0])
