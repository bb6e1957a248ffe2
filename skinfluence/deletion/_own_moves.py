"""How rows' own outputs move without them where penalties differ: no delta is formed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from skinfluence._array import Rows, array_namespace, masked, placed
from skinfluence._rows import parts_of_rows
from skinfluence.deletion._leaving import OneByOne
from skinfluence.deletion._vouching import squared_length
from skinfluence.solvers import Point, indices_of

# Contraction up to which a tilt may be answered to first order in the units.
_MOST_TILTED = 1e-3


class OwnMoves(NamedTuple):
    """Of b rows with outputs that are not coupled."""

    moves: Any  # (b, G, 1) of the row's own outputs
    squared: Any  # (b,) squared lengths of the deltas in the norm of H without the row
    unidentified: Any  # (b,)
    stretch: Any  # (b,)

    @property
    def length(self) -> Any:
        """Lengths of the deltas in the norm of H without the row, (b,)."""
        xp = array_namespace(self.squared)
        return xp.sqrt(xp.clip(self.squared, min=0.0))

    @classmethod
    def of(cls, point: Point, rows: Rows) -> "OwnMoves":
        """To first order in the change of units, or by rounds where more can be seen."""
        if not _is_plain(point):
            return cls._joined(point, rows, _by_rounds)
        xp = array_namespace(point.theta)
        own = cls._joined(point, rows, _to_first_order)
        lost = xp.isnan(own.squared)
        if not bool(xp.any(lost)):
            return own
        few = cls._joined(point, masked(indices_of(rows, point), lost), _by_rounds)
        return own._replace(
            moves=xp.where(lost[:, None, None], placed(few.moves, lost), own.moves),
            squared=xp.where(lost, placed(few.squared, lost), own.squared),
            stretch=xp.where(lost, placed(few.stretch, lost), own.stretch),
        )

    @classmethod
    def _joined(
        cls, point: Point, rows: Rows, answer: Callable[[OneByOne], "OwnMoves"]
    ) -> "OwnMoves":
        """Of parts of the rows, of which several arrays (b, D) stay in the cache."""
        design, width = point.objective.design, point.objective.layout.size
        parts = [
            answer(OneByOne.of(point, part))
            for part in parts_of_rows(rows, design, width)
        ]
        if len(parts) == 1:
            return parts[0]
        xp = array_namespace(point.theta)
        return cls(*(xp.concat(column, axis=0) for column in zip(*parts, strict=True)))


def _is_plain(point: Point) -> bool:
    """Whether penalties that change are quadratic, and their curvature is at hand."""
    slope = point.objective.penalty.held(point.theta).slope
    has_slope = bool(array_namespace(point.theta).any(slope + 0 * point.theta != 0))
    return point.inverse_diagonal is not None and not has_slope


def _by_rounds(leaving: OneByOne) -> OwnMoves:
    newton = leaving.solve(leaving.gradient)
    moves, squared = leaving.moves(newton.value), squared_length(leaving, newton)
    return OwnMoves(moves, squared, leaving.unidentified, leaving.stretch)


def _to_first_order(leaving: OneByOne) -> OwnMoves:
    """In the change E of a quadratic penalty; NaN where what is left out can be seen.

    What leaves the gradient is ``s x - E theta``. With ``z = inv(H_-) x`` in the units of
    all rows, ``x' inv(H_- + E) (s x - E theta)`` is ``z' (s x - E theta) - s z' E z``, and
    what is left at most ``|x| c (|E theta| + s c |x|) / (1 - c)`` in the norm of
    ``inv(H_-)``, where E contracts by c. A tilt t leaves as well where gaps are filled
    anew: what it leaves out, ``|x| c |t|``, is far below what a linear term does not see.
    """
    point, v, c = leaving.point, leaving.direction, leaving.small_contraction
    strength, xp = point.objective.penalty.strength, array_namespace(v)
    dot, ridge = xp.vecdot, strength * point.theta
    k, s = leaving.inverse[..., 0, 0], leaving.slope[..., 0]  # (b, G)
    squared_size = k * leaving.leverage  # of x
    change = leaving.changes * v
    pull = -k * dot(change, ridge)
    change *= v
    moves = s * squared_size + pull - s * k**2 * dot(change, strength)
    size = xp.sqrt(xp.max(squared_size, axis=1))
    shift, tilt = leaving.length_of_pull, leaving.tilt
    left = size * c * (shift + xp.max(xp.abs(s), axis=1) * c * size) / (1 - c)
    known = (c < 1) & (left <= point.rounding_of_outputs)
    if tilt is not None:
        tilted = k * dot(v, tilt)
        moves, pull = moves - tilted, pull - tilted
        shift, known = shift + leaving.length_of_tilt, known & (c < _MOST_TILTED)
    squared = xp.sum(s**2 * squared_size + 2 * s * pull, axis=1) + shift**2
    squared = xp.where(known, squared / (1 - c), xp.nan)
    return OwnMoves(moves[..., None], squared, leaving.unidentified, leaving.stretch)
