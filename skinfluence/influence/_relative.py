"""Influence relative to how far a row moves the model at all."""

from skinfluence._array import array_namespace
from skinfluence.influence._effects import Blocks, pull_of_rows
from skinfluence.solvers import Point


def relative_blocks(point: Point, blocks: Blocks) -> Blocks:
    """Influence over ``sqrt(g_i' inv(H_bar) g_i)``, the root of minus self-influence.

    Rows of no self-influence have none on others either, and keep their zeros.

    References
    ----------
    .. [1] Barshan, Brunet & Dziugaite (2020). RelatIF: identifying explanatory training
       examples via relative influence. AISTATS. Section 4.2, l-RelatIF.
    """
    for rows, values in blocks:
        own = pull_of_rows(point, rows)
        xp = array_namespace(own)
        yield rows, values / xp.sqrt(xp.where(own > 0, own, xp.ones_like(own)))
