"""Operations that backends do differently: one file per backend, the same names in each.

``kernels(array)`` chooses by the array; no formula elsewhere asks what it holds.
"""

from types import ModuleType
from typing import Any

from skinfluence._array import is_numpy_array
from skinfluence._kernels import _generic, _numpy

__all__ = ["kernels"]


def kernels(array: Any) -> ModuleType:
    """The kernels that suit ``array``."""
    return _numpy if is_numpy_array(array) else _generic
