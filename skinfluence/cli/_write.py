"""The files of an audit; each appears whole or not at all."""

import contextlib
import csv
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from skinfluence.cli._errors import UsageError


def check_directory(path: Path) -> None:
    """Refuse, before any work is done, a directory that cannot be made."""
    inside = next(parent for parent in (path, *path.parents) if parent.exists())
    if not inside.is_dir():
        raise UsageError(f"--out {path}: {inside} is a file, not a directory.")
    if not os.access(inside, os.W_OK | os.X_OK):
        raise UsageError(f"--out {path}: no permission to write in {inside}.")


def write_rows(path: Path, columns: dict[str, np.ndarray], order: np.ndarray) -> None:
    """Write named columns as CSV, rows in the given order, empty cells for NaN."""
    cells = [[_cell(value) for value in column[order]] for column in columns.values()]
    with _whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*cells, strict=True))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write strict JSON."""
    with _whole(path) as file:
        file.write(as_json(content) + "\n")


def as_json(content: dict[str, Any]) -> str:
    """Strict JSON: NaN is refused, never written."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _cell(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return "" if value is None or value != value else value


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as place:
            draft = Path(place) / path.name
            with draft.open("w", encoding="utf-8", newline="") as file:
                yield file
            draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
