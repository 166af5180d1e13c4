"""What a cluster tells of itself to somebody who looks for faults: releases, reachability, copies of topics.

Nothing here is on the way of a record. Layouts: clients/src/main/resources/common/message/*.json in Apache Kafka.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch import calls, codes
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.reaching import first_reachable
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.kafka_batch.wire import Api, Call, Reader, array, compact_string, string

_CLIENT = "headwater-doctor"
_METADATA_VERSION = "metadata.version"
# The request's header has tags, the answer's never has (KIP-511), so the tags are written as part of the body.
_API_VERSIONS = Api("ApiVersions", 18, 3)
_RANGE = struct.Struct(">hhh")
_LEVELS = struct.Struct(">hh")
_SUPPORTED, _FINALIZED = 0, 2  # tags of the answer

# org.apache.kafka.server.common.MetadataVersion, of Kafka 3.6 (levels 1 to 6) and 4.3 (the rest).
_LEVELS_OF = """
3.0-IV1 3.1-IV0 3.2-IV0 3.3-IV0 3.3-IV1 3.3-IV2 3.3-IV3 3.4-IV0 3.5-IV0 3.5-IV1 3.5-IV2 3.6-IV0 3.6-IV1 3.6-IV2 3.7-IV0
3.7-IV1 3.7-IV2 3.7-IV3 3.7-IV4 3.8-IV0 3.9-IV0 4.0-IV0 4.0-IV1 4.0-IV2 4.0-IV3 4.1-IV0 4.1-IV1 4.2-IV0 4.2-IV1 4.3-IV0
4.4-IV0
"""
RELEASES = dict(enumerate(_LEVELS_OF.split(), start=1))
# MetadataVersion.fetchRequestVersion: what a broker without metadata.version gives away.
_BY_FETCH = {11: "2.3 to 2.6", 12: "2.7 to 3.0", 13: "3.1 to 3.4", 14: "3.5", 15: "3.5 or 3.6", 16: "3.7 or 3.8"}


@dataclass(frozen=True)
class Versions:
    """What a broker says it speaks; the levels of `metadata.version` are None where it has none."""

    apis: dict[int, tuple[int, int]] = field(default_factory=dict)  # lowest and highest version by key
    newest_level: int | None = None  # of the broker's own program
    level: int | None = None  # that the whole cluster has agreed on

    def sentence(self) -> str:
        """For people: which Kafka this is, as far as it tells."""
        if self.newest_level is None:
            highest = self.apis.get(calls.FETCH.key, (0, -1))[1]
            like = _BY_FETCH.get(highest, "3.8 or newer" if highest > max(_BY_FETCH) else "before 2.3")
            return (
                "tells no release (no metadata.version: ZooKeeper mode, or not Apache Kafka); "
                f"Fetch up to version {highest} is what Kafka {like} speaks"
            )
        program = f"Kafka {_release(self.newest_level).partition('-')[0]}"
        if self.level is None:
            return f"{program}, whose cluster has agreed on no metadata.version"
        return f"{program}, metadata.version {_release(self.level)} (level {self.level})"


def _release(level: int) -> str:
    newest = max(RELEASES)
    return RELEASES.get(level, f"newer than {RELEASES[newest]}" if level > newest else "older than 3.0")


@dataclass(frozen=True)
class BrokerAnswer:
    """One broker at the address that the cluster advertises; `failure` says why it did not answer."""

    node: int
    where: str
    versions: Versions | None = None
    failure: HeadwaterError | None = None


class Copies(NamedTuple):
    """A topic's partitions; the fewest copies that one has, and the fewest of them that are in sync."""

    partitions: int
    replicas: int
    in_sync: int


