"""Refits without each of some rows: of the last step alone, or of the whole estimator."""

import abc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skinfluence import support
from skinfluence._objective import Objective
from skinfluence._progress import Progress
from skinfluence._warn import listed, warn
from skinfluence.exceptions import (
    PreprocessingDeletionWarning,
    SeparableDeletionWarning,
)
from skinfluence.refit._columns import Columns
from skinfluence.refit._minimum import refitted_theta, seen_part
from skinfluence.refit._whole import LeftOut, left_out


class AbstractAsked(abc.ABC):
    """What is asked of each refit."""

    @abc.abstractmethod
    def of(self, refit: LeftOut, rows: np.ndarray) -> Any:
        """The answer of a fit without these rows."""


class Judged(NamedTuple):
    """What refits without each of some rows, or groups, say."""

    theta: (
        np.ndarray
    )  # (b, G, D) without the row minus with it; NaN where there is none
    answers: list[Any]  # to what was asked; None where there is none
    unread: np.ndarray  # (b,) bool: the refit cannot read the rows asked about


@final
@dataclass(frozen=True)
class LastStepJudge:
    """Refits of the last step, everything before it held as it was fitted."""

    model: support.AbstractModel
    objective: Objective
    y: Any
    polish: bool
    n_jobs: int | None
    verbose: int

    def deltas(self, theta: Any, rows: Any) -> Any:
        """``theta(without i) - theta`` for each row, (b, G, D); NaN if it diverges."""
        progress = Progress("refits", len(rows), verbose=self.verbose)
        tasks = (delayed(_refit)(self, int(row), theta) for row in rows)
        deltas = np.empty((len(rows), *theta.shape))
        refits = Parallel(n_jobs=self.n_jobs, return_as="generator")(tasks)
        for i, delta in enumerate(refits):
            deltas[i] = delta
            progress(1)
        _warn_of_no_optimum(rows[~np.isfinite(deltas).all(axis=(1, 2))])
        return deltas


def _refit(judge: LastStepJudge, row: int, theta: np.ndarray) -> np.ndarray:
    """Parameters without one row minus those with it, (G, D)."""
    objective = judge.objective.without(row)
    fitted = refitted_theta(judge.model, objective, judge.y, theta, polish=judge.polish)
    if fitted is None:
        return np.full_like(theta, np.nan)
    return seen_part(objective, fitted - theta)


@final
@dataclass(frozen=True)
class WholeJudge:
    """Refits of the whole estimator, its steps learned again from the other rows."""

    whole: support.WholeFit
    columns: Columns  # of the fit to all rows
    objective: Objective  # of all rows, on all columns
    polish: bool
    n_jobs: int | None
    verbose: int
    quiet: bool = False  # the asker says what no refit reads, and wants no coefficients
    warm: bool = False  # from the fit to all rows, to answer fast rather than to judge

    def deltas(self, theta: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """``theta(without i) - theta`` for each row, (b, G, D); NaN if there is none.

        In the units of the columns that each refit sees.
        """
        return self.judged(theta, [np.array([row]) for row in rows]).theta

    def judged(
        self,
        theta: np.ndarray,
        groups: Sequence[np.ndarray],
        asked: AbstractAsked | None = None,
    ) -> Judged:
        """The deltas of the parameters without rows or groups, and what else is asked."""
        design, layout = self.objective.design, self.objective.layout
        deltas = np.full((len(groups), *theta.shape), np.nan)
        self.whole.refuse_steps()
        outcomes = list(self._outcomes(groups, asked))
        for i, outcome in enumerate(outcomes):
            if outcome.coef is not None and outcome.intercept is not None:
                refitted = layout.pack(
                    design.to_working(outcome.coef, outcome.intercept)
                )
                deltas[i] = seen_part(self.objective, refitted - theta)
        _warn_of_troubles(groups, outcomes, self.quiet)
        unread = np.array([bool(outcome.unread) for outcome in outcomes])
        return Judged(deltas, [outcome.answer for outcome in outcomes], unread)

    def _outcomes(
        self, groups: Sequence[np.ndarray], asked: AbstractAsked | None
    ) -> "Iterator[_Outcome]":
        progress = Progress("refits", len(groups), verbose=self.verbose)
        tasks = (
            delayed(_outcome)(
                self.whole, rows, self.columns, self.polish, self.warm, asked
            )
            for rows in groups
        )
        for outcome in Parallel(n_jobs=self.n_jobs, return_as="generator")(tasks):
            progress(1)
            yield outcome


class _Outcome(NamedTuple):
    """What comes of one refit; None where there is none, for a reason."""

    coef: np.ndarray | None = None  # (K, p) by the columns of the full fit
    intercept: np.ndarray | None = None  # (K,)
    answer: Any = None
    no_optimum: bool = False
    unfitted: str = ""  # what says a step, or the model, that cannot be fitted
    unread: str = ""  # what one says that cannot read the rows asked about


def _outcome(
    whole: support.WholeFit,
    rows: np.ndarray,
    columns: Columns,
    polish: bool,
    warm: bool,
    asked: AbstractAsked | None,
) -> _Outcome:
    try:
        refit = left_out(whole, rows, columns, polish=polish, warm=warm)
    except ValueError as error:
        return _Outcome(unfitted=str(error))
    if refit is None:
        return _Outcome(no_optimum=True)
    outcome = _Outcome(*refit.parameters)
    if asked is None:
        return outcome
    try:
        return outcome._replace(answer=asked.of(refit, rows))
    except ValueError as error:
        return outcome._replace(unread=str(error))


def _warn_of_troubles(
    groups: Sequence[np.ndarray], outcomes: Sequence[_Outcome], quiet: bool
) -> None:
    """Warn once of each kind of refit that is missing something."""

    def those(has: Callable[[_Outcome], Any]) -> list[Any]:
        pairs = zip(groups, outcomes, strict=True)
        return [
            int(rows[0]) if len(rows) == 1 else rows.tolist()
            for rows, outcome in pairs
            if has(outcome)
        ]

    def first(texts: Iterator[str]) -> str:
        return next(text for text in texts if text).partition("\n")[0]

    _warn_of_no_optimum(those(lambda outcome: outcome.no_optimum))
    if rows := those(lambda outcome: outcome.unfitted):
        warn(
            f"Without rows {listed(rows)}, the estimator cannot be fitted: "
            f"{first(outcome.unfitted for outcome in outcomes)} Their deltas are NaN.",
            PreprocessingDeletionWarning,
        )
    if quiet:
        return
    if rows := those(lambda outcome: _is_unplaced(outcome)):
        warn(
            f"Without rows {listed(rows)}, the steps before the model make columns that "
            "those fitted to all rows do not make: their coefficients have no place "
            "beside those of the full fit, and their deltas are NaN. What the refit "
            "predicts is not affected.",
            PreprocessingDeletionWarning,
        )
    if rows := those(lambda outcome: outcome.unread):
        warn(
            f"The steps fitted without rows {listed(rows)} cannot read the rows that "
            f"are asked about: {first(outcome.unread for outcome in outcomes)} They are "
            "left out.",
            PreprocessingDeletionWarning,
        )


def _is_unplaced(outcome: _Outcome) -> bool:
    return outcome.coef is not None and bool(np.isnan(outcome.coef).all())


def _warn_of_no_optimum(rows: Sequence[Any]) -> None:
    if len(rows):
        warn(
            f"Without rows {listed(rows)}, the refit has no finite optimum "
            "(separable classes, or a class without rows). Their deltas are NaN.",
            SeparableDeletionWarning,
        )
