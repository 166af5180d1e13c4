"""What a running bridge tells of its Sparkplug host: metrics, and `headwater doctor`."""

from __future__ import annotations

import asyncio

from edge_agent.bridge.live import SparkplugView, ask
from headwater.app.doctor.bridge import check_bridge
from headwater.contract.topics import sparkplug_topics
from headwater.transport.kafka import ensure_topics
from tests.contract.sparkplug.plant import Edge as EdgeNode
from tests.edge_agent.box import Edge, free_port
from tests.edge_agent.bridge.sparkplug_plant import Plant, route, until
from tests.edge_agent.bridge.test_telling import scrape
from tests.services import Mqtt


async def test_births_gaps_and_requests_are_in_the_metrics(edge: Edge, mosquitto: Mqtt) -> None:
    """A message that was lost, the birth that was asked for, and an edge node that was never born, by name."""
    ensure_topics(edge.kafka, sparkplug_topics())
    route(edge)
    port = free_port()
    edge.environment["HEADWATER_EDGE__METRICS_PORT"] = str(port)
    await asyncio.to_thread(edge.start)
    plant = Plant(edge, mosquitto)
    await plant.connect()
    unborn = EdgeNode(f"{edge.site}/line-2", now=plant.node.now)
    unborn.births()

    def told() -> SparkplugView:
        found = ask(edge.ready_file.parent).sparkplug
        assert found is not None
        return found

    plant.send(*plant.node.births(), qos=1)
    plant.node.data()  # lost
    plant.send(plant.node.data(flow=7.0), unborn.data(), qos=1)
    await until(lambda: (told().gapped, told().unborn) == (1, 1), edge)
    shown = await asyncio.to_thread(scrape, port)
    births, *_ = [
        each
        for each in await asyncio.to_thread(check_bridge, "edge.bridge", edge.ready_file.parent)
        if each.check == "edge.bridge sparkplug births"
    ]
    await plant.connection.close()

    expected = {
        "sparkplug_edge_nodes": 2,
        "sparkplug_edge_nodes_online": 1,
        "sparkplug_edge_nodes_unborn": 1,
        "sparkplug_edge_nodes_gapped": 1,
        "sparkplug_devices": 2,
        "sparkplug_held": 0,
        'sparkplug_events{event="births"}': 1,
        'sparkplug_events{event="gaps"}': 1,
        'sparkplug_events{event="rebirths-asked"}': 2,
        'sparkplug_refused{reason="not-born"}': 1,
    }
    assert {name: shown.get(name) for name in expected} == expected
    assert f"{edge.site}/line-2" in births.says
