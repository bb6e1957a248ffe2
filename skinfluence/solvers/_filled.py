"""What gaps in rows do when the values that fill them move."""

from dataclasses import dataclass
from typing import Any, final

from skinfluence._array import Array, Rows, array_namespace, device_of, like
from skinfluence._following import Gaps
from skinfluence._objective import Objective
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers._base import AbstractFactor

# Columns with gaps whose directions are summed over the rows at once.
_TOGETHER = 16


def fill_gradients(curvature: RowwiseCurvature) -> Any:
    """Derivatives of the gradient in what fills each column with gaps, (w, G, D).

    ``sum_k s_k (X~_k' M_k theta_j + 1_j g_k)`` over the rows k that have a gap in j.
    """
    objective, theta = curvature.objective, curvature.theta
    gaps, layout = objective.gaps, objective.layout
    xp, u, y = array_namespace(theta), curvature.first_order.outputs, objective.targets
    B = objective.of_filled(layout.unpack(theta))  # (K, w)
    M = objective.weight[:, None, None, None] * objective.loss.hessian(y, u)
    slopes = objective.weight[:, None] * objective.loss.gradient(y, u)
    mask = gaps.block(slice(None), u)  # (n, w)
    parts = []
    for first in range(0, mask.shape[1], _TOGETHER):
        some = slice(first, first + _TOGETHER)
        moves = layout.grouped(
            xp.permute_dims(mask[:, None, some] * B[:, some], (0, 2, 1))
        )
        bent = xp.matmul(M[:, None, ...], moves[..., None])[..., 0]  # (n, w, G, Kb)
        bent = xp.permute_dims(layout.ungrouped(bent), (0, 2, 1))
        parts.append(objective.lifted_sum(bent))  # (G, D, w)
    bent = xp.permute_dims(xp.concat(parts, axis=2), (2, 0, 1))
    return bent + _own_slopes(objective, slopes.T @ mask)


@final
@dataclass(frozen=True, eq=False)
class FillSizes:
    """What a move of 1 of each fill is at most, (w,) each."""

    held: Any  # root of what rows with gaps weigh, sum s_k tr M_k
    width: Any  # longest change of its coefficients by a vector that H measures as 1
    coef: Any  # length of its coefficients
    pull: Any  # length of the change of the gradient, in the norm of inv(H)

    @classmethod
    def of(
        cls, curvature: RowwiseCurvature, factor: AbstractFactor, gradients: Array
    ) -> "FillSizes":
        """From one pass over the gaps, and a solve for each of the columns' outputs.

        And for their gradients (w, G, D).
        """
        objective, theta = curvature.objective, curvature.theta
        xp, layout = array_namespace(theta), objective.layout
        M = xp.abs(
            objective.loss.hessian(objective.targets, curvature.first_order.outputs)
        )
        bend = xp.sum(xp.linalg.diagonal(M), axis=(1, 2)) * layout.n_groups / M.shape[1]
        mask = objective.gaps.block(slice(None), theta)
        held = xp.sqrt((objective.weight * bend) @ mask)
        K, at = layout.n_outputs, like(objective.filled_columns, theta)  # (w, q)
        every = xp.eye(K, dtype=theta.dtype, device=device_of(theta))
        units = every[None, :, :, None] * at[:, None, None, :]  # (w, K, K, q)
        units = xp.reshape(units, (-1, layout.n_groups, layout.size))
        squared = xp.sum(units * factor.loss_steps(units), axis=(1, 2))
        width = xp.sqrt(xp.sum(xp.reshape(squared, (-1, K)), axis=1))
        B = objective.of_filled(layout.unpack(theta))
        squared = xp.sum(gradients * factor.loss_steps(gradients), axis=(1, 2))
        pull = xp.sqrt(xp.clip(squared, min=0.0))
        return cls(held, width, xp.sqrt(xp.sum(B**2, axis=0)), pull)


def _own_slopes(objective: Objective, slopes: Array) -> Any:
    """Slopes (K, w) at the columns that they are of, (w, G, D)."""
    xp, layout = array_namespace(slopes), objective.layout
    at = like(objective.filled_columns, slopes)  # (w, q)
    table = slopes.T[:, :, None] * at[:, None, :]  # (w, K, q)
    return xp.reshape(table, (-1, layout.n_groups, layout.size))


def fill_outputs(
    objective: Objective, theta: Array, moves: Array, gaps: Gaps, rows: Rows
) -> Any:
    """What rows with gaps gain, at theta (b, G, D) of b groups, (m, K, b).

    ``moves`` (b, w) are those of what fills the columns without each group.
    """
    xp, layout = array_namespace(theta), objective.layout
    B = objective.of_filled(layout.unpack(theta), gaps) * moves[:, None, :]  # (b, K, w)
    flat = xp.reshape(B, (-1, B.shape[-1]))
    outputs = gaps.block(rows, theta) @ flat.T
    shape = (-1, B.shape[0], layout.n_outputs)
    return xp.permute_dims(xp.reshape(outputs, shape), (0, 2, 1))
