"""Figures as data URIs, whichever of SVG and PNG is shorter."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from skinfluence.report._content import Content
from skinfluence.report._text import shown

_SIZE, _DPI = (6.6, 4.6), 150
# Points that can still be told apart; of more, their density is drawn.
_MOST_POINTS = 5000
_LABELS = 5
# Half the width and the whole height of a number, in shares of the axes.
_LABEL = (0.05, 0.04)
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"


class Figure(NamedTuple):
    """A drawn figure."""

    title: str
    caption: str
    uri: str


class _Plan(NamedTuple):
    """What to draw on given axes."""

    title: str
    caption: str
    draw: Callable[[Any], None]


def figures_of(content: Content) -> tuple[list[Figure], str]:
    """The figures, or a sentence that says why there are none."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        return [], (
            "matplotlib is not installed, so no figures were drawn. Install it with: "
            "pip install 'skinfluence[plot]'."
        )
    found = []
    for title, caption, draw in _plans(content):
        canvas = Canvas(figsize=_SIZE, layout="constrained")  # unknown to pyplot
        draw(canvas.subplots())
        found.append(Figure(title, caption, _uri(canvas)))
    return found, ""


def _plans(content: Content) -> Iterator[_Plan]:
    columns = content.columns
    yield _Plan(
        "Effect against loss",
        "Change of the mean loss when a row is left out, against the row's own loss "
        f"without it; below zero the row is harmful. The {_LABELS} most harmful and most "
        "helpful rows are coloured, and numbered where there is room.",
        lambda ax: _effect(ax, content),
    )
    if "leverage" in columns:
        yield _Plan(
            "Residual against leverage",
            "Rows on the right can pull the model, rows far from zero are fitted badly; "
            f"harm needs both. The {_LABELS} rows with the largest Cook's distance are "
            "coloured, and numbered where there is room.",
            lambda ax: _leverage(ax, content),
        )
    if content.agreement is not None:
        yield _Plan(
            "Estimate against refit",
            "Each point is a row really left out; on the line both agree.",
            lambda ax: _agreement(ax, content.agreement),
        )


def _effect(ax: Any, content: Content) -> None:
    x, y = content.columns["loo_loss"], content.columns["loo_delta"]
    _cloud(ax, x, y)
    ax.axhline(0, color=_GREY, linewidth=0.8)
    for rows, color in ((content.harmful, _ORANGE), (content.helpful, _BLUE)):
        _number(ax, x, y, rows[:_LABELS], color)
    ax.set(
        xlabel="own loss without the row",
        ylabel="delta: mean loss without the row − with it",  # noqa: RUF001
    )


def _leverage(ax: Any, content: Content) -> None:
    columns = content.columns
    x, y = columns["leverage"], columns["resid_studentized_external"]
    _cloud(ax, x, y)
    ax.axhline(0, color=_GREY, linewidth=0.8)
    distance = np.nan_to_num(columns["cooks_distance"], nan=-1.0)
    _number(ax, x, y, np.argsort(-distance, kind="stable")[:_LABELS], _ORANGE)
    ax.set(xlabel="leverage", ylabel="externally studentized residual")


def _agreement(ax: Any, found: Any) -> None:
    predicted, refit = np.asarray(found.predicted), np.asarray(found.refit)
    ax.plot(predicted, refit, "o", color=_BLUE, markersize=4, alpha=0.7)
    if len(refit):
        ax.axline((refit[0], refit[0]), slope=1, color=_GREY, linewidth=0.8)
    ax.set(
        xlabel="estimated change of the loss",
        ylabel="change of the loss by refitting",
        title=f"r = {found.pearson:.6g}, slope = {found.slope:.6g}, {len(refit)} rows",
    )


def _cloud(ax: Any, x: Any, y: Any) -> None:
    """Points, or the density of many."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) <= _MOST_POINTS:
        ax.plot(x, y, "o", color=_GREY, markersize=3, alpha=0.5, markeredgewidth=0)
        return
    bins = ax.hexbin(x, y, gridsize=45, bins="log", cmap="Greys", mincnt=1)
    ax.figure.colorbar(bins, ax=ax, label="rows")


def _number(ax: Any, x: Any, y: Any, rows: Any, color: str) -> None:
    """Mark rows, and number them, right or left of the mark, where there is room."""
    rows = rows[np.isfinite(x[rows]) & np.isfinite(y[rows])]
    ax.plot(x[rows], y[rows], "o", color=color, markersize=5)
    marks = ax.transAxes.inverted().transform(
        ax.transData.transform(np.c_[x[rows], y[rows]])
    )  # (rows, 2) in shares of the axes
    taken = marks.tolist()
    for row, (across, up) in zip(rows, marks, strict=True):
        for side in (1, -1):
            label = (across + side * _LABEL[0], up)
            inside = 0.02 < label[0] + side * _LABEL[0] < 0.99
            if inside and not any(_overlap(label, other) for other in taken):
                taken.append(list(label))
                ax.annotate(
                    shown(row),
                    (x[row], y[row]),
                    xytext=(side * 5, 0),
                    textcoords="offset points",
                    ha="left" if side > 0 else "right",
                    va="center",
                    fontsize=8,
                    color=color,
                )
                break


def _overlap(label: Any, other: Any) -> bool:
    return (
        abs(label[0] - other[0]) < 0.9 * _LABEL[0]
        and abs(label[1] - other[1]) < _LABEL[1]
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
