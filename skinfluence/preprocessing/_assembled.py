"""Answers for most rows and columns, with better ones put in for a few."""

from typing import Any

import numpy as np

from skinfluence._array import array_namespace, like, placed
from skinfluence._following import Affine


def in_rows(most: Affine, few: Affine, mask: Any) -> Affine:
    """Rows where the mask (b,) holds from ``few``, which has only those.

    ``most`` may be one for all rows, (q,).
    """
    xp = array_namespace(mask)
    return Affine(
        *(
            xp.where(mask[:, None], placed(better, mask), value)
            for value, better in zip(most, few, strict=True)
        )
    )


def in_columns(most: Affine, few: Affine, which: np.ndarray) -> Affine:
    """Some columns, by their indices, from ``few``, which has only those."""
    xp, q = array_namespace(most.ratio), most.ratio.shape[1]
    place = np.arange(q)
    place[which] = q + np.arange(len(which))
    index = like(place, most.ratio, xp.int64)
    return Affine(
        *(
            xp.take(xp.concat([value, better], axis=1), index, axis=1)
            for value, better in zip(most, few, strict=True)
        )
    )
