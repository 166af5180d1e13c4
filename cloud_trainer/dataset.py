"""A dataset is an exact range of the log and the SHA-256 of what is in it.

The digest runs over the records in the order of topic, partition and offset:
`topic 0x00 partition offset timestamp`, then class, key and value, each behind its length; numbers are big-endian
int64. Reading the same ranges again gives the same digest, or DataMissing that names the offsets that are gone.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from cloud_trainer.columns import Columns, Mask
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from headwater.contract import headers, messages, topics
from headwater.contract.arrival import Unusable, arrival
from headwater.contract.errors import BadInput, Refused
from headwater.contract.manifest import Dataset
from headwater.contract.messages import Alarm
from headwater.transport.kafka_batch import Cluster, Record, read_records

Offsets = dict[str, dict[str, tuple[int, int]]]
UNDECODABLE, OTHER_CLASS, IN_ALARM = "undecodable", "other-class", "in-alarm"
BAD_ALARM = "undecodable-alarm"
_EVER = 1 << 62
_NUMBERS = struct.Struct(">qqq")
_LENGTH = struct.Struct(">q")


class Span(NamedTuple):
    """Sensor times in ms between which an asset was not healthy."""

    start: int
    end: int


async def resolve(cluster: Cluster, names: Iterable[str], most_records: int) -> Offsets:
    """What the sites have sent by now: of each `<site>.readings` among `names` the newest records, and all its alarms.

    Every partition of readings gets the same share of `most_records`. BadInput when no site has sent anything.
    """
    known = set(names)
    found: Offsets = {}
    for name in sorted(known):
        if name.endswith(f".{topics.READINGS}"):
            found[name] = await _all_of(cluster, name)
    if not found:
        raise BadInput(
            "no site has sent readings to this cluster yet", hint="start a replicator: headwater replicate run"
        )
    share = most_records // sum(map(len, found.values()))
    limited = {
        name: {p: (max(start, end - share), end) for p, (start, end) in ranges.items()}
        for name, ranges in found.items()
    }
    for name in found:  # after the readings, so that no alarm about them is left out that has come by now
        alarms = topics.remote(topics.local(name)[0], topics.ALARMS)
        if alarms in known:
            limited[alarms] = await _all_of(cluster, alarms)
    return dict(sorted(limited.items()))


async def _all_of(cluster: Cluster, topic: str) -> dict[str, tuple[int, int]]:
    first, last = await cluster.offsets(topic, "earliest"), await cluster.offsets(topic, "latest")
    return {str(partition): (first[partition], last[partition]) for partition in sorted(last)}


def _check(offsets: Offsets, most_records: int) -> None:
    """BadInput unless these are ranges of readings and alarms; Refused when they are too many to hold."""
    total = 0
    for topic, ranges in offsets.items():
        if topics.local(topic)[1] not in (topics.READINGS, topics.ALARMS):
            raise BadInput(f"{topic} holds neither readings nor alarms", hint="name <site>.readings and <site>.alarms")
        for partition, (start, end) in ranges.items():
            if not partition.isdecimal() or not 0 <= start <= end:
                raise BadInput(f"{topic}[{partition}]: {start} to {end} is no range of a partition")
            total += end - start if topics.local(topic)[1] == topics.READINGS else 0
    if total > most_records:
        raise Refused(
            f"{total:,} readings are asked for, at most {most_records:,} are held in memory",
            hint="name a shorter range, or raise trainer.recipe.most_records",
        )


async def _check_there(cluster: Cluster, offsets: Offsets) -> None:
    """BadInput unless the cluster has these topics and partitions: reading what is not there would wait for it."""
    for topic in sorted(offsets):
        count = await cluster.partitions(topic)
        for partition in offsets[topic]:
            if int(partition) >= count:
                raise BadInput(
                    f"there is no partition {topic}[{partition}], the topic has {count}", hint=f"name 0 to {count - 1}"
                )


async def build(cluster: Cluster, asset_class: str, offsets: Offsets, recipe: Recipe) -> TrainingSet:
    """Read these ranges and keep what may be called healthy; DataMissing when a part of them is gone.

    Alarms are those of the ranges named: without `<site>.alarms` among them everything is taken to be healthy.
    """
    _check(offsets, recipe.most_records)
    await _check_there(cluster, offsets)
    digest = hashlib.sha256()
    excluded: Counter[str] = Counter()
    rows: dict[str, Columns] = {}
    alarms: dict[str, list[Alarm]] = {}
    for topic in sorted(offsets):
        site, local = topics.local(topic)
        for partition, (start, end) in sorted(offsets[topic].items(), key=lambda item: int(item[0])):
            async for records in read_records(cluster, topic, int(partition), start, end):
                for record in records:
                    _add(digest, topic, int(partition), record)
                    if local == topics.ALARMS:
                        _note_alarm(alarms, excluded, site, record)
                    else:
                        _note_reading(rows, excluded, site, asset_class, record)
    healthy = {key: _healthy(one, unhealthy(alarms.get(key, [])), recipe) for key, one in sorted(rows.items())}
    excluded[IN_ALARM] = sum(int((~mask).sum()) for mask in healthy.values())
    return training_set(asset_class, rows, healthy, offsets, digest.hexdigest(), +excluded)


def _add(digest: hashlib._Hash, topic: str, partition: int, record: Record) -> None:
    digest.update(topic.encode() + b"\0" + _NUMBERS.pack(partition, record.offset, record.timestamp_ms))
    for part in (headers.find(record.headers, headers.CLASS), record.key, record.value):
        data = part or b""
        digest.update(_LENGTH.pack(len(data)))
        digest.update(data)


def _note_alarm(alarms: dict[str, list[Alarm]], excluded: Counter[str], site: str, record: Record) -> None:
    try:
        alarm = messages.decode(record.value, Alarm)
    except BadInput:
        excluded[BAD_ALARM] += 1  # the manifest says so; one bad record must not stop training for good
        return
    alarms.setdefault(f"{site}/{alarm.asset}", []).append(alarm)


def _note_reading(
    rows: dict[str, Columns], excluded: Counter[str], site: str, asset_class: str, record: Record
) -> None:
    try:
        one = arrival(record.offset, record.key, record.value, record.headers)
    except Unusable:
        excluded[UNDECODABLE] += 1
        return
    if one.asset_class != asset_class:
        excluded[OTHER_CLASS] += 1
        return
    rows.setdefault(f"{site}/{one.asset}", Columns()).add(one.reading)


def unhealthy(alarms: Iterable[Alarm]) -> list[Span]:
    """Spans of one asset's episodes; one without its opening began before the range, one without its end goes on."""
    opened: dict[str, int] = {}
    spans: list[Span] = []
    for alarm in alarms:
        if alarm.state == "opened":
            opened[alarm.episode] = alarm.t
        else:
            spans.append(Span(opened.pop(alarm.episode, -_EVER), alarm.t))
    return spans + [Span(start, _EVER) for start in opened.values()]


def _healthy(found: Columns, spans: list[Span], recipe: Recipe) -> Mask:
    """Which readings may be learned from: none of an episode, nor those before it in which the fault grew unseen."""
    healthy = np.ones(len(found), dtype=bool)
    t = found.t
    for span in spans:
        inside = np.flatnonzero((t >= span.start) & (t <= span.end))
        if len(inside):
            healthy[max(0, inside[0] - recipe.lead) : inside[-1] + 1 + recipe.window] = False
    return healthy


def training_set(
    asset_class: str,
    rows: Mapping[str, Columns],
    healthy: Mapping[str, Mask],
    offsets: Offsets,
    digest: str,
    excluded: Mapping[str, int],
) -> TrainingSet:
    """What was collected, as columns by asset."""
    channels = tuple(sorted(set().union(*(one.channels for one in rows.values()))))
    series = {key: one.series(channels, healthy[key]) for key, one in sorted(rows.items())}
    used = sum(len(one) for one in series.values())
    return TrainingSet(asset_class, channels, series, Dataset(offsets, digest, used, dict(excluded)))
