"""Rows that are too many for a device: kept on the host, and sent block by block."""

from typing import Any, Protocol, final

import numpy as np

from skinfluence._array import Array, moved, to_numpy


class Sender(Protocol):
    """A way to the device that can be under way while the device computes."""

    def send(self, rows: np.ndarray) -> Any:
        """Start, and return a ticket."""

    def receive(self, ticket: Any) -> Any:
        """The rows on the device, once they are there."""


@final
class PlainSender:
    """Sends at once: for devices that share the host's memory."""

    def __init__(self, place: Any) -> None:
        self.place = place

    def send(self, rows: np.ndarray) -> Any:
        """The rows on the device."""
        return moved(rows, self.place)

    def receive(self, ticket: Any) -> Any:
        """The same."""
        return ticket


@final
class HostRows:
    """X (n, p) on the host, read like an array on the device of ``place``.

    A pass over the rows asks for slices in order. While it computes with one, the next
    slice of the same length is on its way.
    """

    ndim = 2

    def __init__(self, host: np.ndarray, place: Any, sender: Sender) -> None:
        self.host, self.place, self._sender = host, place, sender
        self._expected: tuple[slice, Any] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p."""
        return self.host.shape

    def __getitem__(self, key: tuple[slice, Any]) -> Any:
        rows, columns = key
        if columns != slice(None):
            return moved(self.host[rows, columns], self.place)
        first, last, _ = rows.indices(self.shape[0])
        ticket = self._ticket(slice(first, last))
        following = slice(last, min(2 * last - first, self.shape[0]))
        self._expected = None
        if following.start < following.stop:
            self._expected = following, self._sender.send(self.host[following])
        return self._sender.receive(ticket)

    def _ticket(self, rows: slice) -> Any:
        if self._expected is not None and self._expected[0] == rows:
            return self._expected[1]
        return self._sender.send(self.host[rows])

    def picked(self, rows: Array) -> Any:
        """Some of the rows, by indices."""
        return moved(self.host[to_numpy(rows)], self.place)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "An explainer whose rows wait on the host for a device cannot be pickled. "
            "Fit it with backend='numpy' first."
        )
