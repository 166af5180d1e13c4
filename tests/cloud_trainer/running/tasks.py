"""Work for runners, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import threadpoolctl

from headwater.contract.errors import GateFailed


def slower_first(number: int) -> tuple[int, int]:
    """The earlier the item, the longer it takes, so that its results are overtaken; with the process that did it."""
    time.sleep(0.02 if number < 16 else 0.0)
    return number, os.getpid()


def threads(_item: int) -> list[int]:
    """Threads of every BLAS that is loaded here, also of one that a task brings."""
    import scipy.linalg  # noqa: F401, PLC0415  # with a BLAS of its own

    return [library["num_threads"] for library in threadpoolctl.threadpool_info()]


def refused_at_20(number: int) -> int:
    """An error of ours."""
    if number == 20:
        raise GateFailed("item 20 is refused", hint="leave it out")
    return number


def killed_at_20(number: int) -> int:
    """As the kernel does where memory runs out."""
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class Once:
    """Remembers in which processes it was unpickled, and how often there."""

    count = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).count += 1
        self.__dict__.update(state)

    def __init__(self) -> None:
        self.payload = np.zeros(1000)

    def __call__(self, _item: int) -> tuple[int, int]:
        return os.getpid(), type(self).count
