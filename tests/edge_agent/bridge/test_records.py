"""What is too large for a record is refused in words."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.records import too_large
from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.settings import BridgeSettings
from headwater.contract import topics
from headwater.contract.decoders.spec import DecoderSpec
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.section import Section
from headwater.transport.kafka_batch.writer import SECTION_BYTES
from headwater.transport.mqtt.packets import MOST_PROPERTIES_BYTES, QOS_1, UNREAD, USER, Properties, Publish
from headwater.transport.mqtt.source import Batch


def test_properties_that_were_not_unpacked_are_too_large() -> None:
    """With the bytes that they have, beside the digest of the payload; properties within the bound are fine."""
    why = too_large(b"x", ((UNREAD, (30_000_000).to_bytes(4, "big")),))
    assert why.startswith("1 bytes and 30000000 of properties, SHA-256 ")

    within = (USER + "k", b"v" * (MOST_PROPERTIES_BYTES - len(USER) - 1))
    assert too_large(b"x", (within,)) == ""
    assert too_large(b"x", (within, (USER, b"")))


class Kafka:
    """Has everything at once; refuses what a real writer refuses."""

    def __init__(self) -> None:
        self.bytes = 0
        self.written: list[str] = []

    def push(self, topic: str, partition: int, section: Section, done: Callable[[int | HeadwaterError], None]) -> None:
        assert section.size <= SECTION_BYTES
        self.bytes += section.size
        self.written += [topic] * section.count
        done(0)


class Source:
    """Takes acknowledgements and forgets them."""

    def acknowledge(self, count: int, epoch: int) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def relay(self, take: Callable[[Batch], None]) -> None: ...
    async def read(self) -> Batch:
        raise NotImplementedError


def bridge(kafka: Kafka, route: RouteSettings, batch_bytes: int = 512 << 10) -> Bridge:
    settings = BridgeSettings(routes=(route,), batch_bytes=batch_bytes)
    counts = {"raw": 1, topics.READINGS: 1, topics.DEAD_LETTERS: 1}
    made = Bridge(
        Source(), kafka, Recogniser("me", 1, 100), settings, site="lyon", partitions=counts, receive_maximum=100
    )
    made.take(Batch(1, True, []))
    return made


def message(number: int, topic: bytes, payload: bytes, properties: Properties = ()) -> Publish:
    return QOS_1, topic, number.to_bytes(2, "big"), payload, properties


async def test_words_of_a_topic_cannot_make_a_record_too_large() -> None:
    """Where key and headers are made of them: a dead letter, and what comes behind it is written."""
    kafka = Kafka()
    headers = {"a": "{tag}", "b": "{area}/{tag}"}
    made = bridge(
        kafka, RouteSettings(match="{site}/{area}/{tag}", to="raw", key="{tag}", asset_class="", headers=headers)
    )
    many = tuple((f"{USER}{n:05}", b"") for n in range(6000))
    made.take(Batch(1, True, [message(1, b"lyon/x/" + b"t" * 65_400, bytes(700 << 10), many)]))
    made.take(Batch(1, True, [message(2, b"lyon/x/" + b"t" * 3000, b"small")]))
    made.take(Batch(1, True, [message(3, b"lyon/x/t", b"small")]))

    assert kafka.written == [topics.DEAD_LETTERS, topics.DEAD_LETTERS, "raw"]
    assert made.counts.balanced


async def test_large_headers_do_not_make_a_batch_too_large() -> None:
    """Many small payloads under long topics, with the largest batch_bytes: the headers count."""
    kafka = Kafka()
    made = bridge(
        kafka, RouteSettings(match="{site}/{area}/{tag}", to="raw", key="{site}", asset_class=""), batch_bytes=900 << 10
    )
    made.take(Batch(1, True, [message(n, b"lyon/x/%05d" % n + b"t" * 65_000, bytes(200)) for n in range(1, 100)]))

    assert kafka.written == ["raw"] * 99


@pytest.mark.parametrize("properties", [((USER + "k", b"v" * 60_000),), tuple((USER, b"") for _ in range(10_000))])
async def test_properties_are_not_repeated_without_bound(properties: Properties) -> None:
    """Each of a message's records has its properties: 10,000 samples with 60 KB of them each are refused at once."""
    kafka = Kafka()
    decoder = DecoderSpec(kind="json", samples="", below="")
    made = bridge(kafka, RouteSettings(decoder=decoder))
    samples = b"[" + b",".join([b'{"a":1}'] * 10_000) + b"]"
    began = time.process_time()
    made.take(Batch(1, True, [message(1, b"lyon/pump/p1", samples, properties)]))

    assert kafka.written == [topics.DEAD_LETTERS]
    assert kafka.bytes < 1 << 20
    assert time.process_time() - began < 2
