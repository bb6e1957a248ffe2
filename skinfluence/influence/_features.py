"""Influence of the features of training rows: derivatives in x_ij."""

from typing import Any

from skinfluence._array import Rows, array_namespace
from skinfluence._design import Design
from skinfluence.influence._effects import mean_gradient
from skinfluence.influence._quantities import AbstractQuantity
from skinfluence.solvers import Point, row_terms


def feature_influence(
    point: Point, design: Design, quantity: AbstractQuantity, rows: Rows
) -> Any:
    """``d I_up(z_i) / d x_i`` for training rows by indices, (b, p).

    With ``V = inv(H_bar) grad f`` of the mean quantity f, and ``loss_i`` a function of
    ``u_i = x_i' B``, the influence is ``-V' grad loss_i``; its derivative in ``x_i`` is
    ``-(V l'_i + B M_i V' x~_i)``, with V and B without their rows of the intercept.

    References
    ----------
    .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
       functions. Equation 5: theta and H are held.
    """
    objective, layout = point.objective, point.objective.layout
    xp = array_namespace(point.theta)
    terms = row_terms(point, rows)
    gradient = mean_gradient(point, design, quantity)  # (1, G, D)
    V = objective.weight_sum * point.factor.loss_steps(gradient)[0, ...]
    V_coef, _ = objective.design.to_estimator(layout.unpack(V))  # (K, p)
    B_coef, _ = objective.design.to_estimator(layout.unpack(point.theta))
    u = terms.outputs
    y = xp.take(objective.targets, rows, axis=0)
    M = objective.loss.hessian(y, u)  # (b, G or 1, Kb, Kb)
    pull = layout.grouped(terms.block @ layout.unpack(V).T)  # V' x~_i
    bent = layout.ungrouped(xp.matmul(M, pull[..., None])[..., 0])  # (b, K)
    return -(layout.ungrouped(terms.slope) @ V_coef + bent @ B_coef)
