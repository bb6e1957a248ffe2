"""Values as plain Python for JSON, numbers as text for readers, and versions."""

import importlib
import math
import platform
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Python's own types for those of NumPy and pandas, None for what is missing.

    NaN, infinity, NaT and pandas' NA become None. Dates, durations, and everything else
    that JSON does not know become text.
    """
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


def number(value: float, digits: int = 4) -> str:
    """A finite number as text: whole ones whole, others to ``digits`` digits."""
    value = float(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if 10**digits <= abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of packages."""
    versions = {name: importlib.import_module(name).__version__ for name in packages}
    return {"python": platform.python_version(), **versions}
