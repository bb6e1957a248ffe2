"""The table of ``diagnostics()``: which deletion gives what, and the columns' names."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skinfluence._array import to_numpy
from skinfluence.deletion import AbstractDeletion, Newton, deletion_for
from skinfluence.diagnostics import (
    Deletions,
    Diagnostics,
    at_expected_information,
    diagnostic_blocks,
)
from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.questions._refits import refuse_derivative
from skinfluence.study import Study, verdicts

# Deletions that Cook's distance is asked of; with the others it is the textbook's.
_CURVED = ("halley", "exact")


def diagnostics(study: Study) -> Any:
    """See ``InfluenceExplainer.diagnostics``."""
    _refuse_other_models(study)
    refuse_derivative(study)
    table, names = _filled(_blocks(study), study)
    try:
        import pandas as pd
    except ImportError:
        return Bunch(**dict(zip(names, table.T, strict=True)))
    return pd.DataFrame(table, index=study.labels, columns=names, copy=False)


def _refuse_other_models(study: Study) -> None:
    """Refuse models whose loss is no deviance, or whose outputs are coupled."""
    loss, layout = study.objective.loss, study.objective.layout
    if loss.exponential_family and layout.group_size == 1:
        return
    raise UnsupportedEstimatorError(
        "diagnostics() is for least squares and generalized linear models, whose loss "
        "is a deviance of one output (or of several that nothing couples); this "
        f"{type(study.model.estimator).__name__} minimises {type(loss).__name__} of "
        f"{layout.n_outputs} outputs. Use self_influence, loo_params and loo_predict, "
        "which serve every model."
    )


def _blocks(study: Study) -> Iterator[tuple[slice, Diagnostics]]:
    """The columns by the study's deletion, block of rows by block."""
    point, kind = study.point, study.options.deletion
    expected = at_expected_information(point, study.solver)
    textbook = Newton(expected, study.solver)
    deletion = study.deletion(study.n_train)
    if kind == "newton" and expected is point and not point.objective.learns:
        deletion = textbook  # one object, asked once
    distance: AbstractDeletion | None = None
    if kind in _CURVED:
        distance = deletion
    elif point.objective.penalty.share:  # in mean form, one step has no closed form
        distance = textbook
    deletions = Deletions(deletion, textbook, distance, _exact(study))
    return diagnostic_blocks(
        point, expected, deletions, verdicts().note_rows, study.in_order
    )


def _exact(study: Study) -> AbstractDeletion | None:
    """What deletes a row to the end, where one step of the textbook's does not."""
    if study.objective.loss.quadratic or study.objective.wider is not None:
        return None
    return deletion_for(
        "exact", study.point, study.solver, typical=study.minimum.typical
    )


def _filled(
    blocks: Iterator[tuple[slice, Diagnostics]], study: Study
) -> tuple[np.ndarray, list[str]]:
    """The table (n, n_columns), its columns contiguous, and their names."""
    has_intercept = study.objective.design.has_intercept
    table, names = np.empty((0, study.n_train)), [""]
    for rows, columns in blocks:
        parts = [to_numpy(values) for values in columns]
        if not len(table):
            names = _names(parts, study.coefficient_names, has_intercept)
            table = np.empty((len(names), study.n_train))
        first = 0
        for name, values in zip(columns._fields, parts, strict=True):
            if name == "dfbetas_intercept" and not has_intercept:
                continue
            lines = values.T.reshape(-1, len(values))  # of features, then of outputs
            table[first : first + len(lines), rows] = lines
            first += len(lines)
    return table.T, names


def _names(
    parts: list[np.ndarray], features: list[str], has_intercept: bool
) -> list[str]:
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
        names += [each for one in plain for each in _of_outputs(one, values)]
    return names


def _of_outputs(name: str, values: np.ndarray) -> list[str]:
    """The name of one column (b,), or those of K outputs (b, K, ...)."""
    if values.ndim == 1 or values.shape[1] == 1:
        return [name]
    return [f"{name}_output_{k}" for k in range(values.shape[1])]
