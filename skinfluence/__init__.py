"""What did each training row do to this model?

Influence and leave-one-out deltas of scikit-learn's linear and generalized linear
models: exact Hessians, no refits, and a judge that refits to check.

Signs: *influence*: positive = up-weighting the row raises the loss (harmful);
*delta*: without the row minus with it.
"""

from skinfluence.cleaning import InfluenceCleaner
from skinfluence.cross_influence import cross_val_influence
from skinfluence.explainer import InfluenceExplainer
from skinfluence.plotting import (
    DfbetasDisplay,
    InfluenceDisplay,
    LeaveOneOutDisplay,
    LeverageDisplay,
    SelfInfluenceDisplay,
)
from skinfluence.preprocessing import register_transformer
from skinfluence.refit import check_leave_one_out, refit_leave_one_out
from skinfluence.report import InfluenceReport
from skinfluence.selection import LeaveOneOutSearchCV
from skinfluence.support import register_estimator

__all__ = [
    "InfluenceExplainer",
    "InfluenceCleaner",
    "LeaveOneOutSearchCV",
    "InfluenceReport",
    "InfluenceDisplay",
    "LeverageDisplay",
    "LeaveOneOutDisplay",
    "DfbetasDisplay",
    "SelfInfluenceDisplay",
    "cross_val_influence",
    "check_leave_one_out",
    "refit_leave_one_out",
    "register_estimator",
    "register_transformer",
]

__version__ = "0.1.0.dev0"
