"""Items are processed at once in threads; results come in order."""

import threading
import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from vc_lib import parallel
from vc_lib.parallel import give_memory_back, in_order, in_parts, n_cores, one_blas_thread


def test_results_come_in_order_whichever_is_ready_first():
    def slow_at_first(n):
        time.sleep(0.02 / (n + 1))
        return n

    assert list(in_order(slow_at_first, range(8), n_threads=4)) == list(range(8))


def test_several_are_under_way_at_once():
    both = threading.Barrier(2, timeout=20)
    assert list(in_order(lambda _: both.wait() >= 0, range(4), n_threads=2)) == [True] * 4


def test_items_are_asked_for_as_late_as_possible():
    asked = []

    def items():
        for n in range(50):
            asked.append(n)
            yield n

    results = in_order(abs, items(), n_threads=2)
    assert next(results) == 0 and len(asked) <= 3
    results.close()
    assert len(asked) <= 4


def test_an_error_is_raised_where_its_result_was_due():
    def fails_at_two(n):
        if n == 2:
            raise ValueError("two")
        return n

    results = in_order(fails_at_two, range(6), n_threads=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


@pytest.mark.parametrize("n_items", [0, 1])
def test_a_single_item_stays_in_the_callers_thread(n_items):
    threads = list(in_order(lambda _: threading.current_thread(), range(n_items), n_threads=2))
    assert threads == [threading.current_thread()] * n_items


def test_nested_calls_use_no_more_threads():
    def outer(_):
        here = threading.current_thread()
        return all(t is here for t in in_order(lambda _: threading.current_thread(), range(3)))

    assert all(in_order(outer, range(3), n_threads=2))


def test_workers_use_one_torch_thread_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(in_order(lambda _: torch.get_num_threads(), range(3), n_threads=2)) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_one_blas_thread_holds_inside_only():
    def blas():
        np.ones((2, 2)) @ np.ones((2, 2))
        return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    before = blas()
    with one_blas_thread():
        assert blas() == {1}
    assert blas() == before


def test_there_is_at_least_one_core():
    assert n_cores() >= 1


def test_memory_can_be_given_back_more_than_once():
    for _ in range(2):
        assert give_memory_back() is None
    assert np.ones(10**6).sum() == 10**6


@pytest.mark.parametrize("n_rows", [0, 1, 9, 10, 100])
def test_rows_in_parts_are_the_rows(n_rows, monkeypatch):
    monkeypatch.setattr(parallel, "PART", 10)
    rows = np.arange(3 * n_rows).reshape(n_rows, 3)
    np.testing.assert_array_equal(in_parts(lambda part: rows[part] ** 2, n_rows), rows**2)
