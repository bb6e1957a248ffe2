"""Compare the estimates with real refits, row by row.

Leave rows out for real, refit the model without each, and compare the change
of the loss with what was predicted without refitting.

  skinfluence check DATA.csv --target COLUMN

{model}

what is compared
  The change of each row's own loss when it is left out or, with --test, of the
  mean loss of TEST; and the parameters. Both are without the row minus with it.
  What is learned before the model (scales, categories) is learned again without
  the row in both, but for what is printed as held; hyper-parameters (alpha) stay
  fixed.

file OUT
  row, predicted, refit, error: one line per row that was left out, the largest
  error first; rows are counted from 0 below the header of DATA. A file that
  exists is not replaced without --force

exit code
  0 if they agree: correlation {pearson} or more, slope within {slope} of 1
  1 if they do not; try --deletion exact
{exit}
"""

import argparse
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skinfluence import InfluenceExplainer
from skinfluence._plain import plain, versions
from skinfluence.cli import _options
from skinfluence.cli._agreement import Agreement, check_rows
from skinfluence.cli._audit import fit_explainer
from skinfluence.cli._console import Console
from skinfluence.cli._errors import UsageError, plural
from skinfluence.cli._show import agreement_lines, subject_lines, terminal_width
from skinfluence.cli._subject import Subject
from skinfluence.cli._summary import PACKAGES
from skinfluence.cli._table import Table
from skinfluence.cli._text import number, render
from skinfluence.cli._write import as_json, check_file, together, write_table
from skinfluence.report._health import GOOD_PEARSON, GOOD_SLOPE

NAME = "check"
AGREES, DISAGREES = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    _options.add_data(parser)
    rows = "rows to refit without, drawn at random, the same ones each time"
    _options.add_count(parser, "--rows", 100, rows)
    _options.add_deletion(parser)
    _options.add_test(parser)
    parser.add_argument(
        "--out", type=Path, metavar="OUT", help="also write these rows to a CSV file"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace this file if it exists"
    )
    _options.add_count(parser, "--top", 5, "rows to print, the largest errors first")
    _options.add_reading(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Fit, refit, compare.

    Parameters
    ----------
    args : Namespace
        Parsed options of the command.
    console : Console
        Prints results and notes.

    Returns
    -------
    code : int
        0 if estimates and refits agree, else 1.
    """
    if not args.rows:
        raise UsageError("--rows 0 leaves nothing to compare; give 1 or more.")
    if args.out is not None:
        inputs = [path for path in (args.data, args.model, args.test) if path]
        check_file(args.out, "--out", inputs=inputs, force=args.force)
    subject = _options.subject_of(args, console)
    explainer = fit_explainer(subject, args.deletion, console)
    rows_out = plural(min(args.rows, len(subject.data)), "row")
    with console.step("check", f"Refitting without each of {rows_out}"):
        result = check_rows(explainer, subject, args.rows)
    if not len(result.rows):
        raise UsageError(
            f"None of {rows_out} of {subject.data.source} can be left out: without one, "
            "the others do not determine the model. Use --model ridge, or --drop columns."
        )
    table, agreement = _table(result, subject), Agreement.of(result)
    if args.out is not None:
        with together(args.out.parent, ()) as place:
            write_table(place / args.out.name, table)
    files = [] if args.out is None else [str(args.out)]
    if args.json:
        content = _content(agreement, explainer, subject, table)
        about = {"seconds": console.seconds, "notes": console.notes, "files": files}
        console.json(as_json(plain(content | about)))
    else:
        lines = _lines(agreement, explainer, subject, table, args.top)
        lines += ["", "Written", f"  {args.out}"] if files else []
        console.result("\n".join(lines))
    return AGREES if agreement.is_good else DISAGREES


def _table(result: Bunch, subject: Subject) -> Table:
    """One row per refit, by row of the file, the largest error first."""
    import pandas as pd

    predicted, refit = result.predicted, result.refit
    error = predicted - refit
    columns = {"predicted": predicted, "refit": refit, "error": error}
    table = pd.DataFrame({"row": subject.data.rows[result.rows], **columns})
    return table.iloc[np.argsort(-np.abs(error), kind="stable")]


def _lines(
    agreement: Agreement,
    explainer: InfluenceExplainer,
    subject: Subject,
    table: Table,
    top: int,
) -> list[str]:
    width, error = terminal_width(), agreement.param_error
    lines = [
        *subject_lines(explainer, subject, width),
        "",
        *agreement_lines(agreement, subject, explainer.deletion, width),
        f"  parameters     largest error {error:.2g} of the largest change",
    ]
    if top:
        cells = [(name, [number(x) for x in table[name][:top]]) for name in table]
        lines += ["", "Largest errors", *render(cells, width)]
    verdict = "The estimates agree with the refits."
    if not agreement.is_good:
        verdict = (
            f"The estimates DISAGREE with the refits (correlation below {GOOD_PEARSON}, "
            f"or slope more than {GOOD_SLOPE} from 1)."
        )
    return [*lines, "", *textwrap.wrap(verdict, width)]


def _content(
    agreement: Agreement, explainer: InfluenceExplainer, subject: Subject, table: Table
) -> dict[str, Any]:
    return {
        "command": NAME,
        "versions": versions(*PACKAGES),
        "data": subject.data.source,
        "test": None if subject.test is None else subject.test.source,
        "target": subject.target,
        "model": subject.describe_model(explainer.estimator_),
        "deletion": explainer.deletion,
        "agrees": agreement.is_good,
        "thresholds": {"pearson": GOOD_PEARSON, "slope": GOOD_SLOPE},
        "agreement": vars(agreement),
        "rows": table.to_dict("list"),
    }
