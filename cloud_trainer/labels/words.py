"""What operators said of alarms at the plants, as labels: `headwater edge acknowledge` writes it into `readings`.

A false one says that nothing was wrong from the opening of the episode to its end; a true one that a fault was there.
It speaks of nothing else: neither of the time before and behind, nor of other episodes. The last word on an episode
holds, by the order of the log.

`headwater edge overhauled --failed` is there too. It says that the machine failed: a fault, alarm or not, at the sensor
time of the machine's last reading before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cloud_trainer.datasets.spoken import Spoken
from cloud_trainer.labels.joining import Episode
from headwater.contract import headers, topics
from headwater.contract.acknowledgement import Acknowledgement, acknowledgement, asset_of, is_of
from headwater.contract.arrival import Unusable, arrival, known_name
from headwater.contract.errors import BadInput
from headwater.contract.labels import FAILURE, FALSE_ALARM, TRUE_ALARM, Label
from headwater.contract.messages import Alarm
from headwater.contract.overhaul import overhauled
from headwater.contract.reading import MAX_TIME_MS
from headwater.contract.topics import DAY_MS
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Record
from headwater.transport.kafka_batch.reading import checked_records, walk

Words = Mapping[str, Spoken]  # by `site/asset`


class Heard(NamedTuple):
    """What plants said: of alarms, and which machines failed."""

    words: dict[str, Spoken]
    failures: list[Label]


def as_labels(words: Words, episodes: Iterable[Episode]) -> list[Label]:
    """A label for the last word on each of the episodes; words on others speak of no known time."""
    last = {key: said.last() for key, said in words.items()}
    found = []
    for episode in episodes:
        word = last.get(episode.asset_key, {}).get(episode.name)
        if word is not None:
            kind = FALSE_ALARM if word.is_false else TRUE_ALARM
            site, _, asset = episode.asset_key.partition("/")
            end = min(episode.end, MAX_TIME_MS)
            found.append(Label(site, asset, episode.start, end, kind, episode.name, word.at, episode=episode.name))
    return found


def read(settings: KafkaSettings, alarms: Iterable[Alarm]) -> Heard:
    """Every word of these sites that is in the log, from a day before the first of these alarms on.

    Sites whose readings are not here have none. Transient when the cluster is away.
    """
    since: dict[str, int] = {}
    for alarm in alarms:
        since[alarm.site] = min(since.get(alarm.site, MAX_TIME_MS), max(0, alarm.raised_at - DAY_MS))
    return asyncio.run(_read(settings, since)) if since else Heard({}, [])


async def _read(settings: KafkaSettings, since: Mapping[str, int]) -> Heard:
    found = Heard({}, [])
    async with Cluster(settings, client_id="headwater-train") as cluster:
        names = await asyncio.to_thread(kafka.topic_names, settings)
        for site, at in sorted(since.items()):
            readings = topics.remote(site, topics.READINGS)
            for topic in (name for name in (readings, f"{readings}.{topics.BACKLOG}") if name in names):
                starts, ends = await cluster.offset_at(topic, at), await cluster.offsets(topic, "latest")
                for partition, start in starts.items():
                    if start is not None:
                        await _of_partition(cluster, topic, partition, (start, ends[partition]), found)
    return found


async def _of_partition(cluster: Cluster, topic: str, partition: int, span: tuple[int, int], found: Heard) -> None:
    site, beside = topics.origin(topic)[0], topic.endswith(f".{topics.BACKLOG}")
    newest: dict[bytes, Record] = {}  # by asset the last record that is no word
    async for batch, is_data in walk(cluster, topic, partition, *span):
        for record in checked_records(topic, partition, batch) if is_data else ():
            said = _word(record, site)
            if said is not None:
                of_asset = found.words.setdefault(f"{site}/{asset_of(said.episode, site)}", Spoken())
                of_asset.add(record.timestamp_ms, said, beside=beside)
            elif headers.find(record.headers, headers.OVERHAULED) is not None:
                found.failures.extend(_failure(record, site, newest.get(bytes(record.key or b""))))
            elif headers.find(record.headers, headers.ACKNOWLEDGES) is None:
                newest[bytes(record.key or b"")] = record


def _failure(record: Record, site: str, before: Record | None) -> list[Label]:
    """The failure that an overhaul speaks of, if it does; `before`: the last record of the asset ahead of it."""
    came = overhauled(record.offset, record.key, record.value, record.headers)
    if came is None or not came.said.failed:
        return []
    at = came.said.at  # of the box's clock; sensor time is better, since alarms have it
    if before is not None:
        try:
            at = arrival(before.offset, before.key, before.value, before.headers).reading.t
        except Unusable:
            pass  # a dead letter of the edge
    return [Label(site, came.asset, at, at, FAILURE, f"overhaul-{came.said.at}", came.said.at)]


def _word(record: Record, site: str) -> Acknowledgement | None:
    """The word in a record on an episode of the asset that is its key; None for any other record."""
    if headers.find(record.headers, headers.ACKNOWLEDGES) is None:
        return None
    try:
        said = acknowledgement(record.value, record.headers)
    except BadInput:
        return None  # a dead letter of the edge
    is_own = said is not None and is_of(said.episode, site, known_name(bytes(record.key or b"")) or "")
    return said if is_own else None
