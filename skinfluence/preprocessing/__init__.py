"""What the transformers before a model learn, and how that moves when rows leave.

``follow`` reads a fitted transformer and its output. A step whose columns are only
shifted and scaled is followed by the rule of its class, one file each; any other is held
as it was fitted, with a reason. ``__all__`` is what a rule of your own needs.
"""

from skinfluence._following import Affine
from skinfluence.preprocessing import (
    _categories,
    _edges,
    _held,
    _imputer,
    _quantiles,
    _ranges,
    _standard,
    _stateless,
    _text,
    _variances,
)
from skinfluence.preprocessing._base import (
    AbstractState,
    Deciding,
    NotFollowed,
    Rule,
    StepColumns,
)
from skinfluence.preprocessing._check import check_transformer
from skinfluence.preprocessing._follow import (
    AS_ASKED,
    NOTHING_FOLLOWED,
    Followed,
    follow,
    most_refits,
)
from skinfluence.preprocessing._registry import register_transformer

__all__ = [
    "Rule",
    "AbstractState",
    "Deciding",
    "StepColumns",
    "Affine",
    "NotFollowed",
    "check_transformer",
]
