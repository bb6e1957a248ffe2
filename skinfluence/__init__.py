"""What did each training row do to this model?

Influence and leave-one-out deltas of fitted linear, ridge and logistic models of
scikit-learn: exact Hessians, no refits, and a judge that refits to check.

Signs: *influence*: positive = up-weighting the row raises the loss (harmful);
*delta*: without the row minus with it.
"""

from skinfluence.explainer import InfluenceExplainer
from skinfluence.refit import check_leave_one_out, refit_leave_one_out

__all__ = ["InfluenceExplainer", "check_leave_one_out", "refit_leave_one_out"]

__version__ = "0.1.0.dev0"