async def ask_brokers(settings: KafkaSettings) -> list[BrokerAnswer]:
    """Ask each broker for its versions at its advertised address, which is where clients go after the first contact.

    Unreachable, Refused, Untrusted: no bootstrap broker answers as it should.
    """
    tls = settings.tls_context()
    seed = await first_reachable(settings, settings.addresses(), tls, _CLIENT)
    try:
        cluster = await seed.request(calls.metadata([]))
    finally:
        seed.close()

    async def ask(broker: calls.Broker) -> BrokerAnswer:
        where = f"{broker.host}:{broker.port}"
        try:
            line = await Connection.open(settings, (broker.host, broker.port), tls, _CLIENT)
        except HeadwaterError as error:
            return BrokerAnswer(broker.node, where, failure=error)
        try:
            found = await line.request(versions())
            return BrokerAnswer(broker.node, where, found)
        finally:
            line.close()

    answers = await asyncio.gather(*(ask(cluster.brokers[node]) for node in sorted(cluster.brokers)))
    await asyncio.sleep(0)  # asyncio closes the sockets in its next turn
    return answers


def versions() -> Call[Versions]:
    """Ask a broker for its calls and features (KIP-584)."""
    return Call(_API_VERSIONS, [b"\0" + compact_string(_CLIENT) + compact_string("1") + b"\0"], _read_versions)


def _read_versions(r: Reader) -> Versions:
    error = r.int16()
    if error == codes.UNSUPPORTED_VERSION:  # before Kafka 2.4; the rest is version 0
        return Versions({key: (low, high) for key, low, high in (r.take(_RANGE) for _ in r.times())})
    codes.check(error, "asking a broker for its versions")
    apis = {}
    for _ in r.compact_times():
        key, low, high = r.take(_RANGE)
        r.skip_tags()
        apis[key] = (low, high)
    r.int32()
    levels: dict[int, dict[str, tuple[int, int]]] = {}
    for _ in range(r.unsigned()):
        tag, part = r.unsigned(), Reader(r.slice(r.unsigned()))
        if tag in (_SUPPORTED, _FINALIZED):
            levels[tag] = _read_features(part)
    # The answer has (lowest, highest) of what is supported, but (highest, lowest) of what was agreed on.
    supported = levels.get(_SUPPORTED, {}).get(_METADATA_VERSION)
    agreed = levels.get(_FINALIZED, {}).get(_METADATA_VERSION)
    return Versions(apis, supported and supported[1], agreed and agreed[0])


def _read_features(r: Reader) -> dict[str, tuple[int, int]]:
    found = {}
    for _ in r.compact_times():
        name = r.compact_string() or ""
        found[name] = r.take(_LEVELS)
        r.skip_tags()
    return {name: (int(first), int(second)) for name, (first, second) in found.items()}


async def topic_copies(cluster: Cluster, topics: Sequence[str]) -> tuple[int, dict[str, Copies]]:
    """How many brokers there are, and copies of the topics that exist; Refused if this user may not ask about one."""
    body = array([string(topic) for topic in topics])
    brokers, answers = await cluster.ask_any(Call(calls.METADATA, [body + b"\0"], _read_copies))
    found = {}
    for name, (error, copies) in answers.items():
        if error == codes.UNKNOWN_TOPIC_OR_PARTITION:
            continue
        codes.check(error, f"asking for topic {name}")
        found[name] = copies
    return brokers, found


def _read_copies(r: Reader) -> tuple[int, dict[str, tuple[int, Copies]]]:
    r.int32()
    brokers = r.times()
    for _ in brokers:
        r.int32()
        r.string()
        r.int32()
        r.string()
    r.string()
    r.int32()
    found = {}
    for _ in r.times():
        error, topic = r.int16(), r.name()
        r.slice(1)
        counts = []
        for _ in r.times():
            r.slice(2 + 4 + 4 + 4)  # error, partition, leader, epoch
            replicas, in_sync, _offline = (_count(r) for _ in range(3))
            counts.append((replicas, in_sync))
        fewest = [min((pair[i] for pair in counts), default=0) for i in (0, 1)]
        found[topic] = error, Copies(len(counts), *fewest)
    return len(brokers), found


def _count(r: Reader) -> int:
    times = r.times()
    r.slice(4 * len(times))
    return len(times)
