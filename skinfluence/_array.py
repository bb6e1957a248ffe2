"""Array namespaces, and the few operations that the array API standard lacks."""

from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_numpy_array,
    is_numpy_namespace,
    is_torch_array,
    to_device,
)
from array_api_compat import device as device_of

__all__ = [
    "array_namespace",
    "device_of",
    "is_numpy_array",
    "is_numpy_namespace",
    "like",
    "logsumexp",
    "masked",
    "to_numpy",
]


def to_numpy(array: Any) -> np.ndarray:
    """Host copy of an array of any namespace (NumPy arrays pass through)."""
    if is_numpy_array(array) or not is_array_api_obj(array):
        return np.asarray(array)
    if hasattr(array, "get"):  # CuPy refuses __array__ and __dlpack__ to the host
        return array.get()
    return np.asarray(to_device(array, "cpu") if is_torch_array(array) else array)


def like(values: Any, reference: Any, dtype: Any = None) -> Any:
    """``values`` as a float64 array in the namespace and on the device of another."""
    xp = array_namespace(reference)
    dtype = xp.float64 if dtype is None else dtype
    return xp.asarray(values, dtype=dtype, device=device_of(reference))


def masked(array: Any, mask: Any) -> Any:
    """Rows of an array where the mask (n,) holds."""
    xp = array_namespace(array)
    return xp.take(array, xp.nonzero(mask)[0], axis=0)


def logsumexp(u: Any) -> Any:
    """``log(sum(exp(u), axis=-1))`` with the axis kept, safe from overflow."""
    xp = array_namespace(u)
    top = xp.max(u, axis=-1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(u - top), axis=-1, keepdims=True))
