"""Parameters as flat vectors: G groups of D = Kb q entries, and their gauge.

Group g holds the Kb outputs that the loss couples; its entries run output by output,
the q working columns of each. Vectors are ``theta`` (G, D) or, m at once, (G, D, m).
"""

from dataclasses import dataclass
from typing import Any, final

from skinfluence._array import array_namespace, masked


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

    def pack(self, B: Any) -> Any:
        """``B`` (q, K) as theta (G, D)."""
        return array_namespace(B).reshape(B.T, (self.n_groups, self.size))

    def unpack(self, theta: Any) -> Any:
        """Theta ``(..., G, D)`` as ``(..., K, q)``."""
        shape = (*theta.shape[:-2], self.n_outputs, self.width)
        return array_namespace(theta).reshape(theta, shape)

    def columns(self, vectors: Any) -> Any:
        """Vectors (G, D, m) as (K, q, m), to multiply working rows."""
        shape = (self.n_outputs, self.width, vectors.shape[-1])
        return array_namespace(vectors).reshape(vectors, shape)

    def grouped(self, outputs: Any) -> Any:
        """Row quantities ``(..., K)`` as ``(..., G, Kb)``."""
        shape = (*outputs.shape[:-1], self.n_groups, self.group_size)
        return array_namespace(outputs).reshape(outputs, shape)

    def ungrouped(self, outputs: Any) -> Any:
        """Row quantities ``(..., G, Kb)`` as ``(..., K)``."""
        shape = (*outputs.shape[:-2], self.n_outputs)
        return array_namespace(outputs).reshape(outputs, shape)

    def lifted(self, block: Any, coefficients: Any) -> Any:
        """``X~_i' c_i`` for each row: block (b, q) and (b, G, Kb) to (b, G, D)."""
        xp = array_namespace(block)
        product = coefficients[..., None] * block[:, None, None, :]
        return xp.reshape(product, (block.shape[0], self.n_groups, self.size))


def gauge_basis(
    penalty: Any, layout: Layout, shift_invariant: bool, free: Any = None
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
    eye = xp.eye(layout.width, dtype=penalty.dtype)
    eye = masked(eye, xp.max(table, axis=0) == 0).T
    if eye.shape[1] == 0:
        return None
    return xp.concat([eye] * layout.group_size, axis=0) / layout.group_size**0.5
