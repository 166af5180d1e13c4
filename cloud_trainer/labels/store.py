"""The topic `labels`, and the alarms of all sites."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headwater.contract import messages, topics
from headwater.contract.errors import BadInput
from headwater.contract.labels import Label
from headwater.contract.messages import Alarm
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster, KafkaSettings, read_compacted
from headwater.transport.kafka_batch.reading import checked_records, walk

_ALARMS = (f".{topics.ALARMS}", f".{topics.ALARMS}.{topics.BACKLOG}")


def write(settings: KafkaSettings, labels: Sequence[Label]) -> int:
    """Store labels; how many say something new. What is stored already is not written again.

    Of two with the same key the last one holds: a second reading of the same labels writes nothing.
    """
    known = {label.key: label for label in read(settings)}
    count = 0
    for label in {label.key: label for label in labels}.values():
        before = known.get(label.key)
        if before is None or _said(before) != _said(label):
            kafka.send(settings, topics.LABELS, label.key.encode(), messages.encode(label))
            count += 1
    return count


def _said(label: Label) -> tuple[int, int, str]:
    return label.t_from, label.t_to, label.kind


def read(settings: KafkaSettings) -> list[Label]:
    """Every label that holds, by key; none where there is no such topic yet."""
    return asyncio.run(_read(settings))


async def _read(settings: KafkaSettings) -> list[Label]:
    async with Cluster(settings, client_id="headwater-train") as cluster:
        if topics.LABELS not in await asyncio.to_thread(kafka.topic_names, settings):
            return []
        newest = await read_compacted(cluster, topics.LABELS, 0)
    found = []
    for _, record in sorted(newest.items()):
        try:
            found.append(messages.decode(record.value, Label))
        except BadInput:
            continue  # written by somebody else; it is no label of ours
    return found


def alarms(settings: KafkaSettings) -> list[Alarm]:
    """Every alarm of every site that is in the log, each partition in its order."""
    return asyncio.run(_alarms(settings))


async def _alarms(settings: KafkaSettings) -> list[Alarm]:
    found = []
    async with Cluster(settings, client_id="headwater-train") as cluster:
        names = await asyncio.to_thread(kafka.topic_names, settings)
        for topic in (name for name in names if name.endswith(_ALARMS)):
            first, end = await cluster.offsets(topic, "earliest"), await cluster.offsets(topic, "latest")
            for partition in sorted(end):
                async for batch, is_data in walk(cluster, topic, partition, first[partition], end[partition]):
                    for record in checked_records(topic, partition, batch) if is_data else ():
                        try:
                            found.append(messages.decode(record.value, Alarm))
                        except BadInput:
                            continue  # as above
    return found
