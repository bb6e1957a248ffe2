"""Second derivatives of the objective as linear operators."""

from skinfluence.curvature._base import AbstractCurvature
from skinfluence.curvature._row_roots import row_roots
from skinfluence.curvature._rowwise import RowwiseCurvature
from skinfluence.curvature._shifts import Shifts
