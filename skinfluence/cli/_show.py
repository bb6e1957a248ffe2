"""The audit on a terminal."""

import shutil
import sys
import textwrap
from typing import Any

import numpy as np

from skinfluence import InfluenceExplainer
from skinfluence.cli._agreement import Agreement
from skinfluence.cli._audit import Audit
from skinfluence.cli._errors import plural
from skinfluence.cli._subject import Subject
from skinfluence.cli._text import WIDEST, clip, definitions, number, percentages, render

WIDTHS = (60, 160)
HARMFUL = "Most harmful rows: the loss falls without them"
HELPFUL = "Most helpful rows: the loss rises without them"
TITLES = {"training": "training", "leave_one_out": "leave-one-out", "test": "test"}


def terminal_width() -> int:
    """Columns of the terminal, between 60 and 160; 80 without a terminal."""
    return int(np.clip(shutil.get_terminal_size((80, 24)).columns, *WIDTHS))


def show(
    audit: Audit, subject: Subject, *, top: int, files: dict[str, str], width: int
) -> str:
    """Return the whole report.

    Parameters
    ----------
    audit, subject
        The results, and what they are about.
    top : int
        Number of rows at either end.
    files : dict of str to str
        Path of each file, and what it holds.
    width : int
        Width of the terminal.
    """
    about = subject_lines(audit.explainer, subject, width, audit.learned_share)
    sections = [about, _scores(audit)]
    if top:
        ends = {HARMFUL: audit.most_harmful(top), HELPFUL: audit.most_helpful(top)}
        for title, positions in ends.items():
            sections.append([title, *_rows(audit, subject, positions, width)])
        sections.append(_legend(audit, subject, width))
    if audit.groups:
        sections.append(_groups(audit, subject, top, width))
    if audit.agreement is not None:
        deletion = audit.explainer.deletion
        sections.append(agreement_lines(audit.agreement, subject, deletion, width))
    sections.append(_written(files, width))
    return "\n\n".join("\n".join(section) for section in sections)


def subject_lines(
    explainer: InfluenceExplainer,
    subject: Subject,
    width: int,
    learned_share: float | None = None,
) -> list[str]:
    """Lay out the data, the target, the model, and what its steps learn again."""
    data, test, features = subject.data, subject.test, subject.features
    kinds = {"numeric": features.numeric, "categorical": features.categorical}
    columns = " and ".join(
        f"{len(names)} {kind}" for kind, names in kinds.items() if names
    )
    noun = "column" if len(features.names) == 1 else "columns"
    entries = {
        "data": f"{data.source}: {plural(len(data), 'row')}, {columns} {noun}",
        "target": f"{subject.target}: {subject.task.describe(data.y)}",
        "model": subject.describe_model(explainer.estimator_),
    }
    if explainer.followed_steps_:
        entries["again"] = f"{', '.join(explainer.followed_steps_)}, without each row"
        if learned_share is not None:
            entries["again"] += (
                ": held as fitted, they would put the change of a row's own loss off by "
                f"up to {number(100 * learned_share, 3)} %"
            )
    if explainer.held_steps_:
        entries["held"] = f"{', '.join(explainer.held_steps_)}, as fitted to all rows"
    if test is not None:
        entries["test"] = f"{test.source}: {plural(len(test), 'row')}"
    return definitions(entries, width)


def _scores(audit: Audit) -> list[str]:
    columns = [("", [audit.words.score, f"mean {audit.words.loss}"])]
    for name, values in audit.scores.items():
        score = values["score"]
        cells = [
            "n/a" if score is None else f"{score:.4f}",
            number(values["mean_loss"]),
        ]
        columns.append((TITLES[name], cells))
    return render(columns, sys.maxsize)


