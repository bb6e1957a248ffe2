"""The code for CuPy, run without a GPU on a stand-in for CuPy.

The stand-in is NumPy with those of CuPy's rules that the code depends on: transfers on a
stream run late, when something waits for them; a Cholesky factor that fails is NaN unless
errors are asked for; ``syrk`` takes arrays in C order, of others it would make copies. It
proves the logic of the code and its calls, not CuPy, and no speed. The real thing is in
the tests marked ``gpu``.
"""

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy import linalg

from skinfluence._kernels._numpy import NUMPY
from skinfluence._sources import HostSource


class Stream:
    """Work in order, none of it done before something waits."""

    def __init__(self, non_blocking=False):
        self.work, self.done = [], 0
        self.known = 0  # how much of it the host has waited for

    def wait_event(self, event):
        stream, position = event.stream, event.position
        if stream is not None:
            self.work.append(lambda: stream.run(position))

    def run(self, position):
        while self.done < position:
            self.done += 1
            self.work[self.done - 1]()


class Current(Stream):
    """The stream of the computation, which NumPy does at once."""

    def wait_event(self, event):
        if event.stream is not None:
            event.stream.run(event.position)


class Event:
    def __init__(self, disable_timing=False):
        self.stream, self.position = None, 0

    def record(self, stream):
        self.stream, self.position = stream, len(stream.work)

    def synchronize(self):
        if self.stream is not None:
            self.stream.run(self.position)
            self.stream.known = self.position


class Pinned(np.ndarray):
    """Host memory that a transfer reads late: not to be written before it is waited for."""

    def __array_finalize__(self, parent):
        self.transfers = getattr(parent, "transfers", [])

    def __setitem__(self, key, values):
        for stream, position in self.transfers:
            assert stream.known >= position, "written while a transfer may read it"
        super().__setitem__(key, values)


def empty_pinned(shape, dtype=float):
    return np.empty(shape, dtype=dtype).view(Pinned)


class DeviceArray(np.ndarray):
    @property
    def device(self):
        return Device()

    def set(self, values, stream):
        stream.work.append(lambda: np.copyto(self, values))
        values.transfers.append((stream, len(stream.work)))


class Device:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def empty(shape, dtype=float):
    return np.full(shape, np.nan, dtype=dtype).view(DeviceArray)


def cublas_syrk(trans, a, out=None, alpha=1.0, beta=0.0, lower=False):
    assert trans == "T" and not lower and out is not None
    assert a.flags.c_contiguous and out.flags.c_contiguous
    upper = np.triu_indices(out.shape[0])
    out[upper] = (alpha * (a.T @ a) + beta * out)[upper]
    return out


class Errors:
    linalg = "ignore"


@contextmanager
def errstate(linalg):
    before, Errors.linalg = Errors.linalg, linalg
    try:
        yield
    finally:
        Errors.linalg = before


def cholesky(matrix):
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        if Errors.linalg == "raise":
            raise
        return np.full_like(matrix, np.nan)


@pytest.fixture
def cupy(monkeypatch):
    """Our kernels for CuPy on the stand-in."""
    current = Current()
    pool = SimpleNamespace(free_bytes=lambda: 2**20, free_all_blocks=lambda: None)
    fake = ModuleType("cupy")
    fake.__dict__.update({name: getattr(np, name) for name in np.__all__})
    fake.__dict__.update(
        empty=empty,
        asnumpy=np.asarray,
        linalg=SimpleNamespace(cholesky=cholesky),
        cublas=SimpleNamespace(syrk=cublas_syrk),
        get_default_memory_pool=lambda: pool,
        cuda=SimpleNamespace(
            Stream=Stream,
            Event=Event,
            get_current_stream=lambda: current,
            memory=SimpleNamespace(OutOfMemoryError=MemoryError),
            runtime=SimpleNamespace(memGetInfo=lambda: (2**30, 2**34)),
        ),
    )
    modules = {
        "cupy": fake,
        "cupyx": ModuleType("cupyx"),
        "cupyx.scipy": ModuleType("cupyx.scipy"),
        "cupyx.scipy.linalg": ModuleType("cupyx.scipy.linalg"),
    }
    modules["cupyx"].empty_pinned = empty_pinned
    modules["cupyx"].errstate = errstate
    modules["cupyx.scipy.linalg"].solve_triangular = linalg.solve_triangular
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    name = "skinfluence._kernels._cupy"
    monkeypatch.delitem(sys.modules, name, raising=False)
    loaded = importlib.import_module(name)
    yield loaded.CupyKernels()
    sys.modules.pop(name, None)
    vars(sys.modules["skinfluence._kernels"]).pop("_cupy", None)


