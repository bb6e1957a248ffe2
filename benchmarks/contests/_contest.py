"""A comparison: one problem, its definition written out, and who answers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Part(NamedTuple):
    """Answers for some rows only, by a contestant that would need too long for all."""

    values: Any
    rows: Any  # which entries of the truth they answer


def relative_error(found: Any, truth: Any) -> float:
    """Largest difference over the largest value; the largest over named columns."""
    if isinstance(found, Part):
        found, truth = found.values, _rows(truth, found.rows)
    if isinstance(truth, Mapping):
        return max(relative_error(found[name], truth[name]) for name in found)
    found = np.asarray(found)
    if found.shape != np.shape(truth):
        raise ValueError(f"found shape {found.shape}, expected {np.shape(truth)}")
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def in_digits(found: Any, truth: Any) -> str:
    """The relative error as the table shows it."""
    return f"{relative_error(found, truth):.0e}"


def _rows(truth: Any, rows: Any) -> Any:
    if isinstance(truth, Mapping):
        return {name: values[rows] for name, values in truth.items()}
    return truth[rows]


@dataclass(frozen=True)
class Contestant:
    """One way to answer.

    ``prepare`` takes the problem and gives a function without arguments: only that
    function is measured. ``read`` turns its result into the sign, scale and shape of the
    truth, unmeasured; None says that it is another quantity, with nothing to compare.
    """

    name: str
    prepare: Callable[[Any], Callable[[], Any]] | None = None
    read: Callable[[Any], Any] | None = lambda found: found
    package: str | None = None  # the peer it needs; None for what skinfluence needs too
    note: str = ""
    absent: str = ""  # why it cannot take part
    reason: str = ""  # why it may take less time, for the list of those that do
    # How much longer the whole job takes than what was run, by the sizes.
    extrapolate: Callable[[Mapping[str, int]], float] | None = None


@dataclass(frozen=True)
class Contest:
    """A question and its contestants; the first is skinfluence, which ratios refer to."""

    name: str
    title: str
    problem: Callable[..., Any]  # sizes by name; picklable
    definition: Callable[[Any], Any] | None  # the truth, by dense float64 NumPy
    sizes: Mapping[str, int]
    small: Mapping[str, int]  # to warm up, and for the tests
    contestants: list[Contestant]
    judge: Callable[[Any, Any], str] = in_digits
    judged: str = "error"  # head of that column
    notes: list[str] = field(default_factory=list)
