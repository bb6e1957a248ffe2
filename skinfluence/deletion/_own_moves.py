"""How rows' own outputs move without them where penalties differ: no delta is formed."""

from typing import Any, NamedTuple

from skinfluence._array import Rows, array_namespace, placed
from skinfluence._rows import parts_of_rows
from skinfluence.deletion._leaving import OneByOne
from skinfluence.deletion._vouching import squared_length
from skinfluence.solvers import Point


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
        """By parts of which several arrays (b, D) stay in the cache."""
        objective = point.objective
        parts = [
            _of_part(OneByOne.of(point, part))
            for part in parts_of_rows(rows, objective.design, objective.layout.size)
        ]
        if len(parts) == 1:
            return parts[0]
        xp = array_namespace(point.theta)
        return cls(*(xp.concat(column, axis=0) for column in zip(*parts, strict=True)))


def _of_part(leaving: OneByOne) -> OwnMoves:
    """To first order in the change of units; by rounds where the second can be seen."""
    moves, squared = _first_order(leaving)
    far = ~(leaving.contraction**2 <= leaving.unseen)
    xp = array_namespace(moves)
    if bool(xp.any(far)):
        few = leaving.at(far)
        newton = few.solve(few.gradient)
        own = placed(few.moves(newton.value), far)
        moves = xp.where(far[:, None, None], own, moves)
        squared = xp.where(far, placed(squared_length(few, newton), far), squared)
    return OwnMoves(moves, squared, leaving.unidentified, leaving.stretch)


def _first_order(leaving: OneByOne) -> tuple[Any, Any]:
    """Moves (b, G, 1), and squared lengths (b,), but for ``contraction**2``.

    With ``z = inv(H_-) x`` and ``y = inv(H_-) g`` in the units of all rows, and E what the
    penalty gains by others, ``x' inv(H_- + E) g = z' g - z' E y + z' E inv(H_-) E y - ...``
    """
    xp, v, lost = array_namespace(leaving.block), leaving.direction, leaving.pulled
    dot, w = xp.vecdot, leaving.steps(lost)
    change = leaving.gain * v
    inverse, bend = leaving.inverse[..., 0, 0], leaving.bend[..., 0, 0]  # (b, G)
    slope = leaving.slope[..., 0]
    pull, leverage = dot(v, lost), leaving.moves(v)[..., 0]
    # y = w + c v and z = inverse v, by the rank of one row.
    c = inverse * (slope + bend * pull)
    moves = pull + c * leverage
    squared = xp.sum(slope * moves + c * pull + dot(w, lost), axis=1)
    moves = moves - inverse * (dot(change, w) + c * dot(change, v))
    return moves[..., None], squared / (1 - leaving.contraction)
