"""A running link as it is seen from beside: its socket, its last word, its metrics, its pauses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from headwater.contract.errors import Unreachable
from headwater.contract.topics import remote
from replicator.operating.live import Snapshot, ask, folder_of, last_known, served
from replicator.operating.observer import Observer
from replicator.operating.pausing import ALL, Pause, paused, say
from replicator.running import run_link
from replicator.settings import ReplicatorSettings
from tests.replicator.bed import Bed, now_ms, until


@asynccontextmanager
async def watched(settings: ReplicatorSettings, observer: Observer | None = None) -> AsyncIterator[Observer]:
    """A link that is watched."""
    stop, observer = asyncio.Event(), observer or Observer(settings)
    task = asyncio.create_task(run_link(settings, stop, observer=observer))
    try:
        yield observer
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def test_a_link_tells_what_it_has_done(bed: Bed, tmp_path: Path) -> None:
    """Records, bytes, lags, the road and what may be deleted, at its socket and in its last word."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 40, size=1000)
    with pytest.raises(Unreachable, match="no replicator runs here"):
        ask(tmp_path / "x")
    observer = Observer(bed.settings())
    async with served(tmp_path / "x", observer.snapshot), watched(bed.settings(), observer):
        await until(lambda: bed.holds(remote(bed.site, topic), 40), "all is shipped")

        async def told() -> bool:
            now = await asyncio.to_thread(ask, tmp_path / "x")
            return bool(now.open and now.partitions and now.partitions[0].records == 40 and now.sent_bytes)

        await until(told, "the link has told it")
        now = await asyncio.to_thread(ask, tmp_path / "x")
    (part,) = now.partitions
    assert (part.state, part.source_next, part.lag_records, part.age_ms, part.engine) == (
        "up to date",
        40,
        0,
        None,
        "batch",
    )
    assert part.bytes > 40_000
    assert now.goodput_bytes_s > 0
    assert now.round_trip_ms is not None
    assert (now.eta_s, now.paused, now.troubles) == (0.0, {}, [])
    kept = last_known(tmp_path / "x")
    assert kept is not None
    assert (kept.at >= now.at, kept.partitions[0].safe_to_delete) == (True, 40)
    assert last_known(tmp_path / "y") is None


async def test_what_is_paused_stays_paused_over_restarts(bed: Bed) -> None:
    """One topic, or all; it is a record at the source, so it holds for the next life too, until it is taken back."""
    first, second = await bed.topic("a", partitions=1), await bed.topic("b", partitions=1)
    await bed.fill(first, 10)
    await say(bed.source, bed.site, first, Pause(1, "me", "tests"), now_ms())
    assert await paused(bed.source, bed.site) == {first: Pause(1, "me", "tests")}
    for end in (10, 20):
        await bed.fill(second, 10)
        async with watched(bed.settings()) as observer:
            await until(partial(bed.holds, remote(bed.site, second), end), "the other one is shipped")
            assert await _state_is(observer, first, "paused")
    assert await bed.ends_at(first, 0, 0)
    async with watched(bed.settings()) as observer:
        await say(bed.source, bed.site, first, None, now_ms())
        await until(lambda: bed.ends_at(first, 0, 10), "it goes on")
        await say(bed.source, bed.site, ALL, Pause(3), now_ms())
        await until(partial(_state_is, observer, first, "paused"), "all is paused")
        await bed.fill(first, 5)
        await until(partial(_lags, observer, first, 5), "what waits is known")
        snapshot = observer.snapshot()
        assert {each.state for each in snapshot.partitions} == {"paused"}
    assert await bed.ends_at(first, 0, 10)


async def _state_is(observer: Observer, topic: str, state: str) -> bool:
    return any(each.topic == topic and each.state == state for each in observer.snapshot().partitions)


async def _lags(observer: Observer, topic: str, records: int) -> bool:
    return any(each.topic == topic and each.lag_records == records for each in observer.snapshot().partitions)


def test_a_snapshot_is_json() -> None:
    """What is told is one JSON object."""
    assert json.loads(msgspec.json.encode(Snapshot(site="lyon")))["site"] == "lyon"
    assert folder_of("lyon").name == "lyon"
