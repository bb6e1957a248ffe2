"""Numbers and columns of text, aligned and cut to the width of a terminal."""

import math
import textwrap
import unicodedata
from collections.abc import Sequence

import numpy as np

from skinfluence import _plain

GAP, WIDEST = 2, 16


def number(value: float | np.floating | None, digits: int = 4) -> str:
    """A number for a reader, ``n/a`` where it is not known."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return _plain.number(float(value), digits)


def percentages(shares: Sequence[float]) -> list[str]:
    """Signed percentages with one number of decimals, three digits in the largest."""
    largest = max((abs(share) for share in shares if math.isfinite(share)), default=0)
    size = math.floor(math.log10(100 * largest)) if largest > 0 else 0
    decimals = min(max(0, 2 - size), 6)
    return [
        f"{100 * share:+.{decimals}f} %" if math.isfinite(share) else "n/a"
        for share in shares
    ]


def width(text: str) -> int:
    """Number of terminal cells that a text takes."""
    return sum(_cells(character) for character in text)


def clip(text: object, limit: int = WIDEST) -> str:
    """One line of at most ``limit`` cells; what was cut shows as an ellipsis."""
    # Line breaks and control characters of a cell would break the table.
    line = "".join(c if c.isprintable() else " " for c in str(text)).strip()
    if width(line) <= limit:
        return line
    while line and width(line) > limit - 1:
        line = line[:-1]
    return line.rstrip() + "…"


def render(
    columns: Sequence[tuple[str, Sequence[str]]], limit: int, *, needed: int = 0
) -> list[str]:
    """Lay columns side by side, right-aligned, as many as fit.

    Parameters
    ----------
    columns : sequence of (header, cells)
        Cells are short one-line texts.
    limit : int
        Width of the terminal.
    needed : int, default=0
        This many columns are shown even if they do not fit.

    Returns
    -------
    lines : list of str
        Header and rows.
    """
    widths = [max(width(cell) for cell in (head, *cells)) for head, cells in columns]
    shown, used = 0, 0
    for column in widths:
        used += GAP + column
        if used > limit and shown >= needed:
            break
        shown += 1
    rows = zip(*([head, *cells] for head, cells in columns[:shown]), strict=True)
    return ["".join(map(_right, widths, row)) for row in rows]


def _right(size: int, cell: str) -> str:
    return " " * (GAP + size - width(cell)) + cell


def definitions(entries: dict[str, str], limit: int, *, indent: int = 0) -> list[str]:
    """Lay out labels, and to their right texts wrapped to the width of the terminal."""
    size = max(map(len, entries)) + GAP
    return [
        line
        for label, text in entries.items()
        for line in textwrap.wrap(
            text,
            limit,
            initial_indent=" " * indent + f"{label:<{size}}",
            subsequent_indent=" " * (indent + size),
            break_on_hyphens=False,
        )
    ]


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
