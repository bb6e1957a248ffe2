"""Write the table without the rows that look wrong.

Write a copy of a table without the rows that look wrong to a model, and a list
of the rows taken out. DATA itself is never changed.

  skinfluence clean DATA.csv --target COLUMN --out CLEANED.csv

{model}
  A fitted model is fitted again, to all rows and to those kept.

which rows
  --contamination auto takes out rows whose label a model without them
  contradicts, or whose residual is too large to be chance among all the rows
  (Bonferroni at 5 %). A share takes out that share, worst first. Worst by
    loo_loss        the row's own loss by a model without it
    self_influence  how hard the row pulls the model towards itself
    influence       how much the row raises the mean loss of the --trusted rows,
                    or without them of held-out folds; for systematic errors;
                    needs some hundreds of trusted rows
  Rows without a target are not judged, and stay. A class is never emptied.
  Look at the list before you believe it: a rare row is not a wrong one.

files
  CLEANED: the rows kept, each exactly as it stands in DATA (CSV: character by
    character, with quotes, leading zeros and line ends; Parquet: with types).
    CSV from CSV, compressed if the name ends in .gz, .bz2 or .xz; Parquet from
    Parquet. With --action relabel all rows, with new targets where these look
    wrong.
  REMOVED (CLEANED.removed.csv): one line per row taken out or relabelled, worst
    first: row (counted from 0 below the header of DATA), score (higher: worse),
    new target (relabel), and the cells of the row.
{formulas}, nor does CLEANED.

exit code
  0 if all went well, also if no row looks wrong
{exit}
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from skinfluence import InfluenceCleaner
from skinfluence._plain import plain, versions
from skinfluence.cli import _options
from skinfluence.cli._console import QUIET, Console
from skinfluence.cli._data import truths_of
from skinfluence.cli._errors import UsageError, plural
from skinfluence.cli._original import AbstractOriginal, read_original, same_kind
from skinfluence.cli._show import terminal_width
from skinfluence.cli._subject import Subject
from skinfluence.cli._summary import PACKAGES
from skinfluence.cli._table import PARQUET, Table
from skinfluence.cli._text import clip, definitions, number, render
from skinfluence.cli._write import as_json, check_file, together, write_table

NAME = "clean"
CRITERIA = ("loo_loss", "self_influence", "influence")
ACTIONS = ("drop", "relabel")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    _options.add_data(parser)
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        metavar="CLEANED",
        help="file to write the rows kept to (required)",
    )
    add(
        "--removed",
        type=Path,
        metavar="REMOVED",
        help="file to list the others in (default: CLEANED.removed.csv)",
    )
    add("--force", action="store_true", help="replace these files if they exist")
    add(
        "--contamination",
        type=_share,
        default="auto",
        metavar="SHARE",
        help="share of the rows to take out, above 0 and up to 0.5 (default: auto)",
    )
    add(
        "--criterion",
        choices=CRITERIA,
        default="loo_loss",
        help="what makes a row bad (default: %(default)s)",
    )
    add(
        "--action",
        choices=ACTIONS,
        default="drop",
        help="take rows out, or give them the label that a model without them predicts "
        "(default: %(default)s)",
    )
    add(
        "--trusted",
        metavar="COLUMN",
        help="column that says yes (or true, 1) for rows known to be right: never taken "
        "out, and no feature",
    )
    _options.add_count(parser, "--top", 10, "rows to print, worst first")
    _options.add_reading(parser)


@dataclass(frozen=True)
class Cleaned:
    """The rows that look wrong, and those to write.

    Parameters
    ----------
    rows : ndarray of int
        Rows of the file that were taken out or relabelled, worst first.
    scores : ndarray of float
        How bad each is, higher is worse.
    labels : list or None
        New targets of these rows, as written in the file; None if rows were taken out.
    kept : ndarray of int
        Rows of the file to write.
    like : dict of int to int
        Relabelled row to one that has its new target.
    """

    rows: np.ndarray
    scores: np.ndarray
    labels: list[str] | None
    kept: np.ndarray
    like: dict[int, int]


def run(args: argparse.Namespace, console: Console) -> None:
    """Judge the rows, write those kept and a list of the others.

    Parameters
    ----------
    args : Namespace
        Parsed options of the command.
    console : Console
        Prints results and notes.
    """
    out, removed = _outputs(args)
    subject = _options.subject_of(args, console)
    original = read_original(
        args.data,
        subject.data.n_read,
        subject.target,
        sep=args.sep,
        encoding=args.encoding,
    )
    cleaned = _clean(subject, original, args, console)
    with console.step("write", "Writing the rows"):
        with together(removed.parent, ()) as place:
            write_table(place / removed.name, _list(cleaned, original))
        with together(out.parent, ()) as place:
            original.write(place / out.name, cleaned.kept, cleaned.like)
    if args.json:
        content = _content(cleaned, subject, args)
        about = {"seconds": console.seconds, "notes": console.notes}
        content |= about | {"files": [str(out), str(removed)]}
        console.json(as_json(plain(content)))
    else:
        lines = _lines(cleaned, original, subject, args)
        lines += ["", "Written", f"  {out}", f"  {removed}"]
        console.result("\n".join(lines))


def _outputs(args: argparse.Namespace) -> tuple[Path, Path]:
    """Paths to write to, refused if they would destroy anything."""
    out = args.out
    if out is None:
        raise UsageError("Name a new file for the rows kept: --out CLEANED.csv.")
    if out.suffix.lower() in (".zip", ".zst"):
        raise UsageError(f"--out {out}: write .csv, .csv.gz, .csv.bz2 or .csv.xz.")
    if not same_kind(out, args.data):
        kind = "Parquet" if Path(args.data).suffix.lower() in PARQUET else "CSV"
        raise UsageError(
            f"--out {out}: {args.data} is {kind}, so the copy must be too."
        )
    removed = args.removed or out.with_name(f"{out.name.split('.')[0]}.removed.csv")
    for option, path in (("--out", out), ("--removed", removed)):
        check_file(path, option, inputs=(args.data, args.model), force=args.force)
    if out.resolve() == removed.resolve():
        raise UsageError(f"--out and --removed are one file, {out}; name two.")
    return out, removed


def _clean(
    subject: Subject,
    original: AbstractOriginal,
    args: argparse.Namespace,
    console: Console,
) -> Cleaned:
    data, trusted = subject.data, None
    if args.trusted is not None:
        trusted = truths_of(data.table[args.trusted], data.source)
    with console.step("clean", f"Judging {plural(len(data), 'row')}"):
        cleaner = InfluenceCleaner(
            clone(subject.estimator),
            criterion=args.criterion,
            contamination=args.contamination,
            action=args.action,
            random_state=0,
            verbose=int(console.level > QUIET),
        ).fit(data.X, data.y, sample_weight=data.weight, trusted=trusted)
    chosen = cleaner.cleaned_indices_
    order = np.argsort(-cleaner.row_scores_[chosen], kind="stable")
    chosen = chosen[order]
    rows, scores = data.rows[chosen], cleaner.row_scores_[chosen]
    everything = np.arange(data.n_read)
    if args.action == "drop":
        return Cleaned(rows, scores, None, np.setdiff1d(everything, rows), {})
    labels = cleaner.cleaned_labels_[order]
    models = [int(data.rows[np.argmax(data.y == label)]) for label in labels]
    like = dict(zip(rows.tolist(), models, strict=True))
    words = [original.target_of(row) for row in models]
    return Cleaned(rows, scores, words, everything, like)


def _list(cleaned: Cleaned, original: AbstractOriginal) -> Table:
    import pandas as pd

    cells = [original.cells(int(row)) for row in cleaned.rows]
    first: dict[str, Any] = {"row": cleaned.rows, "score": cleaned.scores}
    if cleaned.labels is not None:
        first["new target"] = cleaned.labels
    columns = pd.DataFrame(cells, columns=original.names, dtype=object)
    return pd.concat([pd.DataFrame(first), columns], axis=1)


def _lines(
    cleaned: Cleaned,
    original: AbstractOriginal,
    subject: Subject,
    args: argparse.Namespace,
) -> list[str]:
    data, width, labels = subject.data, terminal_width(), cleaned.labels
    n, done = len(cleaned.rows), "taken out" if labels is None else "relabelled"
    entries = {
        "data": f"{data.source}: {plural(data.n_read, 'row')}",
        "target": f"{subject.target}: {subject.task.describe(data.y)}",
        "model": subject.model,
        done: f"{plural(n, 'row')} ({n / data.n_read:.2%}), by {args.criterion}",
    }
    lines = definitions(entries, width)
    rows = cleaned.rows[: args.top].tolist()
    if not rows:
        return lines
    columns = [
        ("row", [str(row) for row in rows]),
        ("score", [number(score) for score in cleaned.scores[: len(rows)]]),
        (clip(subject.target), [clip(original.target_of(row)) for row in rows]),
    ]
    if labels is not None:
        columns.append(("new", [clip(label) for label in labels[: len(rows)]]))
    needed = len(columns)
    cells = [original.cells(row) for row in rows]
    columns += [
        (clip(name), [clip(row[j]) for row in cells])
        for j, name in enumerate(original.names)
        if name in subject.features.names
    ]
    return [*lines, "", "Worst first", *render(columns, width, needed=needed)]


def _content(
    cleaned: Cleaned, subject: Subject, args: argparse.Namespace
) -> dict[str, Any]:
    rows = {"row": cleaned.rows, "score": cleaned.scores}
    labels = {} if cleaned.labels is None else {"new_target": cleaned.labels}
    return {
        "command": NAME,
        "versions": versions(*PACKAGES),
        "data": subject.data.source,
        "target": subject.target,
        "model": subject.model,
        "criterion": args.criterion,
        "contamination": args.contamination,
        "action": args.action,
        "rows_read": subject.data.n_read,
        "rows_written": len(cleaned.kept),
        "cleaned": {**rows, **labels},
    }


def _share(text: str) -> str | float:
    if text == "auto":
        return text
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 0.5:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not auto or a share of the rows, above 0 and up to 0.5"
        )
    return share
