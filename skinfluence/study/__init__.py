"""The study: a fitted model at its minimum, ready to be asked, and what it says aloud."""

from skinfluence.study._learned import Learned
from skinfluence.study._minimum import NEGLIGIBLE, Minimum, at_minimum
from skinfluence.study._study import (
    Asked,
    Fitted,
    Options,
    Studied,
    Study,
    TrainingFeatures,
    answer,
    remembering,
    study_of,
)
from skinfluence.study._verdicts import listening, verdicts