# --- transfers ---------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[7], [16], [100], [5, 13, 5], [1, 64]])
def test_each_pass_reads_every_row_once_and_in_order(cupy, sizes):
    X = np.random.default_rng(0).normal(size=(50, 3))
    rows = HostSource(X, device=cupy.place(), sender=cupy.sender(cupy.place()))
    for size in sizes:
        for _ in range(2):
            held = [
                rows.read(slice(first, first + size), None)
                for first in range(0, 50, size)
            ]
            np.testing.assert_array_equal(np.concatenate(held), X)


def test_blocks_asked_for_out_of_order_are_right(cupy):
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    rows = HostSource(X, device=cupy.place(), sender=cupy.sender(cupy.place()))
    for first, last in [(0, 10), (10, 20), (40, 50), (0, 30), (30, 50), (5, 6)]:
        found = rows.read(slice(first, last), None)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, X[first:last])


def test_the_next_block_is_under_way_while_this_one_is_used(cupy):
    X = np.random.default_rng(0).normal(size=(40, 3))
    sender = cupy.sender(cupy.place())
    rows = HostSource(X, device=cupy.place(), sender=sender)
    rows.read(slice(0, 10), None)
    waiting = [len(lane.stream.work) - lane.stream.done for lane in sender.lanes]
    assert sorted(waiting)[-1] > 0  # issued, and nobody has waited for it


def test_a_block_leaves_room_for_what_is_made_of_it(cupy):
    place = cupy.place()
    assert cupy.free_bytes(place) == 2**30 + 2**20
    assert 8 * cupy.block_entries(place) <= cupy.free_bytes(place) / 16


# --- linear algebra ----------------------------------------------------------------


@pytest.mark.parametrize("sign", ["positive", "negative", "mixed"])
def test_gram_adds_up_over_blocks_of_any_order(cupy, sign):
    rng = np.random.default_rng(0)
    block = rng.normal(size=(40, 5))
    weight = (
        rng.uniform(0.5, 2.0, 40) * {"positive": 1, "negative": -1, "mixed": 1}[sign]
    )
    if sign == "mixed":
        weight[3] = -1.0
    total = cupy.empty_gram(5, cupy.place())
    for part in (slice(0, 25), slice(25, 40)):
        total = cupy.add_gram(total, np.asfortranarray(block[part]), weight[part])
    np.testing.assert_allclose(
        cupy.finished_gram(total), block.T @ (weight[:, None] * block), rtol=1e-12
    )


def test_inverse_factor_is_that_of_numpy(cupy):
    rows = np.random.default_rng(0).normal(size=(20, 6))
    matrix = rows.T @ rows
    T, rcond = cupy.inverse_cholesky(matrix)
    np.testing.assert_allclose(T, NUMPY.inverse_cholesky(matrix)[0], rtol=1e-10)
    assert rcond == pytest.approx(NUMPY.inverse_cholesky(matrix)[1], rel=0.9)
    np.testing.assert_allclose(cupy.inverse_root_in_place(matrix), T)
    norms = cupy.squared_row_norms(rows, T, triangular=True)
    np.testing.assert_allclose(norms, np.sum((rows @ T) ** 2, axis=1))


def test_a_factor_that_fails_is_no_factor_and_never_nan(cupy):
    indefinite = np.diag([1.0, -1.0, 2.0])
    assert np.isnan(cholesky(indefinite)).all()  # what CuPy does if it is not told
    assert cupy.inverse_cholesky(indefinite) is None
    assert cupy.inverse_root_in_place(indefinite) is None
    assert Errors.linalg == "ignore"  # and the caller's setting is as it was


def test_largest_are_those_of_numpy(cupy):
    scores = np.random.default_rng(0).normal(size=(4, 30))
    for k in (1, 7, 30, 99):
        np.testing.assert_array_equal(cupy.largest(scores, k), NUMPY.largest(scores, k))
