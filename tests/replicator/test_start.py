"""A link that starts before its site does."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from headwater.transport.kafka_batch import Out
from tests.replicator.bed import Bed, until


async def test_topics_that_are_not_there_yet_are_one_line(bed: Bed) -> None:
    """All missing topics are named at once and then waited for quietly; each is shipped as soon as it is there."""
    names = [f"{stem}-{bed.site}" for stem in ("readings", "scores", "alarms")]
    with structlog.testing.capture_logs() as logs:
        async with bed.link(bed.settings(*names, "never")) as task:
            await until(lambda: _said(logs, "waiting for topics"), "it says what it waits for")
            await asyncio.sleep(1.5)  # in which each topic is looked for several times
            warnings = [entry for entry in logs if entry["log_level"] == "warning" and "coordinator" not in str(entry)]
            assert [entry["missing"] for entry in warnings] == [[*names, "never"]]
            for name in names:
                await bed.make(bed.source, name, 1)
                bed.produce(name, [Out(b"k", b"v", (), 5)], 0)
            for name in names:
                await until(partial(bed.holds, f"{bed.site}.{name}", 1), f"{name} is shipped")
            assert not task.done()
    assert len(logs) < 20


async def _said(logs: list[structlog.typing.EventDict], event: str) -> bool:
    return any(entry["event"] == event for entry in logs)
