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
BLIP_S = 0.5  # what passes in less is not worth a line
AGAIN_S = 30.0


class Voice:
    """Decides what is said of something that is tried again and again: what is new, and the rest once in a while.

    Nothing is said in the first `quiet_s` seconds of trouble; then each sentence at once, and the same one again after
    30 s, 60 s, and so on.
    """

    def __init__(self, quiet_s: float = BLIP_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet_s, self._clock = quiet_s, clock
        self._since: float | None = None
        self._next: dict[str, tuple[float, float]] = {}  # sentence: when it may be said again, and the pause after that

    def says(self, why: str) -> bool:
        """Whether a failure is to be told now."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        due, pause = self._next.get(why, (self._since + self._quiet_s, AGAIN_S))
        if now < due:
            return False
        self._next[why] = now + pause, 2 * pause
        return True

    def waited_s(self) -> float | None:
        """It works again: how long it did not, if anything was said of that; what comes now is news again."""
        since, told = self._since, bool(self._next)
        self._since = None
        self._next.clear()
        return self._clock() - since if told and since is not None else None


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
    quiet_s: float = BLIP_S,
) -> T:
    """Await `call()` until it does not raise Transient; past the deadline its last error is raised.

    Trouble is logged once it lasts `quiet_s`, each sentence at most twice a minute, and that it is over.
    """
    started, voice = time.monotonic(), Voice(quiet_s)
    for attempt, pause in enumerate(pauses(first_s, most_s), start=1):
        try:
            done = await call()
        except Transient as error:
            if _is_over(started, pause, deadline_s):
                raise
            _say(voice, doing, error, attempt, pause)
        else:
            _say_over(voice, doing)
            return done
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
    started, voice = time.monotonic(), Voice()
    for attempt, pause in enumerate(pauses(first_s, most_s), start=1):
        try:
            done = call()
        except Transient as error:
            if _is_over(started, pause, deadline_s):
                raise
            _say(voice, doing, error, attempt, pause)
        else:
            _say_over(voice, doing)
            return done
        time.sleep(pause)
    raise AssertionError  # pauses never end


def _is_over(started: float, pause: float, deadline_s: float | None) -> bool:
    return deadline_s is not None and time.monotonic() - started + pause > deadline_s


def _say(voice: Voice, doing: str, error: Transient, attempt: int, pause: float) -> None:
    if voice.says(str(error)):
        more = {"hint": error.hint} if error.hint else {}
        _log.warning("waiting", doing=doing, why=str(error), attempt=attempt, pause_s=round(pause, 2), **more)


def _say_over(voice: Voice, doing: str) -> None:
    waited = voice.waited_s()
    if waited is not None:
        _log.info("waited", doing=doing, seconds=round(waited, 1))
