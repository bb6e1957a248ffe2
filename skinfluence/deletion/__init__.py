"""Deletion: what changes when rows leave, one at a time or together, by four methods.

One sign everywhere: without the rows minus with them.
"""

from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._choose import DELETIONS, deletion_for
from skinfluence.deletion._exact import Exact
from skinfluence.deletion._halley import Halley
from skinfluence.deletion._one_step import Jackknife, Newton
from skinfluence.deletion._rest import ByTheRest, open_parameters, remainders
