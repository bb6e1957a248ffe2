"""The displays as data URIs, whichever of SVG and PNG is shorter."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from skinfluence.plotting import (
    DfbetasDisplay,
    InfluenceDisplay,
    LeaveOneOutDisplay,
    LeverageDisplay,
    SelfInfluenceDisplay,
)
from skinfluence.report._content import Content
from skinfluence.study import study_of

_SIZE, _DPI = (6.6, 4.6), 150
# Deltas of coefficients are drawn where so few numbers hold them: 400 MB.
_MOST_NUMBERS = 5e7


class Figure(NamedTuple):
    """A drawn display."""

    title: str
    caption: str
    uri: str


class _Plan(NamedTuple):
    """What to draw on given axes."""

    title: str
    caption: str
    draw: Callable[[Any], Any]


def figures_of(explainer: Any, content: Content) -> tuple[list[Figure], str]:
    """The figures, or a sentence that says why there are none."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        return [], (
            "matplotlib is not installed, so no figures were drawn. Install it with: "
            "pip install 'skinfluence[plot]'."
        )
    found = []
    for title, caption, draw in _plans(explainer, content):
        canvas = Canvas(figsize=_SIZE, layout="constrained")  # unknown to pyplot
        draw(canvas.subplots())
        found.append(Figure(title, caption, _uri(canvas)))
    return found, ""


def _plans(explainer: Any, content: Content) -> Iterator[_Plan]:
    columns = content.columns
    names = columns.get("name", columns["row"])
    effect = InfluenceDisplay(
        columns["loo_delta"], columns["loss"], names, quantity="loo_delta"
    )
    yield _Plan(
        "Effect against loss",
        "Change of the mean loss when a row is left out, against the row's own loss; "
        "below zero the row is harmful. The most harmful rows are orange and the most "
        "helpful ones blue.",
        lambda ax: effect.plot(ax, kind="loss", k=5),
    )
    yield _Plan(
        "Self-influence",
        "How hard the rows pull the model towards themselves. Lines hold nine in ten "
        "rows, bars the middle half; wrong labels and outliers are on the right.",
        lambda ax: SelfInfluenceDisplay.from_explainer(explainer, names=names, ax=ax),
    )
    if "leverage" in columns:
        yield _Plan(
            "Residual against leverage",
            "Rows on the right can pull the model, rows far from zero are fitted badly; "
            "a row beyond the dashed lines moves the coefficients.",
            lambda ax: LeverageDisplay.from_explainer(explainer, names=names, ax=ax),
        )
    if content.model["n_train"] * study_of(explainer).point.theta.size < _MOST_NUMBERS:
        yield _Plan(
            "Changes of the coefficients",
            "How far the rows move each coefficient, with the row minus without it. "
            "Dotted: the bound beyond which textbooks look at a row.",
            lambda ax: DfbetasDisplay.from_explainer(explainer, names=names, ax=ax),
        )
    if content.agreement is not None:
        found = content.agreement
        left_out = np.asarray(names)[np.asarray(found.rows)]
        yield _Plan(
            "Estimate against refit",
            "Each point is a row really left out; on the line both agree.",
            lambda ax: LeaveOneOutDisplay.from_check(found, names=left_out, ax=ax),
        )


def _uri(canvas: Any) -> str:
    return min((_encoded(canvas, kind) for kind in ("png", "svg")), key=len)


def _encoded(canvas: Any, kind: str) -> str:
    # The program and the time are left out: the same report gives the same page.
    empty = {"svg": {"Creator": None, "Date": None}, "png": {"Software": None}}
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    file = io.BytesIO()
    canvas.savefig(file, format=kind, dpi=_DPI, metadata=empty[kind])
    return f"data:{mime};base64,{base64.b64encode(file.getvalue()).decode()}"
