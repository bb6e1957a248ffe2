"""Kernels for CuPy arrays: what its array API does more slowly, or less safely.

Written from CuPy's documentation; no figure has been measured on a GPU yet.
"""

from typing import Any, final

import cupy
import cupyx
import numpy as np
from cupy import cublas
from cupyx.scipy.linalg import solve_triangular

from skinfluence._kernels._generic import AbstractKernels

# A block and the temporaries made from it, in blocks.
_TEMPORARIES = 16
# Entries beyond which a larger block gains nothing: 1 GiB.
_MOST_ENTRIES = 2**27


@final
class CupyKernels(AbstractKernels[Any]):
    """Totals in place, factors without exceptions, and the memory of the device."""

    def place(self) -> Any:
        """An empty array on the current device."""
        return cupy.empty(0)

    def free_bytes(self, like: Any) -> float:
        """Memory that arrays beside ``like`` can have, of the device and CuPy's pool."""
        with like.device:
            free, _ = cupy.cuda.runtime.memGetInfo()
            return free + cupy.get_default_memory_pool().free_bytes()

    def block_entries(self, like: Any) -> int:
        """Entries of a block of rows: as many as fit together with what is made of them."""
        return int(min(self.free_bytes(like) // (8 * _TEMPORARIES), _MOST_ENTRIES))

    def out_of_memory(self) -> tuple[type[BaseException], ...]:
        """What is raised where the device has no memory left."""
        return (cupy.cuda.memory.OutOfMemoryError,)

    def release(self) -> None:
        """Give memory that is held for later back to the device."""
        cupy.get_default_memory_pool().free_all_blocks()

    def sender(self, like: Any) -> "PinnedSender":
        """The way from the host to the device of ``like``."""
        return PinnedSender()

    def empty_gram(self, width: int, like: Any) -> Any:
        """A zero (width, width) total for ``add_gram``, in C order."""
        with like.device:
            return cupy.zeros((width, width))

    def add_gram(self, total: Any, block: Any, weight: Any) -> Any:
        """``total + block' diag(weight) block`` into the upper triangle, in place."""
        # Both at once: the host waits for the device only one time.
        least, most = cupy.asnumpy(cupy.stack((weight.min(), weight.max())))
        if least < 0 < most:
            total += block.T @ (weight[:, None] * block)
            return total
        scaled = cupy.ascontiguousarray(block * cupy.sqrt(cupy.abs(weight))[:, None])
        sign = 1.0 if least >= 0 else -1.0
        # Both in C order: of anything else, syrk makes copies.
        return cublas.syrk("T", scaled, out=total, alpha=sign, beta=1.0)

    def finished_gram(self, total: Any) -> Any:
        """The total as a full symmetric matrix."""
        return cupy.triu(total) + cupy.triu(total, 1).T

    def inverse_root_in_place(self, matrix: Any) -> Any | None:
        """T with ``T T' = inv(matrix)``; None unless positive definite."""
        try:
            with cupyx.errstate(linalg="raise"):  # it goes on with NaN otherwise
                L = cupy.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            return None
        eye = cupy.eye(matrix.shape[0], dtype=matrix.dtype)
        T = solve_triangular(L, eye, lower=True, overwrite_b=True).T
        return T if bool(cupy.isfinite(T).all()) else None

    def largest(self, scores: Any, k: int) -> Any:
        """Columns of the k largest scores of each row, in any order, (m, min(k, b))."""
        if k >= scores.shape[1]:
            return cupy.broadcast_to(cupy.arange(scores.shape[1]), scores.shape)
        return cupy.sort(cupy.argpartition(scores, -k, axis=1)[:, -k:], axis=1)


class PinnedSender:
    """Two pinned buffers, each with a stream and a place on the device, in turn.

    A copy starts when the computation has left the place on the device, and the
    computation waits for the copy; the host waits for nothing but its own buffer.
    """

    def __init__(self) -> None:
        self.lanes = [_Lane(), _Lane()]
        self.turn = 0

    def send(self, rows: np.ndarray) -> Any:
        """Start the copy of some rows, and return its lane."""
        self.turn = 1 - self.turn
        lane = self.lanes[self.turn]
        lane.send(rows)
        return lane

    def receive(self, ticket: "_Lane") -> Any:
        """The rows, in memory of the computation's own stream."""
        return ticket.receive()


class _Lane:
    def __init__(self) -> None:
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.copied = cupy.cuda.Event(disable_timing=True)
        self.received = cupy.cuda.Event(disable_timing=True)
        self.pinned: Any = np.empty((0, 0))
        self.there: Any = None  # on the device
        self.shape: tuple[int, ...] = ()

    def send(self, rows: np.ndarray) -> None:
        self.copied.synchronize()  # the pinned buffer is free again
        size = self.pinned.shape
        if size[0] < rows.shape[0] or size[1:] != rows.shape[1:]:
            self.pinned = cupyx.empty_pinned(rows.shape, rows.dtype)
            self.there = cupy.empty(rows.shape, rows.dtype)
            # The pool may have given memory that the computation still reads.
            self.received.record(cupy.cuda.get_current_stream())
        self.shape = rows.shape
        self.pinned[: rows.shape[0]] = rows
        self.stream.wait_event(self.received)
        self.there[: rows.shape[0]].set(
            self.pinned[: rows.shape[0]], stream=self.stream
        )
        self.copied.record(self.stream)

    def receive(self) -> Any:
        current = cupy.cuda.get_current_stream()
        current.wait_event(self.copied)
        # The pool gives memory back to the stream that asked for it: a copy made here
        # is safe from the next transfer, and costs a fraction of this one.
        rows = self.there[: self.shape[0]].copy()
        self.received.record(current)
        return rows
