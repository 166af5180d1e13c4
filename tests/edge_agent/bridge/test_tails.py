"""What a start reads of the log: as far back as a redelivery can reach, and no further."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.tails import learn
from headwater.contract import headers
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, Writer
from tests.transport.kafka_batch.conftest import make_topic, now_ms

MOST = 40


def record(sequence: int) -> Out:
    content = (
        (headers.SESSION, b"me@1"),
        (headers.PACKET_ID, headers.number(sequence)),
        (headers.SEQUENCE, headers.number(sequence)),
        (headers.MQTT_TOPIC, b"lyon/pump/p1"),
    )
    return Out(b"p1", b"%d" % sequence, content, now_ms())


@pytest.mark.parametrize("others", [0, 150])
async def test_a_short_log_beside_a_long_one_is_read_once(kafka: str, unique: str, others: int) -> None:
    """Sequences over one partition with few records and one with many: a start ends, and knows the last 4 R."""
    async with Cluster(KafkaSettings(brokers=kafka), client_id="tests") as cluster:
        await make_topic(cluster, unique, 2)
        writer = await Writer.open(cluster, f"bridge-{unique}", {unique: range(2)})
        async with writer:
            last = 400
            await writer.write(unique, 1, [record(n) for n in range(1, last) if n % 100])
            await writer.write(unique, 0, [record(n) for n in range(last - 10, last + 1) if not n % 2])
            if others:
                await writer.write(unique, 1, [Out(b"x", b"x", (), now_ms()) for _ in range(others)])
        ends = {(unique, p): end for p, end in (await cluster.offsets(unique, "latest")).items()}
        recogniser = Recogniser("me", 1, MOST)
        async with asyncio.timeout(20):
            await learn(cluster, ends, recogniser, MOST, whole=False)
        assert recogniser.sequence == last
        assert not recogniser.buried
        for sequence in range(last - 4 * MOST + 1, last + 1):
            if sequence % 100:
                assert sequence.to_bytes(2, "big") in recogniser.young
