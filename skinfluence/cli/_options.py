"""Options that the commands share, and what is read by them."""

import argparse
from functools import partial

from skinfluence.cli import _load, _model
from skinfluence.cli._console import Console
from skinfluence.cli._subject import Columns, Source, Subject, choose_subject
from skinfluence.cli._table import read_table

DELETIONS = ("jackknife", "newton", "halley", "exact")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add what is read, what is predicted, and by which model."""
    add = parser.add_argument
    add(
        "data",
        metavar="DATA",
        help="CSV, TSV (also .gz, .bz2, .xz, .zip) or Parquet file",
    )
    add("--target", metavar="COLUMN", help="column to predict (required)")
    add(
        "--model",
        type=_model_name,
        default="auto",
        metavar="MODEL",
        help=f"auto (default), {', '.join(_model.MODELS)}, or a file: MODEL.skops; "
        "see below",
    )


def add_deletion(parser: argparse.ArgumentParser) -> None:
    """Add how rows are left out."""
    parser.add_argument(
        "--deletion",
        choices=DELETIONS,
        default="newton",
        help="how rows are left out: by a linear estimate (jackknife), one Newton step "
        "(default), a corrected one (halley), or steps to convergence (exact)",
    )


def add_test(parser: argparse.ArgumentParser) -> None:
    """Add rows to measure harm on."""
    parser.add_argument(
        "--test", metavar="TEST", help="file of rows to measure harm on; see below"
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add how tables and models are read."""
    add = parser.add_argument_group("reading").add_argument
    add(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="leave a column out; may be repeated",
    )
    add(
        "--weight",
        metavar="COLUMN",
        help="column with the weights of the rows, 0 or more",
    )
    add(
        "--sep",
        type=_separator,
        metavar="CHAR",
        help="separator (default: whichever of , ; tab | splits the header most)",
    )
    add(
        "--decimal",
        choices=(".", ","),
        metavar="MARK",
        help="decimal mark, . or , (default: the comma if columns between semicolons, "
        "tabs or bars look like it)",
    )
    add(
        "--encoding",
        default="utf-8",
        help="encoding of CSV files (default: %(default)s)",
    )
    add(
        "--trust-type",
        action="append",
        default=[],
        metavar="TYPE",
        help="type that MODEL.skops may hold; may be repeated",
    )
    add(
        "--trust",
        action="store_true",
        help="read MODEL.joblib or MODEL.pkl, which runs the code it holds",
    )


def subject_of(args: argparse.Namespace, console: Console) -> Subject:
    """Read the tables and the model, and choose what was left open."""
    with console.step("read", f"Reading {args.data}"):
        test = getattr(args, "test", None)
        return choose_subject(
            _source(args.data, args, console),
            None if test is None else _source(test, args, console),
            columns=Columns(
                args.target,
                weight=args.weight,
                group=getattr(args, "group", None),
                trusted=getattr(args, "trusted", None),
                drop=args.drop,
            ),
            model=args.model,
            console=console,
            load=partial(_load.load, trust=args.trust, trusted=args.trust_type),
        )


def add_count(
    parser: argparse.ArgumentParser, option: str, default: int, what: str
) -> None:
    """Add a number of rows, 0 or more."""
    text = f"{what} (default: %(default)s)"
    parser.add_argument(option, type=_count, default=default, metavar="N", help=text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number, 0 or more")
    return int(text)


def _source(path: str, args: argparse.Namespace, console: Console) -> Source:
    how = {"sep": args.sep, "encoding": args.encoding, "decimal": args.decimal}
    return Source(path, read_table(path, console, **how))


def _model_name(text: str) -> str:
    known = ("auto", *_model.MODELS)
    if text in known or _load.is_file(text):
        return text
    files = ", ".join(_load.SKOPS + _load.PICKLES)
    raise argparse.ArgumentTypeError(
        f"invalid choice: '{text}' (choose from {', '.join(known)}, or a file that ends "
        f"in {files})"
    )


def _separator(text: str) -> str:
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not one character, or tab")
    return text
