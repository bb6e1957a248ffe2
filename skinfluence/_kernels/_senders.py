"""Ways from the host to a device, which may be under way while the device computes."""

from typing import Any, Protocol, final

import numpy as np

from skinfluence._array import Array, moved


class Sender(Protocol):
    """A way to the device."""

    def send(self, rows: np.ndarray) -> Any:
        """Start, and return a ticket."""

    def receive(self, ticket: Any) -> Any:
        """The rows on the device, once they are there."""


@final
class PlainSender:
    """Sends at once: for devices that share the host's memory."""

    def __init__(self, place: Array) -> None:
        self.place = place

    def send(self, rows: np.ndarray) -> Any:
        """The rows on the device."""
        return moved(rows, self.place)

    def receive(self, ticket: Any) -> Any:
        """The same."""
        return ticket
