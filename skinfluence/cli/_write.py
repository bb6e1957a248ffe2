"""The files of a command; all appear whole, or none of them."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from skinfluence.cli._errors import UsageError


def check_directory(path: Path, option: str = "--out") -> None:
    """Refuse, before any work is done, a directory that cannot be made."""
    inside = _existing(path)
    if not inside.is_dir():
        raise UsageError(f"{option} {path}: {inside} is a file, not a directory.")
    if not os.access(inside, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path}: no permission to write in {inside}.")


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
    """Write a DataFrame as CSV without its index, empty cells for NaN."""
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write strict JSON."""
    path.write_text(as_json(content) + "\n", encoding="utf-8")


def as_json(content: dict[str, Any]) -> str:
    """Strict JSON: NaN is refused, never written."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
