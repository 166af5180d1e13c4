"""From a call when an answer is there to a future, for those who await it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from headwater.contract.errors import HeadwaterError

T = TypeVar("T")


def awaited(future: asyncio.Future[T]) -> Callable[[T | HeadwaterError], None]:
    """What ends `future` with an answer or its error; nothing happens where the caller was cancelled."""

    def answered(answer: T | HeadwaterError) -> None:
        if future.done():
            return
        if isinstance(answer, HeadwaterError):
            future.set_exception(answer)
            future.exception()  # a caller that was cancelled does not ask for it
        else:
            future.set_result(answer)

    return answered
