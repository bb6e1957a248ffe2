"""Names beside points: none hides another, and few cross a line or cover a dot."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skinfluence.plotting._canvas import Axes, short

# Where a name may stand around its point: distances in points with what each costs, and
# directions.
_DISTANCES = {6: 0, 13: 1, 22: 4, 34: 6, 48: 8, 64: 9}
_ANGLES = np.deg2rad([0, 180, 45, 135, 315, 225, 90, 270])
_DIRECTIONS = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)]).round(1)
# Beyond this distance a line leads to the name.
_NEAR = 14.3
# What a place costs: each line crossed, each dot covered, and being nearer to the mark
# of another name.
_CROSSED, _COVERED, _MISTAKEN = 10, 1, 15
_FRONT = 3  # zorder of the marks of named points
_INVISIBLE = ("None", "none", "", " ", None)  # styles and markers


def label_points(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    names: ArrayLike,
    color: str,
    marker: str = "o",
) -> list[Any]:
    """Mark points, and name them where there is room: no name hides another."""
    finite = np.isfinite(x) & np.isfinite(y)
    points, labels = np.column_stack([x, y])[finite], np.asarray(names)[finite]
    if len(points) == 0:
        return []
    from matplotlib.patheffects import withStroke

    ax.scatter(*points.T, s=22, color=color, marker=marker, zorder=_FRONT)
    ax.figure.draw_without_rendering()  # the layout decides how much room there is
    room = _Room(ax)
    style = {"color": color, "fontsize": 8, "ha": "center", "va": "center"}
    style["path_effects"] = [withStroke(linewidth=2, foreground="white")]
    texts = []
    for point, name in zip(points, labels, strict=True):
        text = ax.annotate(short(name), point, (0, 0), textcoords="offset points")
        text.set(zorder=_FRONT + 1, **style)
        if room.move(text):
            texts.append(text)
        else:
            text.remove()
    return texts


class _Room:
    """What stands in the axes, in pixels. A box is left, bottom, right and top."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        self.scale = ax.figure.dpi / 72
        # Off the frame, for the layout may still give other axes some of the room.
        self.inside = ax.bbox.padded(-4 * self.scale).extents
        self.segments, self.half = segments_of(ax)
        self.dots, self.marks = _dots(ax)
        self.taken = [_box(mark, np.full(2, 5 * self.scale)) for mark in self.marks]
        self.taken += [text.get_window_extent().extents for text in ax.texts]

    def move(self, text: Any) -> bool:
        """Move a text from its point to the cheapest free place, if there is one."""
        extent = text.get_window_extent()
        size = np.array([extent.width + 2, extent.height + 1])
        mark = self.ax.transData.transform(text.xy)
        centre = self._cheapest(mark, size)
        if centre is None:
            return False
        text.set_position(tuple((centre - mark) / self.scale))
        box = _box(centre, size)
        self.taken.append(box)
        if _distance(box, mark) > _NEAR * self.scale:
            ends = self.ax.transData.inverted().transform([mark, centre])
            style = {"color": text.get_color(), "linewidth": 0.5, "alpha": 0.6}
            self.ax.plot(*ends.T, scalex=False, scaley=False, **style)
        return True

    def _cheapest(self, mark: np.ndarray, size: np.ndarray) -> np.ndarray | None:
        best, least = None, np.inf
        for distance, far in _DISTANCES.items():
            if far >= least:
                break
            for direction in _DIRECTIONS:
                push = np.sign(direction) * size / 2
                centre = mark + direction * distance * self.scale + push
                box = _box(centre, size)
                if self._free(box) and (cost := far + self._cost(box, mark)) < least:
                    best, least = centre, cost
        return best

    def _free(self, box: np.ndarray) -> bool:
        fits = (box[:2] >= self.inside[:2]).all() and (box[2:] <= self.inside[2:]).all()
        low, high = np.hsplit(np.reshape(self.taken, (-1, 4)), 2)
        return fits and not ((box[:2] < high) & (low < box[2:])).all(axis=1).any()

    def _cost(self, box: np.ndarray, mark: np.ndarray) -> float:
        lines = crossing(box, self.segments, self.half).sum()
        dots = ((self.dots > box[:2]) & (self.dots < box[2:])).all(axis=1).sum()
        nearer = _distance(box, self.marks).min() < _distance(box, mark) - self.scale
        return float(_CROSSED * lines + _COVERED * dots + _MISTAKEN * nearer)


def segments_of(ax: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Ends of all pieces of lines, shape (n, 4), and half their widths, in pixels."""
    from matplotlib.collections import LineCollection

    lines = [line for line in ax.lines if line.get_linestyle() not in _INVISIBLE]
    bars = [part for part in ax.collections if isinstance(part, LineCollection)]
    segments, half = [np.empty((0, 4))], [np.empty(0)]
    for artist in [*lines, *bars]:
        width = np.ravel(artist.get_linewidth())[0] * ax.figure.dpi / 72
        for path in artist.get_paths() if artist in bars else [artist.get_path()]:
            ends = artist.get_transform().transform_path(path).vertices
            segments.append(np.hstack([ends[:-1], ends[1:]]))
            half.append(np.full(len(ends) - 1, width / 2))
    ends, widths = np.concatenate(segments), np.concatenate(half)
    whole = np.isfinite(ends).all(axis=1)
    return ends[whole], widths[whole]


def crossing(box: np.ndarray, segments: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Which of the segments meet a box, by the slabs that they share with it."""
    start, step = segments[:, :2], segments[:, 2:] - segments[:, :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        one = (box[:2] - half[:, None] - start) / step
        two = (box[2:] + half[:, None] - start) / step
    enter = np.fmin(one, two).max(axis=1)
    leave = np.fmax(one, two).min(axis=1)
    return (enter <= leave) & (enter <= 1) & (leave >= 0)


def _dots(ax: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the dots of all artists, and of the marks of named points."""
    from matplotlib.collections import PathCollection

    dots, marks = [np.empty((0, 2))], [np.empty((0, 2))]
    for points in ax.collections:
        if isinstance(points, PathCollection):
            offsets = np.ma.getdata(points.get_offsets())
            kind = marks if points.get_zorder() == _FRONT else dots
            kind.append(points.get_offset_transform().transform(offsets))
    for line in ax.lines:
        if line.get_marker() not in _INVISIBLE:
            dots.append(line.get_transform().transform(line.get_xydata()))
    return np.concatenate(dots), np.concatenate(marks)


def _distance(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of points from a box."""
    outside = np.maximum(np.maximum(box[:2] - points, points - box[2:]), 0)
    return np.linalg.norm(outside, axis=-1)


def _box(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.concatenate([centre - size / 2, centre + size / 2])
