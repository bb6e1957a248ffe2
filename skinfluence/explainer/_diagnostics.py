"""The table of ``diagnostics()``: which deletion gives what, and the columns' names."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skinfluence._array import to_numpy
from skinfluence.deletion import AbstractDeletion, Newton
from skinfluence.diagnostics import (
    Deletions,
    Diagnostics,
    at_expected_information,
    diagnostic_blocks,
)
from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.solvers import AbstractSolver, Point

# Deletions that Cook's distance is asked of; with the others it is the textbook's.
_CURVED = ("halley", "exact")


def refuse_other_models(point: Point, name: str) -> None:
    """Refuse models whose loss is no deviance, or whose outputs are coupled."""
    loss, layout = point.objective.loss, point.objective.layout
    if loss.exponential_family and layout.group_size == 1:
        return
    raise UnsupportedEstimatorError(
        "diagnostics() is for least squares and generalized linear models, whose loss "
        "is a deviance of one output (or of several that nothing couples); this "
        f"{name} minimises {type(loss).__name__} of {layout.n_outputs} outputs. Use "
        "self_influence, loo_params and loo_predict, which serve every model."
    )


def blocks_of(
    point: Point,
    solver: AbstractSolver,
    deletion: AbstractDeletion,
    kind: str,
    watch: Callable[[Any, Any], None],
    *,
    alone: bool,
) -> Iterator[tuple[slice, Diagnostics]]:
    """The columns by a deletion of the given kind; ``alone``: block after block."""
    expected = at_expected_information(point, solver)
    textbook: AbstractDeletion = Newton(expected, solver)
    if kind == "newton" and expected is point:
        deletion = textbook  # one object, asked once
    if kind in _CURVED:
        distance: AbstractDeletion | None = deletion
    else:  # in mean form, one step has no closed form
        distance = textbook if point.objective.penalty.share else None
    deletions = Deletions(deletion, textbook, distance)
    return diagnostic_blocks(point, expected, deletions, watch, alone)


def coefficient_names(model: Any, given: Any) -> list[str]:
    """Names of the features that the linear model reads, ``x0``, ``x1``, ... if none."""
    n_coefficients = model.parameters[0].shape[1]
    if model.transformer is not None:
        try:
            given = model.transformer.get_feature_names_out(given)
        except (AttributeError, ValueError):  # some transformer names nothing
            given = None
    if given is None:
        given = (f"x{j}" for j in range(n_coefficients))
    return [str(name) for name in given]


def filled(
    blocks: Iterator[tuple[slice, Diagnostics]],
    n_rows: int,
    features: list[str],
    has_intercept: bool,
) -> tuple[Any, list[str]]:
    """The table (n_rows, n_columns), its columns contiguous, and their names."""
    table, names = np.empty((0, n_rows)), [""]
    for rows, found in blocks:
        parts = [to_numpy(values) for values in found]
        if not len(table):
            names = _names(parts, features, has_intercept)
            table = np.empty((len(names), n_rows))
        first = 0
        for name, values in zip(found._fields, parts, strict=True):
            if name == "dfbetas_intercept" and not has_intercept:
                continue
            lines = values.T.reshape(-1, len(values))  # of features, then of outputs
            table[first : first + len(lines), rows] = lines
            first += len(lines)
    return table.T, names


def _names(parts: list[Any], features: list[str], has_intercept: bool) -> list[str]:
    """Names of the columns in these parts, (b,), (b, K) or (b, K, p)."""
    names = []
    for name, values in zip(Diagnostics._fields, parts, strict=True):
        plain = [name]
        if name == "dfbetas":
            plain = [f"dfbetas_{feature}" for feature in features]
        elif name == "dfbetas_intercept":
            # In R's spelling, where a feature has taken the plain one.
            taken = ["dfbetas_(Intercept)"] if "intercept" in features else plain
            plain = taken if has_intercept else []
        names += [each for one in plain for each in _numbered(one, values)]
    return names


def _numbered(name: str, values: Any) -> list[str]:
    """The name of one column (b,), or those of K outputs (b, K, ...)."""
    if values.ndim == 1 or values.shape[1] == 1:
        return [name]
    return [f"{name}_output_{k}" for k in range(values.shape[1])]


def framed(table: Any, names: list[str], index: Any) -> Any:
    """A pandas DataFrame, or a Bunch of the columns where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        return Bunch(**dict(zip(names, table.T, strict=True)))
    return pd.DataFrame(table, index=index, columns=names, copy=False)
