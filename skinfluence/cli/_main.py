"""Parse the arguments, run one command, turn errors into exit codes."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from skinfluence import __version__
from skinfluence.cli import _commands, _console
from skinfluence.cli._console import NORMAL, QUIET, VERBOSE, Console
from skinfluence.cli._help import help_of
from skinfluence.exceptions import SkinfluenceError

DESCRIPTION = """\
What did each training row do to this model? Start with

  skinfluence audit DATA.csv --target COLUMN

which fits a model that predicts COLUMN from the other columns, and writes a
report to open in a browser.
"""
EPILOG = """\
skinfluence COMMAND --help tells the options, files and exit codes of each.
Results go to stdout; notes, progress and errors to stderr.
"""
FINE, USER_ERROR, INTERRUPTED = 0, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    code : int
        What the command says, 0 if all went well; 2 if the user has something to put
        right (said in one line on stderr); 130 if interrupted.
    """
    try:
        args = _parser().parse_args(argv)
        return args.run(args, Console(args.level)) or FINE
    except SystemExit as request:  # argparse: --help, --version and bad options
        return int(request.code or FINE)
    except SkinfluenceError as problem:
        _console.error(str(problem))
        return USER_ERROR
    except MemoryError as problem:
        _console.error(f"not enough memory: {problem}. Try fewer rows or columns.")
        return USER_ERROR
    except BrokenPipeError:
        # The reader (`| head`) has gone; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        _console.error("interrupted")
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        plain = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=plain, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        _console.error(f"{message}. See: {self.prog} --help")
        raise SystemExit(USER_ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="skinfluence", description=DESCRIPTION, epilog=EPILOG)
    version = f"skinfluence {__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _commands.COMMANDS:
        child = commands.add_parser(command.NAME, **help_of(command)._asdict())
        command.add_arguments(child)
        _add_verbosity(child)
        child.set_defaults(run=command.run)
    return parser


def _add_verbosity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON for machines, and nothing else, on stdout",
    )
    group = parser.add_mutually_exclusive_group()
    for option, level, help_text in (
        ("--verbose", VERBOSE, "print every step with its time"),
        ("--quiet", QUIET, "print errors only"),
    ):
        group.add_argument(
            option, dest="level", action="store_const", const=level, help=help_text
        )
    parser.set_defaults(level=NORMAL)
