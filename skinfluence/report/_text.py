"""Numbers for readers, and any value as strict JSON."""

import math
from typing import Any

import numpy as np

# Of longer texts the page shows the beginning.
_LONGEST = 200


def number(value: Any, digits: int = 4) -> str:
    """Print a number: whole ones whole, others to ``digits`` digits; a dash for none."""
    if value is None:
        return "–"  # noqa: RUF001
    value = float(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "-∞")  # noqa: RUF001
    if value.is_integer() and abs(value) < 1e9:
        return str(int(value))
    if 10**digits <= abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def shown(value: Any) -> str:
    """Any cell as text: numbers short, long texts cut, the rest as it is."""
    if isinstance(value, bool | np.bool_):
        return str(value)
    if value is None or isinstance(value, int | float | np.number):
        return number(value)
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def plain(value: Any) -> Any:
    """Python's own types for NumPy's and pandas', None for NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        return plain(value.item())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    text = str(value)
    return None if text in {"NaT", "<NA>"} else text


def rounded(value: float, digits: int) -> float | int | None:
    """The nearest number of ``digits`` digits, None for NaN and infinity."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
