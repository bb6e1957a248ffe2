"""Progress of long work: a line on standard error every few seconds, if asked for."""

import sys
import threading
import time


class Progress:
    """Counts rows done and says so, at most every ``interval`` seconds."""

    def __init__(
        self, what: str, total: int, *, verbose: int, interval: float = 2.0
    ) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self.verbose = verbose
        self.interval = interval
        self.start = self.last = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, n_more: int) -> None:
        """Take note of ``n_more`` finished rows."""
        with self._lock:
            self.done += n_more
        now = time.monotonic()
        if self.verbose and now - self.last >= self.interval:
            self.last = now
            passed = now - self.start
            left = passed / max(self.done, 1) * max(self.total - self.done, 0)
            print(
                f"[skinfluence] {self.what}: {self.done:,} of {self.total:,} rows, "
                f"{passed:.0f} s, about {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
