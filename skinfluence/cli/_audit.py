"""The audit as data: scores, what each row did, and the agreement with refits."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from skinfluence import InfluenceExplainer, check_leave_one_out
from skinfluence.cli._console import QUIET, Console
from skinfluence.cli._data import Data
from skinfluence.cli._effect import Effect, on_others, on_test
from skinfluence.cli._errors import UsageError, listed, plural
from skinfluence.cli._subject import Subject
from skinfluence.cli._task import AbstractTask

GOOD_PEARSON, GOOD_SLOPE = 0.99, 0.05


@dataclass(frozen=True)
class Agreement:
    """Of predicted changes of a loss with those of real refits.

    Parameters
    ----------
    n_rows : int
        Rows refitted without, for which both are finite.
    pearson, spearman, slope : float
        Correlations, and slope of the refitted change on the predicted one.
    max_abs_error, max_abs_change : float
        Largest error of a prediction, and largest refitted change.
    param_error : float
        Largest error of a parameter, relative to the largest change of one.
    seconds_predicted, seconds_refit : float
        Time for these rows.
    """

    n_rows: int
    pearson: float
    spearman: float
    slope: float
    max_abs_error: float
    max_abs_change: float
    param_error: float
    seconds_predicted: float
    seconds_refit: float

    @property
    def is_good(self) -> bool:
        """Whether the estimates can stand for refits."""
        return self.pearson >= GOOD_PEARSON and abs(self.slope - 1) <= GOOD_SLOPE

    @classmethod
    def of(
        cls, explainer: Any, data: Data, test: Data | None, rows: int
    ) -> "Agreement":
        """Refit without ``rows`` rows, drawn at random."""
        on = {} if test is None else {"X_test": test.X, "y_test": test.y}
        found = check_leave_one_out(explainer, data.X, data.y, rows=rows, **on)
        names = {field.name for field in fields(cls)} & set(found)
        return cls(
            n_rows=len(found.rows),
            max_abs_change=float(np.max(np.abs(found.refit), initial=0.0)),
            **{name: found[name] for name in names},
        )


@dataclass(frozen=True)
class Audit:
    """Everything that an audit found.

    Parameters
    ----------
    explainer : InfluenceExplainer
        Fitted to the training rows.
    rows : dict of str to ndarray of shape (n,)
        One entry per column of ``influence.csv``, in the order of the training rows.
    scores : dict of str to dict
        ``training``, ``leave_one_out`` and perhaps ``test``, each with ``score`` and
        ``mean_loss``.
    effect : Effect
        What the ranking is measured on.
    agreement : Agreement or None
        With refits; None if none were made.
    """

    explainer: Any
    rows: dict[str, np.ndarray]
    scores: dict[str, dict[str, float]]
    effect: Effect
    agreement: Agreement | None

    @property
    def order(self) -> np.ndarray:
        """Positions of all rows, most harmful first, unknown ones last."""
        return np.argsort(self.rows["loo_delta"], kind="stable")  # NaN comes last

    def most_harmful(self, k: int) -> np.ndarray:
        """Positions of the rows whose deletion lowers the loss most, at most ``k``."""
        return self._top(self.rows["loo_delta"], k)

    def most_helpful(self, k: int) -> np.ndarray:
        """Positions of the rows whose deletion raises the loss most, at most ``k``."""
        return self._top(-self.rows["loo_delta"], k)

    @staticmethod
    def _top(delta: np.ndarray, k: int) -> np.ndarray:
        order = np.argsort(delta, kind="stable")[:k]
        return order[delta[order] < 0]


def audit(subject: Subject, *, deletion: str, check: int, console: Console) -> Audit:
    """Fit, explain, and check against refits.

    Parameters
    ----------
    subject : Subject
        What to audit.
    deletion : {"jackknife", "newton", "exact"}
        How rows are left out.
    check : int
        Number of rows to refit without; 0 for none.
    console : Console
        Hears about slow steps and warnings.
    """
    data, test = subject.data, subject.test
    with console.step("fit", f"Fitting to {plural(len(data), 'row')}"):
        explainer = InfluenceExplainer(
            subject.pipeline(),
            deletion=deletion,
            random_state=0,  # the same rows are checked each time
            verbose=int(console.level > QUIET),
        ).fit(data.X, data.y)
    with console.step("leave_one_out", "Predicting each row from the others"):
        rows = _own(explainer, subject.task, data)
        _tell_lost(data, rows, console)
        scores = _scores(explainer, subject, rows)
    with console.step("effect", "Measuring the effect of each row"):
        if test is None:
            effect = on_others(explainer, data, rows, console)
        else:
            effect = on_test(explainer, test, scores["test"]["mean_loss"], console)
    agreement = None
    if check:
        rows_out = plural(min(check, len(data)), "row")
        with console.step("check", f"Refitting without each of {rows_out}"):
            agreement = Agreement.of(explainer, data, test, check)
    deltas = {"influence": effect.influence, "loo_delta": effect.loo_delta}
    rows = {"row": data.rows, **deltas, **rows}
    return Audit(explainer, rows, scores, effect, agreement)


def _tell_lost(data: Data, rows: dict[str, np.ndarray], console: Console) -> None:
    lost = data.rows[np.isnan(rows["loo_loss"])]
    if len(lost) == len(data):
        raise UsageError(
            f"No row of {data.source} can be left out: without one, the other "
            f"{len(data) - 1} do not determine the model. Use --model ridge, or --drop "
            "columns."
        )
    if len(lost):
        console.note(
            f"{plural(len(lost), 'row')} cannot be left out, because without one the "
            f"others do not determine the model: {listed(lost)}. Their leave-one-out "
            "values are empty, and left out of the means"
        )


def _own(explainer: Any, task: AbstractTask, data: Data) -> dict[str, np.ndarray]:
    u = getattr(explainer, task.outputs)(data.X)
    loo_u = explainer.loo_predict(method=task.outputs)
    loo = task.predictions(loo_u)
    return {
        "target": data.y,
        **task.predictions(u),
        **{f"loo_{name}": values for name, values in loo.items()},
        "loss": task.loss(data.y, u),
        "loo_loss": task.loss(data.y, loo_u),
        "self_influence": explainer.self_influence(),
    }


def _scores(
    explainer: Any, subject: Subject, rows: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    data, test, task = subject.data, subject.test, subject.task
    scores = {
        "training": {
            "score": float(explainer.score(data.X, data.y)),
            "mean_loss": float(rows["loss"].mean()),
        },
        "leave_one_out": {
            "score": float(explainer.loo_score()),
            "mean_loss": float(np.nanmean(rows["loo_loss"])),
        },
    }
    if test is not None:
        u = getattr(explainer, task.outputs)(test.X)
        scores["test"] = {
            "score": float(explainer.score(test.X, test.y)),
            "mean_loss": float(task.loss(test.y, u).mean()),
        }
    return scores
