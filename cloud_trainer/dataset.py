"""A dataset is an exact range of the log and the SHA-256 of what is in it.

The digest runs over the records in the order of topic, partition and offset:
`topic 0x00 partition offset timestamp`, then class, key and value, each behind its length; numbers are big-endian
int64. Reading the same ranges again gives the same digest, or DataMissing that names the offsets that are gone.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, TrainingSet
from headwater.contract import headers, messages, topics
from headwater.contract.arrival import Arrival, Unusable, arrival
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Dataset
from headwater.contract.messages import Alarm
from headwater.transport.kafka_batch import Cluster, Record, read_records

Offsets = dict[str, dict[str, tuple[int, int]]]
UNDECODABLE, OTHER_CLASS, IN_ALARM = "undecodable", "other-class", "in-alarm"
_OPEN_END = 1 << 62
_NUMBERS = struct.Struct(">qqq")
_LENGTH = struct.Struct(">q")


class Span(NamedTuple):
    """Sensor times in ms between which an asset was not healthy."""

    start: int
    end: int


async def resolve(cluster: Cluster, names: Iterable[str]) -> Offsets:
    """Everything that the sites have sent by now: of each `<site>.readings` among `names`, and of its alarms."""
    known = set(names)
    found: Offsets = {}
    for name in sorted(known):
        if not name.endswith(f".{topics.READINGS}"):
            continue
        site, _ = topics.local(name)
        # Alarms first: an alarm that comes after them is about readings that come after them, or is as good as late.
        for topic in (topics.remote(site, topics.ALARMS), name):
            if topic in known:
                first, last = await cluster.offsets(topic, "earliest"), await cluster.offsets(topic, "latest")
                found[topic] = {str(p): (first[p], last[p]) for p in sorted(last)}
    if not found:
        raise BadInput(
            "no site has sent readings to this cluster yet", hint="start a replicator: headwater replicate run"
        )
    return found


async def build(cluster: Cluster, asset_class: str, offsets: Offsets, recipe: Recipe) -> TrainingSet:
    """Read these ranges and keep what may be called healthy; DataMissing when a part of them is gone."""
    digest = hashlib.sha256()
    excluded = {UNDECODABLE: 0, OTHER_CLASS: 0, IN_ALARM: 0}
    rows: dict[str, list[Arrival]] = {}
    alarms: dict[str, list[Alarm]] = {}
    for topic in sorted(offsets):
        site, local = topics.local(topic)
        for partition, (start, end) in sorted(offsets[topic].items(), key=lambda item: int(item[0])):
            async for records in read_records(cluster, topic, int(partition), start, end):
                for record in records:
                    _add(digest, topic, int(partition), record)
                    if local == topics.ALARMS:
                        _note_alarm(alarms, site, record)
                    elif local == topics.READINGS:
                        _note_reading(rows, excluded, site, asset_class, record)
    spans = {key: unhealthy(found) for key, found in alarms.items()}
    return _training_set(asset_class, rows, spans, excluded, Dataset(offsets, digest.hexdigest(), 0), recipe)


def _add(digest: hashlib._Hash, topic: str, partition: int, record: Record) -> None:
    digest.update(topic.encode() + b"\0" + _NUMBERS.pack(partition, record.offset, record.timestamp_ms))
    for part in (headers.find(record.headers, headers.CLASS), record.key, record.value):
        data = part or b""
        digest.update(_LENGTH.pack(len(data)))
        digest.update(data)


def _note_alarm(alarms: dict[str, list[Alarm]], site: str, record: Record) -> None:
    alarm = messages.decode(record.value, Alarm)
    alarms.setdefault(f"{site}/{alarm.asset}", []).append(alarm)


def _note_reading(
    rows: dict[str, list[Arrival]], excluded: dict[str, int], site: str, asset_class: str, record: Record
) -> None:
    try:
        one = arrival(record.offset, record.key, record.value, record.headers)
    except Unusable:
        excluded[UNDECODABLE] += 1
        return
    if one.asset_class != asset_class:
        excluded[OTHER_CLASS] += 1
        return
    rows.setdefault(f"{site}/{one.asset}", []).append(one)


def unhealthy(alarms: Iterable[Alarm]) -> list[Span]:
    """Spans of one asset's episodes; one that was never closed lasts to the end."""
    opened: dict[str, int] = {}
    spans: list[Span] = []
    for alarm in alarms:
        if alarm.state == "opened":
            opened[alarm.episode] = alarm.t
        elif alarm.episode in opened:
            spans.append(Span(opened.pop(alarm.episode), alarm.t))
    return spans + [Span(start, _OPEN_END) for start in opened.values()]


def _training_set(
    asset_class: str,
    rows: Mapping[str, list[Arrival]],
    spans: Mapping[str, list[Span]],
    excluded: dict[str, int],
    source: Dataset,
    recipe: Recipe,
) -> TrainingSet:
    channels = tuple(sorted({name for found in rows.values() for one in found for name in one.reading.values}))
    series = {}
    for key, found in sorted(rows.items()):
        healthy = _healthy(found, spans.get(key, []), recipe)
        excluded[IN_ALARM] += len(found) - int(healthy.sum())
        series[key] = _series(found, healthy, channels)
    used = sum(len(one) for one in series.values())
    dataset = Dataset(source.offsets, source.sha256, used, {reason: n for reason, n in excluded.items() if n})
    return TrainingSet(asset_class, channels, series, dataset)


def _healthy(found: list[Arrival], spans: list[Span], recipe: Recipe) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which readings may be learned from: none of an episode, nor those before it in which the fault grew unseen."""
    healthy = np.ones(len(found), dtype=bool)
    t = np.array([one.reading.t for one in found])
    for span in spans:
        inside = np.flatnonzero((t >= span.start) & (t <= span.end))
        if len(inside):
            healthy[max(0, inside[0] - recipe.lead) : inside[-1] + 1 + recipe.window] = False
    return healthy


def _series(
    found: list[Arrival], healthy: np.ndarray[tuple[int], np.dtype[np.bool_]], channels: tuple[str, ...]
) -> Series:
    """Columns of the healthy readings; the stretch changes wherever some were left out."""
    values = np.array(
        [[_number(one.reading.values.get(channel)) for channel in channels] for one in found], dtype=np.float64
    ).reshape(len(found), len(channels))
    stretch = np.cumsum(~healthy)
    t = np.array([one.reading.t for one in found], dtype=np.int64)
    return Series(t[healthy], np.ascontiguousarray(values[healthy]), stretch[healthy].astype(np.int64))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
