"""Run a function on several items at once, in threads.

Threads suffice: WORLD, NumPy's matrix products and torch release Python's lock while they compute.
Each of our threads uses one core. Further threads of NumPy or torch would compete for the same
cores.
"""

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice

import numpy as np
from threadpoolctl import ThreadpoolController

M_MMAP_THRESHOLD = -3  # number of the option of that name in malloc.h
PART = 128  # rows of `in_parts` that are computed at once
MMAP_BYTES = 2**20  # size from which memory is returned to the system when it is freed [bytes]
_lock, _n_limits, _limit = threading.Lock(), 0, None  # of `one_blas_thread`
# its attribute `in_pool` is True where `in_order` must not start threads
_thread = threading.local()


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A context, or a decorator, in which NumPy's matrix products use one thread.

    Small products gain nothing by more threads, which would take cores from other work: a clip of 5 s
    took three times as long to convert.
    """
    global _n_limits, _limit
    with _lock:  # the first use sets the limit, the last one lifts it: uses overlap in threads
        if not _n_limits:
            _limit = _thread_pools().limit(limits=1, user_api="blas")
        _n_limits += 1
    try:
        yield
    finally:
        with _lock:
            _n_limits -= 1
            if not _n_limits:
                _limit.restore_original_limits()


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which this thread, NumPy and torch use no other thread.

    Blocks of a tenth of a second gain nothing by a second thread, and must wait while another
    program holds it up. torch's limit is the process's: uses that overlap in several threads may leave
    it in force, which costs a program of many streams nothing.
    """
    before, in_pool = _set_torch_threads(1), getattr(_thread, "in_pool", False)
    _thread.in_pool = True
    try:
        with one_blas_thread():
            yield
    finally:
        _thread.in_pool = in_pool
        _set_torch_threads(before)


@cache
def give_memory_back() -> None:
    """From now on return large blocks of memory to the system as soon as they are freed.

    By default Linux's C library keeps blocks of up to 32 MB for each thread. That adds up to more
    than all memory in use.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:  # only the GNU C library has it
        mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


def in_order(
    function: Callable,
    items: Iterable,
    n_threads: int | None = None,
    at_end: Callable[[], object] | None = None,
) -> Iterator:
    """Call a function on several items at once, and yield the results in the order of the items.

    Parameters
    ----------
    function : callable
        Takes an item. An error it raises is raised when its result is due.
    items : iterable
        Each item is taken as late as possible: at most `n_threads` are held at a time.
        `joblib.Parallel` takes on all items while its caller is busy, so memory would grow.
    n_threads : int, optional
        By default one for each core. A single item, and calls from within `function`, run in the
        caller's thread.
    at_end : callable, optional
        Called before threads that still run are waited for, after an error too: it can tell them
        to stop.

    Yields
    ------
    result
        What `function` returned for the next item.
    """
    items, n_threads = iter(items), n_threads or n_cores()
    first = list(islice(items, 2))
    if len(first) < 2 or n_threads == 1 or getattr(_thread, "in_pool", False):
        for item in chain(first, items):
            yield function(item)
        return
    before = _set_torch_threads(None)
    futures = deque()
    pool = ThreadPoolExecutor(n_threads, initializer=_start_thread)
    try:
        with one_blas_thread():
            for item in chain(first, items):
                futures.append(pool.submit(function, item))
                if len(futures) >= n_threads:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
    finally:
        if at_end:
            at_end()
        pool.shutdown(cancel_futures=True)
        _set_torch_threads(before)


def _start_thread() -> None:
    """Mark a thread of `in_order`, and let torch use no other."""
    _thread.in_pool = True
    _set_torch_threads(1)


def _set_torch_threads(n: int | None) -> int | None:
    """Limit torch to `n` threads, and return the limit before; None if torch is not loaded."""
    torch = sys.modules.get("torch")
    if not hasattr(torch, "set_num_threads"):  # not imported, or not yet whole
        return None
    before = torch.get_num_threads()
    if n is not None and n != before:
        torch.set_num_threads(n)
    return before


def in_parts(function: Callable[[slice], np.ndarray], n_rows: int) -> np.ndarray:
    """Compute rows of an array on all cores, a part of them on each.

    Parameters
    ----------
    function : callable
        Takes a slice of the rows, and returns these rows.
    n_rows : int

    Examples
    --------
    >>> in_parts(lambda rows: np.arange(10)[rows] ** 2, 10)
    array([ 0,  1,  4,  9, 16, 25, 36, 49, 64, 81])
    """
    # as large on any number of cores, which must not change the rounding
    parts = [slice(a, min(a + PART, n_rows)) for a in range(0, n_rows, PART)] or [slice(0, 0)]
    return np.concatenate(list(in_order(function, parts)))
