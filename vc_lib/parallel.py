"""Several things at once, on the processor's cores.

Threads are enough: WORLD, NumPy's matrices and torch let go of Python's lock while they work. Each thread
works alone, as threads of libraries on top of these would only be in each other's way.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice

import torch
from threadpoolctl import ThreadpoolController

M_MMAP_THRESHOLD = -3  # mallopt's name for it, from malloc.h
LARGE = 2**20  # [bytes]
_here = threading.local()


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread():
    """A context in which NumPy's matrix products take one thread each: small ones gain nothing by more, and
    take the processor from what else works."""
    return _libraries().limit(limits=1, user_api="blas")


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which NumPy and torch take one thread: blocks of a tenth of a second gain nothing by more, and
    wait for a second one that another program holds up."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        torch.set_num_threads(before)


@cache
def give_memory_back() -> None:
    """From now on what is large goes back to the system as soon as it is free. By default Linux's C library keeps
    blocks of up to 32 MB for each thread, which comes to more than all that is in use."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:  # else it is another library, with other habits
        mallopt(M_MMAP_THRESHOLD, LARGE)


def in_order(function: Callable, items: Iterable, n_threads: int | None = None) -> Iterator:
    """What `function` makes of items, in their order, several at once.

    Parameters
    ----------
    function : callable
        Takes an item.
    items : iterable
        Asked for one as late as possible: no more are under way than there are threads.
    n_threads : int, optional
        All cores by default. Within a function that is called by this, and for a single item, there is
        none but the caller's own.

    Yields
    ------
    What `function` returns; its errors are raised here.
    """
    items, n_threads = iter(items), n_threads or n_cores()
    first = list(islice(items, 2))
    if len(first) < 2 or n_threads == 1 or getattr(_here, "inside", False):
        for item in chain(first, items):
            yield function(item)
        return
    before = torch.get_num_threads()
    under_way = deque()
    pool = ThreadPoolExecutor(n_threads, initializer=_enter)
    try:
        with one_blas_thread():
            for item in chain(first, items):
                under_way.append(pool.submit(function, item))
                if len(under_way) >= n_threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _enter() -> None:
    _here.inside = True
    torch.set_num_threads(1)