def _rows(
    audit: Audit, subject: Subject, positions: np.ndarray, width: int
) -> list[str]:
    if not len(positions):
        return ["  none"]
    table, rows = subject.data.table.iloc[positions], audit.records(positions)
    columns = [
        ("row", [str(row["row"]) for row in rows]),
        ("effect", _effects(audit, [row["loo_delta"] for row in rows])),
        (clip(subject.target), [_value(row["target"]) for row in rows]),
        ("left out", [_wording(subject, row["loo_prediction"]) for row in rows]),
    ]
    if "loo_p_target" in audit.rows:
        columns.append(("P", [number(row["loo_p_target"], 2) for row in rows]))
    needed = len(columns)
    columns += [
        (clip(name), [_value(cell) for cell in table[name]])
        for name in subject.by_weight(audit.explainer.estimator_)[:width]
    ]
    return render(columns, width, needed=needed)


def _wording(subject: Subject, prediction: Any) -> str:
    return clip(subject.task.wording(prediction), 2 * WIDEST)


def _effects(audit: Audit, deltas: list[float]) -> list[str]:
    """In percent of the mean loss, where that means something."""
    if audit.in_percent:
        return percentages([delta / audit.effect["mean_loss"] for delta in deltas])
    return [f"{delta:+.2e}" for delta in deltas]


def _groups(audit: Audit, subject: Subject, top: int, width: int) -> list[str]:
    """Groups at either end, most harmful first."""
    groups = [group for group in audit.groups if group["loo_delta"] is not None]
    most = max(top, 1)
    shown = groups if len(groups) <= 2 * most else [*groups[:most], *groups[-most:]]
    columns = [
        (clip(subject.columns.group), [clip(group["group"]) for group in shown]),
        ("rows", [str(group["n_rows"]) for group in shown]),
        ("effect", _effects(audit, [group["loo_delta"] for group in shown])),
    ]
    title = "Groups: effect of leaving out all of their rows, most harmful first"
    left = len(groups) - len(shown)
    rest = [f"  ({plural(left, 'group')} between these not shown)"] if left else []
    return [title, *render(columns, width, needed=3), *rest]


def _value(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else number(value)
    text = str(value).removesuffix(" 00:00:00")  # of a date
    return "" if text in {"<NA>", "NaT", "None"} else clip(text)


def _legend(audit: Audit, subject: Subject, width: int) -> list[str]:
    share = ", in percent of it" if audit.in_percent else ""
    entries = {
        "row": "counted from 0 in the data",
        "effect": f"of leaving the row out, on the mean {audit.words.loss} of "
        f"{audit.effect['on']}{share}",
        "left out": "prediction for the row by a model without it",
        "P": f"probability of its own {subject.target} by a model without it",
        "the rest": "values of the row, as many as fit, those with most weight first",
    }
    if "loo_p_target" not in audit.rows:
        del entries["P"]
    return definitions(entries, width, indent=2)


def agreement_lines(
    agreement: Agreement, subject: Subject, deletion: str, width: int
) -> list[str]:
    """Lay out the agreement with refits, and what to do if it is bad."""
    entries = {
        "correlation": f"{agreement.pearson:.6f}, slope {agreement.slope:.6f}",
        "largest error": f"{number(agreement.max_abs_error, 2)}, largest change "
        f"{number(agreement.max_abs_change, 2)}",
        "time": f"{agreement.seconds_predicted:.2g} s for the estimates, "
        f"{agreement.seconds_refit:.2g} s for the refits",
    }
    refits = plural(agreement.n_rows, "real refit")
    on = "each row's own loss" if subject.test is None else "the mean test loss"
    lines = textwrap.wrap(f"Checked against {refits}: change of {on}", width)
    lines += definitions(entries, width, indent=2)
    if not agreement.is_good and deletion != "exact":
        lines.append("  These estimates are rough; try --deletion exact.")
    return lines


def _written(files: dict[str, str], width: int) -> list[str]:
    """Name the files and what they hold."""
    size = max(len(path) for path in files)
    lines = [f"  {path:<{size}}  {what}" for path, what in files.items()]
    if max(map(len, lines)) > width:
        lines = [f"  {path}" for path in files]
    return ["Written", *lines]
