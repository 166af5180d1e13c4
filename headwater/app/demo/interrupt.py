"""Ctrl-C is answered at once: what was started takes a while to stop."""

from __future__ import annotations

import os
import signal

_SAYS = b"\nstopping everything that was started, this takes some seconds ...\n"


def answer_at_once() -> None:
    """Treat SIGTERM and a closed terminal like Ctrl-C, and say on standard error that everything is being stopped."""
    told = False

    def interrupt(*_: object) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(2, _SAYS)  # a stream may be in the middle of a line of its own
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
