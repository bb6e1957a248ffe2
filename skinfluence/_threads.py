"""Threads over blocks of rows: one for each thread that BLAS may use, BLAS itself at one.

Blocks that fit a cache are too small for threads inside BLAS, which would wait for each
other; rows are independent, so the threads take rows instead.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from itertools import pairwise
from typing import Any

from threadpoolctl import ThreadpoolController

# Numbers that a thread has to read before it is worth starting: a millisecond.
_WORTH_A_THREAD = 2**21


def n_runs(n_numbers: int) -> int:
    """Threads for a pass over so many numbers: as many as BLAS may use now."""
    return max(min(_allowed(), n_numbers // _WORTH_A_THREAD), 1)


def each(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """``function`` of each of the arguments, side by side, in their order."""
    calls = list(zip(*arguments, strict=True))
    with _one_thread_in_blas():
        if len(calls) == 1:
            return [function(*calls[0])]
        with ThreadPoolExecutor(len(calls)) as pool:
            # NumPy's error state belongs to the context of its thread.
            futures = [
                pool.submit(copy_context().run, function, *call) for call in calls
            ]
            return [future.result() for future in futures]


def ordered(
    function: Callable[[Any], Any], arguments: Sequence[Any], n_threads: int
) -> Iterator[Any]:
    """``function`` of each argument, in order; threads make the next ones meanwhile."""
    with _one_thread_in_blas():
        if n_threads < 2:
            yield from map(function, arguments)
            return
        waiting: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(n_threads) as pool:
            for argument in arguments:
                waiting.append(pool.submit(copy_context().run, function, argument))
                if len(waiting) > n_threads:  # few results wait at a time
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def runs(blocks: list[slice], n_numbers: int) -> list[list[slice]]:
    """The blocks in contiguous runs of about equal length, one per thread."""
    count = min(n_runs(n_numbers), len(blocks))
    if count < 2:
        return [blocks]
    ends = [len(blocks) * k // count for k in range(count + 1)]
    return [blocks[a:b] for a, b in pairwise(ends)]


@cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")


def _allowed() -> int:
    if _nested.count:
        return 1
    return max(_blas_counts(), default=1)


def _blas_counts() -> list[int]:
    return [library.num_threads for library in _blas().lib_controllers]


class _Nested:
    """How many passes hold BLAS at one thread: the last one to leave lets go."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.limit: Any = None


_nested = _Nested()


@contextmanager
def _one_thread_in_blas() -> Iterator[None]:
    with _nested.lock:
        if _nested.count == 0 and _allowed() > 1:
            _nested.limit = _blas().limit(limits=1)
        _nested.count += 1
    try:
        yield
    finally:
        with _nested.lock:
            _nested.count -= 1
            if _nested.count == 0 and _nested.limit is not None:
                _nested.limit.restore_original_limits()
                _nested.limit = None
