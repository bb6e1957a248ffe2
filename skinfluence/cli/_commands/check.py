"""``skinfluence check``: do the estimates agree with really refitting the model?"""

import argparse
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from skinfluence.cli._agreement import GOOD_PEARSON, GOOD_SLOPE, Agreement, refitted
from skinfluence.cli._audit import explained
from skinfluence.cli._console import Console
from skinfluence.cli._errors import UsageError, plural
from skinfluence.cli._options import (
    EXIT,
    MODEL_HELP,
    add_data,
    add_deletion,
    add_reading,
    add_test,
    count,
    subject_of,
)
from skinfluence.cli._show import agreement, subject_lines, terminal_width
from skinfluence.cli._subject import Subject
from skinfluence.cli._summary import plain, versions
from skinfluence.cli._text import number, render
from skinfluence.cli._write import as_json, check_directory, together, write_table

NAME = "check"
SUMMARY = "compare the estimates with real refits, row by row"
DESCRIPTION = """\
Leave rows out for real, refit the model without each, and compare the change
of the loss with what was predicted without refitting.

  skinfluence check DATA.csv --target COLUMN
"""
AGREES, DISAGREES = 0, 1
EPILOG = f"""\
{MODEL_HELP}

what is compared
  The change of each row's own loss when it is left out or, with --test, of the
  mean loss of TEST; and the parameters. Both are without the row minus with it.
  What was learned before the model (medians, scales, categories, alpha) is
  held in both.

file OUT
  row, predicted, refit, error: one line per row that was left out, the largest
  error first; rows are counted from 0 below the header of DATA

exit code
  0 if they agree: correlation {GOOD_PEARSON} or more, slope within {GOOD_SLOPE} of 1
  1 if they do not; try --deletion exact
{EXIT}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_data(parser)
    add = parser.add_argument
    add(
        "--rows",
        type=count,
        default=100,
        metavar="N",
        help="rows to refit without, drawn at random, the same ones each time "
        "(default: %(default)s)",
    )
    add_deletion(parser)
    add_test(parser)
    add("--out", type=Path, metavar="OUT", help="also write these rows to a CSV file")
    add(
        "--top",
        type=count,
        default=5,
        metavar="N",
        help="rows to print, the largest errors first (default: %(default)s)",
    )
    add_reading(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Fit, refit, compare.

    Parameters
    ----------
    args : Namespace
        Of ``add_arguments``.
    console : Console
        Where words go.

    Returns
    -------
    code : int
        0 if estimates and refits agree, else 1.
    """
    if not args.rows:
        raise UsageError("--rows 0 leaves nothing to compare; give 1 or more.")
    subject = subject_of(args, console)
    if args.out is not None:
        check_directory(args.out.parent)
    explainer = explained(subject, args.deletion, console)
    rows_out = plural(min(args.rows, len(subject.data)), "row")
    with console.step("check", f"Refitting without each of {rows_out}"):
        found = refitted(explainer, subject, args.rows)
    if not len(found.rows):
        raise UsageError(
            f"None of {rows_out} of {subject.data.source} can be left out: without one, "
            "the others do not determine the model. Use --model ridge, or --drop columns."
        )
    table = _table(found, subject)
    if args.out is not None:
        with together(args.out.parent, ()) as place:
            write_table(place / args.out.name, table)
    verdict = Agreement.of(found)
    if args.json:
        content = _content(verdict, explainer, subject, table, args, console)
        console.json(as_json(plain(content)))
    else:
        lines = _lines(verdict, explainer, subject, table, args.top)
        if args.out is not None:
            lines += ["", "Written", f"  {args.out}"]
        console.result("\n".join(lines))
    return AGREES if verdict.is_good else DISAGREES


def _table(found: Any, subject: Subject) -> Any:
    """One row per refit, by row of the file, the largest error first."""
    import pandas as pd

    error = found.predicted - found.refit
    table = pd.DataFrame(
        {
            "row": subject.data.rows[found.rows],
            "predicted": found.predicted,
            "refit": found.refit,
            "error": error,
        }
    )
    return table.iloc[np.argsort(-np.abs(error), kind="stable")]


def _lines(
    verdict: Agreement, explainer: Any, subject: Subject, table: Any, top: int
) -> list[str]:
    width = terminal_width()
    on = "each row's own loss" if subject.test is None else "the mean test loss"
    lines = [
        *subject_lines(explainer, subject, width),
        "",
        *agreement(verdict, on, explainer.deletion, width),
        f"  parameters     largest error {verdict.param_error:.2g} of the largest change",
    ]
    if top:
        cells = [
            (name, [number(value) for value in table[name][:top]]) for name in table
        ]
        lines += ["", "Largest errors", *render(cells, width)]
    return [*lines, "", *textwrap.wrap(_verdict(verdict), width)]


def _verdict(found: Agreement) -> str:
    if found.is_good:
        return "The estimates agree with the refits."
    return (
        f"The estimates DISAGREE with the refits (correlation below {GOOD_PEARSON}, or "
        f"slope more than {GOOD_SLOPE} from 1)."
    )


def _content(
    verdict: Agreement,
    explainer: Any,
    subject: Subject,
    table: Any,
    args: argparse.Namespace,
    console: Console,
) -> dict[str, Any]:
    return {
        "command": NAME,
        "versions": versions(),
        "data": subject.data.source,
        "test": None if subject.test is None else subject.test.source,
        "target": subject.target,
        "model": subject.describe_model(explainer.estimator_),
        "deletion": explainer.deletion,
        "agrees": verdict.is_good,
        "thresholds": {"pearson": GOOD_PEARSON, "slope": GOOD_SLOPE},
        "agreement": vars(verdict),
        "rows": table.to_dict("list"),
        "seconds": console.seconds,
        "notes": console.notes,
        "files": [] if args.out is None else [str(args.out)],
    }
