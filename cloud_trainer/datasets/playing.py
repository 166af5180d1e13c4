"""Recordings in two parts: the first rows to learn from, the others played into Kafka as the edge would have sent them.

Every recording starts at the same moment, and keeps its own rhythm. Records are those of the bridge
(headwater/contract/headers.py): key asset, value the payload, class, MQTT topic, session, time of receipt, sequence.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cloud_trainer.datasets.ranges import Offsets
from cloud_trainer.datasets.sources import FolderSource
from headwater.contract import headers, topics
from headwater.contract.canonical import digest
from headwater.contract.errors import BadInput
from headwater.contract.partitioning import partition_of
from headwater.contract.reading import encode
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics, topic_names
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, Writer
from headwater.transport.recordings import Recording, Row

_TICK_S = 0.05  # rows that are due within one are one batch a partition
_MOST = 2000  # rows of a tick where nothing slows them down
_PARTITIONS = 4  # of a topic that is made, as at the edge
WRITER = "headwater-simulate-stream"


class Due(NamedTuple):
    """A row of a recording, and when it is played: recorded seconds from the beginning of the stream."""

    at_s: float
    asset: str
    row: Row


@dataclass
class Played:
    """What was written: rows, and the ranges that hold them, first offset and the one behind the last."""

    rows: int = 0
    ranges: Offsets = field(default_factory=dict)

    def note(self, topic: str, partition: int, first: int, count: int) -> None:
        """So many records from this offset on."""
        of = self.ranges.setdefault(topic, {})
        start, end = of.get(str(partition), (first, first))
        of[str(partition)] = (min(start, first), max(end, first + count))
        self.rows += count


def split(source: FolderSource, rows: int | None, share: float) -> Offsets:
    """The rows to learn from: the first `rows` of each recording, or else this share of them.

    BadInput where nothing would be left to play.
    """
    lengths = {name: len(one.rows) for name, one in source.recordings.items()}
    found: Offsets = {
        name: {"0": (0, min(length, int(length * share) if rows is None else rows))} for name, length in lengths.items()
    }
    if all(found[name]["0"][1] >= length for name, length in lengths.items()):
        raise BadInput("nothing is left to play: all rows are to be learned from", hint="name fewer --train-rows")
    return found


def schedule(recordings: Mapping[str, Recording], learn: Offsets) -> Iterator[Due]:
    """The rows behind those to learn from, of all recordings, as they are due."""
    parts = [_due(one, learn[name]["0"][1]) for name, one in sorted(recordings.items())]
    return heapq.merge(*parts, key=lambda each: each.at_s)


def _due(recording: Recording, start: int) -> Iterator[Due]:
    rows = recording.rows[start:]
    reached = rows[0].t if rows else 0
    for row in rows:
        reached = max(reached, row.t)  # times that go back are played at once, and are sent as they are
        yield Due((reached - rows[0].t) / 1000, recording.asset, row)


def topics_of(assets: Sequence[str], into: Sequence[str]) -> dict[str, str]:
    """Which asset is played into which topic: one after the other in turn."""
    for topic in into:
        if (topics.local(topic)[1] if "." in topic else topic) != topics.READINGS:
            raise BadInput(f"{topic} holds no readings", hint="name <site>.readings, or readings of an edge")
    return {asset: into[number % len(into)] for number, asset in enumerate(assets)}


async def play(
    settings: KafkaSettings,
    due: Iterator[Due],
    into: Mapping[str, str],
    asset_class: str,
    speed: float | None,
    told: Callable[[int], None],
) -> Played:
    """Write rows to the topics of their assets when they are due, `speed` times as fast as recorded, each once.

    At once where there is no speed. Topics that are missing are made. Raises what Kafka does; Fenced when another one
    plays into the same topics.
    """
    names = sorted(set(into.values()))
    await asyncio.to_thread(_make_missing, settings, names)
    played = Played()
    async with Cluster(settings, client_id=WRITER) as cluster:
        counts = {topic: await cluster.partitions(topic) for topic in names}
        partitions = {topic: range(count) for topic, count in counts.items()}
        async with await Writer.open(cluster, f"{WRITER}-{digest(names)[:16]}", partitions) as writer:
            session = f"{WRITER}@{_now_ms()}"
            async for rows in ticks(due, speed):
                batches = _batches(rows, into, counts, asset_class, session, played.rows)
                firsts = await asyncio.gather(*(writer.write(*place, outs) for place, outs in batches.items()))
                for (place, outs), first in zip(batches.items(), firsts, strict=True):
                    played.note(*place, first, len(outs))
                told(len(rows))
    return played


async def ticks(due: Iterator[Due], speed: float | None) -> AsyncIterator[list[Due]]:
    """The rows in order, in pieces, each when it is due; at once where there is no speed."""
    began, waiting = time.monotonic(), next(due, None)
    while waiting is not None:
        rows: list[Due] = []
        if speed is not None:
            await asyncio.sleep(max(0.0, began + waiting.at_s / speed - time.monotonic()))
        until = None if speed is None else (time.monotonic() - began + _TICK_S) * speed
        while waiting is not None and len(rows) < _MOST and (until is None or waiting.at_s <= until):
            rows.append(waiting)
            waiting = next(due, None)
        yield rows


def _batches(
    rows: Sequence[Due],
    into: Mapping[str, str],
    counts: Mapping[str, int],
    asset_class: str,
    session: str,
    sequence: int,
) -> dict[tuple[str, int], list[Out]]:
    now = _now_ms()
    found: dict[tuple[str, int], list[Out]] = {}
    for number, (_, asset, row) in enumerate(rows, start=sequence):
        topic, key = into[asset], asset.encode()
        site = topics.local(topic)[0] if "." in topic else "recorded"
        known = (
            (headers.CLASS, headers.text(asset_class)),
            (headers.MQTT_TOPIC, headers.text(f"{site}/{asset_class}/{asset}")),
            (headers.SESSION, headers.text(session)),
            (headers.RECEIVED_AT, headers.number(now)),
            (headers.PACKET_ID, headers.number(0)),
            (headers.SEQUENCE, headers.number(number)),
        )
        place = topic, partition_of(key, counts[topic])
        found.setdefault(place, []).append(Out(key, encode(row.t, row.values), known, now))
    return found


def _make_missing(settings: KafkaSettings, names: Sequence[str]) -> None:
    known = topic_names(settings)
    ensure_topics(settings, [TopicSpec(name, _PARTITIONS) for name in names if name not in known])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
