"""What each training row brings: its design, slope and bend at a point."""

from typing import Any, NamedTuple

from skinfluence._array import Array, Rows, array_namespace, indices_in, take_rows
from skinfluence._kernels import densified
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._rows import row_blocks
from skinfluence.solvers._normed import own_norm_outputs
from skinfluence.solvers._point import Point


class RowTerms(NamedTuple):
    """First and second derivatives of some rows' losses, by groups of outputs."""

    block: Any  # (b, q) working rows
    weight: Any  # (b,) s_i
    outputs: Any  # (b, K) u_i
    slope: Any  # (b, G, Kb) unweighted gradient g_i in u
    bend: Any  # (b, G or 1, Kb, Kb) weighted second derivative s_i M_i
    share: Any  # (b,) of the penalty, that leaves with the row; None in sum form
    rows: Any  # the slice or indices that these are


def row_terms(point: Point, rows: Rows, *, for_products: bool = False) -> RowTerms:
    """Terms of the training rows in a slice or index array.

    ``for_products`` leaves the block in the fastest form that can be multiplied.
    """
    objective = point.objective
    design = objective.rows if for_products else objective.design
    u = take_rows(point.outputs, rows)
    y = take_rows(objective.targets, rows)
    s = take_rows(objective.weight, rows)
    loss, layout = objective.loss, objective.layout
    return RowTerms(
        design.block(rows),
        s,
        u,
        layout.grouped(loss.gradient(y, u)),
        s[:, None, None, None] * loss.hessian(y, u),
        _shares(objective, rows),
        rows,
    )


def _shares(objective: Objective, rows: Rows) -> Any:
    """What leaves of the penalty with each row, (b,); None in sum form."""
    share = objective.penalty.share
    return take_rows(objective.counted, rows) * share if share else None


def own_outputs(block: Array, vectors: Array, layout: Layout) -> Any:
    """``X~_i v_i``: each row's outputs by a vector of its own, (b, G, D) to (b, G, Kb)."""
    xp, block = array_namespace(vectors), densified(block)
    columns = layout.unpack(vectors)  # (b, K, q)
    return layout.grouped(xp.matmul(columns, block[:, :, None])[..., 0])


def row_gradients(point: Point, terms: RowTerms, slope: Array) -> Any:
    """What leaves the gradient with a row, ``X~_i' slope_i`` and its share, (b, G, D)."""
    lifted = point.objective.layout.lifted(terms.block, slope)
    if terms.share is None:
        return lifted
    penalty = point.objective.penalty.gradient(point.theta)
    return lifted + terms.share[:, None, None] * penalty


def learned_gradients(point: Point, rows: Rows) -> Any:
    """What leaves the gradient with what is learned of each row, (b, G, D).

    To first order, as a row's weight goes to zero; None where all is held.
    """
    objective, sums = point.objective, point.class_sums
    if not objective.learns:
        return None
    indices, gradients = indices_of(rows, point), 0.0
    changes = objective.unit_changes(indices)  # (b, 1, D)
    if changes is not None:
        penalty, theta = objective.penalty, point.theta
        ridge = penalty.strength * theta
        gradients = gradients - changes * (penalty.gradient(theta) + ridge)
    tilt = point.tilts(indices, "derivative")
    if tilt is not None:
        gradients = gradients - tilt
    if sums is not None:
        factors = 1 + sums.weights.derivative(indices)
        gradients = gradients - sums.pull(factors)
    return gradients


def learned_steps(point: Point, rows: Rows) -> Any:
    """``inv(H)`` of these, (b, G, D), or None."""
    gradients = learned_gradients(point, rows)
    return None if gradients is None else point.factor.loss_steps(gradients)


def learned_self_influence(point: Point, rows: Rows) -> Any:
    """What learning of rows adds to their influence on their own losses, (b,) or 0."""
    learned = learned_steps(point, rows)
    if learned is None:
        return 0.0
    terms = row_terms(point, rows)
    objective, indices = point.objective, indices_of(rows, point)
    moves = own_outputs(terms.block, learned, objective.layout)
    growths = objective.growths(indices, "derivative")
    if growths is not None:
        theta = point.theta[None, ...]
        gained = own_norm_outputs(objective, indices, theta, growths, True)
        moves = moves + objective.layout.grouped(gained)
    pulled = array_namespace(moves).sum(terms.slope * moves, axis=(1, 2))
    return -point.objective.weight_sum * per_weight(point, rows) * pulled


def per_weight(point: Point, rows: Rows) -> Any:
    """``1 / s_i``, 0 where a row has no weight, (b,)."""
    s = take_rows(point.objective.weight, rows)
    xp = array_namespace(s)
    return xp.where(s > 0, 1 / xp.where(s > 0, s, xp.ones_like(s)), xp.zeros_like(s))


def indices_of(rows: Rows, point: Point) -> Any:
    """Rows of a slice or index array as indices."""
    if not isinstance(rows, slice):
        return rows
    return indices_in(rows, point.objective.n_rows, point.theta)


def gradient_lengths(point: Point, rows: Array) -> Any:
    """Length of the first-order effects of deleting rows, ``|inv(H) s_i g_i|_H``, (b,)."""
    xp, layout = array_namespace(rows), point.objective.layout
    lengths = []
    for part in row_blocks(rows.shape[0], layout.n_groups * layout.size):
        terms = row_terms(point, rows[part], for_products=True)
        slope = terms.weight[:, None, None] * terms.slope
        if terms.share is None:
            lengths.append(point.factor.row_norms(terms.block, slope, terms.rows))
        else:
            lifted = row_gradients(point, terms, slope)  # (b, G, D)
            lengths.append(point.factor.norm(xp.permute_dims(lifted, (1, 2, 0))))
    return xp.concat(lengths)
