"""The life of the bridge process: fence, read the tails, connect to MQTT, carry, stop."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.clockwatch import ClockWatch
from edge_agent.bridge.counts import Counts
from edge_agent.bridge.live import served
from edge_agent.bridge.memory import Keeper
from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.reload import READY, Reloads
from edge_agent.bridge.route_settings import sparkplug_of, topics_of
from edge_agent.bridge.routes import check
from edge_agent.bridge.schemas import from_files
from edge_agent.bridge.session import connected, former_topics, messages_of
from edge_agent.bridge.tails import Tails, learn
from edge_agent.bridge.telling import Direct, Telling
from headwater.contract import topics
from headwater.contract.errors import BadInput, HeadwaterError, Permanent, Unreachable
from headwater.transport import metrics
from headwater.transport.files import file_error, held_alone, replace_durably
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.writer import Writer
from headwater.transport.lifecycle import sleep_or_stop, unless_stopped
from headwater.transport.mqtt.source import Subscriber
from headwater.transport.retry import retrying

if TYPE_CHECKING:
    from edge_agent.bridge.sparkplug import Sparkplug
    from edge_agent.settings import EdgeSettings

OWN_TOPICS = {topics.DEAD_LETTERS, topics.SESSION_GAPS, topics.CLOCKS}  # beside those of routes
SPOOL = "spool"  # its folder, below the site's
LOCK = "bridge.lock"
_REFENCE_S = 86_400.0  # Kafka forgets a writer's name after seven days without a transaction

_log = structlog.get_logger(__name__)


def ready_file(settings: EdgeSettings) -> Path:
    """Exists while the bridge is subscribed; holds its process id as JSON."""
    return settings.folder / READY


def name_of(settings: EdgeSettings) -> str:
    """The writer's name: one bridge a site, or of several that share the messages of a site one a client id."""
    shared = f"-{settings.mqtt.client_id}" if settings.mqtt.share_group and settings.mqtt.client_id else ""
    return f"bridge-{settings.site}{shared}"


def client_id_of(settings: EdgeSettings) -> str:
    """Names the bridge's session on the MQTT broker."""
    return settings.mqtt.client_id or f"headwater-{name_of(settings)}"


async def run(settings: EdgeSettings, stop: asyncio.Event) -> None:
    """Bridge until `stop`, in one life after another where SIGHUP asks for other settings (reload.py).

    Waits for a Kafka or an MQTT broker that is away, and for topics that are missing (`headwater edge setup` makes
    them). BadSetting: a route cannot work. Conflict: a bridge runs in this state folder; it is left alone. Fenced:
    another bridge of this site has started elsewhere. Refused, Untrusted: a broker does not want us.
    """
    check(settings.bridge.routes, settings.site, from_files(settings.bridge.schemas))
    what = f"a bridge runs in the state folder {settings.folder}"
    hint = "one bridge a folder: stop the other one, or give this one its own HEADWATER_HOME"
    with held_alone(settings.folder / LOCK, what, hint):
        not_ready(settings)
        await _lives(settings, stop)


async def _lives(settings: EdgeSettings, stop: asyncio.Event) -> None:
    telling, reloads = Telling(settings), Reloads(settings.folder)
    if settings.metrics_port is not None:
        from edge_agent.bridge.metrics import export  # noqa: PLC0415 - memory: only where they are asked for

        export(telling.snapshot)
        metrics.serve(settings.metrics_port, settings.metrics_address)
    async with served(settings.folder, telling.snapshot):
        with reloads.listening():
            goes_on: EdgeSettings | None = settings
            while goes_on is not None:
                goes_on = await _life(goes_on, stop, reloads, telling)


async def _life(settings: EdgeSettings, stop: asyncio.Event, reloads: Reloads, telling: Telling) -> EdgeSettings | None:
    """One life; the settings of the next one, or None when it was asked to stop."""
    telling.begin(settings)
    ending = asyncio.Event()
    stopped, again = asyncio.create_task(stop.wait()), asyncio.create_task(reloads.next(settings))
    asked: list[asyncio.Task[Any]] = [stopped, again]
    for task in asked:
        task.add_done_callback(lambda _: ending.set())
    try:
        await _open_and_carry(settings, ending, reloads, telling)
    finally:
        reloads.cluster = None
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
    return None if stop.is_set() or again.cancelled() else again.result()


async def _open_and_carry(settings: EdgeSettings, ending: asyncio.Event, reloads: Reloads, telling: Telling) -> None:
    if settings.bridge.ack_after == "spool" or (settings.folder / SPOOL).exists():
        from edge_agent.bridge import spooled_process  # noqa: PLC0415 - memory: only where there is one

        await spooled_process.life(settings, ending, reloads, telling)
        return
    async with opened_kafka(settings, ending, reloads) as opened:
        if opened is not None:
            await carry(settings, opened, ending, telling, reloads.begun)


@asynccontextmanager
async def opened_kafka(settings: EdgeSettings, ending: asyncio.Event, reloads: Reloads) -> AsyncIterator[Opened | None]:
    """Fence, and read what a former life left; None when `ending` came first."""
    opened = await unless_stopped(ending, _open(settings))
    if opened is None:
        yield None
        return
    reloads.cluster = opened.cluster
    try:
        yield opened
    finally:
        await opened.writer.close()
        await opened.cluster.close()


class Opened(NamedTuple):
    """What is there once Kafka has answered."""

    cluster: Cluster
    writer: Writer
    partitions: Mapping[str, int]  # by Kafka topic
    recogniser: Recogniser
    keeper: Keeper
    schemas: dict[str, bytes]  # grows while it is used
    clocks: ClockWatch
    sparkplug: Sparkplug | None


