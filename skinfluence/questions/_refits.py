"""Answers by refits of the whole estimator, where a step is learned again by no rule."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skinfluence._array import array_namespace
from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.refit import (
    AbstractAsked,
    Columns,
    Judged,
    OwnOutputs,
    TestOutputs,
    WholeJudge,
    host_point,
)
from skinfluence.study import Asked, Study


def refuse_derivative(study: Study) -> None:
    """Refuse what needs the derivative of all that is learned."""
    if study.refits is None:
        return
    raise UnsupportedEstimatorError(
        "Influence is a derivative, and how steps move with the weight of a row is not "
        f"known of {study.followed.in_words()}. Use loo_delta, loo_params or "
        "loo_predict, which refit them, or preprocessing='auto', which holds them."
    )


def refits_without(
    study: Study, groups: Sequence[np.ndarray], asked: AbstractAsked | None = None
) -> Judged:
    """Refits of the whole estimator without each group of rows."""
    assert study.refits is not None
    point, options = host_point(study.point), study.options
    columns = Columns.of(study.model, point.objective.design.n_features)
    how = True, options.n_jobs, options.verbose
    judge = WholeJudge(study.refits, columns, point.objective, *how)
    return judge.judged(point.theta, groups, asked)


def one_by_one(rows: np.ndarray) -> list[np.ndarray]:
    """Groups of one row each."""
    return list(rows[:, None])


def own_outputs_without(study: Study, groups: Sequence[np.ndarray]) -> list[Any]:
    """Outputs of each group's rows by the fit without them, (g, K); None without one."""
    assert study.refits is not None
    asked = OwnOutputs(study.refits.X, study.refits.offset)
    return refits_without(study, groups, asked).answers


def changes(
    study: Study, asked: Asked, aggregate: str | None, groups: Sequence[np.ndarray]
) -> Any:
    """Quantities without each group minus with it, (m, q b), or (q b,) aggregated.

    NaN where the fit without a group does not exist, or cannot read the points.
    """
    design, point = asked.design, study.point
    outputs = replace(study.objective, design=design, offset=None).outputs(point.theta)
    answers = refits_without(study, groups, TestOutputs(asked.X)).answers
    xp, every = array_namespace(outputs), slice(0, design.n_rows)
    columns = []
    for quantity in asked.quantities:
        before = quantity.value(outputs, every)
        for answer in answers:
            after = xp.nan * before
            if answer is not None:
                after = quantity.value(study.here(answer), every)
            columns.append(after - before)
    values = xp.stack(columns, axis=1)
    if aggregate is None:
        return values
    total = xp.sum(values, axis=0)
    return total / design.n_rows if aggregate == "mean" else total
