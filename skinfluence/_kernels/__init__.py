"""Operations that backends do differently: one file per backend, the same names in each.

``kernels(array)`` chooses by the array; no formula elsewhere asks what it holds.
"""

from types import ModuleType
from typing import Any

from array_api_compat import is_cupy_array, is_torch_array

from skinfluence._array import Array, is_numpy_array
from skinfluence._kernels import _generic, _numpy, _shifted, _sparse
from skinfluence._kernels._centred import ShiftedRows, SparseRows, densified
from skinfluence._kernels._gathered import GatheredForms
from skinfluence._kernels._grams import (
    AbstractGrams,
    PairwiseGrams,
    SeparateGrams,
    pays,
)
from skinfluence._kernels._host_rows import HostRows
from skinfluence._kernels._shifted import ShiftedGrams
from skinfluence._kernels._sparse_grams import SparseGrams
from skinfluence.exceptions import MissingDependencyError

__all__ = [
    "AbstractGrams",
    "GatheredForms",
    "HostRows",
    "ShiftedGrams",
    "ShiftedRows",
    "SparseRows",
    "contenders",
    "densified",
    "device_place",
    "kernels",
    "weighted_grams",
]


def kernels(array: Array) -> ModuleType:
    """The kernels that suit ``array``."""
    if isinstance(array, SparseRows):
        return _sparse
    if isinstance(array, ShiftedRows):
        return _shifted
    if is_numpy_array(array):
        return _numpy
    if is_cupy_array(array):
        return _load_cupy()
    return _load_torch() if is_torch_array(array) else _generic


def device_place(backend: str) -> Any:
    """An empty array of a backend, "cupy" or "torch", on its current device."""
    return (_load_cupy if backend == "cupy" else _load_torch)().place()


def _load_cupy() -> ModuleType:
    try:
        from skinfluence._kernels import _cupy
    except ImportError as error:
        raise MissingDependencyError(
            "backend='cupy' needs CuPy, built for your version of CUDA: pip install "
            "'skinfluence[cupy-cuda12x]' or 'skinfluence[cupy-cuda13x]' "
            f"({error})."
        ) from error
    return _cupy


def _load_torch() -> ModuleType:
    try:
        from skinfluence._kernels import _torch
    except ImportError as error:
        raise MissingDependencyError(
            f"backend='torch' needs PyTorch: pip install 'skinfluence[torch]' ({error})."
        ) from error
    return _torch


def weighted_grams(
    n_weights: int, width: int, like: Array, rows: Array
) -> AbstractGrams:
    """Zero totals (width, width) for so many weights of each row.

    ``like`` is an array of the namespace, ``rows`` some of the rows to come.
    """
    if is_numpy_array(like) and pays(n_weights, width):
        return PairwiseGrams.empty(n_weights, width)
    if isinstance(rows, SparseRows):
        return SparseGrams(rows, n_weights)
    if isinstance(rows, ShiftedRows):
        return ShiftedGrams.empty(n_weights, rows.centre)
    kernel = kernels(like)
    totals = [kernel.empty_gram(width, like) for _ in range(n_weights)]
    return SeparateGrams(totals, kernels)


def contenders(values: Any, least: Any, direction: float) -> Any:
    """Scores (m, b) above the least one of their row; None where nobody looks.

    See ``_numpy.contenders``. An accelerator sorts faster than it picks out.
    """
    if not is_numpy_array(values):
        return None
    return _numpy.contenders(values, least, direction)
