"""The displays as data URIs, whichever of SVG and PNG is shorter."""

import base64
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from skinfluence.explainer import InfluenceExplainer
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
# Deltas of coefficients are drawn up to this many: 400 MB.
_MOST_NUMBERS = 5e7


class Figure(NamedTuple):
    """A drawn display."""

    title: str
    caption: str
    uri: str


def figures_of(
    explainer: InfluenceExplainer, content: Content
) -> tuple[list[Figure], str]:
    """The figures, or a sentence that says why there are none."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        return [], (
            "matplotlib is not installed, so no figures were drawn. Install it with: "
            "pip install 'skinfluence[plot]'."
        )
    figures = []
    for title, caption, draw in _plans(explainer, content):
        canvas = Canvas(figsize=_SIZE, layout="constrained")  # unknown to pyplot
        draw(ax=canvas.subplots())
        figures.append(Figure(title, caption, _uri(canvas)))
    return figures, ""


def _plans(
    explainer: InfluenceExplainer, content: Content
) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Title, caption, and what draws on given axes."""
    columns, agreement = content.columns, content.agreement
    names = columns.get("name", columns["row"])
    effects = columns["loo_delta"], columns["loss"]
    yield (
        "Effect against loss",
        "Change of the mean loss when a row is left out, against the row's own loss; "
        "below zero the row is harmful. The most harmful rows are orange and the most "
        "helpful ones blue.",
        partial(
            InfluenceDisplay(*effects, names, quantity="loo_delta").plot,
            kind="loss",
            k=5,
        ),
    )
    yield (
        "Self-influence",
        "How hard the rows pull the model towards themselves. Lines hold nine in ten "
        "rows, bars the middle half; wrong labels and outliers are on the right.",
        partial(SelfInfluenceDisplay.from_explainer, explainer, names=names),
    )
    if "leverage" in columns:
        yield (
            "Residual against leverage",
            "Rows on the right can pull the model, rows far from zero are fitted badly; "
            "a row beyond the dashed lines moves the coefficients.",
            partial(LeverageDisplay.from_explainer, explainer, names=names),
        )
    if content.model["n_train"] * study_of(explainer).point.theta.size < _MOST_NUMBERS:
        yield (
            "Changes of the coefficients",
            "How far the rows move each coefficient, with the row minus without it. "
            "Dotted: the bound beyond which textbooks look at a row.",
            partial(DfbetasDisplay.from_explainer, explainer, names=names),
        )
    if agreement is not None:
        left_out = np.asarray(names)[np.asarray(agreement.rows)]
        yield (
            "Estimate against refit",
            "Each point is a row really left out; on the line both agree.",
            partial(LeaveOneOutDisplay.from_check, agreement, names=left_out),
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
