"""``skinfluence audit``: fit a model to a table and rank its rows."""

import argparse
from pathlib import Path

from skinfluence.cli import _model
from skinfluence.cli._audit import audit
from skinfluence.cli._console import Console
from skinfluence.cli._show import show, terminal_width
from skinfluence.cli._subject import Source, choose_subject
from skinfluence.cli._summary import summary
from skinfluence.cli._table import read_table
from skinfluence.cli._write import as_json, check_directory, write_json, write_rows

NAME = "audit"
SUMMARY = "rank the rows of a table by what they did to a model"
DESCRIPTION = """\
Fit a linear, ridge or logistic model to a table. Say which rows help it and
which harm it, how well it predicts each row from the others, and how well these
estimates agree with really refitting the model without a row.
"""
MOST = _model.MAX_CATEGORIES
EPILOG = f"""\
model
  {_model.RULE}.
  linear is LinearRegression; ridge is RidgeCV, its alpha then held; logistic is
  LogisticRegression with C=1. Numbers are scaled, and missing ones replaced by
  the median. Text is one-hot encoded, missing text replaced by the most
  frequent one, and the rarest put together in a column of more than {MOST}.
  Left out, with a note: rows without a target, columns with one value, and
  columns of text that differs in most rows (names, not categories).

harm and help
  A row is harmful if the mean loss falls when the model is fitted without it,
  and helpful if it rises. The mean is over the rows of TEST. Without --test it
  is over the other rows of DATA, except the tenth with the largest
  leave-one-out loss: with these, a wrong row would seem to help others like it.
  The loss is half the squared error, or the log loss. What was learned before
  the model (medians, scales, categories, alpha) is held.

files in DIR
  influence.csv: one line per training row, most harmful first
    row              row in DATA, counted from 0 below the header
    influence        derivative of the mean loss in the weight of the row
                     (positive: the row is harmful)
    loo_delta        mean loss without the row minus with it (negative: harmful)
    target           the row's own value
    prediction       of the model with all rows, and its probability (logistic)
    loo_prediction   of a model without the row, and its loo_probability
    loss, loo_loss   the row's own loss under these two models
    self_influence   influence on the row's own loss (0 or less; the more
                     negative, the more the model follows the row)
  summary.json: what is printed, with settings, versions and times

exit code
  0 if all went well; 2 if you have something to put right, told in one line
"""
DELETIONS = ("jackknife", "newton", "exact")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("data", metavar="DATA", help="CSV (also .gz, .bz2, .xz, .zip) or Parquet file")
    add("--target", metavar="COLUMN", help="column to predict (required)")
    add("--model", choices=("auto", *_model.MODELS), default="auto", help="see below")
    add("--test", metavar="TEST", help="file of rows to measure harm on; see below")
    add(
        "--deletion",
        choices=DELETIONS,
        default="newton",
        help="how rows are left out: linear estimate, one Newton step (default), or to "
        "convergence",
    )
    add(
        "--top",
        type=_count,
        default=10,
        metavar="N",
        help="rows to print at either end (default: %(default)s)",
    )
    add(
        "--check",
        type=_count,
        default=50,
        metavar="N",
        help="rows to refit without, to check the estimates (default: %(default)s; "
        "0: none)",
    )
    add(
        "--out",
        type=Path,
        default=Path("skinfluence-audit"),
        metavar="DIR",
        help="where the files go (default: %(default)s)",
    )
    add("--json", action="store_true", help="print summary.json instead of the report")
    reading = parser.add_argument_group("reading")
    add = reading.add_argument
    add(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="leave a column out; may be repeated",
    )
    add(
        "--sep",
        type=_separator,
        metavar="CHAR",
        help="separator (default: whichever of , ; tab | splits the header most)",
    )
    add("--encoding", default="utf-8", help="of CSV files (default: %(default)s)")


def run(args: argparse.Namespace, console: Console) -> None:
    """Read, audit, write, print.

    Parameters
    ----------
    args : Namespace
        Of ``add_arguments``.
    console : Console
        Where words go.
    """
    with console.step("read", f"Reading {args.data}"):
        source = _source(args.data, args, console)
        test = None if args.test is None else _source(args.test, args, console)
    subject = choose_subject(
        source,
        test,
        target=args.target,
        model=args.model,
        drop=args.drop,
        console=console,
    )
    check_directory(args.out)
    found = audit(subject, deletion=args.deletion, check=args.check, console=console)
    files = {
        "influence.csv": "one line per training row, most harmful first",
        "summary.json": "all of the above, settings and times",
    }
    files = {str(args.out / name): what for name, what in files.items()}
    rows, numbers = map(Path, files)
    content = summary(found, subject, top=args.top, files=list(files), console=console)
    write_rows(rows, found.rows, found.order)
    write_json(numbers, content)
    if args.json:
        text = as_json(content)
    else:
        text = show(found, subject, top=args.top, files=files, width=terminal_width())
    console.result(text)


def _source(path: str, args: argparse.Namespace, console: Console) -> Source:
    table = read_table(path, console, sep=args.sep, encoding=args.encoding)
    return Source(path, table)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number, 0 or more")
    return int(text)


def _separator(text: str) -> str:
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not one character, or tab")
    return text
