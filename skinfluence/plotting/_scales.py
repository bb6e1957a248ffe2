"""Scales that follow the spread of the values, and one form for the numbers on them."""

import numpy as np

from skinfluence.plotting._canvas import Axis

# An axis is linear while its largest magnitude is at most this many medians.
_MOST_MEDIANS = 50
# Magnitudes written as plain numbers; others take a power of ten.
_PLAIN = (1e-3, 1e5)
_MOST_TICKS = 5


def follow_spread(axis: Axis, values: np.ndarray) -> None:
    """An asinh scale where the values need it, and round numbers on the axis.

    They do where the largest magnitude is more than 50 times the median one: a linear
    axis would squeeze half of the rows into a fiftieth of its length. The scale is linear
    below the median magnitude (rounded to a power of ten) and logarithmic above, without
    the kink of "symlog", which a density would show as a seam.
    """
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    middle, top = (np.median(size), size.max()) if len(size) else (1.0, 1.0)
    axes = axis.axes
    change = axes.set_xscale if axis is axes.xaxis else axes.set_yscale
    if top > _MOST_MEDIANS * middle:
        low = int(np.round(np.log10(middle)))
        change("asinh", linear_width=10.0**low)
        _decades(axis, low, int(np.floor(np.log10(top))), bool((values < 0).any()))
        readable(axis)
    else:
        change("linear")
        few_ticks(axis)


def _decades(axis: Axis, low: int, high: int, both: bool) -> None:
    """Powers of ten from the largest one downwards, and zero."""
    # Side by side, the first number has no room beside zero.
    low = low if both or high - low < 2 else low + 1
    step = -(-(high - low + 1) // (3 if both else _MOST_TICKS))
    ticks = 10.0 ** np.arange(high, low - 1, -step)
    axis.set_ticks(np.concatenate([-ticks if both else [], [0], ticks[::-1]]))
    axis.set_ticks([], minor=True)


def few_ticks(axis: Axis) -> None:
    """Few round numbers on a linear axis."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(_MOST_TICKS, steps=[1, 2, 2.5, 5, 10]))
    readable(axis)


def readable(axis: Axis) -> None:
    """Write the numbers of an axis in one form: all plain, or all as powers of ten."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, axis)))


def _tick(x: float, axis: Axis) -> str:
    high = float(np.abs(axis.get_view_interval()).max())
    scale = axis.get_scale()
    if scale == "asinh":
        low = axis.get_transform().linear_width
    else:
        low = high if scale == "linear" else float(axis.get_view_interval().min())
    if x == 0 or (_PLAIN[0] <= low and high < _PLAIN[1]):
        return plain(x, 6)
    of = high if scale == "linear" else x  # ticks of a linear axis share their power
    return power(x, int(np.floor(np.log10(abs(of)) + 1e-9)))


def plain(x: float, digits: int = 3) -> str:
    """A number with commas between thousands and a true minus sign."""
    return f"{float(f'{x:.{digits}g}'):,.10g}".replace("-", "−")  # noqa: RUF001


def power(x: float, exponent: int) -> str:
    """A number times a power of ten, as mathtext."""
    factor = f"{x / 10.0**exponent:.3g}"
    front = {"1": "", "-1": "-"}.get(factor, factor + r"\times")
    return rf"$\mathdefault{{{front}10^{{{exponent}}}}}$"


def number(x: float) -> str:
    """A single number within a label."""
    if x == 0 or _PLAIN[0] <= abs(x) < _PLAIN[1]:
        return plain(x)
    return power(float(f"{x:.2g}"), int(np.floor(np.log10(abs(x)) + 1e-9)))
