"""Classical diagnostics of least squares and generalized linear models.

Hat values use the expected information, as R and statsmodels do; what a deletion does to
the model is asked of a deletion, which uses the observed Hessian.
"""

from skinfluence.diagnostics._columns import (
    Deletions,
    Diagnostics,
    diagnostic_blocks,
)
from skinfluence.diagnostics._expected import at_expected_information