async def _open(settings: EdgeSettings) -> Opened:
    cluster = Cluster(settings.kafka, client_id=name_of(settings))
    try:
        await retrying(f"connecting to Kafka at {settings.kafka.brokers}", cluster.connect)
        wanted = sorted(OWN_TOPICS.union(topics_of(settings.bridge.routes)))
        partitions = await retrying("looking for the edge's topics", lambda: _partitions(cluster, wanted))
        keeper = Keeper(settings.folder, client_id_of(settings))
        partitions |= await former_topics(cluster, keeper, wanted)
        writer = await Writer.open(
            cluster,
            name_of(settings),
            {topic: range(count) for topic, count in partitions.items()},
            codec=settings.bridge.codec,
            state_file=settings.folder / "bridge.producer.json",
        )
        client_id, most = client_id_of(settings), settings.mqtt.receive_maximum
        recogniser = Recogniser(client_id, time.time_ns() // 1_000_000, most)
        whole = sparkplug_of(settings.bridge.routes) is not None
        tails = await learn(cluster, messages_of(writer), recogniser, most, whole=whole)
        sparkplug = await _sparkplug(settings, cluster, tails, recogniser)
    except BaseException:
        await cluster.close()
        raise
    clocks = ClockWatch(round(settings.bridge.clock_tolerance_s * 1000))
    schemas = from_files(settings.bridge.schemas)
    return Opened(cluster, writer, partitions, recogniser, keeper, schemas, clocks, sparkplug)


async def _sparkplug(
    settings: EdgeSettings, cluster: Cluster, tails: Tails, recogniser: Recogniser
) -> Sparkplug | None:
    route = sparkplug_of(settings.bridge.routes)
    if route is None:
        return None
    from edge_agent.bridge.sparkplug import Sparkplug  # noqa: PLC0415 - memory: only where there is such a route

    return await Sparkplug.open(settings, route, cluster, tails, recogniser)


async def _partitions(cluster: Cluster, wanted: Sequence[str]) -> dict[str, int]:
    """Number of partitions of each topic; Unreachable while one is missing."""
    counts = {}
    for topic in wanted:
        try:
            counts[topic] = await cluster.partitions(topic)
        except BadInput as error:
            raise Unreachable(f"the Kafka topic {topic} does not exist: `headwater edge setup` creates it") from error
    return counts


async def carry(
    settings: EdgeSettings,
    opened: Opened,
    stop: asyncio.Event,
    telling: Telling,
    begun: Callable[[], None],
    before: Counts | None = None,
) -> None:
    """Carry messages until `stop`; `before` is what this life has counted already. Raises what `run` names."""
    async with connected(settings, opened) as (subscriber, source, is_behind):
        opened.clocks.is_behind = is_behind
        bridge = _bridge_of(opened)(
            source,
            opened.writer,
            opened.recogniser,
            settings.bridge,
            site=settings.site,
            partitions=opened.partitions,
            receive_maximum=settings.mqtt.receive_maximum,
            schemas=opened.schemas,
            clocks=opened.clocks,
        )
        if before is not None:
            bridge.counts.add(before)
        telling.life, telling.subscriber, telling.sparkplug = Direct(bridge), subscriber, opened.sparkplug
        async with aside(settings, opened, subscriber, telling, stop, begun):
            await bridge.run(stop)


def _bridge_of(opened: Opened) -> Callable[..., Bridge]:
    if opened.sparkplug is None:
        return Bridge
    from edge_agent.bridge.sparkplug_bridge import SparkplugBridge  # noqa: PLC0415 - memory: only where there is such a route

    return partial(SparkplugBridge, opened.sparkplug)


@asynccontextmanager
async def aside(
    settings: EdgeSettings,
    opened: Opened,
    subscriber: Subscriber,
    telling: Telling,
    stop: asyncio.Event,
    begun: Callable[[], None],
) -> AsyncIterator[None]:
    """What a life does beside carrying messages; at its end it says what it has counted."""
    tasks = [
        asyncio.create_task(announce(settings, subscriber, begun)),
        asyncio.create_task(refence(opened.writer, stop)),
        asyncio.create_task(telling.watch(stop)),
        asyncio.create_task(opened.clocks.tell(opened.writer.write, stop)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        not_ready(settings)
        _log.info("bridge stopped", site=settings.site, **telling.balance())


def not_ready(settings: EdgeSettings) -> None:
    """Take back that messages can come; Permanent where the state folder is none."""
    path = ready_file(settings)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise file_error(error, path) from error


async def announce(settings: EdgeSettings, source: Subscriber, begun: Callable[[], None]) -> None:
    """Say once that messages can come, to `begun` too."""
    await source.subscribed.wait()
    about: Mapping[str, object] = {"pid": os.getpid(), "site": settings.site}
    try:
        replace_durably(ready_file(settings), json.dumps(about).encode())
    except Permanent as error:  # it only tells; messages pass without it
        _log.warning("bridge cannot say that it is ready", why=str(error), hint=error.hint)
    _log.info("bridge ready", **about)
    begun()


async def refence(writer: Writer, stop: asyncio.Event) -> None:
    """Keep Kafka from forgetting the writer's name. A failure, such as Fenced, shows at the next write."""
    while not await sleep_or_stop(stop, _REFENCE_S):
        with suppress(HeadwaterError):
            await writer.refence()
