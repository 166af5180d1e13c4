"""What waits in the broker arrives in Kafka in batches that are worth a link's while, and what is alone at once."""

from __future__ import annotations

import json
import random
import time

from headwater.contract import topics
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.reading import walk
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from tests.edge_agent.box import Edge
from tests.services import Mqtt

MESSAGES = 30_000
LINK_SIZED = range(64 << 10, (256 << 10) + 1)


def reading(number: int) -> bytes:
    chance = random.Random(number)
    values = {name: round(chance.uniform(0, 100), 4) for name in ("flow", "current", "pressure", "vibration", "power")}
    return json.dumps({"v": 1, "t": 1_760_000_000_000 + number, "values": values}).encode()


async def sizes_of(edge: Edge) -> list[int]:
    """Compressed sizes in bytes of the batches of `readings`."""
    async with Cluster(edge.kafka, client_id="test") as cluster:
        ends = await cluster.offsets(topics.READINGS, "latest")
        return [
            len(batch.raw)
            for partition, end in ends.items()
            async for batch, is_data in walk(cluster, topics.READINGS, partition, 0, end)
            if is_data
        ]


async def test_a_backlog_makes_link_sized_batches(private_edge: Edge, mosquitto: Mqtt) -> None:
    """Most of a backlog's bytes are in batches of 64 to 256 KiB, compressed; a message alone waits for no company."""
    edge = private_edge
    edge.start()
    assert edge.bridge.stop() == 0
    async with Publisher(MqttSettings(host=mosquitto.host, port=mosquitto.port), f"load-{edge.site}") as publisher:
        for number in range(MESSAGES):
            await publisher.publish(f"{edge.site}/pump/p{number % 97}", reading(number))
        await publisher.flush()

        edge.start()
        assert len(await edge.until_records(MESSAGES)) == MESSAGES
        sizes = await sizes_of(edge)
        assert max(sizes) <= LINK_SIZED[-1]
        assert sum(size for size in sizes if size in LINK_SIZED) > 0.5 * sum(sizes), sorted(sizes)

        began = time.monotonic()
        await publisher.publish(f"{edge.site}/pump/p1", reading(MESSAGES))
        await publisher.flush()
        await edge.until_records(MESSAGES + 1)
    assert time.monotonic() - began < 3  # reading them all again takes most of it
