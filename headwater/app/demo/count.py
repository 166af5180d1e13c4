"""Counting what really is in the logs, record by record, against what was published and what must be scored."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from headwater.app.demo.evidence import Asset, ScoreTrace, Trace
from headwater.contract import checkpoint, headers, messages, topics
from headwater.contract.arrival import Arrival, Unusable
from headwater.contract.messages import Alarm, Score
from headwater.contract.overhaul import Came, came
from headwater.contract.windows import Charge, Expected, expected
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
    unscored: int  # no score, or one that is not a number
    twice: int
    wrong: int  # scores whose asset, window, version or model digest is not what the swap records demand
    versions: Counter[int]  # that the scores name


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


def newest_status(brokers: str, topic: str, site: str) -> tuple[bytes | None, int] | None:
    """Value and timestamp (ms) of the newest status of a site in this cluster."""

    async def read() -> tuple[bytes | None, int] | None:
        async with Cluster(KafkaSettings(brokers=brokers), client_id="headwater-demo-count") as cluster:
            found = (await read_compacted(cluster, topic, 0)).get(site.encode())
            return None if found is None else (found.value, found.timestamp_ms)

    return asyncio.run(read())


def read_alarms(log: Log) -> list[Alarm]:
    """Alarms of a site in the order of their sensor times."""
    found = [messages.decode(r.value, Alarm) for records in log.partitions.values() for r in records]
    return sorted(found, key=lambda alarm: alarm.t)


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
    duplicated += sum(len(found) for asset, found in records.items() if asset not in published)  # nobody published them
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
    return [one for one in usable(records) if isinstance(one, Arrival)]


def usable(records: list[Record]) -> list[Came]:
    """The usable readings and the overhauls of one partition."""
    found = []
    for record in records:
        try:
            found.append(came(record.offset, record.key, record.value, record.headers))
        except Unusable:
            continue  # counted as dead letters
    return found


def judged(readings: Log, scores: Log, swaps: Mapping[int, list[Charge]]) -> Judged:
    """Compare the scores of a site with the windows that its readings and swaps demand."""
    windows = unscored = twice = wrong = 0
    versions: Counter[int] = Counter()
    for partition, records in readings.partitions.items():
        given: dict[int | None, list[Record]] = defaultdict(list)
        for record in scores.partitions[partition]:
            given[headers.find_number(record.headers, headers.SOURCE_OFFSET)].append(record)
            versions[messages.decode(record.value, Score).version] += 1
        for wanted in expected(usable(records), swaps.get(partition, [])):
            windows += 1
            found = given.pop(wanted.window.last_offset, [])
            unscored += not any(messages.decode(record.value, Score).score is not None for record in found)
            twice += max(0, len(found) - 1)
            wrong += sum(not is_of(record, wanted) for record in found)
        twice += sum(map(len, given.values()))  # scores of windows that nobody asked for
    return Judged(windows, unscored, twice, wrong, versions)


def is_of(record: Record, wanted: Expected) -> bool:
    """Whether a score says in every place that it is of this window, by the model that was in charge."""
    score = messages.decode(record.value, Score)
    said = (
        (record.key or b"").decode(),
        score.asset,
        score.version,
        score.t_first,
        score.t_last,
        headers.find_number(record.headers, headers.VERSION),
        headers.find_text(record.headers, headers.MODEL),
        headers.find_number(record.headers, headers.FIRST_OFFSET),
    )
    window, charge = wanted.window, wanted.charge
    return said == (
        wanted.asset,
        wanted.asset,
        charge.version,
        window.t_first,
        window.t_last,
        charge.version,
        charge.sha256,
        window.first_offset,
    )


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
        for partition in log.partitions.keys() | cloud[topic].partitions.keys():
            here = Counter(_content(record) for record in log.partitions.get(partition, []))
            there = Counter(_content(record) for record in cloud[topic].partitions.get(partition, []))
            total += here.total()
            lost += (here - there).total()
            duplicated += (there - here).total()
        payloads = {key: [r.value for r in records] for key, records in log.by_key().items()}
        arrived = {key: [r.value for r in records] for key, records in cloud[topic].by_key().items()}
        wrong += sum(arrived.get(key) != values for key, values in payloads.items())
    return Transport(total, lost, duplicated, wrong)


def _content(record: Record) -> tuple[bytes, bytes, int, tuple[tuple[str, bytes | None], ...]]:
    return bytes(record.key or b""), bytes(record.value or b""), record.timestamp_ms, tuple(record.headers)
