"""Where arrays live: the data, a fitted model and its transformers need not agree.

The training rows decide; where they are NumPy's, the coefficients do, unless a backend is
asked for. Targets, weights and labels are read on the host, which they are cheap to reach.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn import config_context, get_config

from skinfluence._array import array_namespace, is_foreign, moved, to_numpy
from skinfluence._kernels import device_place, kernels
from skinfluence._sources import AbstractSource, HostSource, source_of
from skinfluence.exceptions import DeviceMemoryError, InvalidParameterError

# Share of a device's free memory that the rows may take; the rest is for the work.
_RESIDENT = 0.7


def fitted_place(estimator: Any) -> Any:
    """An array of another library that the estimator has learnt, or None."""
    for _, step in getattr(estimator, "steps", ()):
        place = fitted_place(step) if hasattr(step, "__dict__") else None
        if place is not None:
            return place
    # cuML makes coef_ when asked: it is not among the attributes that are stored.
    coef = getattr(estimator, "coef_", None)
    learnt = (value for name, value in vars(estimator).items() if name.endswith("_"))
    return next((value for value in (coef, *learnt) if is_foreign(value)), None)


def transformed_by(transformer: Any, X: Any) -> Any:
    """X as a fitted transformer makes it, where that was fitted; back beside X."""
    home = fitted_place(transformer)
    if home is not None:
        with config_context(array_api_dispatch=True):
            return transformer.transform(moved(X, home))
    if is_foreign(X):
        return moved(transformer.transform(to_numpy(X)), X)
    return transformer.transform(X)


def readable(estimator: Any, data: Any) -> Any:
    """Data as an unfitted estimator can read them: on the host, unless it takes all.

    scikit-learn computes with arrays of other libraries under array API dispatch only;
    estimators of RAPIDS take those on their own device.
    """
    if get_config()["array_api_dispatch"] or is_rapids(estimator):
        return data
    return to_numpy(data) if is_foreign(data) else data


def is_rapids(estimator: Any) -> bool:
    """Whether the class is one of cuML's."""
    return type(estimator).__module__.split(".")[0] == "cuml"


def placed(X: Any, model: Any, backend: str) -> AbstractSource:
    """Training rows where they are to be computed with.

    Rows and model decide for "auto"; any other backend is asked for by name.
    """
    if backend == "auto":
        here = None if is_foreign(X) or issparse(X) else fitted_place(model)
    elif backend == "numpy":
        here = np.empty(0)
    else:
        here = None if _is_of(X, backend) else device_place(backend)
    if here is None or not is_foreign(here):
        return source_of(X, here)
    if issparse(X):
        raise InvalidParameterError(
            f"backend={backend!r} needs dense X, but X is sparse: sparse rows are "
            "computed with on the host. Use backend='auto', or X.toarray()."
        )
    host, kernel = source_of(X).on_host(), kernels(here)
    if host.nbytes > _RESIDENT * kernel.free_bytes(here):
        return HostSource(host, device=here, sender=kernel.sender(here))
    return source_of(host, here)


@contextmanager
def room_on_device(X: Any, advice: Callable[..., str], *sizes: int) -> Iterator[None]:
    """An error with advice, by sizes and free bytes, where a device's memory is full."""
    kernel = kernels(X)
    try:
        yield
    except kernel.out_of_memory() as error:
        free = kernel.free_bytes(X)
        raise DeviceMemoryError(
            f"The device has no memory left; {free / 2**20:.0f} MiB are free. "
            f"{advice(*sizes, free)}"
        ) from error


def fewer_rows(n_rows: int, n_entries: int, free: float) -> str:
    """Advice for an answer of ``n_entries`` on each row of X."""
    fitting = int(min(free / 2 // (8 * n_entries), n_rows))
    return (
        f"The answer holds {n_entries:,} numbers for each of {n_rows:,} rows; about "
        f"{fitting:,} rows would fit. Ask about so many at a time, use "
        "top_influences or aggregate='mean', which keep little, or backend='numpy'."
    )


def smaller_model(n_columns: int, free: float) -> str:
    """Advice for the fit of a model whose Hessian has this many columns."""
    return (
        f"The curvature has {n_columns:,} columns: {8 * n_columns**2 / 2**20:.0f} MiB, "
        "several times over. Use solver='cg', which needs no such matrix, free other "
        "arrays, or backend='numpy'."
    )


def host_rows(X: Any) -> Any:
    """Rows as a NumPy or SciPy sparse array, wherever they are."""
    return source_of(X).on_host()


def _is_of(X: Any, backend: str) -> bool:
    return is_foreign(X) and backend in array_namespace(X).__name__.split(".")
