"""The MQTT side of a life: what is subscribed to and left, gaps recorded, schemas fetched."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.bridge.depth import Deep, look_back
from edge_agent.bridge.gaps import GapWatch
from edge_agent.bridge.memory import FORGOTTEN, Keeper
from edge_agent.bridge.route_settings import topics_of
from edge_agent.bridge.routes import filters_of
from edge_agent.bridge.schemas import FetchedSchemas, SchemaSource, is_needed
from headwater.contract import headers, topics
from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.messages import SessionGap, decode
from headwater.transport.kafka_batch.calls import TopicPartition
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.kafka_batch.records import Out, Record
from headwater.transport.kafka_batch.writer import Writer
from headwater.transport.mqtt.source import MqttSource, Subscriber
from headwater.transport.retry import retrying

if TYPE_CHECKING:
    from edge_agent.bridge.process import Opened
    from edge_agent.settings import EdgeSettings
    from headwater.transport.spool import Spool

_TAIL = 200  # records a partition, among which the newest of ours is looked for
_COMPACTED = frozenset({topics.CLOCKS, topics.SPARKPLUG_STATES})
_GAPS = 100  # records of `session-gaps`, all of this site's bridge


class Connected(NamedTuple):
    """`subscriber` and `is_behind` (see gaps.py) for what they tell, `source` to read from."""

    subscriber: Subscriber
    source: MqttSource
    is_behind: Callable[[], bool]


@asynccontextmanager
async def connected(settings: EdgeSettings, opened: Opened, spool: Spool | None = None) -> AsyncIterator[Connected]:
    """The session of this life. What it leaves in order is not left again by the next life."""
    keeper, recogniser = opened.keeper, opened.recogniser
    routes, mqtt, client_id = settings.bridge.routes, settings.mqtt, keeper.memory.client_id
    if keeper.is_lost and recogniser.sequence and not recogniser.doubt:
        recogniser.doubt = FORGOTTEN
    filters = filters_of(routes, settings.site)
    names = [f"$share/{mqtt.share_group}/{name}" if mqtt.share_group else name for name in filters]
    keeper.begin(names, topics_of(routes))
    ledger = _Ledger(opened.cluster, opened.writer, client_id, settings.site, spool)
    gaps = GapWatch(settings.site, settings.folder, mqtt, keeper, recogniser, ledger)
    gaps.inner = Subscriber(
        mqtt,
        client_id,
        filters,
        no_longer=keeper.no_longer(names),
        gather_s=settings.bridge.gather_ms / 1000,
        dialling=gaps.dialling,
        presence=None if opened.sparkplug is None else opened.sparkplug.presence,
    )
    if opened.sparkplug is not None:
        opened.sparkplug.presence.subscriber = gaps.inner
    ends = messages_of(opened.writer)
    source: MqttSource = Deep(gaps, recogniser, partial(look_back, opened.cluster, ends, recogniser, spool))
    if is_needed(routes):
        source = SchemaSource(source, _fetched(settings, opened.schemas), routes, settings.site)
    async with gaps.inner as subscriber:
        yield Connected(subscriber, source, lambda: gaps.is_behind)
        was_subscribed = subscriber.subscribed.is_set()
    if was_subscribed:
        keeper.note(filters=tuple(sorted(names)))


def _fetched(settings: EdgeSettings, schemas: dict[str, bytes]) -> FetchedSchemas:
    from headwater.transport.schema_registry import SchemaRegistry  # noqa: PLC0415 - brings an HTTP client

    wanted = settings.bridge.schema_registry
    if wanted is None:
        raise BadSetting(
            "a route has messages that name their schemas by number (framing = confluent), and there is no registry",
            hint="set edge.bridge.schema_registry.url",
        )
    return FetchedSchemas(schemas, SchemaRegistry(wanted), wanted.url, settings.folder, settings.bridge.schema_wait_s)


class _Ledger:
    """The log, as gaps.py asks for it. What was written before this life is behind the markers of its writer."""

    def __init__(self, cluster: Cluster, writer: Writer, client_id: str, site: str, spool: Spool | None) -> None:
        self._cluster = cluster
        self._writer = writer
        self._client_id = client_id
        self._site = site
        self._spool = spool

    async def newest_ms(self) -> int:
        """Time of receipt of the newest message; where others' records hide it, the start of its session."""
        newest = 0
        if self._spool is not None:  # which is ahead of the log while Kafka is away
            from edge_agent.bridge.spooled_rows import newest_ms  # noqa: PLC0415 - memory: only where there is one

            newest = newest_ms(self._spool, self._client_id)
        for topic, partition in messages_of(self._writer):
            for record in await self._tail(topic, partition, _TAIL):
                newest = max(newest, _received_ms(record, self._client_id))
        return newest

    async def is_written(self, attempt: str) -> bool:
        """Whether the record of this attempt is there."""
        found = await self._tail(topics.SESSION_GAPS, 0, _GAPS)
        return any(gap.attempt == attempt for gap in gaps_in(found, self._site))

    async def write(self, gap: SessionGap) -> None:
        """Write the record of a gap; waits for Kafka."""
        out = Out(self._site.encode(), canonical_json(gap), (), time.time_ns() // 1_000_000)
        await self._writer.write(topics.SESSION_GAPS, 0, [out])

    async def _tail(self, topic: str, partition: int, count: int) -> list[Record]:
        end = self._writer.markers[topic, partition]
        call = partial(read_tail, self._cluster, topic, partition, count, end=end)
        return await retrying(f"reading the tail of {topic}[{partition}]", call)


def _received_ms(record: Record, client_id: str) -> int:
    session = headers.find(record.headers, headers.SESSION) or b""
    if not session.startswith(f"{client_id}@".encode()):
        return 0
    return headers.find_number(record.headers, headers.RECEIVED_AT) or 0


def messages_of(writer: Writer) -> dict[TopicPartition, int]:
    """Where this life begins in each partition that may hold records of messages."""
    return {pair: end for pair, end in writer.markers.items() if pair[0] not in _COMPACTED}


def gaps_in(records: Iterable[Record], site: str) -> list[SessionGap]:
    """The gaps of a site in records of `session-gaps`, oldest first; others are passed over."""
    found = []
    for record in records:
        if record.key == site.encode():
            try:
                found.append(decode(record.value or b"", SessionGap))
            except BadInput:
                continue
    return found


async def former_topics(cluster: Cluster, keeper: Keeper, wanted: Sequence[str]) -> dict[str, int]:
    """Partitions of the Kafka topics that a former table wrote to, where they still exist."""
    counts: dict[str, int] = {}
    for topic in keeper.memory.topics:
        if topic not in wanted:
            try:
                counts[topic] = await retrying(f"looking for {topic}", partial(cluster.partitions, topic))
            except BadInput:
                continue  # it was deleted, and what was in it with it
    return counts
