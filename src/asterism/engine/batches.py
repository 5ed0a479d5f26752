"""Which samples make up a batch, and reading them ahead in threads.

Nothing here has a state: the batch of step s follows from the seed and s, so that a run resumed at step s
sees what an uninterrupted one would have seen.
"""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from asterism.types import Struct


@runtime_checkable
class Samples(Protocol):
    """What train learns from: sample (epoch, index) is a batch of one."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[int, int], /) -> Struct: ...


def batch_keys(
    n: int, step: int, batch_size: int, seed: int, rank: int = 0, world: int = 1
) -> list[tuple[int, int]]:
    """(epoch, index) of the samples of one process's batch: epochs of shuffled samples laid end to end."""
    first = (step * world + rank) * batch_size
    places = [divmod(first + j, n) for j in range(batch_size)]
    return [(epoch, int(_order(n, epoch, seed)[at])) for epoch, at in places]


@lru_cache(maxsize=4)  # a batch touches two epochs, unless it is larger than the set
def _order(n: int, epoch: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)


def stream(
    samples: Samples, start: int, batch_size: int, seed: int, rank: int, world: int, threads: int
) -> Generator[Struct, None, None]:
    """Batches from step `start` on, without end, read two steps ahead by `threads` threads.

    Threads and not processes: decoding and cropping leave Python's lock, nothing has to be pickled, and a
    script needs no main guard. Close the iterator to stop them.
    """
    # One core each: a crop is small, and what is left of the machine belongs to the network.
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[list[Future[Struct]]] = deque()
    step = start
    try:
        while True:
            while len(ahead) < 2:
                keys = batch_keys(len(samples), step, batch_size, seed, rank, world)
                ahead.append([pool.submit(samples.__getitem__, key) for key in keys])
                step += 1
            parts = [future.result() for future in ahead.popleft()]
            yield type(parts[0]).cat(parts)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
