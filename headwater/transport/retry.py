"""Trying again with growing, jittered pauses.

Full jitter: each pause is uniform between 0 and a bound that doubles up to `most_s`
(AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import structlog

from headwater.contract.errors import Transient

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def pauses(first_s: float = 0.2, most_s: float = 10.0) -> Iterator[float]:
    """Endless pauses in seconds."""
    bound = first_s
    while True:
        yield random.uniform(0, bound)
        bound = min(bound * 2, most_s)


async def retrying(
    doing: str,
    call: Callable[[], Awaitable[T]],
    *,
    deadline_s: float | None = None,
    first_s: float = 0.2,
    most_s: float = 10.0,
) -> T:
    """Await `call()` until it does not raise Transient; past the deadline its last error is raised."""
    started = time.monotonic()
    for attempt, pause in enumerate(pauses(first_s, most_s), start=1):
        try:
            return await call()
        except Transient as error:
            if _is_over(started, pause, deadline_s):
                raise
            _say(doing, error, attempt, pause)
        await asyncio.sleep(pause)
    raise AssertionError  # pauses never end


def retrying_sync(
    doing: str,
    call: Callable[[], T],
    *,
    deadline_s: float | None = None,
    first_s: float = 0.2,
    most_s: float = 10.0,
) -> T:
    """As `retrying`, for plain calls."""
    started = time.monotonic()
    for attempt, pause in enumerate(pauses(first_s, most_s), start=1):
        try:
            return call()
        except Transient as error:
            if _is_over(started, pause, deadline_s):
                raise
            _say(doing, error, attempt, pause)
        time.sleep(pause)
    raise AssertionError  # pauses never end


def _is_over(started: float, pause: float, deadline_s: float | None) -> bool:
    return deadline_s is not None and time.monotonic() - started + pause > deadline_s


def _say(doing: str, error: Transient, attempt: int, pause: float) -> None:
    if attempt & (attempt - 1) == 0:  # the 1st, 2nd, 4th, 8th ... attempt: a clear line without a flood
        _log.warning("waiting", doing=doing, why=str(error), attempt=attempt, pause_s=round(pause, 2))
