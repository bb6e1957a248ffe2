"""What the displays share: axes, colours, clouds of points, and names beside them."""

from typing import Any

import numpy as np

from skinfluence.exceptions import MissingDependencyError

# Okabe & Ito's colours, which colour-blind readers can tell apart.
HARMFUL, HELPFUL, LINE = "#D55E00", "#0072B2", "#666666"
DISTINCT = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
# Points that can still be told apart; of more, their density is drawn.
MOST_POINTS = 5000
# An SVG of more points than this holds them as a picture.
_MOST_VECTORS = 1000
_LONGEST = 24
# Places for a name around its point: distances in points, and directions.
_DISTANCES = (6, 13, 22, 34, 48, 64)
_DIRECTIONS = (
    (1, 0),
    (-1, 0),
    (0.7, 0.7),
    (-0.7, 0.7),
    (0.7, -0.7),
    (-0.7, -0.7),
    (0, 1),
    (0, -1),
)


def axes_of(ax: Any) -> Any:
    """The given axes, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingDependencyError(
            "Displays are drawn by matplotlib, which is not installed. Install it with: "
            "pip install 'skinfluence[plot]'. The numbers are attributes of the display."
        ) from error
    return plt.subplots(layout="constrained")[1]


def short(name: Any) -> str:
    """A name that fits beside a point; ``$`` would start a formula."""
    text = " ".join(str(name).split()).replace("$", r"\$")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def plain_numbers(*axes: Any) -> None:
    """Few ticks with whole numbers on them: no common factor beside the axis."""
    for axis in axes:
        axis.set_major_locator(_ticker().MaxNLocator(5))
        axis.set_major_formatter(_ticker().StrMethodFormatter("{x:.3g}"))


def _ticker() -> Any:
    from matplotlib import ticker

    return ticker


def cloud(ax: Any, x: Any, y: Any, **options: Any) -> Any:
    """Points, or the density of many, and the artist that holds them."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) <= MOST_POINTS:
        drawn = {"s": 12, "color": LINE, "alpha": 0.5, "linewidths": 0, **options}
        return ax.scatter(x, y, rasterized=len(x) > _MOST_VECTORS, **drawn)
    drawn = {"gridsize": 60, "bins": "log", "cmap": "Greys", "mincnt": 1, **options}
    density = ax.hexbin(x, y, rasterized=True, **drawn)
    ax.figure.colorbar(density, ax=ax, label="rows")
    return density


def named(ax: Any, x: Any, y: Any, names: Any, color: str) -> list[Any]:
    """Mark points, and name them where there is room: no name hides another."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y, names = x[finite], y[finite], np.asarray(names)[finite]
    if len(x) == 0:
        return []
    from matplotlib.patheffects import withStroke

    ax.scatter(x, y, s=22, color=color, zorder=3)
    ax.figure.draw_without_rendering()  # the layout decides how much room there is
    scale = ax.figure.dpi / 72
    marks = ax.transData.transform(np.column_stack([x, y]))  # (k, 2) pixels
    taken = [_box(mark, (5 * scale, 5 * scale)) for mark in marks]
    taken += [text.get_window_extent().extents for text in ax.texts]
    found = []
    for point, mark, name in zip(zip(x, y, strict=True), marks, names, strict=True):
        text = ax.annotate(
            short(name),
            point,
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            color=color,
            zorder=4,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        size = text.get_window_extent()
        place = _place(
            mark, (size.width + 2, size.height + 1), taken, ax.bbox.extents, scale
        )
        if place is None:
            text.remove()
            continue
        text.set_position(tuple((place - mark) / scale))
        taken.append(_box(place, (size.width + 2, size.height + 1)))
        if np.abs(place - mark).max() / scale > _DISTANCES[1] + size.width / scale / 2:
            ends = ax.transData.inverted().transform([mark, place])
            ax.plot(*ends.T, color=color, linewidth=0.5, alpha=0.6, scalex=0, scaley=0)
        found.append(text)
    return found


def _place(mark: Any, size: Any, taken: list[Any], inside: Any, scale: float) -> Any:
    """The nearest free centre for a box of a size around a mark, or None."""
    half = np.asarray(size) / 2
    for distance in _DISTANCES:
        for direction in _DIRECTIONS:
            push = np.sign(direction) * half * (np.abs(direction) > 0)
            centre = mark + np.asarray(direction) * distance * scale + push
            box = _box(centre, size)
            fits = (box[:2] >= inside[:2]).all() and (box[2:] <= inside[2:]).all()
            if fits and not any(_overlap(box, other) for other in taken):
                return centre
    return None


def _box(centre: Any, size: Any) -> Any:
    """Left, bottom, right and top."""
    half = np.asarray(size) / 2
    return np.concatenate([centre - half, centre + half])


def _overlap(one: Any, other: Any) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())


def largest(values: Any, k: int) -> Any:
    """Rows of the k largest values, largest first; NaN counts for nothing."""
    ranked = np.where(np.isnan(values), -np.inf, values)
    k = min(k, len(ranked))
    top = np.argpartition(-ranked, k - 1)[:k] if k else np.empty(0, dtype=int)
    top = top[np.argsort(-ranked[top], kind="stable")]
    return top[np.isfinite(ranked[top])]
