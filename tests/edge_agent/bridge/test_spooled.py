"""With the spool this box's disk answers MQTT, and each message is in Kafka once, whatever is killed or away."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.bridge.live import ask
from headwater.contract import headers
from headwater.contract.errors import Unreachable
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


HOLDS = """
import asyncio
from edge_agent.bridge.spooled_drain import Drainer
async def nothing(self):
    await asyncio.Event().wait()
Drainer.run = nothing
"""


async def test_what_a_former_spool_holds_is_counted_when_it_leaves(edge: Edge, mosquitto: Mqtt) -> None:
    """With ack_after = kafka again it is written first: as resumed and written, with a line in the log."""
    edge.environment.update(SPOOL)
    edge.bridge.before = HOLDS
    state = edge.ready_file.parent
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto) as load:
        await asyncio.to_thread(wait_for, lambda: load.sent > 300, edge.bridge.log)
        sent = await load.finish()
    await asyncio.to_thread(wait_for, lambda: ask(state).counts["received"] == sent, edge.bridge.log)
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    edge.environment["HEADWATER_EDGE__BRIDGE__ACK_AFTER"] = "kafka"
    edge.bridge.before = ""
    await asyncio.to_thread(edge.start)

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    now = ask(state)
    assert (now.counts["resumed"], now.counts["written"], now.unaccounted) == (sent, sent, 0)
    assert not (state / "spool").exists()
    assert "the spool was emptied into Kafka and removed" in edge.bridge.log()


async def seen_without_kafka(edge: Edge, waiting: int) -> None:
    """A life that begins while Kafka is away tells what waits in the spool, at most, and can be stopped."""
    state = edge.ready_file.parent
    edge.bridge.start()
    await asyncio.to_thread(wait_for, lambda: is_there(state), edge.bridge.log)
    spool = ask(state).spool
    assert spool is not None
    assert spool.is_bound
    assert spool.records >= waiting
    assert f"up to {spool.records:,} messages" in await asyncio.to_thread(said, edge, "top")
    assert f"up to {spool.records:,} messages" in await asyncio.to_thread(said, edge, "doctor")
    assert await asyncio.to_thread(edge.bridge.stop) == 0


def is_there(state: Path) -> bool:
    try:
        return ask(state).spool is not None
    except Unreachable:
        return False


def said(edge: Edge, command: str) -> str:
    """What a command prints."""
    words = ["edge", "top", "--once"] if command == "top" else ["doctor", "edge"]
    done = subprocess.run(
        [sys.executable, "-m", "headwater", *words],
        env=os.environ | edge.environment,
        capture_output=True,
        text=True,
        check=False,  # doctor ends with 5 while Kafka is away
        timeout=60,
    )
    return " ".join(done.stdout.split())


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
    await seen_without_kafka(edge, first["waiting"])
    await asyncio.to_thread(private_kafka.start)
    await asyncio.to_thread(edge.start)

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    assert edge.bridge.stop() == 0
    second = stopped(edge)[1]
    assert second["received"] == second["waiting"] == 0
    assert second["resumed"] == second["written"] >= first["waiting"] - 2000
    assert first["balanced"]
    assert second["balanced"]
