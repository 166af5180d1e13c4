"""Counting what really is in the logs, record by record, against what was published and what must be scored."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from headwater.app.demo.evidence import Asset, ScoreTrace, Trace
from headwater.contract import checkpoint, headers, messages, topics
from headwater.contract.arrival import Arrival, Unusable, arrival
from headwater.contract.messages import Score
from headwater.contract.windows import Charge, expected
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Record, read_compacted, read_records


class Log(NamedTuple):
    """Every data record of a topic, by partition, in offset order."""

    partitions: dict[int, list[Record]]

    def by_key(self) -> dict[str, list[Record]]:
        """Records by key; a key lives in one partition."""
        found: dict[str, list[Record]] = defaultdict(list)
        for records in self.partitions.values():
            for record in records:
                found[(record.key or b"").decode()].append(record)
        return found


class Transport(NamedTuple):
    """How one copy of the readings compares with what was published."""

    published: int
    lost: int
    duplicated: int
    wrong_digests: int  # assets whose ordered payloads differ in a single byte or in order


class Judged(NamedTuple):
    """How the scores of a site compare with the windows that must be scored."""

    windows: int
    unscored: int
    twice: int
    by_version: Counter[int]


def read_topics(brokers: str, names: list[str]) -> dict[str, Log]:
    """Read topics whole."""

    async def read() -> dict[str, Log]:
        async with Cluster(KafkaSettings(brokers=brokers), client_id="headwater-demo-count") as cluster:
            return {name: Log(await _partitions(cluster, name)) for name in names}

    return asyncio.run(read())


async def _partitions(cluster: Cluster, topic: str) -> dict[int, list[Record]]:
    first, last = await cluster.offsets(topic, "earliest"), await cluster.offsets(topic, "latest")
    found: dict[int, list[Record]] = {}
    for partition, end in last.items():
        found[partition] = []
        async for records in read_records(cluster, topic, partition, first[partition], end):
            found[partition] += records
    return found


def read_swaps(brokers: str) -> dict[int, list[Charge]]:
    """Every swap that a site's scorer declared, by partition of `readings`."""

    async def read() -> dict[int, list[Charge]]:
        async with Cluster(KafkaSettings(brokers=brokers), client_id="headwater-demo-count") as cluster:
            found: dict[int, list[Charge]] = {}
            for partition in range(await cluster.partitions(topics.STATE)):
                newest = await read_compacted(cluster, topics.STATE, partition)
                prefix = checkpoint.SWAP_PREFIX.encode()
                swaps = [r for key, r in newest.items() if key.startswith(prefix)]
                swaps.sort(key=lambda r: r.offset)
                found[partition] = [checkpoint.decode(r.value or b"", Charge) for r in swaps]
            return found

    return asyncio.run(read())


def transport(published: Mapping[str, tuple[int, str]], log: Log) -> Transport:
    """Compare readings in a log with what was published: per asset a count and the SHA-256 of ordered payloads.

    Payloads of an asset differ from each other, since each has its own time.
    """
    total = lost = duplicated = wrong = 0
    records = log.by_key()
    for asset, (count, digest) in published.items():
        payloads = [bytes(record.value or b"") for record in records.get(asset, [])]
        distinct = len(set(payloads))
        total += count
        lost += max(0, count - distinct)
        duplicated += len(payloads) - distinct
        wrong += hashlib.sha256(b"".join(payloads)).hexdigest() != digest
    return Transport(total, lost, duplicated, wrong)


def arrivals(records: list[Record]) -> list[Arrival]:
    """The usable readings of one partition."""
    found = []
    for record in records:
        try:
            found.append(arrival(record.offset, record.key, record.value, record.headers))
        except Unusable:
            continue  # counted as dead letters
    return found


def judged(readings: Log, scores: Log, swaps: Mapping[int, list[Charge]]) -> Judged:
    """Compare the scores of a site with the windows that its readings and swaps demand."""
    windows = unscored = twice = 0
    by_version: Counter[int] = Counter()
    for partition, records in readings.partitions.items():
        given = Counter(
            headers.find_number(score.headers, headers.SOURCE_OFFSET) for score in scores.partitions[partition]
        )
        for window in expected(arrivals(records), swaps.get(partition, [])):
            windows += 1
            by_version[window.charge.version] += 1
            times = given.pop(window.window.last_offset, 0)
            unscored += times == 0
            twice += max(0, times - 1)
        twice += sum(given.values())  # scores of windows that nobody asked for
    return Judged(windows, unscored, twice, by_version)


def traces(site: str, readings: Log, wanted: set[Asset]) -> dict[Asset, Trace]:
    """Readings of the wanted assets, for the plots."""
    found: dict[Asset, Trace] = {}
    for records in readings.partitions.values():
        for one in arrivals(records):
            key = (site, one.asset)
            if key not in wanted:
                continue
            trace = found.setdefault(key, Trace())
            trace.t.append(one.reading.t)
            for channel, value in one.reading.values.items():
                trace.values.setdefault(channel, []).append(value)
    return found


def score_traces(site: str, scores: Log) -> dict[Asset, ScoreTrace]:
    """Scores of every asset in log order."""
    found: dict[Asset, ScoreTrace] = {}
    for records in scores.partitions.values():
        for record in records:
            score = messages.decode(record.value, Score)
            trace = found.setdefault((site, score.asset), ScoreTrace())
            trace.t.append(score.t_last)
            trace.score.append(score.score)
            trace.threshold.append(score.threshold)
            trace.version.append(score.version)
    return found


def copied(edge: Mapping[str, Log], cloud: Mapping[str, Log]) -> Transport:
    """Compare topics in the cloud with the edge's: partition by partition, key, value, headers and timestamp."""
    total = lost = duplicated = wrong = 0
    for topic, log in edge.items():
        for partition, records in log.partitions.items():
            here = Counter(_content(record) for record in records)
            there = Counter(_content(record) for record in cloud[topic].partitions.get(partition, []))
            total += len(records)
            lost += (here - there).total()
            duplicated += (there - here).total()
        payloads = {key: [r.value for r in records] for key, records in log.by_key().items()}
        arrived = {key: [r.value for r in records] for key, records in cloud[topic].by_key().items()}
        wrong += sum(arrived.get(key) != values for key, values in payloads.items())
    return Transport(total, lost, duplicated, wrong)


def _content(record: Record) -> tuple[bytes, bytes, int, tuple[tuple[str, bytes | None], ...]]:
    return bytes(record.key or b""), bytes(record.value or b""), record.timestamp_ms, tuple(record.headers)
