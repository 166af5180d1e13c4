"""What runs work for many assets, and in which order its results come.

A runner never decides about a result: the work on an item depends on the item and the task alone, BLAS has one thread
in every worker, and results come in the order of the items, however many workers there are and whoever ends first.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")
Handle = TypeVar("Handle")
Kind = Literal["pool", "ray"]

CHUNK = 8  # items that are sent at a time: a message costs little beside that many, and the last ones end together
_AHEAD = 3  # chunks for each worker that are sent before the oldest result is taken: what waits is held in memory
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Runner(Protocol):
    """Workers that were started once; leaving the context ends them."""

    def map(self, task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`task(item)` of each item, in the order of the items, which are taken as they are needed.

        Task, items and results are pickled; the task once, and each worker unpickles it once. What the task raises is
        raised here; Transient when a worker was killed.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    items: Iterable[Item],
    workers: int,
    send: Callable[[list[Item]], Handle],
    take: Callable[[Handle], list[Result]],
) -> Iterator[Result]:
    """Send chunks of the items, a few ahead, and take their results in the same order."""
    source, waiting = iter(items), deque[Handle]()
    while chunk := list(islice(source, CHUNK)):
        waiting.append(send(chunk))
        if len(waiting) > workers * _AHEAD:
            yield from take(waiting.popleft())
    while waiting:
        yield from take(waiting.popleft())


class _Worker:
    """What a worker process keeps between two chunks."""

    pickled: bytes = b""
    task: Callable[[Any], Any] | None = None
    limits: threadpool_limits | None = None


def carry_out(pickled: bytes, chunk: list[Any]) -> list[Any]:
    """In a worker: the results of one chunk."""
    if _Worker.limits is None:
        os.environ.update(dict.fromkeys(_THREADS, "1"))  # for libraries that a task loads
        _Worker.limits = threadpool_limits(1)  # for those that are loaded
    if _Worker.task is None or _Worker.pickled != pickled:
        _Worker.task, _Worker.pickled = pickle.loads(pickled), pickled  # noqa: S301  # from the process that started this one
        _Worker.limits = threadpool_limits(1)  # it may have loaded more
    task = _Worker.task
    return [task(item) for item in chunk]


def open_runner(kind: Kind, workers: int | None = None, address: str = "") -> Runner:
    """The runner of that name with `workers` (as many as there are cores if None); BadSetting without its package."""
    if kind == "pool":
        from cloud_trainer.running.pool import ProcessPool  # noqa: PLC0415  # each runner loads what it needs

        return ProcessPool(workers or cores())
    from cloud_trainer.running.on_ray import RayRunner  # noqa: PLC0415  # Ray is an extra

    return RayRunner(workers or cores(), address)
