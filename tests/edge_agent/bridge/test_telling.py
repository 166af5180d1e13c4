"""What a running bridge tells: `headwater edge top`, and its metrics."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest

from edge_agent.bridge.live import SOCKET, ask
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from tests.edge_agent.box import Edge, free_port, wait_for
from tests.edge_agent.bridge.load import Load
from tests.edge_agent.test_edge import headwater
from tests.services import Broker, Mqtt

SETTLED = ("written", "recognised", "dead_lettered", "filtered", "dropped")
ASIDE = {"match": "{site}/fan/{asset}", "asset_class": "fan"}


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    rows = (line.rpartition(" ") for line in lines if line.startswith("headwater_bridge_"))
    return {name.removeprefix("headwater_bridge_").replace("_total", ""): float(value) for name, _, value in rows}


@pytest.mark.parametrize(("ack_after", "routes"), [("kafka", [{}]), ("kafka", [ASIDE, {}]), ("spool", [ASIDE, {}])])
async def test_a_bridge_shows_what_it_does(
    edge: Edge, mosquitto: Mqtt, ack_after: str, routes: list[dict[str, str]]
) -> None:
    """Counts by route with the last refusal, the broker, the spool; without a bridge, a sentence and exit status 5."""
    edge.environment["HEADWATER_EDGE__BRIDGE__ROUTES"] = json.dumps(routes)
    edge.environment["HEADWATER_EDGE__BRIDGE__ACK_AFTER"] = ack_after
    assert "no bridge answers" in await asyncio.to_thread(headwater, edge, "top", code=5)
    await asyncio.to_thread(edge.start)
    sent = [f"{edge.site}/pump/p1"] * 30 + [f"{edge.site}/fan/f1"] * 20 + [f"{edge.site}/pump/P 1"] * 3 + [edge.site]
    async with Publisher(MqttSettings(port=mosquitto.port), f"pub-{edge.site}") as publisher:
        for topic in sent:
            await publisher.publish(topic, b"1")
        await publisher.flush()
    state = edge.ready_file.parent
    await asyncio.to_thread(wait_for, lambda: sum(ask(state).counts[name] for name in SETTLED) == 54, edge.bridge.log)

    seen = json.loads(await asyncio.to_thread(headwater, edge, "top", "--json"))
    shown = await asyncio.to_thread(headwater, edge, "top", "--once")

    assert (seen["site"], seen["connected"], seen["running"]) == (edge.site, True, True)
    assert (seen["unaccounted"], seen["unacknowledged"], seen["held_bytes"]) == (0, 0, 0)
    assert seen["counts"]["dead_lettered"] == 4
    received = {route["match"]: (route["received"], route["refused"]) for route in seen["routes"]}
    usual, aside = f"{edge.site}/{{class}}/{{asset}}", f"{edge.site}/fan/{{asset}}"
    assert received == (
        {usual: (33, 3), aside: (20, 0), "": (1, 1)} if len(routes) > 1 else {usual: (53, 3), "": (1, 1)}
    )
    errors = {route["match"]: route["last_error"] for route in seen["routes"]}
    assert errors[usual].startswith("bad-name: ")
    assert errors[""].startswith("topic-not-routed: ")
    assert (seen["spool"] is None) == (ack_after == "kafka")
    assert "NOT CONNECTED" not in shown
    assert "STARTING" not in shown
    assert edge.bridge.stop() == 0
    assert not (state / SOCKET).exists()


@pytest.mark.parametrize("ack_after", ["kafka", "spool"])
async def test_one_scrape_is_one_moment(edge: Edge, mosquitto: Mqtt, ack_after: str) -> None:
    """Under load each scrape adds up: received and resumed are what is settled and what waits."""
    port = free_port()
    edge.environment["HEADWATER_EDGE__BRIDGE__ACK_AFTER"] = ack_after
    edge.environment["HEADWATER_EDGE__METRICS_PORT"] = str(port)
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto, rate=3000) as load:
        for _ in range(30):
            now = await asyncio.to_thread(scrape, port)
            assert now["received"] + now["resumed"] == sum(now[name] for name in SETTLED) + now["waiting"]
            assert now["unaccounted"] == 0
            await asyncio.sleep(0.03)
        sent = await load.finish()
    await edge.until_records(sent)

    await asyncio.to_thread(wait_for, lambda: scrape(port)["written"] == sent, edge.bridge.log)
    now = scrape(port)
    assert now[f'route_received{{route="{edge.site}/{{class}}/{{asset}}"}}'] == sent
    assert (now["connected"], now["waiting"]) == (1, 0)


async def test_a_bridge_that_waits_says_for_what(private_edge: Edge, private_kafka: Broker) -> None:
    """While Kafka is away at the start it answers already: it is starting, and its last error names Kafka."""
    await asyncio.to_thread(private_kafka.kill)
    private_edge.bridge.start()
    state = private_edge.ready_file.parent
    await asyncio.to_thread(wait_for, (state / SOCKET).exists, private_edge.bridge.log)
    await asyncio.to_thread(wait_for, lambda: ask(state).last_error, private_edge.bridge.log)

    now = ask(state)

    assert (now.running, now.connected) == (False, False)
    assert private_kafka.bootstrap in now.last_error
    assert "STARTING" in await asyncio.to_thread(headwater, private_edge, "top")
