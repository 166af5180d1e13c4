"""The life of the bridge with a spool: open it, see what Kafka has of it, drain, connect to MQTT, take in, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge_agent.bridge import process
from edge_agent.bridge.counts import Counts
from edge_agent.bridge.session import connected, messages_of
from edge_agent.bridge.spooled_drain import Drainer
from edge_agent.bridge.spooled_intake import Intake
from edge_agent.bridge.spooled_rows import marks
from edge_agent.bridge.spooled_tails import done
from edge_agent.bridge.telling import Spooled, Telling, Waiting
from headwater.contract.errors import Permanent
from headwater.transport.lifecycle import unless_stopped
from headwater.transport.spool import Spool

if TYPE_CHECKING:
    from edge_agent.bridge.process import Opened
    from edge_agent.bridge.reload import Reloads
    from edge_agent.settings import EdgeSettings

_STUCK_S = 1.0  # at a stop: Kafka takes nothing, and the spool keeps it anyway
_LOOK_S = 0.05

_log = structlog.get_logger(__name__)


async def life(settings: EdgeSettings, ending: asyncio.Event, reloads: Reloads, telling: Telling) -> None:
    """One life with a spool, or one that empties what an earlier one left in it. Raises what process.run names.

    The spool is opened first, so that what waits in it is told while Kafka is away.
    """
    async with AsyncExitStack() as stack:
        spool = await stack.enter_async_context(_opened(settings))
        telling.spool = Waiting(spool, settings.bridge.spool.bytes)
        opened = await stack.enter_async_context(process.opened_kafka(settings, ending, reloads))
        if opened is None:
            return
        client_id, most = process.client_id_of(settings), settings.mqtt.receive_maximum
        opened.recogniser.learn(marks(spool, 4 * most, client_id))
        counts = Counts()
        drainer = await unless_stopped(ending, _drainer(settings, opened, spool, counts))
        if drainer is None:
            return
        telling.life = shown = Spooled(spool, settings.bridge.spool.bytes, drainer, counts)
        if settings.bridge.ack_after == "spool":
            await _carry(settings, opened, ending, telling, reloads.begun, spool, drainer, shown)
            return
        await _empty(drainer, ending)
        if drainer.waits or ending.is_set():
            return
        await _closed(spool)
        telling.life = telling.spool = None
        _remove(settings.folder / process.SPOOL, counts)
        await process.carry(settings, opened, ending, telling, reloads.begun, counts)


async def _carry(
    settings: EdgeSettings,
    opened: Opened,
    stop: asyncio.Event,
    telling: Telling,
    begun: Callable[[], None],
    spool: Spool,
    drainer: Drainer,
    shown: Spooled,
) -> None:
    async with connected(settings, opened, spool) as (subscriber, source, is_behind):
        opened.clocks.is_behind = is_behind
        telling.subscriber = subscriber
        most = settings.mqtt.receive_maximum
        intake = Intake(source, spool, opened.recogniser, drainer, shown.counts, settings.bridge.spool, most)
        shown.intake = intake
        async with process.aside(settings, opened, subscriber, telling, stop, begun):
            await _run(intake, drainer, stop, settings.bridge.drain_s)


async def _empty(drainer: Drainer, stop: asyncio.Event) -> None:
    """Write what an earlier life has left, until `stop`; raises what the writer raises."""
    draining = asyncio.create_task(drainer.run())
    try:
        while drainer.waits and not draining.done() and not stop.is_set():  # noqa: ASYNC110 - three things at once
            await asyncio.sleep(_LOOK_S)
    finally:
        draining.cancel()
        await asyncio.wait([draining])
    if not draining.cancelled():
        draining.result()


def _remove(folder: Path, counts: Counts) -> None:
    try:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()
    except OSError as error:  # it is empty; the next start tries again
        _log.warning("the spool that is not used any more cannot be removed", folder=str(folder), why=str(error))
    _log.info("the spool was emptied into Kafka and removed", **counts.as_dict())


@asynccontextmanager
async def _opened(settings: EdgeSettings) -> AsyncIterator[Spool]:
    spool = Spool.open(settings.folder / process.SPOOL, most_bytes=settings.bridge.spool.bytes)
    try:
        yield spool
    finally:
        await _closed(spool)


async def _closed(spool: Spool) -> None:
    with suppress(Permanent):  # it was said; nothing that is missing was acknowledged
        await spool.close()


async def _drainer(settings: EdgeSettings, opened: Opened, spool: Spool, counts: Counts) -> Drainer:
    began = time.monotonic()
    found = await done(opened.cluster, messages_of(opened.writer), spool.id, spool.oldest, spool.end)
    drainer = Drainer(spool, counts, settings.bridge, settings.site, opened.clocks)
    drainer.begin(opened.writer, opened.partitions, found, opened.schemas)
    _log.info("spool opened", id=spool.id, waiting=counts.waiting, took_s=round(time.monotonic() - began, 3))
    return drainer


async def _run(intake: Intake, drainer: Drainer, stop: asyncio.Event, drain_s: float) -> None:
    taking, draining = asyncio.create_task(intake.run()), asyncio.create_task(drainer.run())
    stopped = asyncio.create_task(stop.wait())
    tasks = [taking, draining, stopped]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended - {stopped}:
            task.result()
        taking.cancel()
        await asyncio.wait([taking])
        await intake.finish()
        drainer.wake()
        await _drain(drainer, draining, drain_s)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _drain(drainer: Drainer, draining: asyncio.Task[None], drain_s: float) -> None:
    """Let Kafka take what waits, for as long as it does; the spool keeps the rest."""
    end = time.monotonic() + drain_s
    settled, since = drainer.settled, time.monotonic()
    while drainer.waits and (now := time.monotonic()) < end and now - since < _STUCK_S:
        if draining.done():
            draining.result()
        if drainer.settled > settled:
            settled, since = drainer.settled, now
        await asyncio.sleep(_LOOK_S)
