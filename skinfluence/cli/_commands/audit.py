"""Rank the rows of a table by what they did to a model.

Fit a linear, logistic or generalized linear model to a table. Say which rows
help it and which harm it, how well it predicts each row from the others, and
how well these estimates agree with really refitting the model without a row.

  skinfluence audit DATA.csv --target COLUMN

{model}

harm and help
  A row is harmful if the mean loss falls when the model is fitted without it,
  and helpful if it rises. The mean is over the rows of TEST. Without --test it
  is over the other rows of DATA, except the tenth with the largest
  leave-one-out loss: with these, a wrong row would seem to help others like it.
  The loss is what the model minimises: half the squared error, the log loss,
  half the deviance, and so on. What is learned before the model (scales,
  categories) is learned again without the row, but for what is printed as
  held; hyper-parameters (alpha) stay fixed.

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
  The files of an earlier audit in DIR are replaced, with a note; other files of
  these names are not, without --force.
{formulas}.

exit code
  0 if all went well
{exit}
"""

import argparse
from pathlib import Path

from skinfluence.cli import _options
from skinfluence.cli._audit import Audit, audit
from skinfluence.cli._console import Console
from skinfluence.cli._show import show, terminal_width
from skinfluence.cli._subject import Subject
from skinfluence.cli._summary import summary
from skinfluence.cli._table import Table
from skinfluence.cli._write import (
    as_json,
    check_files,
    together,
    write_json,
    write_table,
)
from skinfluence.exceptions import MissingDependencyError, UnsupportedEstimatorError
from skinfluence.study import study_of

NAME = "audit"
FILES = {
    "report.html": "the report, for a browser",
    "influence.csv": "one line per training row, most harmful first",
    "diagnostics.csv": "textbook diagnostics of each row",
    "summary.json": "all of the above, settings and times",
}
# Cells of diagnostics.csv: a gigabyte of text.
MOST_CELLS = 5e7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    _options.add_data(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("skinfluence-audit"),
        metavar="DIR",
        help="directory for the files (default: %(default)s)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace files of these names that are not of an earlier audit",
    )
    _options.add_test(parser)
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="also say what leaving out all rows with one value of COLUMN does; the "
        "column is then no feature",
    )
    _options.add_deletion(parser)
    _options.add_count(parser, "--top", 10, "rows to print at either end")
    refits = "rows to refit without, to check the estimates; 0 for none"
    _options.add_count(parser, "--check", 50, refits)
    _options.add_reading(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    """Read, audit, write, print.

    Parameters
    ----------
    args : Namespace
        Parsed options of the command.
    console : Console
        Prints results and notes.
    """
    if check_files(args.out, FILES, force=args.force):
        console.note(f"the files of an earlier audit in {args.out} are replaced")
    subject = _options.subject_of(args, console)
    top = args.top
    audited = audit(
        subject, deletion=args.deletion, check=args.check, top=top, console=console
    )
    with together(args.out, FILES) as place:
        _write(audited, subject, place, console)
        names = [name for name in FILES if (place / name).exists()]
        files = {str(args.out / name): FILES[name] for name in [*names, "summary.json"]}
        content = summary(audited, subject, top=top, files=list(files), console=console)
        write_json(place / "summary.json", content)
    if args.json:
        console.json(as_json(content))
    else:
        width = terminal_width()
        console.result(show(audited, subject, top=top, files=files, width=width))


def _write(audited: Audit, subject: Subject, place: Path, console: Console) -> None:
    with console.step("report", "Writing the report"):
        try:
            audited.report.write_html(place / "report.html")
        except MissingDependencyError as missing:
            console.note(f"no report.html: {missing}")
    with console.step("write", "Writing the tables"):
        write_table(place / "influence.csv", audited.rows.iloc[audited.order])
        table = _diagnostics(audited, subject, console)
        if table is not None:
            write_table(place / "diagnostics.csv", table)


def _diagnostics(audited: Audit, subject: Subject, console: Console) -> Table | None:
    """Textbook columns by row of the file, or None where the model has none."""
    explainer = audited.explainer
    objective = study_of(explainer).objective
    n_coefficients = objective.design.n_features * objective.layout.n_outputs
    if explainer.n_train_ * (n_coefficients + 13) > MOST_CELLS:
        console.note("no diagnostics.csv: it would be more than a gigabyte of text")
        return None
    try:
        table = explainer.diagnostics()
    except UnsupportedEstimatorError:
        return None  # a note of the report says so
    table.insert(0, "row", subject.data.rows)
    return table
