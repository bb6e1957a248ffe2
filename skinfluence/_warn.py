"""The one door through which warnings leave: each points at the user's own line."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

# Code between a user's call and this module: the package, what may call it on a user's
# behalf, and the standard library's own wrappers.
_PACKAGE = str(Path(__file__).parent)
_GO_BETWEENS = ("sklearn", "joblib", "contextlib", "threading", "concurrent", "abc")
MOST_LISTED = 10


def warn(message: str, category: type[Warning]) -> None:
    """Warn with the line of the user's code that led here, whatever the depth."""
    warnings.warn(message, category, stacklevel=_level_of_user())


def listed(labels: Sequence[object]) -> str:
    """The first labels, separated by commas, and how many more there are."""
    shown = ", ".join(str(label) for label in labels[:MOST_LISTED])
    n_more = len(labels) - MOST_LISTED
    return f"{shown} and {n_more} more" if n_more > 0 else shown


def _level_of_user() -> int:
    """``stacklevel`` of the innermost frame that is the user's; else the outermost."""
    level, frame = 1, sys._getframe(1)  # of ``warn``
    while _is_between(frame) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level


def _is_between(frame: FrameType) -> bool:
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return frame.f_code.co_filename.startswith(_PACKAGE) or package in _GO_BETWEENS
