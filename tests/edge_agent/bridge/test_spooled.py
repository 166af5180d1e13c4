"""With the spool this box's disk answers MQTT, and each message is in Kafka once, whatever is killed or away."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from headwater.contract import headers
from tests.edge_agent.box import Edge, wait_for
from tests.edge_agent.bridge.load import NOTHING_WRONG, Load, fate
from tests.proxy import Proxy
from tests.services import Broker, Mqtt

SEED = 20261121
SPOOL = {"HEADWATER_EDGE__BRIDGE__ACK_AFTER": "spool", "HEADWATER_EDGE__BRIDGE__SPOOL__BYTES": str(16 << 20)}


def stopped(edge: Edge) -> list[dict[str, Any]]:
    """What the lives that ended in order have counted."""
    said = [json.loads(line) for line in edge.bridge.log().splitlines() if line.startswith("{")]
    return [line for line in said if line["event"] == "bridge stopped"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_kills_lose_and_repeat_nothing(edge: Edge, mosquitto: Mqtt, protocol: str) -> None:
    """SIGKILLs at random instants, also while it is starting: nothing lost, written twice, or out of order."""
    chance = random.Random(SEED)
    edge.environment.update(SPOOL, HEADWATER_EDGE__MQTT__PROTOCOL=protocol)
    async with Proxy((mosquitto.host, mosquitto.port)) as road:
        road.delay_s = 0.03
        edge.environment["HEADWATER_EDGE__MQTT__PORT"] = str(road.port)
        await asyncio.to_thread(edge.start)
        async with Load(edge.site, mosquitto) as load:
            for kill in range(4 if protocol == "5" else 2):
                await asyncio.sleep(chance.uniform(0.3, 0.8))
                edge.bridge.kill()
                if kill % 2:
                    edge.bridge.start()
                    await asyncio.sleep(chance.uniform(0.2, 1.0))
                    edge.bridge.kill()
                await asyncio.to_thread(edge.start)
            sent = await load.finish()
        records = await edge.until_records(sent)
        assert edge.bridge.stop() == 0

    assert fate(await edge.records(), sent) == NOTHING_WRONG
    assert len({headers.find(record.headers, headers.SPOOL) for record in records}) == sent
    (last,) = stopped(edge)
    assert last["balanced"]
    assert last["waiting"] == 0


async def test_kafka_may_be_away_for_long(private_edge: Edge, private_kafka: Broker, mosquitto: Mqtt) -> None:
    """While Kafka is away MQTT is drained into the spool; a life that is killed then leaves what waits to the next."""
    edge = private_edge
    edge.environment.update(SPOOL)
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto) as load:
        await edge.until_records(300)
        await asyncio.to_thread(private_kafka.kill)
        before = load.sent
        await asyncio.to_thread(wait_for, lambda: load.sent > before + 3000, edge.bridge.log)
        sent = await load.finish()
        await asyncio.sleep(0.5)
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    (first,) = stopped(edge)
    assert first["received"] == sent
    assert first["waiting"] > 2000
    await asyncio.to_thread(private_kafka.start)
    await asyncio.to_thread(edge.start)

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    assert edge.bridge.stop() == 0
    second = stopped(edge)[1]
    assert second["received"] == second["waiting"] == 0
    assert second["resumed"] == second["written"] >= first["waiting"] - 2000
    assert first["balanced"]
    assert second["balanced"]
