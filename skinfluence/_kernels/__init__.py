"""Operations that backends do differently: one file per backend, the same names in each.

``kernels(array)`` chooses by the array; no formula elsewhere asks what it holds.
"""

from types import ModuleType
from typing import Any

from skinfluence._array import is_numpy_array
from skinfluence._kernels import _generic, _numpy, _sparse
from skinfluence._kernels._sparse import SparseRows

__all__ = ["SparseRows", "densified", "kernels"]


def kernels(array: Any) -> ModuleType:
    """The kernels that suit ``array``."""
    if isinstance(array, SparseRows):
        return _sparse
    return _numpy if is_numpy_array(array) else _generic


def densified(block: Any) -> Any:
    """Working rows as an array (b, q): for few rows, or where q is small."""
    return block.dense() if isinstance(block, SparseRows) else block
