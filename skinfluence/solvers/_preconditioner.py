"""Preconditioners: cheap approximate inverses that make conjugate gradients short."""

import abc
from dataclasses import dataclass
from typing import Any, final

from skinfluence._array import array_namespace, device_of
from skinfluence._kernels import kernels
from skinfluence.curvature import AbstractCurvature
from skinfluence.solvers._base import negative_direction

# Columns up to which the block of every coupled output is factored.
_MOST_BLOCK = 2048
# Added to the unit diagonal of a block, which need not be definite.
_JITTER = 1e-10


class AbstractPreconditioner(abc.ABC):
    """A symmetric positive definite operator near ``inv(H)``."""

    @abc.abstractmethod
    def apply(self, residuals: Any) -> Any:
        """The operator times residuals (G, D, m)."""


@final
@dataclass(frozen=True, eq=False)
class Jacobi(AbstractPreconditioner):
    """Inverse of the diagonal of H, so that the units of columns do not matter."""

    inverse_diagonal: Any  # (G, D)

    @classmethod
    def of(cls, curvature: AbstractCurvature) -> "Jacobi":
        """One pass over the rows."""
        diagonal = curvature.diagonal()
        xp = array_namespace(diagonal)
        if bool(xp.any(diagonal < 0)):
            raise negative_direction("the diagonal of the Hessian has a negative entry")
        one = xp.ones_like(diagonal)
        return cls(one / xp.where(diagonal > 0, diagonal, one))

    def apply(self, residuals: Any) -> Any:
        return self.inverse_diagonal[..., None] * residuals


@final
@dataclass(frozen=True, eq=False)
class OutputBlocks(AbstractPreconditioner):
    """Inverse of the diagonal blocks of H, one for each coupled output."""

    roots: Any  # (K, q, q), T T' the inverse of a block

    @classmethod
    def of(cls, curvature: AbstractCurvature) -> "OutputBlocks | None":
        """``K n q**2`` flops; None if a block is not definite."""
        roots = []
        for k in range(curvature.layout.n_outputs):
            H = curvature.output_block(k)
            xp = array_namespace(H)
            diagonal = xp.linalg.diagonal(H)
            seen = diagonal > 0  # else the entry does not move
            scale = xp.sqrt(xp.where(seen, diagonal, xp.ones_like(diagonal)))
            extra = xp.where(
                seen, xp.full_like(diagonal, _JITTER), xp.ones_like(diagonal)
            )
            eye = xp.eye(H.shape[0], dtype=H.dtype, device=device_of(H))
            scaled = H / scale[:, None] / scale + extra * eye
            T = kernels(scaled).inverse_root_in_place(scaled)
            if T is None:
                return None
            roots.append(T / scale[:, None])
        return cls(xp.stack(roots))

    def apply(self, residuals: Any) -> Any:
        xp = array_namespace(residuals)
        K, q, _ = self.roots.shape
        parts = xp.reshape(residuals, (K, q, -1))
        half = xp.matmul(xp.matrix_transpose(self.roots), parts)
        return xp.reshape(xp.matmul(self.roots, half), residuals.shape)


def preconditioner_of(curvature: AbstractCurvature) -> AbstractPreconditioner:
    """Blocks of the outputs where they are coupled and small, else the diagonal."""
    layout = curvature.layout
    if layout.group_size > 1 and layout.width <= _MOST_BLOCK:
        blocks = OutputBlocks.of(curvature)
        if blocks is not None:
            return blocks
    return Jacobi.of(curvature)
