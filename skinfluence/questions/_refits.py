"""Answers by refits of the whole estimator: where a step is learned again by no rule.

All deletions are refits if a step has none; else those of the few rows and groups that
decide which columns a step makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from skinfluence._array import array_namespace, to_numpy
from skinfluence._warn import listed, warn
from skinfluence.exceptions import (
    PreprocessingDeletionWarning,
    UnsupportedEstimatorError,
)
from skinfluence.preprocessing import most_refits
from skinfluence.refit import (
    AbstractAsked,
    Columns,
    Judged,
    OwnOutputs,
    TestOutputs,
    WholeJudge,
    host_point,
)
from skinfluence.study import Asked, Study, verdicts


def refuse_derivative(study: Study) -> None:
    """Refuse what needs the derivative of all that is learned."""
    if not study.refits_unknown:
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
    quiet = asked is not None and not study.refits_all
    how = True, options.n_jobs, options.verbose, quiet, True
    judge = WholeJudge(study.refits, columns, point.objective, *how)
    return judge.judged(point.theta, groups, asked)


def rows_by_refits(study: Study, chosen: np.ndarray | None = None) -> np.ndarray:
    """Places among the chosen rows (all) of those for which refits answer."""
    mask = study.refitted_rows
    return np.flatnonzero(mask if chosen is None else mask[chosen])


def groups_by_refits(
    study: Study, names: Sequence[str], members: Sequence[np.ndarray]
) -> np.ndarray:
    """Places of the groups for which refits answer.

    Warns of others without which columns change by more than a shift and a unit.
    """
    following = study.objective.following
    if following is None or study.refits_all:
        return np.arange(len(members) if study.refits_all else 0)

    def decides(rows: np.ndarray) -> bool:
        if len(rows) == 1 and following.decides() is not None:
            return bool(study.refitted_rows[rows[0]])
        ratio = following.without_group(study.here(rows)).ratio
        return bool(np.isnan(to_numpy(ratio)).any())

    places = np.flatnonzero([decides(rows) for rows in members])
    most = most_refits(len(members))
    few = len(places) <= most or study.options.preprocessing == "refitted"
    if study.refits_some and few:
        return places
    warn_of_held([names[place] for place in places.tolist()])
    return places[:0]


def warn_of_held(names: Sequence[Any]) -> None:
    """Warn of groups, by name, and rows that decide columns, which are held."""
    called = [name if isinstance(name, str) else f"row {name}" for name in names]
    if called:
        warn(
            f"Without {listed(called)}, some columns that the steps before the model make "
            "would change by more than a shift and a scale, as where all rows of a "
            "category leave: these columns are held as they were fitted. "
            "check_leave_one_out and clone(estimator).fit learn them again.",
            PreprocessingDeletionWarning,
        )


@final
@dataclass(frozen=True, eq=False)
class Answers:
    """What refits without some rows or groups answer."""

    places: np.ndarray  # (b,) of the rows or groups among all that are deleted
    answers: list[Any]  # None where there is no refit

    @classmethod
    def of(
        cls,
        study: Study,
        asked: AbstractAsked,
        places: np.ndarray,
        groups: Sequence[np.ndarray],
        names: Sequence[Any],
    ) -> "Answers":
        """Those of groups, which have these names (a row its index) and places.

        Where steps cannot read the rows asked about, as one of a category that only the
        group has, there is none but that of the columns as they were fitted. What
        deletion says of the others is of no interest.
        """
        if not len(places):
            return cls(places, [])
        judged = refits_without(study, groups, asked)
        known = ~judged.unread | study.refits_all
        kept = np.flatnonzero(known).tolist()
        warn_of_held([names[k] for k in np.flatnonzero(~known).tolist()])
        verdicts().answered([names[k] for k in kept])
        return cls(places[kept], [judged.answers[k] for k in kept])

    @classmethod
    def of_rows(cls, study: Study, asked: AbstractAsked) -> "Answers":
        """Those of the training rows for which refits answer."""
        rows = rows_by_refits(study)
        return cls.of(study, asked, rows, one_by_one(rows), rows.tolist())


def one_by_one(rows: np.ndarray) -> list[np.ndarray]:
    """Groups of one row each."""
    return list(rows[:, None])


def own_outputs(study: Study) -> AbstractAsked:
    """Outputs of the rows that leave, (g, K)."""
    whole = study.whole(study.X)
    return OwnOutputs(whole.X, whole.offset)


@final
@dataclass(frozen=True, eq=False)
class Changes:
    """Quantities without rows or groups minus with them, by refits.

    NaN where the fit without a group does not exist, or cannot read the points.
    """

    places: np.ndarray  # (b,) of the rows or groups among all that are deleted
    values: Any  # (m, q b), or (q b,) aggregated over the points; None for no places

    @classmethod
    def of(
        cls,
        study: Study,
        asked: Asked,
        aggregate: str | None,
        places: np.ndarray,
        groups: Sequence[np.ndarray],
        names: Sequence[Any],
    ) -> "Changes":
        """Those of groups, which have these names and places."""
        design, point = asked.design, study.point
        answers = Answers.of(
            study, TestOutputs(asked.X, asked.rows), places, groups, names
        )
        if not answers.answers:
            return cls(answers.places, None)
        rows = replace(study.objective, design=design, offset=None)
        outputs, every = rows.outputs(point.theta), slice(0, design.n_rows)
        xp, columns = array_namespace(outputs), []
        for quantity in asked.quantities:
            before = quantity.value(outputs, every)
            for answer in answers.answers:
                after = xp.nan * before
                if answer is not None:
                    after = quantity.value(study.here(answer), every)
                columns.append(after - before)
        values = xp.stack(columns, axis=1)
        if aggregate is not None:
            values = xp.sum(values, axis=0)
            values = values / design.n_rows if aggregate == "mean" else values
        return cls(answers.places, values)

    @classmethod
    def of_rows(cls, study: Study, asked: Asked, aggregate: str | None) -> "Changes":
        """Those of the training rows for which refits answer."""
        rows = rows_by_refits(study)
        return cls.of(study, asked, aggregate, rows, one_by_one(rows), rows.tolist())

    def put(
        self, values: Any, columns: slice, quantity: int, points: slice | None = None
    ) -> None:
        """Put them into the changes (m, b) or (b,) of a quantity in a block of columns."""
        first = quantity * len(self.places)
        for i, place in enumerate(self.places.tolist()):
            if columns.start <= place < columns.stop:
                column = self.values[..., first + i]
                column = (
                    column if column.ndim == 0 or points is None else column[points]
                )
                values[..., place - columns.start] = column
