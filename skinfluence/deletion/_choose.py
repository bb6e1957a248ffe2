"""Which deletion: from the name that the user gives to the one for rows and groups."""

from collections.abc import Callable

from skinfluence.deletion._active_set import minding_active_set
from skinfluence.deletion._base import AbstractDeletion
from skinfluence.deletion._exact import Exact
from skinfluence.deletion._halley import Halley
from skinfluence.deletion._one_step import Jackknife, Newton
from skinfluence.exceptions import InvalidParameterError
from skinfluence.solvers import AbstractSolver, Point

DELETIONS = ("newton", "jackknife", "halley", "exact")


def deletion_for(
    name: str,
    point: Point,
    solver: AbstractSolver,
    *,
    typical: float,
    tol: float = 1e-8,
    max_iter: int = 50,
    progress: Callable[[int], None] = lambda n_done: None,
) -> AbstractDeletion:
    """The deletion of this name, for rows and for groups.

    Parameters
    ----------
    name : {"newton", "jackknife", "halley", "exact"}
        The method.
    point : Point
        The minimum of all rows; with "exact" and a penalty with corners, a point
        on all features, so that more may join.
    solver : AbstractSolver
        What made the point's factor; large groups get one of their own.
    typical : float
        Median length of the deletion effects of rows, in the norm of the curvature.
    tol, max_iter
        Of "exact": length of the last step relative to the longer of the delta and
        ``typical``, and most steps.
    progress : callable
        Told of how many rows or groups further "exact" has deleted.

    Raises
    ------
    InvalidParameterError
        If "halley" is asked of a loss without third derivatives.
    """
    if name == "jackknife":  # deletes nothing, and changes no active set
        return Jackknife(point)
    # Once, before threads ask for it.
    if point.vicinity is None and name != "exact":
        _ = point.trusted_length
    if point.class_sums is not None:
        _ = point.class_sums.gradients, point.class_sums.hessians
    if name == "newton":
        return minding_active_set(Newton(point, solver))
    if name == "halley":
        _check_third(point)
        return minding_active_set(Halley(point, solver))
    return minding_active_set(Exact(point, solver, typical, tol, max_iter, progress))


def _check_third(point: Point) -> None:
    loss = point.objective.loss
    if not (loss.has_third or loss.quadratic):
        raise InvalidParameterError(
            f"deletion='halley' needs third derivatives, which {type(loss).__name__} "
            "does not have: its second ones jump. Use 'newton' or 'exact'."
        )
