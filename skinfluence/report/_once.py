"""An explainer that computes once what several parts of a report ask for."""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any, final

# Methods without parameters; each costs about n d**2.
_ASKED_AGAIN = ("diagnostics", "self_influence", "_loo_outputs")


@final
class _Once:
    """A method that keeps its answer."""

    def __init__(self, method: Callable[[], Any]) -> None:
        self.method = method

    @cached_property
    def answer(self) -> Any:
        return self.method()

    def __call__(self) -> Any:
        return self.answer


def asked_once(explainer: Any) -> Any:
    """A shallow copy of a fitted explainer that keeps its answers about its own rows."""
    found = copy.copy(explainer)
    for name in _ASKED_AGAIN:
        setattr(found, name, _Once(getattr(explainer, name)))
    return found
