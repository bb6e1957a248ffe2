"""The audit on a terminal."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from skinfluence.cli._audit import Agreement, Audit
from skinfluence.cli._errors import plural
from skinfluence.cli._model import by_weight
from skinfluence.cli._subject import Subject
from skinfluence.cli._text import WIDEST, clip, definitions, number, percentages, render

WIDTHS = (60, 160)
HARMFUL = "Most harmful rows: the loss falls without them"
HELPFUL = "Most helpful rows: the loss rises without them"
TITLES = {"training": "training", "leave_one_out": "leave-one-out", "test": "test"}


def terminal_width() -> int:
    """Columns of the terminal, within reason; 80 where there is none."""
    return int(np.clip(shutil.get_terminal_size((80, 24)).columns, *WIDTHS))


def show(
    found: Audit, subject: Subject, *, top: int, files: dict[str, str], width: int
) -> str:
    """Return the whole report.

    Parameters
    ----------
    found, subject
        What to tell, and of what.
    top : int
        Number of rows at either end.
    files : dict of str to str
        Path of each file, and what it holds.
    width : int
        Of the terminal.
    """
    sections = [_subject(found, subject, width), _scores(found, subject)]
    if top:
        features = by_weight(found.explainer.estimator_, subject.data.X)
        for title, positions in (
            (HARMFUL, found.most_harmful(top)),
            (HELPFUL, found.most_helpful(top)),
        ):
            rows = _rows(found, subject, positions, features, width)
            sections.append([title, *rows])
        sections.append(_legend(found, subject, width))
    if found.agreement is not None:
        on = "each row's own loss" if subject.test is None else "the mean test loss"
        deletion = found.explainer.deletion
        sections.append(_agreement(found.agreement, on, deletion, width))
    sections.append(_files(files, width))
    return "\n\n".join("\n".join(section) for section in sections)


def _subject(found: Audit, subject: Subject, width: int) -> list[str]:
    data, test, features = subject.data, subject.test, subject.features
    kinds = {"numeric": features.numeric, "categorical": features.categorical}
    columns = " and ".join(
        f"{len(names)} {kind}" for kind, names in kinds.items() if names
    )
    noun = "column" if len(features.names) == 1 else "columns"
    entries = {
        "data": f"{data.source}: {plural(len(data), 'row')}, {columns} {noun}",
        "target": f"{subject.target}: {subject.task.describe(data.y)}",
        "model": subject.describe_model(found.explainer.estimator_),
    }
    if test is not None:
        entries["test"] = f"{test.source}: {plural(len(test), 'row')}"
    return definitions(entries, width)


def _scores(found: Audit, subject: Subject) -> list[str]:
    columns = [("", [subject.task.score, subject.task.loss_name])]
    for name, values in found.scores.items():
        score, mean_loss = values["score"], values["mean_loss"]
        cells = [f"{score:.4f}" if score == score else "n/a", number(mean_loss)]
        columns.append((TITLES[name], cells))
    return render(columns, sys.maxsize)


def _rows(
    found: Audit,
    subject: Subject,
    positions: np.ndarray,
    features: Sequence[str],
    width: int,
) -> list[str]:
    if not len(positions):
        return ["  none"]
    table = subject.data.table.iloc[positions]
    rows = [{name: c[i] for name, c in found.rows.items()} for i in positions]
    effects = [row["loo_delta"] / found.effect.mean_loss for row in rows]
    columns = [
        ("row", [str(row["row"]) for row in rows]),
        ("effect", percentages(effects)),
        (clip(subject.target), [_value(row["target"]) for row in rows]),
        ("left out", [clip(subject.task.wording(row), 2 * WIDEST) for row in rows]),
    ]
    needed = len(columns)
    columns += [
        (clip(name), [_value(cell) for cell in table[name]]) for name in features
    ]
    return render(columns, width, needed=needed)


def _value(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else number(value)
    text = str(value).removesuffix(" 00:00:00")  # of a date
    return "" if text in {"<NA>", "NaT", "None"} else clip(text)


def _legend(found: Audit, subject: Subject, width: int) -> list[str]:
    task = subject.task
    entries = {
        "row": "counted from 0 in the data",
        "effect": f"of leaving the row out, on the {task.loss_name} of "
        f"{found.effect.on}, in percent of it",
        "left out": f"prediction for the row by a model without it{task.in_brackets}",
        "the rest": "values of the row, as many as fit, those with most weight first",
    }
    return definitions(entries, width, indent=2)


def _agreement(found: Agreement, on: str, deletion: str, width: int) -> list[str]:
    entries = {
        "correlation": f"{found.pearson:.6f}, slope {found.slope:.6f}",
        "largest error": f"{number(found.max_abs_error, 2)}, largest change "
        f"{number(found.max_abs_change, 2)}",
        "time": f"{found.seconds_predicted:.2g} s for the estimates, "
        f"{found.seconds_refit:.2g} s for the refits",
    }
    refits = plural(found.n_rows, "real refit")
    lines = [f"Checked against {refits}: change of {on}"]
    lines += definitions(entries, width, indent=2)
    if not found.is_good and deletion != "exact":
        lines.append("  These estimates are rough; try --deletion exact.")
    return lines


def _files(files: dict[str, str], width: int) -> list[str]:
    size = max(len(path) for path in files)
    lines = [f"  {path:<{size}}  {what}" for path, what in files.items()]
    if max(map(len, lines)) > width:
        lines = [f"  {path}" for path in files]
    return ["Written", *lines]
