"""The life of the bridge process: fence, read the tails, connect to MQTT, carry, stop."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.counts import export
from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.route import Route
from headwater.contract import topics
from headwater.contract.errors import BadInput, HeadwaterError, Permanent, Unreachable
from headwater.transport import metrics
from headwater.transport.files import file_error, replace_durably
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.writer import Writer
from headwater.transport.lifecycle import sleep_or_stop
from headwater.transport.mqtt.source import Subscriber
from headwater.transport.retry import retrying

if TYPE_CHECKING:
    from edge_agent.settings import EdgeSettings

_TOPICS = (topics.READINGS, topics.DEAD_LETTERS)
_REFENCE_S = 86_400.0  # Kafka forgets a writer's name after seven days without a transaction

_log = structlog.get_logger(__name__)


def ready_file(settings: EdgeSettings) -> Path:
    """Exists while the bridge is subscribed; holds its process id as JSON."""
    return settings.folder / "bridge.ready"


def name_of(settings: EdgeSettings) -> str:
    """The writer's name and the default MQTT client id: one bridge a site."""
    return f"bridge-{settings.site}"


async def run(settings: EdgeSettings, stop: asyncio.Event) -> None:
    """Bridge until `stop`. Waits for a Kafka or an MQTT broker that is away.

    Topics that are missing are waited for too (`headwater edge setup` makes them). Fenced: another bridge of this site
    has started. Refused, Untrusted: a broker does not want us.
    """
    _not_ready(settings)
    metrics.serve(settings.metrics_port)
    opening = asyncio.create_task(_open(settings))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([opening, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
        return
    stopped.cancel()
    cluster, writer, partitions = opening.result()
    try:
        await _carry(settings, writer, partitions, stop)
    finally:
        await writer.close()
        await cluster.close()


async def _open(settings: EdgeSettings) -> tuple[Cluster, Writer, int]:
    cluster = Cluster(settings.kafka, client_id=name_of(settings))
    try:
        await retrying(f"connecting to Kafka at {settings.kafka.brokers}", cluster.connect)
        partitions = await retrying("looking for the edge's topics", lambda: _partitions(cluster))
        tail = 4 * settings.mqtt.receive_maximum  # recogniser.py says why
        writer = await Writer.open(
            cluster,
            name_of(settings),
            {topic: range(partitions) for topic in _TOPICS},
            tails=dict.fromkeys(_TOPICS, tail),
            codec=settings.bridge.codec,
            state_file=settings.folder / "bridge.producer.json",
        )
    except BaseException:
        await cluster.close()
        raise
    return cluster, writer, partitions


async def _partitions(cluster: Cluster) -> int:
    """Number of partitions of both topics; Unreachable while one is missing."""
    counts = {}
    for topic in _TOPICS:
        try:
            counts[topic] = await cluster.partitions(topic)
        except BadInput as error:
            raise Unreachable(str(error), hint="`headwater edge setup` creates the edge's topics") from error
    if len(set(counts.values())) > 1:
        raise BadInput(f"topics with different numbers of partitions: {counts}", hint="make one of them anew")
    return counts[topics.READINGS]


async def _carry(settings: EdgeSettings, writer: Writer, partitions: int, stop: asyncio.Event) -> None:
    client_id = settings.mqtt.client_id or f"headwater-{name_of(settings)}"
    recogniser = Recogniser(client_id, time.time_ns() // 1_000_000, 2 * settings.mqtt.receive_maximum)
    recogniser.read(record for tail in writer.tails.values() for record in tail)
    writer.tails.clear()
    route = Route(settings.bridge.topic, settings.site, partitions)
    async with Subscriber(settings.mqtt, client_id, route.topic_filter) as source:
        bridge = Bridge(
            source,
            writer,
            route,
            recogniser,
            settings.bridge,
            partitions=partitions,
            receive_maximum=settings.mqtt.receive_maximum,
        )
        if settings.metrics_port is not None:
            export(bridge.counts)
        aside = [asyncio.create_task(_announce(settings, source)), asyncio.create_task(_refence(writer, stop))]
        try:
            await bridge.run(stop)
        finally:
            for task in aside:
                task.cancel()
            await asyncio.gather(*aside, return_exceptions=True)
            _not_ready(settings)
            _log.info("bridge stopped", site=settings.site, balanced=bridge.counts.balanced, **bridge.counts.as_dict())


def _not_ready(settings: EdgeSettings) -> None:
    """Take back that messages can come; Permanent where the state folder is none."""
    path = ready_file(settings)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise file_error(error, path) from error


async def _announce(settings: EdgeSettings, source: Subscriber) -> None:
    """Say once that messages can come."""
    await source.subscribed.wait()
    about: Mapping[str, object] = {"pid": os.getpid(), "site": settings.site}
    try:
        replace_durably(ready_file(settings), json.dumps(about).encode())
    except Permanent as error:  # it only tells; messages pass without it
        _log.warning("bridge cannot say that it is ready", why=str(error), hint=error.hint)
    _log.info("bridge ready", **about)


async def _refence(writer: Writer, stop: asyncio.Event) -> None:
    """Keep Kafka from forgetting the writer's name. A failure, such as Fenced, shows at the next write."""
    while not await sleep_or_stop(stop, _REFENCE_S):
        with suppress(HeadwaterError):
            await writer.refence()
