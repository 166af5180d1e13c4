"""`headwater edge acknowledge`: an operator's word on an episode, put into the log where the scorer meets it."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from edge_agent.saying import say
from edge_agent.settings import EdgeSettings
from headwater.contract import headers, messages, topics
from headwater.contract.acknowledgement import Acknowledgement, asset_of
from headwater.contract.errors import BadInput
from headwater.contract.messages import Alarm
from headwater.contract.partitioning import partition_of
from headwater.transport.kafka_batch import Cluster, read_records


class Said(NamedTuple):
    """What was written, and of what."""

    asset: str
    episode: str
    is_false: bool
    was_open: bool
    partition: int


def acknowledge(settings: EdgeSettings, episode: str, by: str, *, is_false: bool) -> Said:
    """Write it; BadInput for what is too long or no alarm of this box opened. Raises as the transport does."""
    asset = asset_of(episode, settings.site)
    partition, was_open = asyncio.run(_look(settings, asset, episode))
    said = Acknowledgement(episode, is_false, int(time.time() * 1000), by)
    say(settings, asset, partition, said, (headers.ACKNOWLEDGES, episode))
    return Said(asset, episode, is_false, was_open, partition)


async def _look(settings: EdgeSettings, asset: str, episode: str) -> tuple[int, bool]:
    """Partition of the asset, and whether its episode is open."""
    async with Cluster(settings.kafka, client_id="headwater-acknowledge") as cluster:
        partition = partition_of(asset.encode(), await cluster.partitions(topics.READINGS))
        first = (await cluster.offsets(topics.ALARMS, "earliest"))[partition]
        last = (await cluster.offsets(topics.ALARMS, "latest"))[partition]
        states = []
        async for records in read_records(cluster, topics.ALARMS, partition, first, last):
            for record in records:
                try:
                    alarm = messages.decode(record.value, Alarm)
                except BadInput:
                    continue  # written by somebody else
                if alarm.episode == episode:
                    states.append(alarm.state)
    if not states:
        raise BadInput(
            f"no alarm of this box opened the episode {episode!r}",
            hint="take its id from the topic alarms: <site>-<asset>-<offset>",
        )
    return partition, states[-1] == "opened"
