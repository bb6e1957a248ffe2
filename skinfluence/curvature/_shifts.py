"""Shifts of all coupled outputs, which a softmax sees by its penalty alone."""

from dataclasses import dataclass, replace
from typing import Any, Self, final

from skinfluence._array import Array, array_namespace, of_group
from skinfluence._kernels import kernels
from skinfluence._layout import Layout


@final
@dataclass(frozen=True, eq=False)
class Shifts:
    """One constant added to a working column in all outputs of a group, per column.

    A shift-invariant loss does not see it. Where the penalty is alike for all outputs
    and all of them may move, it is an eigenvector of H, and its eigenvalue is what the
    penalty and damping add to the diagonal. That is tiny against the others where a
    column is large or rows are many, and gradients of losses have no such part: what
    rounding leaves of it must not be divided by the eigenvalue.
    """

    layout: Layout
    present: Any  # (G or 1, q) 1 for the columns that have a shift, else 0
    strength: Any  # (G or 1, q) eigenvalues; 0 for other columns
    shared: Any  # (G or 1, q) the part of them of which rows carry shares

    @classmethod
    def of(
        cls, layout: Layout, diagonal: Array, shared: Array, moving: Array | None
    ) -> Self | None:
        """From what stands on the diagonals, (G or 1, D); None if no column has one."""
        xp = array_namespace(diagonal)

        def table(entries: Array) -> Any:  # (G or 1, Kb, q)
            shape = (entries.shape[0], layout.group_size, layout.width)
            return xp.reshape(entries, shape)

        strength, shares = table(diagonal), table(shared)
        alike = xp.all(strength == strength[:, :1, :], axis=1)
        alike = alike & xp.all(shares == shares[:, :1, :], axis=1)
        if moving is not None:
            alike = alike & xp.all(table(moving), axis=1)
        if not bool(xp.any(alike)):
            return None
        present = xp.astype(alike, diagonal.dtype)
        return cls(
            layout, present, present * strength[:, 0, :], present * shares[:, 0, :]
        )

    @property
    def count(self) -> int:
        """Shifts of all groups."""
        return self._times_groups(self.present > 0)

    @property
    def n_held(self) -> int:
        """Those of them that a penalty or damping holds."""
        return self._times_groups(self.strength > 0)

    def _times_groups(self, mask: Array) -> int:
        xp = array_namespace(mask)
        n_alike = self.layout.n_groups // mask.shape[0]
        return int(xp.sum(xp.astype(mask, xp.int64))) * n_alike

    def of_group(self, g: int) -> "Shifts":
        """Those of group g alone."""
        parts = (self.present, self.strength, self.shared)
        own = (of_group(part, g)[None, :] for part in parts)
        return Shifts(replace(self.layout, n_groups=1), *own)

    # --- vectors (G, D, m) ------------------------------------------------------------

    def part(self, vectors: Array) -> Any:
        """What vectors have along the shifts: the means over the outputs."""
        return self._spread(self._means(vectors), vectors)

    def without(self, vectors: Array) -> Any:
        """Vectors less that part, as gradients of losses are."""
        return vectors - self.part(vectors)

    def solved(self, vectors: Array, share: Array | None = None) -> Any:
        """``inv(H)`` of that part; 0 for shifts that nothing holds.

        With a ``share`` (m,) of the penalty that leaves H with each vector.
        """
        xp, strength = array_namespace(vectors), self.strength[..., None]
        if share is not None:
            strength = strength - share * self.shared[..., None]
        held = strength > 0
        inverse = xp.where(held, 1 / xp.where(held, strength, 1.0), 0.0)
        return self._spread(self._means(vectors) * inverse[:, None, :, :], vectors)

    def _means(self, vectors: Array) -> Any:
        """Means over the outputs of a group, 0 for other columns, (G, 1, q, m)."""
        xp, layout = array_namespace(vectors), self.layout
        shape = (vectors.shape[0], layout.group_size, layout.width, vectors.shape[-1])
        means = xp.mean(xp.reshape(vectors, shape), axis=1, keepdims=True)
        return self.present[:, None, :, None] * means

    def _spread(self, means: Array, vectors: Array) -> Any:
        xp, (G, _, q, m) = array_namespace(means), means.shape
        spread = xp.broadcast_to(means, (G, self.layout.group_size, q, m))
        return xp.reshape(spread, vectors.shape)

    # --- the matrix of one group ------------------------------------------------------

    def lowered(self, diagonal: Array) -> Any:
        """The diagonal of H (D,) less what the shifts have in it."""
        return diagonal - array_namespace(diagonal).tile(
            self.strength[0, :] / self.layout.group_size, (self.layout.group_size,)
        )

    def lifted(self, scaled: Array, scale: Array) -> Any:
        """H with unit diagonal, their eigenvalues replaced by positive ones.

        ``scaled`` is ``H / scale / scale`` and is given away. Less the eigenvalues H is
        zero along the shifts, and any positive value there leaves ``inv(H)`` as it is on
        vectors that have no such part.
        """
        xp, Kb, q = array_namespace(scaled), self.layout.group_size, self.layout.width
        table = xp.reshape(scale, (Kb, q))
        units = self.present * table / xp.sqrt(xp.sum(table**2, axis=0))
        lost = self.strength[0, :] / Kb
        at = [slice(k * q, (k + 1) * q) for k in range(Kb)]
        for k in range(Kb):
            for j in range(Kb):
                more = units[k, :] * units[j, :] - lost / (table[k, :] * table[j, :])
                block = scaled[at[k], at[j]]
                scaled[at[k], at[j]] = kernels(scaled).with_diagonal(block, more)
        return scaled
