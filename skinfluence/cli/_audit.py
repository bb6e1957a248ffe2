"""The audit as data: scores, what each row did, and the agreement with refits."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skinfluence import InfluenceExplainer, InfluenceReport
from skinfluence._tolerances import LEAST_REMAINDER
from skinfluence.cli._agreement import Agreement, check_rows
from skinfluence.cli._console import IN_OWN_WORDS, QUIET, Console, in_own_words
from skinfluence.cli._errors import UsageError, listed, plural
from skinfluence.cli._model import Wording, wording
from skinfluence.cli._subject import Subject
from skinfluence.cli._table import Table
from skinfluence.report._chosen import top as most_negative

# The library names rows by position in notes with these words; the audit says it in rows
# of the file.
ROWS_BY_POSITION = ("without", "deleting", "leverage 1")
FIRST = ("row", "influence", "loo_delta", "group")
# Deletions that change a mean loss by more than this many times itself are not shown in
# percent of it: of a fit without residuals it is rounding.
MOST_SHARE = 100.0


@dataclass(frozen=True)
class Audit:
    """Everything that an audit found.

    Parameters
    ----------
    explainer : InfluenceExplainer
        Fitted to the training rows.
    report : InfluenceReport
        The same as a page.
    rows : pandas.DataFrame
        The columns of ``influence.csv``, in the order of the training rows.
    words : Wording
        Names of the loss and the score.
    scores : dict of str to dict
        ``training``, ``leave_one_out`` and perhaps ``test``, each with ``score`` and
        ``mean_loss``, None where they are not known.
    effect : dict
        What the ranking is measured on.
    groups : list of dict
        What leaving out each group does, most harmful first.
    agreement : Agreement or None
        With refits; None if none were made.
    learned_share : float or None
        Largest error of a row's own delta if no step of the pipeline learned again
        without it, as a part of the delta; None if none does.
    """

    explainer: InfluenceExplainer
    report: InfluenceReport
    rows: Table
    words: Wording
    scores: dict[str, dict[str, float | None]]
    effect: dict[str, Any]
    groups: list[dict[str, Any]]
    agreement: Agreement | None
    learned_share: float | None

    @property
    def order(self) -> np.ndarray:
        """Positions of all rows, most harmful first, unknown ones last."""
        return np.argsort(self.rows["loo_delta"], kind="stable")  # NaN comes last

    @property
    def in_percent(self) -> bool:
        """Whether effects are told in percent of the mean loss."""
        deltas = [*self.rows["loo_delta"], *(g["loo_delta"] for g in self.groups)]
        sizes = np.abs(np.array(deltas, dtype=float))  # None is NaN
        largest = np.max(sizes, initial=0.0, where=np.isfinite(sizes))
        share = MOST_SHARE * self.effect["mean_loss"]
        return self.words.has_zero and bool(largest <= share) and share > 0

    def records(self, positions: np.ndarray) -> list[dict[str, Any]]:
        """Values of the rows at these positions, by column."""
        return self.rows.iloc[positions].to_dict("records")

    def most_harmful(self, k: int) -> np.ndarray:
        """Positions of the rows whose deletion lowers the loss most, at most ``k``."""
        return most_negative(self.rows["loo_delta"].to_numpy(), k)

    def most_helpful(self, k: int) -> np.ndarray:
        """Positions of the rows whose deletion raises the loss most, at most ``k``."""
        return most_negative(-self.rows["loo_delta"].to_numpy(), k)


def fit_explainer(
    subject: Subject, deletion: str, console: Console
) -> InfluenceExplainer:
    """Fit the model, unless it came fitted, and its explainer."""
    data = subject.data
    doing = "Reading" if subject.fitted else "Fitting to"
    with console.step("fit", f"{doing} {plural(len(data), 'row')}"):
        return InfluenceExplainer(
            subject.estimator,
            deletion=deletion,
            random_state=0,  # the same rows are checked each time
            verbose=int(console.level > QUIET),
        ).fit(data.X, data.y, sample_weight=data.weight)


def audit(
    subject: Subject, *, deletion: str, check: int, top: int, console: Console
) -> Audit:
    """Fit, explain, and check against refits.

    Parameters
    ----------
    subject : Subject
        What to audit.
    deletion : {"jackknife", "newton", "halley", "exact"}
        How rows are left out.
    check : int
        Number of rows to refit without; 0 for none.
    top : int
        Rows at either end of the report.
    console : Console
        Is told about slow steps and warnings.
    """
    data, result = subject.data, None
    explainer = fit_explainer(subject, deletion, console)
    if check:
        rows_out = plural(min(check, len(data)), "row")
        with console.step("check", f"Refitting without each of {rows_out}"):
            result = check_rows(explainer, subject, check)
    with console.step("effect", "Measuring the effect of each row"):
        report = InfluenceReport(
            explainer,
            **subject.test_rows,
            X_train=data.X,
            groups=data.groups,
            agreement=result,
            names=data.rows,
            top=max(top, 1),
            title=f"What each row of {data.source} did to the model",
        )
        content = report.to_dict()
        scores = _scores(content, explainer, subject)
    for note in content["notes"]:
        told = in_own_words(note)
        names_rows = any(word in note.lower() for word in ROWS_BY_POSITION)
        if told in IN_OWN_WORDS.values() or not names_rows:
            console.note(told)
    rows, health = _rows(report.rows, data.rows), content["health"]
    lost = rows["loo_loss"].isna().to_numpy()
    _note_lost(subject, lost, console)
    _note_open(subject, _leaves_open(rows) & ~lost, console)
    return Audit(
        explainer,
        report,
        rows,
        wording(content["model"]["loss"]),
        scores,
        content["effect"],
        content["groups"],
        None if result is None else Agreement.of(result),
        next(
            (each["value"] for each in health if each["name"] == "learned_share"), None
        ),
    )


def _rows(rows: Table, names: np.ndarray) -> Table:
    """Rows of the file instead of positions, and no labels for rows that are lost."""
    rows = rows.assign(row=names).drop(columns="name", errors="ignore")
    for name in rows.columns:
        if name.startswith("loo_prediction"):
            rows[name] = rows[name].where(rows["loo_loss"].notna())
    first = [name for name in FIRST if name in rows]
    return rows[[*first, *rows.columns.difference(first, sort=False)]]


def _note_lost(subject: Subject, is_lost: np.ndarray, console: Console) -> None:
    data = subject.data
    lost = data.rows[is_lost]
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
            "values are empty, and not part of the means"
        )


def _leaves_open(rows: Table) -> np.ndarray:
    """Rows that alone carry a direction: textbooks have no distance for them."""
    if "cooks_distance" not in rows:
        return np.zeros(len(rows), dtype=bool)
    carries = rows["leverage"] > 1 - LEAST_REMAINDER
    return (carries & rows["cooks_distance"].isna()).to_numpy()


def _note_open(subject: Subject, leaves_open: np.ndarray, console: Console) -> None:
    alone = subject.data.rows[leaves_open]
    if len(alone):
        console.note(
            f"without {plural(len(alone), 'row')} the others do not determine all "
            f"coefficients: {listed(alone)}. What they leave open is of minimum norm, as "
            "in scikit-learn's own fit to the others"
        )


def _scores(
    content: dict[str, Any], explainer: InfluenceExplainer, subject: Subject
) -> dict[str, dict[str, float | None]]:
    known, test = content["scores"], subject.test
    scores = {
        name: {"score": known[name], "mean_loss": known[f"{name}_loss"]}
        for name in ("training", "leave_one_out")
    }
    if test is not None:
        score = float(explainer.score(test.X, test.y))
        scores["test"] = {"score": score, "mean_loss": content["effect"]["mean_loss"]}
    return scores
