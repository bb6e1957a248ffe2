"""Leave-one-out: what changes when a row is deleted, by three ways to know.

One sign everywhere: without the row minus with it.
"""

from skinfluence.deletion._active_set import following
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._exact import Exact
from skinfluence.deletion._halley import Halley
from skinfluence.deletion._one_step import Jackknife, Newton

__all__ = [
    "AbstractDeletion",
    "Deltas",
    "Exact",
    "Halley",
    "Jackknife",
    "Newton",
    "following",
]
