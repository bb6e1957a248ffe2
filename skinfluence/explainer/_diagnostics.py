"""The columns of ``diagnostics()``: which deletion gives what, and their names."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skinfluence.deletion import AbstractDeletion, Newton
from skinfluence.diagnostics import (
    Deletions,
    Diagnostics,
    at_expected_information,
    diagnostics,
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
        f"diagnostics() is for least squares and generalized linear models, with one "
        f"linear output or several that nothing couples; {name} minimises "
        f"{type(loss).__name__} with {layout.group_size} coupled outputs. Use "
        "self_influence, loo_params and loo_predict, which serve every model."
    )


def columns_of(
    point: Point,
    solver: AbstractSolver,
    deletion: AbstractDeletion,
    kind: str,
    watch: Callable[[Any, Any], None],
) -> Diagnostics:
    """The columns by a deletion of the given kind."""
    expected = at_expected_information(point, solver)
    textbook: AbstractDeletion = Newton(expected)
    if kind == "newton" and expected is point:
        deletion = textbook  # one object, asked once
    distance = deletion if kind in _CURVED else textbook
    return diagnostics(
        point, expected, Deletions(deletion, textbook, distance), watch
    )


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


def table(
    found: Diagnostics, features: list[str], has_intercept: bool, **others: Any
) -> Bunch:
    """Columns (n,) by name; one set per output, numbered, where there are several."""
    named: dict[str, Any] = {}
    for name, values in found._asdict().items():
        if name == "dfbetas":
            for j, feature in enumerate(features):
                named[f"dfbetas_{feature}"] = values[:, :, j]
        elif name != "dfbetas_intercept":
            named[name] = values
        elif has_intercept:
            # R's spelling, where a feature has taken the plain one.
            plain = name not in named
            named[name if plain else "dfbetas_(Intercept)"] = values
    flat = {}
    for name, values in named.items():
        for k in range(values.shape[1]):
            suffix = "" if values.shape[1] == 1 else f"_output_{k}"
            flat[name + suffix] = np.ascontiguousarray(values[:, k])
    return Bunch(**flat, **others)


def framed(columns: Bunch, index: Any) -> Any:
    """A pandas DataFrame, or the Bunch itself where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        return columns
    return pd.DataFrame(dict(columns), index=index)
