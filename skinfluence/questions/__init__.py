"""One file of plain functions for each kind of question about a study."""

from skinfluence.questions._diagnostics import diagnostics
from skinfluence.questions._effects import (
    feature_influence,
    influence,
    influence_on,
    loo_delta,
    loo_delta_on,
    score_samples,
    top_influences,
)
from skinfluence.questions._groups import (
    Groups,
    cv_predict,
    group_delta,
    group_delta_on,
    group_influence,
    groups_of,
)
from skinfluence.questions._left_out import (
    LeftOut,
    left_out,
    loo_predict,
    loo_score,
    reader_of,
    score_of,
    warn_of_lost,
)
from skinfluence.questions._parameters import (
    loo_params,
    param_influence,
    self_influence,
)
from skinfluence.questions._sets import influential_set
