"""Whether the transformer of targets is followed as rows leave."""

from collections.abc import Sequence

import numpy as np

from skinfluence import support
from skinfluence._following import AbstractFollowing
from skinfluence._sources import source_of
from skinfluence.preprocessing import Followed, follow
from skinfluence.support import AbstractModel

_OTHERS = "other steps transform the targets as well"
_OTHER_UNIT = (
    "where targets have another unit, a loss that is not squared or an L1 penalty is "
    "another one"
)


def following_targets(
    followed: Followed,
    names: Sequence[str],
    model: AbstractModel,
    y: np.ndarray,
    mode: str,
) -> tuple[Followed, AbstractFollowing | None]:
    """The steps with those of the targets among them, and how the targets move.

    ``names`` are the steps of targets. A target in another unit is an output in another
    unit, and a shift is the intercept's: the fit without a row is the same but for both,
    if its objective is a sum of squares.
    """
    learning = [w for w in model.target_transformers if support.learns_targets(w)]
    if len(names) != 1 or learning != list(model.target_transformers[-1:]):
        return followed.holding(dict.fromkeys(names, _OTHERS)), None
    (name,), (wrapper,) = names, learning
    own = np.reshape(model.own_targets(y), (len(y), -1))
    targets = follow(
        wrapper.transformer_,
        source_of(own),
        {},
        absorbs_shifts=model.absorbs_shifts,
        mode=mode,
    )
    reason = next(iter(targets.reasons.values()), None)
    if targets.following is not None and not model.scales_with_targets:
        reason = _OTHER_UNIT
    following = None if reason else targets.following
    return followed.with_step(name, reason), following
