"""Figures as data URIs, whichever of SVG and PNG is shorter."""

from typing import Any, NamedTuple


class Figure(NamedTuple):
    """A drawn display."""

    title: str
    caption: str
    uri: str


def figures_of(explainer: Any, asked: Any, content: Any) -> tuple[list[Figure], str]:
    """The figures, and a sentence where some are missing."""
    return [], "No figures are drawn yet."
