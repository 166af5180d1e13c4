"""Processes of this machine."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self, TypeVar

from cloud_trainer.running.runner import carry_out, in_order
from headwater.contract.errors import Transient

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessPool:
    """`workers` processes, each started once and fresh: a copy of this process would inherit its threads and locks."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Runner.map`."""
        pickled = pickle.dumps(task)
        return in_order(items, self.workers, lambda chunk: self._send(pickled, chunk), _take)

    def _send(self, pickled: bytes, chunk: list[Any]) -> Future[list[Any]]:
        try:
            return self._pool.submit(carry_out, pickled, chunk)
        except BrokenProcessPool as error:
            raise _killed() from error


def _take(handle: Future[list[Any]]) -> list[Any]:
    try:
        return handle.result()
    except BrokenProcessPool as error:
        raise _killed() from error


def _killed() -> Transient:
    return Transient(
        "a worker process of the trainer was killed",
        hint="the kernel does that where memory runs out: set trainer.workers lower, or name a shorter range",
    )
