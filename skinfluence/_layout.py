"""Parameters as flat vectors: G groups of D = Kb q entries, and their gauge.

Group g holds the Kb outputs that the loss couples; its entries run output by output,
the q working columns of each. Vectors are ``theta`` (G, D) or, m at once, (G, D, m).
"""

from dataclasses import dataclass
from typing import Any, final

from skinfluence._array import Array, Rows, array_namespace, device_of, spread
from skinfluence._kernels import densified, is_sparse


@final
@dataclass(frozen=True)
class Layout:
    """Shapes: ``width`` q working columns, G groups of ``group_size`` Kb outputs."""

    width: int
    n_groups: int
    group_size: int

    @property
    def n_outputs(self) -> int:
        """Number of linear outputs K = G Kb."""
        return self.n_groups * self.group_size

    @property
    def size(self) -> int:
        """Entries of one group, D = Kb q."""
        return self.group_size * self.width

    def pack(self, B: Array) -> Any:
        """``B`` (q, K) as theta (G, D)."""
        return array_namespace(B).reshape(B.T, (self.n_groups, self.size))

    def unpack(self, theta: Array) -> Any:
        """Theta ``(..., G, D)`` as ``(..., K, q)``."""
        shape = (*theta.shape[:-2], self.n_outputs, self.width)
        return array_namespace(theta).reshape(theta, shape)

    def columns(self, vectors: Array) -> Any:
        """Vectors (G, D, m) as (K, q, m), to multiply working rows."""
        shape = (self.n_outputs, self.width, vectors.shape[-1])
        return array_namespace(vectors).reshape(vectors, shape)

    def side_by_side(self, vectors: Array) -> Any:
        """Vectors (G, D, m) as the columns (q, K m) of one product with working rows."""
        xp = array_namespace(vectors)
        columns = xp.permute_dims(self.columns(vectors), (1, 0, 2))
        return xp.reshape(columns, (self.width, -1))

    def stacked(self, rows: Rows) -> Any:
        """Rows (K m, q), as ``side_by_side`` has columns, back to vectors (G, D, m)."""
        xp = array_namespace(rows)
        table = xp.reshape(rows, (self.n_outputs, -1, self.width))
        vectors = xp.permute_dims(table, (0, 2, 1))
        return xp.reshape(vectors, (self.n_groups, self.size, table.shape[1]))

    def grouped(self, outputs: Array) -> Any:
        """Row quantities ``(..., K)`` as ``(..., G, Kb)``."""
        shape = (*outputs.shape[:-1], self.n_groups, self.group_size)
        return array_namespace(outputs).reshape(outputs, shape)

    def ungrouped(self, outputs: Array) -> Any:
        """Row quantities ``(..., G, Kb)`` as ``(..., K)``."""
        shape = (*outputs.shape[:-2], self.n_outputs)
        return array_namespace(outputs).reshape(outputs, shape)

    def summed_over_outputs(self, theta: Array) -> Any:
        """Sum of theta (G, D) over the outputs, repeated for each, (q, K)."""
        xp = array_namespace(theta)
        total = xp.sum(self.unpack(theta), axis=0)
        return xp.broadcast_to(total[:, None], (self.width, self.n_outputs))

    def lifted(self, block: Array, coefficients: Array) -> Any:
        """``X~_i' c_i`` for each row: block (b, q) and (b, G, Kb) to (b, G, D)."""
        xp, block = array_namespace(coefficients), densified(block)
        product = coefficients[..., None] * block[:, None, None, :]
        return xp.reshape(product, (block.shape[0], self.n_groups, self.size))

    def effects(self, block: Array, coefficients: Array, vectors: Array) -> Any:
        """``v_t' X~_i' c_i`` of vectors (m, G, D) with coefficients (b, G, Kb), (m, b)."""
        xp = array_namespace(vectors)
        m, b = vectors.shape[0], coefficients.shape[0]
        if m > self.width and not is_sparse(block):
            lifted = xp.reshape(self.lifted(block, coefficients), (b, -1))
            return xp.reshape(vectors, (m, -1)) @ lifted.T
        # Lifting is dearer for few vectors and fills sparse rows: outputs first, (b, K, m).
        flat = self.side_by_side(xp.permute_dims(vectors, (1, 2, 0)))
        moves = xp.reshape(block @ flat, (b, self.n_outputs, m))
        return xp.sum(self.ungrouped(coefficients)[:, :, None] * moves, axis=1).T


@final
@dataclass(frozen=True, eq=False)
class Selection:
    """Some working columns of a wider layout; vectors ``(..., G or 1, D)`` go both ways."""

    wide: Layout
    columns: Any  # (q,) indices of the working columns, ascending

    @property
    def narrow(self) -> Layout:
        """Layout of the selected columns."""
        width = int(self.columns.shape[0])
        return Layout(width, self.wide.n_groups, self.wide.group_size)

    def picked(self, vectors: Array) -> Any:
        """What wide vectors hold in the selected columns."""
        xp = array_namespace(vectors)
        table = self._table(vectors, self.wide.width)
        taken = xp.take(table, self.columns, axis=-1)
        return xp.reshape(taken, (*vectors.shape[:-1], self.narrow.size))

    def spread(self, vectors: Array) -> Any:
        """Narrow vectors among zeros in the other columns."""
        xp = array_namespace(vectors)
        table = self._table(vectors, self.narrow.width)
        wide = spread(table, self.columns, self.wide.width)
        return xp.reshape(wide, (*vectors.shape[:-1], self.wide.size))

    def _table(self, vectors: Array, width: int) -> Any:
        shape = (*vectors.shape[:-1], self.wide.group_size, width)
        return array_namespace(vectors).reshape(vectors, shape)


def gauge_basis(
    penalty: Array, layout: Layout, shift_invariant: bool, free: Array | None = None
) -> Any:
    """Orthonormal directions that the objective does not see, (D, z), or None.

    A shift-invariant loss ignores one constant added to all outputs. A working column
    gives such a direction if its entries are penalised in no output, and all free.
    """
    xp = array_namespace(penalty)
    if not shift_invariant:
        return None
    held = penalty if free is None else xp.where(free, penalty, xp.ones_like(penalty))
    table = xp.reshape(held[0, :], (layout.group_size, layout.width))
    unseen = xp.nonzero(xp.max(table, axis=0) == 0)[0]
    if unseen.shape[0] == 0:
        return None
    columns = xp.arange(layout.width, device=device_of(penalty))
    units = xp.astype(columns[:, None] == unseen, penalty.dtype)
    return xp.concat([units] * layout.group_size, axis=0) / layout.group_size**0.5
