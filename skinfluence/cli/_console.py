"""Where words go: results to stdout, notes, progress and errors to stderr."""

import contextlib
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import TextIO

from skinfluence.exceptions import (
    SeparableDeletionWarning,
    UnidentifiedDeletionWarning,
)

QUIET, NORMAL, VERBOSE = 0, 1, 2

# Of no use on a terminal; the last two name rows by position, so the audit says in its
# own words which rows of the file these are.
NOT_FOR_USERS = (
    DeprecationWarning,
    FutureWarning,
    SeparableDeletionWarning,
    UnidentifiedDeletionWarning,
)

# Others that do so, by words of theirs, in words of the command line.
IN_OWN_WORDS = {
    "would change the active set": "without some rows a coefficient would become zero, "
    "or stop being zero, which these estimates do not see; --deletion exact follows the "
    "change",
    "cannot be vouched for": "the effects of some rows are rough: one step does not lead "
    "to the model without them; --deletion exact goes all the way",
    "did not converge: the error": "the effects of some rows are rough: no number of "
    "steps led to the model without them; --deletion exact goes farthest",
}


def in_own_words(note: str) -> str:
    """A note of the library on one line, without rows that it names by position."""
    own = (text for words, text in IN_OWN_WORDS.items() if words in note)
    return next(own, " ".join(note.split()))


# A step that takes longer than this many seconds is announced.
PATIENCE = 2.0


class Console:
    """Prints to the user, and keeps notes and times for the summary.

    Parameters
    ----------
    level : {QUIET, NORMAL, VERBOSE}
        QUIET prints errors only, VERBOSE every step with its time.
    """

    def __init__(self, level: int = NORMAL):
        self.level = level
        self.notes: list[str] = []
        self.seconds: dict[str, float] = {}

    def result(self, text: str) -> None:
        """Print a result on stdout, unless quiet."""
        if self.level > QUIET:
            _write(sys.stdout, text)

    def json(self, text: str) -> None:
        """Print what machines read on stdout, quiet or not."""
        _write(sys.stdout, text)

    def note(self, text: str) -> None:
        """Tell the user on stderr, once, what was done without being asked."""
        if text in self.notes:
            return
        self.notes.append(text)
        if self.level > QUIET:
            _write(sys.stderr, f"note: {text}")

    @contextlib.contextmanager
    def step(self, name: str, doing: str) -> Iterator[None]:
        """Time a step; announce it if it is slow; turn its warnings into notes.

        Parameters
        ----------
        name : str
            Key of the time in ``seconds``.
        doing : str
            What the user reads while waiting.
        """
        start = time.perf_counter()
        with self._announced(doing), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        self.seconds[name] = time.perf_counter() - start
        if self.level == VERBOSE:
            _write(sys.stderr, f"{doing}: {self.seconds[name]:.2f} s")
        for warning in caught:
            if not issubclass(warning.category, NOT_FOR_USERS):
                self.note(in_own_words(str(warning.message)))

    @contextlib.contextmanager
    def _announced(self, doing: str) -> Iterator[None]:
        if self.level != NORMAL:
            yield
            return
        timer = threading.Timer(PATIENCE, _write, (sys.stderr, f"{doing} ..."))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def error(text: str) -> None:
    """Print one line that says what is wrong."""
    _write(sys.stderr, f"skinfluence: error: {' '.join(text.split())}")


def _write(stream: TextIO, text: str) -> None:
    # A terminal that cannot show a character of the data must not end the audit.
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
