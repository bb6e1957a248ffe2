"""Displays: what people would rather look at than read.

scikit-learn's convention: data are stored at construction, ``plot`` draws and returns the
display, ``from_explainer`` does both. matplotlib is imported when something is drawn.
"""

from skinfluence.plotting._agreement_display import LeaveOneOutDisplay
from skinfluence.plotting._dfbetas_display import DfbetasDisplay
from skinfluence.plotting._influence_display import InfluenceDisplay
from skinfluence.plotting._leverage_display import LeverageDisplay
from skinfluence.plotting._self_influence_display import SelfInfluenceDisplay
