"""One chapter in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial

from headwater.app.stack.kafka import KafkaTools
from tests.chaos.chapter import run_chapter
from tests.chaos.count import Outcome
from tests.chaos.plan import Chapter
from tests.chaos.replicator import chapter as of_replicator
from tests.chaos.replicator.plan import Chapter as OfReplicator

Any = Chapter | OfReplicator


def one(work: tuple[Any, str, KafkaTools]) -> tuple[Any, Outcome]:
    """The chapter as it was given, and what came of it; progress goes to standard error."""
    chapter, system, tools = work
    say = partial(print, file=sys.stderr, flush=True)
    if isinstance(chapter, OfReplicator):
        return chapter, asyncio.run(of_replicator.run_chapter(chapter, tools, say, system=system))
    return chapter, asyncio.run(run_chapter(chapter, tools, say, system=system))


def end_in_order() -> None:
    """What a chapter has started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
