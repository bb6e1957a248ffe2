"""What the displays share: axes, colours, and clouds of points."""

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
# Cells of a density along each axis.
_CELLS = 60


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


def letters(ax: Any, n_labels: int) -> float:
    """A size of letters at which so many labels stand below each other."""
    height = ax.bbox.height * 72 / ax.figure.dpi
    return float(np.clip(0.85 * height / max(n_labels, 1), 4, 9))


def settle(ax: Any, name: str | None) -> None:
    """Write the name of what is shown above the axes, and keep labels in the figure."""
    if name is not None:
        below = ax.get_title()
        ax.set_title(f"{name}\n{below}" if below else name)
    figure = ax.figure.get_figure(root=True)
    figure.draw_without_rendering()
    _keep_inside(ax.xaxis.label, figure.bbox, axis=0)
    _keep_inside(ax.yaxis.label, figure.bbox, axis=1)
    _keep_inside(ax.title, figure.bbox, axis=0)
    if len(figure.axes) > 1:  # titles stand beside each other
        _keep_inside(ax.title, ax.bbox.expanded(1.1, 1), axis=0)


def _keep_inside(label: Any, outside: Any, axis: int) -> None:
    """Smaller letters where a centred label would run out of the figure."""
    low, high = label.get_window_extent().extents.reshape(2, 2)[:, axis]
    left, right = outside.extents.reshape(2, 2)[:, axis] + (4, -4)
    centre, half = (low + high) / 2, (high - low) / 2
    room = min(centre - left, right - centre)
    if half > room > 0:
        size = label.get_fontsize() * room / half
        label.set_fontsize(np.floor(2 * size) / 2)  # hinting draws steps of sizes


def cloud(
    ax: Any, x: Any, y: Any, options: dict[str, Any], dots: dict[str, Any] | None = None
) -> Any:
    """Points, or the density of many, and the artist that holds them.

    ``options`` are for either, ``dots`` are the caller's own for points.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) > MOST_POINTS:
        return _density(ax, x, y, options)
    drawn = {"s": 12, "color": LINE, "alpha": 0.5, "linewidths": 0}
    drawn |= (dots or {}) | options
    return ax.scatter(x, y, rasterized=len(x) > _MOST_VECTORS, **drawn)


def _density(ax: Any, x: Any, y: Any, options: dict[str, Any]) -> Any:
    """Rows in each cell, on cells that are equally large on the axes' scales."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    across, up = ax.xaxis.get_transform(), ax.yaxis.get_transform()
    counts, left, low = np.histogram2d(across.transform(x), up.transform(y), _CELLS)
    edges = across.inverted().transform(left), up.inverted().transform(low)
    visible = ListedColormap(colormaps["Greys"](np.linspace(0.25, 1, 256)))
    drawn = {"cmap": visible, "norm": LogNorm(1, max(counts.max(), 10)), **options}
    cells = np.ma.masked_equal(counts.T, 0)
    mesh = ax.pcolormesh(*edges, cells, rasterized=True, **drawn)
    mesh.sticky_edges.x.clear()
    mesh.sticky_edges.y.clear()
    ax.figure.colorbar(mesh, ax=ax, label="rows")
    return mesh


def largest(values: Any, k: int) -> Any:
    """Rows of the k largest values, largest first; NaN counts for nothing."""
    ranked = np.where(np.isnan(values), -np.inf, values)
    k = min(k, len(ranked))
    top = np.argpartition(-ranked, k - 1)[:k] if k else np.empty(0, dtype=int)
    top = top[np.argsort(-ranked[top], kind="stable")]
    return top[np.isfinite(ranked[top])]
