"""The one error that the command line adds: something the user can put right."""

import difflib
from collections.abc import Iterable

from skinfluence.exceptions import SkinfluenceError


class UsageError(SkinfluenceError, ValueError):
    """A file, a column or an option cannot be used; the message says what to do."""


def listed(names: Iterable[object], limit: int = 12) -> str:
    """Join names for a message, the first ``limit`` of them."""
    words = [str(name) for name in names]
    shown = ", ".join(words[:limit])
    return shown if len(words) <= limit else f"{shown}, ... ({len(words)} in all)"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Count and noun: ``1 row``, ``2 rows``, ``2 classes``."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def missing_column(source: object, wanted: str, columns: Iterable[object]) -> str:
    """Say that a column is missing, which one may be meant, and which there are."""
    names = [str(column) for column in columns]
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.7)
    same = [name for name in names if name.strip().lower() == wanted.strip().lower()]
    hint = "".join(f" Did you mean '{name}'?" for name in (same or close)[:1])
    return f"{source} has no column '{wanted}'.{hint} Its columns: {listed(names)}."
