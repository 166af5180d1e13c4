"""Packet ids come again after 65,535 messages: what is that old is no message that is open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.far import _PAGE, FAR
from edge_agent.bridge.recogniser import Mark, Recogniser, digest
from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.settings import BridgeSettings
from headwater.contract import topics
from headwater.contract.decoders.spec import DecoderSpec
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.section import Section
from headwater.transport.kafka_batch.writer import SECTION_BYTES
from headwater.transport.mqtt.packets import DUP, QOS_1, Publish
from headwater.transport.mqtt.source import Batch

IDS = 65_535
TOPIC = b"lyon/valve/v1"


def message(number: int, payload: bytes = b"ON", *, dup: bool = False) -> Publish:
    """The `number`th message of a broker that counts ids upwards; the payloads repeat byte for byte."""
    return QOS_1 | (DUP if dup else 0), TOPIC, (number % IDS + 1).to_bytes(2, "big"), payload, ()


@pytest.mark.parametrize("most", [20, 1000, 10_000])
@pytest.mark.parametrize("looked_back", [False, True])
def test_what_is_too_old_is_not_believed(most: int, looked_back: bool) -> None:
    """A new message that equals the one 65,535 before it is new, whatever is remembered; a near one is recognised."""
    recogniser = Recogniser("me", 1, most)
    first = 0
    if looked_back:
        first = 60_000
        last = Mark(1, first, "me@1", message(first - 1)[2], digest(TOPIC, b"ON"), 0, 1)
        recogniser.learn([last])
        for number in range(first - FAR, first):
            recogniser.far.log(message(number)[2], number + 1, digest(TOPIC, b"ON"))
    for number in range(first, 2 * IDS):
        recogniser.remember(message(number), number)
        recogniser.forget(number, number + 1)
        if number % 1999 == 0 and number > first:
            repeated = message(number + 400, dup=True)  # was on its way when the connection broke; `number` - 65,135
            assert recogniser.find(repeated) is None, number
            assert recogniser.find(message(max(first, number - 30_000), dup=True)), number


class Kafka:
    """Has everything at once."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def push(self, topic: str, partition: int, section: Section, done: Callable[[int | HeadwaterError], None]) -> None:
        assert section.size <= SECTION_BYTES
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


def bridge(kafka: Kafka, most: int = 1000) -> Bridge:
    """One with a route whose decoder filters empty arrays."""
    route = RouteSettings(decoder=DecoderSpec(kind="json"))
    counts = {topics.READINGS: 1, topics.DEAD_LETTERS: 1}
    settings = BridgeSettings(routes=(route,))
    recogniser = Recogniser("me", 1, most)
    return Bridge(Source(), kafka, recogniser, settings, site="lyon", partitions=counts, receive_maximum=most)


async def test_filtered_messages_use_ids_too() -> None:
    """One reading, 65,534 messages without any, then a new reading equal to the first that was cut off: both count."""
    kafka = Kafka()
    made = bridge(kafka)
    reading = b'{"v":1,"t":1763718300000,"values":{"flow":1}}'
    made.take(Batch(1, True, []))
    made.take(Batch(1, True, [message(0, reading)]))
    for first in range(1, IDS, 500):
        made.take(Batch(1, True, [message(number, b"[]") for number in range(first, min(IDS, first + 500))]))
    made.take(Batch(2, True, []))
    made.take(Batch(2, True, [message(IDS, reading, dup=True)]))
    made.outlet.hold(0)  # it may wait for company
    made.outlet.flush()

    assert kafka.written.count(topics.READINGS) == 2
    assert made.counts.filtered == IDS - 1
    assert made.counts.balanced


async def test_properties_that_are_too_large_leave_a_dead_letter() -> None:
    """Names of user properties count like their values: the message is refused, and what comes behind it arrives."""
    kafka = Kafka()
    made = bridge(kafka)
    large = tuple((f"user:{n}" + "n" * 60_000, b"") for n in range(20))
    made.take(Batch(1, True, []))
    made.take(Batch(1, True, [(QOS_1, TOPIC, b"\0\1", b"{}", large)]))
    made.take(Batch(1, True, [message(5, b'{"v":1,"t":1763718300000,"values":{"flow":1}}')]))

    assert kafka.written == [topics.DEAD_LETTERS, topics.READINGS]


def test_a_message_that_is_whole_is_not_finished() -> None:
    """Three of three records are there: a table that would make five of the message now writes none of them."""
    recogniser = Recogniser("me", 1, 1000)
    one = message(0, b"[1,2,3]")
    content = digest(TOPIC, one[3])
    recogniser.learn([Mark(1, 1, "me@1", one[2], content, part, 3) for part in range(3)])
    again = message(0, b"[1,2,3]", dup=True)
    assert (entry := recogniser.find(again)) is not None
    assert not recogniser.is_partial(again[2], entry)

    recogniser = Recogniser("me", 1, 1000)
    recogniser.learn([Mark(1, 1, "me@1", one[2], content, part, 3) for part in (0, 2)])
    assert (entry := recogniser.find(again)) is not None
    assert recogniser.is_partial(again[2], entry)
    assert recogniser.missing(again[2], 3) == [1]


@pytest.mark.parametrize("most", [20, 5000, 10_000])
def test_a_long_log_is_known_for_as_long_as_it_is_believed(most: int) -> None:
    """What a life learnt from a log that goes back further than is believed: the old is let go, the rest is known."""
    recogniser = Recogniser("me", 1, most)
    last = 120_000
    marks = [
        Mark(1, number + 1, "me@1", message(number)[2], digest(TOPIC, b"ON"), 0, 1)
        for number in range(last - IDS, last)
    ]
    recogniser.learn(marks)
    for number in range(last, last + FAR):
        recogniser.remember(message(number), number)
        recogniser.forget(number, number + 1)
        if number % 1999 == 0:
            for back in (1, 30_000, FAR - _PAGE - 1):
                assert recogniser.find(message(number - back, dup=True)), (number, back)
            assert recogniser.find(message(number + 1, dup=True)) is None, number  # as the one 65,535 before


def test_few_ids_grow_no_older_than_is_believed() -> None:
    """A broker that takes the lowest free id, and then sends ahead: nothing breaks, and what is open is recognised."""
    recogniser = Recogniser("me", 1, 5000)
    for number in range(3 * FAR):
        recogniser.remember(message(number % 3, b"%d" % number), number)
        recogniser.forget(number, number + 1)
    for number in range(3 * FAR, 3 * FAR + 12_000):
        recogniser.remember(message(number % 12_000, b"%d" % number), number)
        recogniser.forget(number, number + 1)
        assert recogniser.find(message(number % 12_000, b"%d" % number, dup=True))
