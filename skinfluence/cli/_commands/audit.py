"""``skinfluence audit``: fit a model to a table and rank its rows."""

import argparse
from pathlib import Path

from skinfluence.cli._audit import Audit, audit
from skinfluence.cli._console import Console
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
from skinfluence.cli._show import show, terminal_width
from skinfluence.cli._subject import Subject
from skinfluence.cli._summary import summary
from skinfluence.cli._write import (
    as_json,
    check_directory,
    together,
    write_json,
    write_table,
)
from skinfluence.exceptions import MissingDependencyError, UnsupportedEstimatorError

NAME = "audit"
SUMMARY = "rank the rows of a table by what they did to a model"
DESCRIPTION = """\
Fit a linear, logistic or generalized linear model to a table. Say which rows
help it and which harm it, how well it predicts each row from the others, and
how well these estimates agree with really refitting the model without a row.

  skinfluence audit DATA.csv --target COLUMN
"""
EPILOG = f"""\
{MODEL_HELP}

harm and help
  A row is harmful if the mean loss falls when the model is fitted without it,
  and helpful if it rises. The mean is over the rows of TEST. Without --test it
  is over the other rows of DATA, except the tenth with the largest
  leave-one-out loss: with these, a wrong row would seem to help others like it.
  The loss is what the model minimises: half the squared error, the log loss,
  half the deviance, and so on. What was learned before the model (medians,
  scales, categories, alpha) is held.

files in DIR
  report.html: the report to open in a browser (needs jinja2; figures:
  matplotlib; both come with skinfluence[cli])
  influence.csv: one line per training row, most harmful first
    row              row in DATA, counted from 0 below the header
    influence        derivative of the mean loss in the weight of the row
                     (positive: the row is harmful)
    loo_delta        mean loss without the row minus with it (negative: harmful)
    group            its group (with --group)
    target           the row's own value
    prediction       of the model with all rows
    loo_prediction   of a model without the row
    p_target, loo_p_target
                     probability of the row's own label under both (logistic)
    loss, loo_loss   the row's own loss under both
    self_influence   influence on the row's own loss (0 or less; the more
                     negative, the more the model follows the row)
    leverage, resid_studentized_external, cooks_distance
                     textbook diagnostics, where the model has them
  diagnostics.csv: all textbook diagnostics (leverage, residuals, Cook's
    distance, DFFITS, DFBETAS, COVRATIO) by row, where the model has them
  summary.json: what is printed, with settings, versions and times

exit code
  0 if all went well
{EXIT}
"""
# Numbers in diagnostics.csv, a gigabyte of text.
MOST_NUMBERS = 5e7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_data(parser)
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=Path("skinfluence-audit"),
        metavar="DIR",
        help="where the files go (default: %(default)s)",
    )
    add_test(parser)
    add(
        "--group",
        metavar="COLUMN",
        help="also say what leaving out all rows with one value of COLUMN does; it is "
        "no feature then",
    )
    add_deletion(parser)
    add(
        "--top",
        type=count,
        default=10,
        metavar="N",
        help="rows to print at either end (default: %(default)s)",
    )
    add(
        "--check",
        type=count,
        default=50,
        metavar="N",
        help="rows to refit without, to check the estimates (default: %(default)s; "
        "0: none)",
    )
    add_reading(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    """Read, audit, write, print.

    Parameters
    ----------
    args : Namespace
        Of ``add_arguments``.
    console : Console
        Where words go.
    """
    subject = subject_of(args, console)
    check_directory(args.out)
    found = audit(
        subject, deletion=args.deletion, check=args.check, top=args.top, console=console
    )
    with together(args.out, FILES) as place:
        _write(found, subject, place, console)
        names = [name for name in FILES if (place / name).exists()]
        files = {str(args.out / name): FILES[name] for name in [*names, "summary.json"]}
        content = summary(
            found, subject, top=args.top, files=list(files), console=console
        )
        write_json(place / "summary.json", content)
    if args.json:
        console.json(as_json(content))
    else:
        width = terminal_width()
        console.result(show(found, subject, top=args.top, files=files, width=width))


FILES = {
    "report.html": "the report, for a browser",
    "influence.csv": "one line per training row, most harmful first",
    "diagnostics.csv": "textbook diagnostics of each row",
    "summary.json": "all of the above, settings and times",
}


def _write(found: Audit, subject: Subject, place: Path, console: Console) -> None:
    with console.step("report", "Writing the report"):
        try:
            found.report.write_html(place / "report.html")
        except MissingDependencyError as missing:
            console.note(f"no report.html: {missing}")
    with console.step("write", "Writing the tables"):
        write_table(place / "influence.csv", found.rows.iloc[found.order])
        table = _diagnostics(found, subject, console)
        if table is not None:
            write_table(place / "diagnostics.csv", table)


def _diagnostics(found: Audit, subject: Subject, console: Console) -> object:
    """Textbook columns by row of the file, or None where the model has none."""
    explainer = found.explainer
    n_numbers = explainer.n_train_ * (explainer.effective_dof_ + 13)
    if n_numbers > MOST_NUMBERS:
        console.note("no diagnostics.csv: it would be more than a gigabyte of text")
        return None
    try:
        table = explainer.diagnostics()
    except UnsupportedEstimatorError:
        return None  # said by a note of the report
    table.insert(0, "row", subject.data.rows)
    return table
