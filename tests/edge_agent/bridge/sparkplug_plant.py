"""An edge node on a real broker, and the site that hears it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from headwater.contract import headers, topics
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.kafka_batch.records import Record
from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.settings import MqttSettings
from tests.contract.sparkplug.plant import PUMP, Sent
from tests.contract.sparkplug.plant import Edge as EdgeNode
from tests.edge_agent.box import ALL, Edge, wait_for
from tests.services import Mqtt


class Plant(Listener):
    """An edge node on the broker, and what it hears."""

    def __init__(self, edge: Edge, broker: Mqtt) -> None:
        self.node = EdgeNode(f"{edge.site}/line-1", now=time.time_ns() // 1_000_000)
        self.heard: list[Publish] = []
        self._edge = edge
        self._broker = broker

    async def connect(self) -> None:
        settings = MqttSettings(host=self._broker.host, port=self._broker.port)
        self.connection = await Connection.open(settings, f"plant-{self._edge.site}", self, clean=True)
        await self.connection.subscribe([f"spBv1.0/{self._edge.site}/NCMD/#", f"spBv1.0/STATE/{self._edge.site}"])

    def received(self, messages: list[Publish]) -> None:
        self.heard += messages
        self.connection.send(b"".join(b"\x40\x02" + message[2] for message in messages if message[2]))

    def send(self, *messages: Sent, qos: int = 0) -> None:
        for topic, payload, _ in messages:
            self.connection.publish(topic, payload, qos=qos)

    def commands(self) -> list[Publish]:
        return [message for message in self.heard if b"/NCMD/" in message[1]]

    def states(self) -> list[bool]:
        return [json.loads(message[3])["online"] for message in self.heard if b"/STATE/" in message[1]]

    async def records(self, topic: str = topics.READINGS) -> list[Record]:
        """Those of this plant, in the order of each partition."""
        mine = f"spBv1.0/{self._edge.site}/".encode(), f'"{self._edge.site}/line-1"'.encode()
        async with Cluster(self._edge.kafka, client_id="test") as cluster:
            tails = [await read_tail(cluster, topic, n, ALL) for n in range(await cluster.partitions(topic))]
        return [
            record
            for tail in tails
            for record in tail
            if (headers.find(record.headers, headers.MQTT_TOPIC) or b"").startswith(mine[0])
            or mine[1] in (record.value or b"")
            or (record.key or b"").startswith(f"{self._edge.site}/".encode())
        ]

    async def until(self, count: int, topic: str = topics.READINGS, within_s: float = 20.0) -> list[Record]:
        """The records once there are at least `count`."""
        end = time.monotonic() + within_s
        while len(found := await self.records(topic)) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} in {topic}:\n{self._edge.bridge.log()[-4000:]}"
            await asyncio.sleep(0.05)
        return found

    async def flows(self, asset: str = PUMP, at_least: int = 0) -> list[float]:
        """Values of `flow` of one asset."""
        found = await self.until(at_least)
        return [json.loads(r.value or b"")["values"]["flow"] for r in found if r.key == asset.encode()]


async def until(condition: Callable[[], object], edge: Edge, within_s: float = 10.0) -> None:
    await asyncio.to_thread(wait_for, condition, edge.bridge.log, within_s)


def said(edge: Edge, event: str) -> dict[str, Any]:
    """The last line of the log with this event."""
    return [line for line in map(json.loads, edge.bridge.log().splitlines()) if line["event"] == event][-1]


def route(edge: Edge, **decoder: object) -> None:
    """The Sparkplug route of this test's group, and the usual one."""
    ours = {
        "match": f"spBv1.0/{edge.site}/#",
        "asset_class": "pump",
        "decoder": {"kind": "sparkplug-b", "reorder_ms": 500, **decoder},
    }
    edge.environment["HEADWATER_EDGE__BRIDGE__ROUTES"] = json.dumps([ours, {}])
