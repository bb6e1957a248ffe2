"""Rows shared among threads give what one thread gives, and BLAS gets its threads back."""

import threading

import numpy as np
import pytest
from cases import CASES, fitted, load
from threadpoolctl import ThreadpoolController

from skinfluence import InfluenceExplainer, _threads
from skinfluence._kernels import kernels
from skinfluence._kernels._blas import add_own_product, multiply_triangular
from skinfluence.questions import left_out
from skinfluence.study import answer

DENSE = [case for case in CASES if isinstance(load(case.data).X, np.ndarray)]


@pytest.fixture
def threads(monkeypatch):
    """Three threads, however few numbers there are."""
    monkeypatch.setattr(_threads, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(_threads, "_allowed", lambda: 3)
    monkeypatch.setattr("skinfluence._sources._sizes.BLOCK_ENTRIES", 2**8)
    monkeypatch.setattr("skinfluence._sources._sizes._MOST_PLAIN_ROWS", 8)
    monkeypatch.setattr("skinfluence._sources._sizes._MOST_ENTRIES", 2**8)


def asked(case):
    data = load(case.data)
    explainer = InfluenceExplainer(fitted(case)).fit(data.X, data.y, **case.fit_params)
    return (
        explainer._study.point.curvature.as_matrix(),
        answer(explainer._study, left_out).outputs,
        explainer.self_influence(),
        explainer.influence(data.X[:9], data.y[:9]),
        explainer.loo_delta(data.X[:9], data.y[:9]),
    )


@pytest.mark.parametrize("case", DENSE, ids=str)
def test_threads_give_what_one_thread_gives(case, request):
    alone = asked(case)
    request.getfixturevalue("threads")
    for found, expected in zip(asked(case), alone, strict=True):
        scale = np.nanmax(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10 * scale)


def test_the_same_threads_give_the_same_bits(threads):
    case = DENSE[0]
    for found, again in zip(asked(case), asked(case), strict=True):
        np.testing.assert_array_equal(found, again)


def test_blocks_are_shared_in_contiguous_runs(threads):
    blocks = [slice(k, k + 1) for k in range(8)]
    found = _threads.runs(blocks, 100)
    assert len(found) == 3
    assert [block for run in found for block in run] == blocks
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_few_numbers_are_not_worth_a_thread(monkeypatch):
    monkeypatch.setattr(_threads, "_allowed", lambda: 8)
    assert _threads.n_runs(_threads._WORTH_A_THREAD) == 1
    assert _threads.n_runs(2 * _threads._WORTH_A_THREAD) == 2
    assert _threads.n_runs(1000 * _threads._WORTH_A_THREAD) == 8


def test_calls_really_run_side_by_side():
    barrier = threading.Barrier(2, timeout=30)
    # Alone, the first one would wait for the second for ever.
    assert _threads.each(lambda k: (barrier.wait(), k)[1], [0, 1]) == [0, 1]


def blas_threads():
    return [library["num_threads"] for library in ThreadpoolController().info()]


def test_blas_has_one_thread_meanwhile_and_its_own_afterwards():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        before = blas_threads()
        seen = _threads.each(lambda _: max(_threads._blas_counts()), [0, 1])
        assert seen == [1, 1]
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError):
            _threads.each(lambda k: 1 // k, [1, 0])
        assert blas_threads() == before


def test_passes_that_overlap_restore_the_limit_once():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        before = blas_threads()
        first, second = _threads._one_thread_in_blas(), _threads._one_thread_in_blas()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert max(_threads._blas_counts()) == 1  # the second is still at work
        second.__exit__(None, None, None)
        assert blas_threads() == before


@pytest.mark.parametrize("q", [1, 5, 60])
def test_products_without_the_lock_are_the_products(q):
    rng = np.random.default_rng(0)
    rows, wide = rng.normal(size=(30, q)), rng.normal(size=(q + 3, q + 3))
    total = np.asfortranarray(np.triu(rng.normal(size=(q, q))))
    expected = total - np.triu(rows.T @ rows)
    add_own_product(total, rows, -1.0)
    np.testing.assert_allclose(total, expected, atol=1e-12)
    upper = np.triu(wide)
    for T in (
        upper[:q, :q],
        np.asfortranarray(upper)[:q, :q],
        upper[::1, ::-1][::1, ::-1][:q, :q],
    ):
        product = rows.copy()
        multiply_triangular(product, T)
        np.testing.assert_allclose(product, rows @ T, atol=1e-12)
        multiply_triangular(product, T, transposed=True)
        np.testing.assert_allclose(product, rows @ T @ T.T, atol=1e-11)
        solved = kernels(rows).times_inverse(rows, T, triangular=True)
        np.testing.assert_array_equal(solved, product)
        norms = kernels(rows).squared_row_norms(rows, T, triangular=True)
        np.testing.assert_allclose(norms, np.sum((rows @ T) ** 2, axis=1))


def test_no_rows_are_nothing():
    total = np.ones((3, 3), order="F")
    add_own_product(total, np.empty((0, 3)), 1.0)
    multiply_triangular(np.empty((0, 3)), np.eye(3))
    np.testing.assert_array_equal(total, 1.0)


def test_results_come_in_order_and_few_wait_meanwhile():
    started = []

    def work(k):
        started.append(k)
        return k

    found = _threads.ordered(work, range(20), 2)
    assert next(found) == 0
    assert len(started) <= 3
    assert list(found) == list(range(1, 20))


def test_work_that_is_given_up_gives_blas_its_threads_back():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        before = blas_threads()
        found = _threads.ordered(lambda k: k, range(20), 2)
        next(found)
        assert max(_threads._blas_counts()) == 1
        found.close()
        assert blas_threads() == before


def test_an_error_in_a_thread_is_raised():
    found = _threads.ordered(lambda k: 1 // k, [1, 0], 2)
    with pytest.raises(ZeroDivisionError):
        list(found)
