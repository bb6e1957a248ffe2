"""Rules by the class of a transformer."""

from collections.abc import Callable
from typing import Any

from skinfluence.preprocessing._base import Rule

# A rule for the fitted transformer, or the reason why it has none.
RuleOf = Callable[[Any], Rule | str]

_RULES: dict[type, RuleOf] = {}


def register_transformer(cls: type, rule: RuleOf) -> None:
    """Say how the columns of a class of transformers move when rows leave.

    ``rule`` gets the fitted transformer and gives a ``Rule``, or the reason why its
    columns cannot be followed, as a clause. It holds for the class alone: a subclass may
    learn more.
    """
    _RULES[cls] = rule


def rule_of(transformer: Any) -> Rule | str:
    """The rule for a fitted transformer, or the reason why it has none."""
    cls = type(transformer)
    if cls in _RULES:
        return _RULES[cls](transformer)
    known = next((base.__name__ for base in cls.__mro__ if base in _RULES), None)
    if known is None:
        return f"no rule is registered for what a {cls.__name__} learns"
    return (
        f"no rule is registered for {cls.__name__}, which may learn more than {known}"
    )
