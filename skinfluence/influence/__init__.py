"""Influence of training rows on quantities at new points, and the same on deletion."""

from skinfluence.influence._effects import (
    changes,
    delta_blocks,
    influence_blocks,
    influence_on_parameters,
    mean_gradient,
    self_influence,
    self_influence_of,
)
from skinfluence.influence._features import feature_influence
from skinfluence.influence._moves import group_gradients, linear_changes
from skinfluence.influence._quantities import (
    AbstractQuantity,
    HeldOut,
    Loss,
    Output,
    Response,
)
from skinfluence.influence._relative import relative_blocks
from skinfluence.influence._spread import spread_of_groups, spread_per_weight
from skinfluence.influence._top import top_blocks
