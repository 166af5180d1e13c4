"""Routes to other Kafka topics: made by setup, named when they are missing, and refused when they cannot work."""

from __future__ import annotations

import asyncio
import json

from headwater.contract import headers, topics
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from tests.edge_agent.box import Edge, Process, wait_for
from tests.services import Mqtt


def route_to(edge: Edge, topic: str, **more: object) -> None:
    """One more route: everything below `events`, in front of the usual one."""
    routes = [{"match": "{site}/events/{line}", "to": topic, "key": "{line}", "asset_class": "", **more}, {}]
    edge.environment["HEADWATER_EDGE__BRIDGE__ROUTES"] = json.dumps(routes)


async def test_a_route_writes_to_the_topic_that_setup_made(edge: Edge, mosquitto: Mqtt) -> None:
    """While its topic is missing the bridge names it and the command; once setup has made it, it goes on."""
    route_to(edge, edge.site)
    edge.bridge.start()
    said = f"the Kafka topic {edge.site} does not exist: `headwater edge setup` creates it"
    await asyncio.to_thread(wait_for, lambda: said in edge.bridge.log(), edge.bridge.log)

    setup = Process(edge.folder, edge.environment, "setup")
    setup.start()
    await asyncio.to_thread(wait_for, setup.ended, setup.log)

    assert setup.stop() == 0
    async with Cluster(edge.kafka, client_id="test") as cluster:
        assert await cluster.partitions(edge.site) == await cluster.partitions(topics.READINGS)
    await asyncio.to_thread(wait_for, edge.ready_file.exists, edge.bridge.log)
    async with Publisher(MqttSettings(port=mosquitto.port), f"pub-{edge.site}") as publisher:
        await publisher.publish(f"{edge.site}/events/7", b"jam")
        await publisher.publish(f"{edge.site}/pump/p1", b"x")
        await publisher.flush()
    (event,) = await edge.until_records(1, edge.site)
    assert (event.key, event.value) == (b"7", b"jam")
    assert headers.find(event.headers, headers.CLASS) is None
    assert len(await edge.until_records(1)) == 1


def test_a_decoder_that_is_not_installed_is_named(edge: Edge) -> None:
    """The process ends with 2 and says what to install, before it waits for any service."""
    edge.environment["HEADWATER_EDGE__KAFKA__BROKERS"] = "127.0.0.1:1"
    edge.bridge.before = "sys.modules['cbor2'] = None"
    route_to(edge, "events", decoder={"kind": "cbor"})
    edge.bridge.start()

    wait_for(edge.bridge.ended, edge.bridge.log)

    assert edge.bridge.stop() == 2
    assert "the decoder cbor needs the Python package cbor2, which is not installed" in edge.bridge.log()
    assert "pip install 'headwater[decoders]'" in edge.bridge.log()
