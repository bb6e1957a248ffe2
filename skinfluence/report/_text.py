"""Numbers and texts as the page shows them."""

import math

import numpy as np

from skinfluence import _plain

# Of longer texts the page shows the beginning.
_LONGEST = 200


def number(value: float | None, digits: int = 4) -> str:
    """A number to read, a dash for none."""
    if value is None or math.isnan(value):
        return "–"  # noqa: RUF001
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return _plain.number(value, digits)


def shown(value: object) -> str:
    """Any cell as text: numbers short, long texts cut, the rest as it is."""
    if isinstance(value, bool | np.bool_):
        return str(value)
    if value is None or isinstance(value, int | float | np.number):
        return number(None if value is None else float(value))
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def rounded(value: float, digits: int) -> float | int | None:
    """The nearest number of ``digits`` digits, None for NaN and infinity."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
