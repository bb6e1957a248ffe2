"""What the displays draw with: colours, sizes of letters, and clouds of points."""

from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from skinfluence.support import checks

# Classes of matplotlib, which is optional and whose stubs call arrays tuples: unchecked.
Axes: TypeAlias = Any
Axis: TypeAlias = Any

# Okabe & Ito's colours, which colour-blind readers can tell apart.
HARMFUL, HELPFUL, LINE = "#D55E00", "#0072B2", "#666666"
DISTINCT = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
# Up to this many points can be told apart; of more, their density is drawn.
MOST_POINTS = 5000
# With more points than this, an SVG holds them as a picture.
_MOST_VECTORS = 1000
# Letters of a name, and cells of a density along each axis.
_LONGEST, _CELLS = 24, 60


def short(name: object) -> str:
    """A name that fits beside a point; ``$`` would start a formula."""
    text = " ".join(str(name).split()).replace("$", r"\$")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def font_size(ax: Axes, n_labels: int) -> float:
    """A size of letters at which this many labels fit below each other."""
    height = ax.bbox.height * 72 / ax.figure.dpi
    return float(np.clip(0.85 * height / max(n_labels, 1), 4, 9))


def keep_labels_inside(ax: Axes) -> None:
    """Write the labels and the title in smaller letters where the figure ends."""
    figure = ax.figure.get_figure(root=True)
    figure.draw_without_rendering()
    _keep_inside(ax.xaxis.label, figure.bbox, axis=0)
    _keep_inside(ax.yaxis.label, figure.bbox, axis=1)
    _keep_inside(ax.title, figure.bbox, axis=0)
    if len(figure.axes) > 1:  # titles stand beside each other
        _keep_inside(ax.title, ax.bbox.expanded(1.1, 1), axis=0)


def _keep_inside(label: Any, outside: Any, axis: int) -> None:
    low, high = label.get_window_extent().extents.reshape(2, 2)[:, axis]
    left, right = outside.extents.reshape(2, 2)[:, axis] + (4, -4)
    centre, half = (low + high) / 2, (high - low) / 2
    room = min(centre - left, right - centre)
    if half > room > 0:
        size = label.get_fontsize() * room / half
        label.set_fontsize(np.floor(2 * size) / 2)  # hinting draws steps of sizes


def cloud(
    ax: Axes, x: np.ndarray, y: np.ndarray, options: dict[str, Any], **dots: Any
) -> Any:
    """Points, or the density of many, and the artist that holds them.

    ``options`` are the user's, for either; ``dots`` are the display's own, for points.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) > MOST_POINTS:
        return _density(ax, x, y, options)
    style = {"s": 12, "color": LINE, "alpha": 0.5, "linewidths": 0, **dots, **options}
    return ax.scatter(x, y, **{"rasterized": len(x) > _MOST_VECTORS, **style})


def _density(ax: Axes, x: np.ndarray, y: np.ndarray, options: dict[str, Any]) -> Any:
    """Rows in each cell; on the scales of the axes, all cells have one size."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    across, up = ax.xaxis.get_transform(), ax.yaxis.get_transform()
    counts, left, low = np.histogram2d(across.transform(x), up.transform(y), _CELLS)
    edges = across.inverted().transform(left), up.inverted().transform(low)
    visible = ListedColormap(colormaps["Greys"](np.linspace(0.25, 1, 256)))
    options = {"cmap": visible, "norm": LogNorm(1, max(counts.max(), 10)), **options}
    cells = np.ma.masked_equal(counts.T, 0)
    mesh = ax.pcolormesh(*edges, cells, rasterized=True, **options)
    mesh.sticky_edges.x.clear()
    mesh.sticky_edges.y.clear()
    ax.figure.colorbar(mesh, ax=ax, label="rows")
    return mesh


def draw_bars(
    ax: Axes, values: np.ndarray, places: ArrayLike, *, widths: dict, **style: Any
) -> None:
    """Bars that leave out a share of the values at either end, of a width by share.

    Without values there are none.
    """
    if not len(values):
        return
    for share, width in widths.items():
        ends = np.quantile(values, [share, 1 - share], axis=0)
        ax.hlines(places, *ends, linewidth=width, **style)


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k largest values, largest first; NaN is never among them."""
    checks.at_least("k", k, 0, Integral)
    order = np.argsort(-values, kind="stable")[:k]  # NaN comes last
    return order[np.isfinite(values[order])]
