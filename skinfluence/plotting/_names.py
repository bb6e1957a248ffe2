"""Names beside points: none hides another, and few cross a line or cover a dot."""

from typing import Any

import numpy as np

from skinfluence.plotting._canvas import short

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
# What a place costs: the distance, each line crossed, each dot covered, and being
# nearer to the mark of another name.
_FAR = (0, 1, 4, 6, 8, 9)
_CROSSED, _COVERED, _MISTAKEN = 10, 1, 15
_FRONT = 3  # zorder of the marks of named points


def named(
    ax: Any, x: Any, y: Any, names: Any, color: str, marker: str = "o"
) -> list[Any]:
    """Mark points, and name them where there is room: no name hides another."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y, names = x[finite], y[finite], np.asarray(names)[finite]
    if len(x) == 0:
        return []
    from matplotlib.patheffects import withStroke

    ax.scatter(x, y, s=22, color=color, marker=marker, zorder=_FRONT)
    ax.figure.draw_without_rendering()  # the layout decides how much room there is
    scale = ax.figure.dpi / 72
    marks = ax.transData.transform(np.column_stack([x, y]))  # (k, 2) pixels
    room = _Room(ax, scale)
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
            zorder=_FRONT + 1,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        extent = text.get_window_extent()
        size = np.array([extent.width + 2, extent.height + 1])
        place = room.place(mark, size)
        if place is None:
            text.remove()
            continue
        text.set_position(tuple((place - mark) / scale))
        room.taken.append(_box(place, size))
        if _gap(_box(place, size), mark) > 1.1 * _DISTANCES[1] * scale:
            ends = ax.transData.inverted().transform([mark, place])
            ax.plot(*ends.T, color=color, linewidth=0.5, alpha=0.6, scalex=0, scaley=0)
        found.append(text)
    return found


class _Room:
    """What stands in the axes, in pixels."""

    def __init__(self, ax: Any, scale: float) -> None:
        # Off the frame, for the layout may still give other axes some of the room.
        self.inside = ax.bbox.extents + np.array([4, 4, -4, -4]) * scale
        self.scale = scale
        self.segments, self.thickness = segments_of(ax)
        self.dots, self.marks = _dots(ax)
        self.taken = [_box(mark, np.full(2, 5 * scale)) for mark in self.marks]
        self.taken += [text.get_window_extent().extents for text in ax.texts]

    def place(self, mark: Any, size: Any) -> Any:
        """The cheapest free centre for a box of a size around a mark, or None."""
        best, least = None, np.inf
        for distance, far in zip(_DISTANCES, _FAR, strict=True):
            if far >= least:
                break
            for direction in np.asarray(_DIRECTIONS):
                push = np.sign(direction) * size / 2
                centre = mark + direction * distance * self.scale + push
                box = _box(centre, size)
                if self._free(box) and (cost := far + self._cost(box, mark)) < least:
                    best, least = centre, cost
        return best

    def _free(self, box: Any) -> bool:
        low, high = self.inside[:2], self.inside[2:]
        fits = (box[:2] >= low).all() and (box[2:] <= high).all()
        return fits and not any(_overlap(box, other) for other in self.taken)

    def _cost(self, box: Any, mark: Any) -> float:
        lines = crossing(box, self.segments, self.thickness).sum()
        dots = ((self.dots > box[:2]) & (self.dots < box[2:])).all(axis=1).sum()
        nearer = _gap(box, self.marks).min() < _gap(box, mark) - self.scale
        return float(_CROSSED * lines + _COVERED * dots + _MISTAKEN * nearer)


def segments_of(ax: Any) -> tuple[Any, Any]:
    """Ends of all pieces of lines, shape (n, 4), and half their widths, in pixels."""
    from matplotlib.collections import LineCollection

    paths = [
        (line.get_transform().transform_path(line.get_path()), line.get_linewidth())
        for line in ax.lines
        if line.get_linestyle() not in ("None", "none", "", " ")
    ]
    for bars in ax.collections:
        if isinstance(bars, LineCollection):
            width, turned = np.ravel(bars.get_linewidth())[0], bars.get_transform()
            paths += [(turned.transform_path(path), width) for path in bars.get_paths()]
    pieces = [np.hstack([path.vertices[:-1], path.vertices[1:]]) for path, _ in paths]
    widths = [width for _, width in paths]
    segments = np.concatenate([np.empty((0, 4)), *pieces])
    half = np.repeat(np.array(widths), [len(piece) for piece in pieces]) / 2
    whole = np.isfinite(segments).all(axis=1)
    return segments[whole], half[whole] * ax.figure.dpi / 72


def crossing(box: Any, segments: Any, half: Any) -> Any:
    """Which of the segments meet a box, by the slabs that they share with it."""
    start, step = segments[:, :2], segments[:, 2:] - segments[:, :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        one = (box[:2] - half[:, None] - start) / step
        two = (box[2:] + half[:, None] - start) / step
    enter = np.fmin(one, two).max(axis=1)
    leave = np.fmax(one, two).min(axis=1)
    return (enter <= leave) & (enter <= 1) & (leave >= 0)


def _dots(ax: Any) -> tuple[Any, Any]:
    """Pixels of the dots of all artists, and of the marks of named points."""
    from matplotlib.collections import PathCollection

    dots, marks = [np.empty((0, 2))], [np.empty((0, 2))]
    for cloud in ax.collections:
        if isinstance(cloud, PathCollection):
            offsets = np.ma.getdata(cloud.get_offsets())
            kind = marks if cloud.get_zorder() == _FRONT else dots
            kind.append(cloud.get_offset_transform().transform(offsets))
    dots += [
        line.get_transform().transform(line.get_xydata())
        for line in ax.lines
        if line.get_marker() not in ("None", "none", "", " ", None)
    ]
    return np.concatenate(dots), np.concatenate(marks)


def _gap(box: Any, points: Any) -> Any:
    """Distance of points from a box."""
    outside = np.maximum(np.maximum(box[:2] - points, points - box[2:]), 0)
    return np.linalg.norm(outside, axis=-1)


def _box(centre: Any, size: Any) -> Any:
    """Left, bottom, right and top."""
    half = np.asarray(size) / 2
    return np.concatenate([centre - half, centre + half])


def _overlap(one: Any, other: Any) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())
