"""The text of ``--help``: the docstring of a command's module, with shared passages."""

import inspect
from types import ModuleType
from typing import NamedTuple

from skinfluence.cli import _model
from skinfluence.report._health import GOOD_PEARSON, GOOD_SLOPE

KINDS = "\n".join(f"  {name:<11} {model.help}" for name, model in _model.MODELS.items())
MODEL = f"""\
model
  {_model.RULE}.
{KINDS}
  Numbers are scaled, and missing ones replaced by the median. Text is one-hot
  encoded, and missing text replaced by the most frequent one. In a column of
  more than {_model.MAX_CATEGORIES} categories the rarest are put together.
  Left out, with a note: rows without a target, columns with one value, and
  columns of text that differs in most rows (names, not categories).
  MODEL.skops is a fitted scikit-learn model, such as a pipeline, saved by
  skops.io.dump; DATA must be the rows it was fitted to. It gets the columns it
  was fitted to, by name. A skops file is data: types that are not of NumPy,
  SciPy or scikit-learn are refused unless --trust-type names them. MODEL.joblib
  and MODEL.pkl are programs: reading one runs whatever code it holds, so it
  needs --trust."""
FORMULAS = """\
  Text that a spreadsheet would run as a formula (= + - @, a tab or a line break
  in front) gets an apostrophe in front, which can be taken away again; numbers
  do not"""
EXIT = """\
  2 if there is something for you to correct, said in one line
  130 if interrupted"""
SHARED = {
    "model": MODEL,
    "exit": EXIT,
    "formulas": FORMULAS,
    "pearson": GOOD_PEARSON,
    "slope": GOOD_SLOPE,
}


class Help(NamedTuple):
    """The summary of a command, and what stands above and below its options."""

    help: str
    description: str
    epilog: str


def help_of(command: ModuleType) -> Help:
    """Divide the docstring of a command: a sentence, what it does, and all the rest."""
    doc = inspect.getdoc(command) or command.__name__  # python -OO has no docstrings
    sentence, _, text = doc.partition("\n\n")
    description, _, rest = text.partition("{model}")
    summary = sentence[0].lower() + sentence[1:].rstrip(".")
    return Help(summary, description, ("{model}" + rest).format_map(SHARED))
