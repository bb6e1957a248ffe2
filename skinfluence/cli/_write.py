"""The files of a command; all appear whole, or none of them."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from skinfluence.cli._errors import UsageError, listed

# Text that a spreadsheet takes for a formula; an apostrophe in front makes it text again.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
# A signed number, with the marks of any country.
_NUMBER = re.compile(r"[+-](inf|[\d., ]*\d[.,]?(e[+-]?\d+)?\s*%?)", re.IGNORECASE)


def check_directory(path: Path, option: str = "--out") -> None:
    """Refuse, before any work is done, a directory that cannot be made."""
    inside = _existing(path)
    if not inside.is_dir():
        raise UsageError(f"{option} {path}: {inside} is a file, not a directory.")
    if not os.access(inside, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path}: no permission to write in {inside}.")


def check_file(path: Path, option: str, *, inputs: Iterable[str], force: bool) -> None:
    """Refuse, before any work is done, a file that would destroy another."""
    if path.exists() and any(
        path.samefile(read) for read in inputs if Path(read).exists()
    ):
        raise UsageError(f"{option} {path} is an input; name another file.")
    if path.is_dir():
        raise UsageError(f"{option} {path} is a directory; name a file.")
    if path.exists() and not force:
        raise UsageError(f"{option} {path} exists; add --force to replace it.")
    check_directory(path.parent, option)


def check_files(directory: Path, names: Iterable[str], *, force: bool) -> bool:
    """Whether files of these names replace those of an earlier run; refuse other files.

    An earlier run is known by its ``summary.json``.
    """
    check_directory(directory)
    there = [name for name in names if (directory / name).exists()]
    if not there:
        return False
    if _is_summary(directory / "summary.json"):
        return True
    if not force:
        raise UsageError(
            f"--out {directory} holds {listed(there)}, but no summary.json of an earlier "
            "audit; name another directory, or add --force to replace them."
        )
    return False


def _is_summary(path: Path) -> bool:
    """Whether a file is what ``write_json`` wrote about an audit."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("command") == "audit"


@contextlib.contextmanager
def together(directory: Path, names: Iterable[str]) -> Iterator[Path]:
    """Give a place to write files, which move to ``directory`` when all are there.

    Files of these names that an earlier run left there, and this one has not written,
    are removed: they would be about other data.
    """
    try:
        with tempfile.TemporaryDirectory(
            prefix=".skinfluence-", dir=_existing(directory)
        ) as place:
            yield Path(place)
            directory.mkdir(parents=True, exist_ok=True)
            written = {draft.name: draft for draft in Path(place).iterdir()}
            for name in set(names) - set(written):
                (directory / name).unlink(missing_ok=True)
            for name, draft in written.items():
                draft.replace(directory / name)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}.") from None


def write_table(path: Path, table: Any) -> None:
    """Write a DataFrame as CSV without its index, empty cells for NaN.

    Text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    import pandas as pd

    table = table.rename(columns=as_text)  # a copy
    for place, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            table.isetitem(place, table.iloc[:, place].map(as_text))
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def as_text(cell: Any) -> Any:
    """Text that no spreadsheet takes for a formula; numbers, and anything else, as it is.

    Formulas begin with one of ``= + - @``, a tab or a line break. They, and the same
    behind apostrophes, get one apostrophe more, so that taking one away gives the text
    back.
    """
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write strict JSON."""
    path.write_text(as_json(content) + "\n", encoding="utf-8")


def as_json(content: dict[str, Any]) -> str:
    """Strict JSON: NaN is refused, never written."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
