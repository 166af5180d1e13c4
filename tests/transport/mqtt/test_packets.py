"""Cutting a stream into packets: any split, all properties, hostile bytes, large payloads."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contract.errors import BadInput
from headwater.transport.mqtt.packets import (
    CONTENT_TYPE,
    DUP,
    EXPIRY,
    MOST_AT_ONCE,
    MOST_PROPERTIES_BYTES,
    QOS_1,
    RETAIN,
    UNREAD,
    USER,
    Cutter,
    Other,
    Publish,
    size_of,
)
from tests.transport.mqtt.scripted import PINGRESP, number, publish, text

MOST = 32 << 20


def packets_of(
    reads: Sequence[bytes], *, v5: bool = True, most: int = MOST, topic_aliases: int = 5
) -> list[Publish | bytes]:
    """Everything that a cutter finds in these reads."""
    cutter, found = Cutter(v5=v5, most_bytes=most, topic_aliases=topic_aliases), list[Publish | bytes]()
    for read in reads:
        cutter.feed(read)
        while (cut := cutter.cut()) is not None:
            found += [cut.data] if isinstance(cut, Other) else cut
    return found


def split(stream: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The stream in reads of these sizes, again and again."""
    reads, at = list[bytes](), 0
    while at < len(stream):
        size = sizes[len(reads) % len(sizes)]
        reads.append(stream[at : at + size])
        at += size
    return reads


TEXTS = st.binary(max_size=40)
PROPERTIES = st.lists(
    st.one_of(
        TEXTS.map(lambda value: b"\x03" + text(value)),
        st.tuples(TEXTS, TEXTS).map(lambda pair: b"\x26" + text(pair[0]) + text(pair[1])),
        st.integers(0, (1 << 32) - 1).map(lambda value: b"\x02" + value.to_bytes(4, "big")),
        st.integers(1, (1 << 28) - 1).map(lambda value: b"\x0b" + number(value)),
        st.integers(0, 1).map(lambda value: bytes([1, value])),
        TEXTS.map(lambda value: b"\x09" + text(value)),
    ),
    max_size=4,
).map(b"".join)
PUBLISHES = st.builds(
    lambda topic, payload, packet_id, flags, known, v5: (topic, payload, packet_id, flags, known, v5),
    st.binary(min_size=1, max_size=60),
    st.one_of(st.just(b""), st.binary(max_size=300)),
    st.integers(0, 65_535),
    st.sampled_from([0, DUP, RETAIN]),
    PROPERTIES,
    st.none(),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(PUBLISHES, st.just(PINGRESP)), max_size=12),
    st.lists(st.integers(1, 400), min_size=1, max_size=5),
    st.booleans(),
)
def test_any_split_gives_the_same_packets(
    made: list[tuple[bytes, bytes, int, int, bytes, None] | bytes], sizes: list[int], v5: bool
) -> None:
    """And each is what was put in."""
    stream, expected = b"", list[object]()
    for each in made:
        if isinstance(each, bytes):
            stream, expected = stream + each, [*expected, each]
            continue
        topic, payload, packet_id, flags, known, _ = each
        stream += publish(topic, payload, packet_id, flags=flags, known=known if v5 else None)
        kind = 0x30 | flags | (2 if packet_id else 0)
        expected.append((kind, topic, packet_id.to_bytes(2, "big") if packet_id else b"", payload))
    found = packets_of(split(stream, sizes), v5=v5)
    assert [each if isinstance(each, bytes) else each[:4] for each in found] == expected
    assert found == packets_of([stream], v5=v5)
    assert found == packets_of(split(stream, [1]), v5=v5)


def test_properties_are_told() -> None:
    """User properties in their order, content type and expiry; what means nothing to readers is passed over."""
    known = b"".join(
        (
            b"\x26" + text(b"unit") + text(b"bar"),
            b"\x01\x01",
            b"\x03" + text(b"application/json"),
            b"\x0b" + number(1) + b"\x0b" + number(300),  # one for each subscription that it matches
            b"\x26" + text(b"unit") + text(b"psi"),
            b"\x02" + (77).to_bytes(4, "big"),
            b"\x08" + text(b"answer/here") + b"\x09" + text(b"\0\1"),
            b"\x26" + text(b"\xff") + text(b"\xfe"),
        )
    )
    [message] = packets_of([publish(b"a/b", b"x", 7, known=known)])
    assert message == (
        QOS_1,
        b"a/b",
        b"\0\7",
        b"x",
        (
            (USER + "unit", b"bar"),
            (CONTENT_TYPE, b"application/json"),
            (USER + "unit", b"psi"),
            (EXPIRY, b"\0\0\0\x4d"),
            (USER + "\ufffd", b"\xfe"),
        ),
    )


def test_a_topic_alias_is_resolved() -> None:
    """Given once with its topic, then used without it, then given anew (MQTT 5, 3.3.2.3.4)."""
    alias = b"\x23\0\5"
    sent = [
        publish(b"a", b"1", 1, known=alias),
        publish(b"", b"2", 2, known=alias),
        publish(b"b", b"3", 3, known=alias),
    ]
    found = packets_of([b"".join(sent), publish(b"", b"4", known=alias)])
    assert [each[1] for each in found if not isinstance(each, bytes)] == [b"a", b"a", b"b", b"b"]
    with pytest.raises(BadInput, match="topic alias 5 was never given"):
        packets_of([publish(b"", b"2", 2, known=alias)])


def test_many_properties_are_passed_over_unread() -> None:
    """Beyond a bound a mark with their size stands for them, in little memory; payload, alias and stream stay whole."""
    many = b"\x26\0\1k\0\0" * 300_000
    known = b"\x23\0\5" + many
    stream = publish(b"a/b", b"x", 7, known=known) + publish(b"", b"y", 8, known=b"\x23\0\5")
    tracemalloc.start()
    first, second = packets_of([stream])
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first == (QOS_1, b"a/b", b"\0\7", b"x", ((UNREAD, len(known).to_bytes(4, "big")),))
    assert second == (QOS_1, b"a/b", b"\0\x08", b"y", ())
    assert grown < 8 << 20  # 70 MB otherwise
    assert size_of(first[4]) == len(known)


@pytest.mark.parametrize("each", [b"\x26\0\0\0\0", b"\x01\1", b"\x0b\1", b"\x09\0\0"], ids=bytes.hex)
def test_millions_of_properties_do_not_hold_the_loop(each: bytes) -> None:
    """A packet of 30 MB with nothing but the smallest: its message is told, marked as too large, at once."""
    stream = publish(b"a/b", b"x", 7, known=each * (30_000_000 // len(each)))
    began = time.process_time()
    (message,) = packets_of([stream])
    assert time.process_time() - began < 0.4  # seconds; most of it is the copy of 30 MB
    assert isinstance(message, tuple)
    assert (message[1], message[3], size_of(message[4]) > MOST_PROPERTIES_BYTES) == (b"a/b", b"x", True)


def test_an_alias_among_unread_properties_is_never_guessed() -> None:
    """All aliases are void after such a packet: an old one could be of another topic now."""
    alias, many = b"\x23\0\5", b"\x26\0\0\0\0" * 20_000
    stream = publish(b"a", b"1", 1, known=alias) + publish(b"b", b"2", 2, known=many + alias)
    assert [each[1] for each in packets_of([stream])] == [b"a", b"b"]
    with pytest.raises(BadInput, match="topic alias 5 was never given"):
        packets_of([stream, publish(b"", b"3", 3, known=alias)])
    (nameless,) = packets_of([publish(b"", b"4", 4, known=many + alias)])
    assert nameless[1] == b""  # fits no route


def test_an_alias_beyond_what_was_agreed_is_refused_in_words() -> None:
    """A broker that breaks the maximum it was told, or uses 0, is not followed (MQTT 5, 3.3.2.3.4)."""
    for alias, most, agreed in ((6, 5, "1 to 5 were"), (1, 0, "none was"), (0, 5, "1 to 5 were")):
        broken = publish(b"a", b"1", 1, known=b"\x23" + alias.to_bytes(2, "big"))
        with pytest.raises(BadInput, match=f"topic alias {alias}, where {agreed} agreed"):
            packets_of([broken], topic_aliases=most)


def test_properties_at_the_bound_are_told() -> None:
    """One byte more, and a mark stands for them."""
    value = b"v" * (MOST_PROPERTIES_BYTES - len(USER) - 1)
    (fits,) = packets_of([publish(b"t", b"x", 7, known=b"\x26" + text(b"k") + text(value))])
    assert fits[4] == ((USER + "k", value),)
    (large,) = packets_of([publish(b"t", b"x", 7, known=b"\x26" + text(b"kk") + text(value))])
    assert isinstance(large, tuple)
    assert size_of(large[4]) > MOST_PROPERTIES_BYTES
    with pytest.raises(BadInput, match="two topic aliases"):
        packets_of([publish(b"t", b"x", 7, known=b"\x23\0\5\x23\0\6")])


@pytest.mark.parametrize("payload", [b"", b"\0", b"x" * 127, b"x" * 128, b"x" * 16_384, b"x" * (1 << 21)], ids=len)
@pytest.mark.parametrize("v5", [True, False])
def test_payloads_of_all_lengths(payload: bytes, v5: bool) -> None:
    """Around each step in the number of length bytes, 0 among them."""
    stream = publish(b"t", payload, 9, known=b"" if v5 else None) + PINGRESP
    assert packets_of(split(stream, [1000, 7]), v5=v5) == [(QOS_1, b"t", b"\0\x09", payload, ()), PINGRESP]


@pytest.mark.parametrize("size", [100, 4096, 1 << 18])
def test_a_large_payload_costs_what_its_bytes_cost(size: int) -> None:
    """16 MB in small reads arrive whole, in time that grows as their number does, not as its square."""
    stream = publish(b"t", random.Random(1).randbytes(16 << 20), 9)
    reads = split(stream, [size])
    began = time.process_time()
    [found] = packets_of(reads)
    spent = time.process_time() - began
    assert isinstance(found, tuple)
    assert stream.endswith(found[3])
    assert len(found[3]) == 16 << 20
    assert spent < 2, "copying what came before at each read would take minutes"


def test_no_more_than_a_bound_are_cut_at_once() -> None:
    """So that a caller can stop in between; nothing is lost by it."""
    cutter = Cutter(v5=True, most_bytes=MOST)
    cutter.feed(b"".join(publish(b"t", b"%d" % n, n + 1) for n in range(3 * MOST_AT_ONCE // 2)))
    sizes = []
    while (found := cutter.cut()) is not None:
        sizes.append(len(found))
    assert sizes == [MOST_AT_ONCE, MOST_AT_ONCE // 2]


@pytest.mark.parametrize(
    "stream",
    [
        publish(b"t", b"x" * 2000, 1),  # above the bound of this test
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x36\x08\0\1t\0\1\0xy",  # QoS 3
        b"\x32\x03\0\1t",  # no packet id
        b"\x30\x00",
        b"\x30\x01\x00",
        b"\x30\x04\xff\xfftx",  # a topic that is longer than its packet
        b"\x30\x03\0\1t",  # no length of properties
        b"\x30\x04\0\1t\x05",  # properties behind the end
        b"\x30\x05\0\1t\x01\x7f",  # unknown property
        b"\x30\x07\0\1t\x03\x03\0\x09",  # a text that is longer than the properties
        b"\x90\xff\xff\xff\x7f",  # 256 MB of SUBACK
    ],
)
def test_what_is_no_mqtt_is_refused(stream: bytes) -> None:
    """With whatever behind it, and in whatever reads; nothing waits for more."""
    for reads in ([stream + b"\0" * 8], [stream, b"\0" * 8], split(stream + b"\0" * 8, [1])):
        with pytest.raises(BadInput):
            packets_of(reads, most=1000)


def mutations(count: int, seed: int, *, v5: bool) -> list[bytes]:
    """Streams of good packets of which some bytes were changed, put in, or left out."""
    made = random.Random(seed)
    known = b"\x26" + text(b"unit") + text(b"bar") + b"\x03" + text(b"json") if v5 else None
    alias = b"\x23\0\1" if v5 else None
    good = [
        publish(b"plant/7", b'{"v":1}', 5, known=known),
        publish(b"plant/8", b"", 6, qos=2, known=alias),
        publish(b"plant/9", b"x" * 200, known=b"" if v5 else None),
        PINGRESP,
        b"\x62\x02\0\6",
        b"\x90\x04\0\1\0\1" if v5 else b"\x90\x03\0\1\1",
        b"\x40\x02\0\1",
        b"\x20\x03\0\0\0" if v5 else b"\x20\x02\0\0",
        b"\xe0\x02\x8e\0" if v5 else PINGRESP,
    ]
    found = []
    for _ in range(count):
        stream = bytearray(b"".join(made.choices(good, k=3)))
        for _ in range(made.randint(1, 4)):
            at = made.randrange(len(stream))
            match made.randrange(4):
                case 0:
                    stream[at] = made.randrange(256)
                case 1:
                    stream[at] ^= 1 << made.randrange(8)
                case 2:
                    del stream[at : at + made.randint(1, 5)]
                case _:
                    stream[at:at] = made.randbytes(made.randint(1, 5))
            if not stream:
                stream = bytearray(b"\0")
        found.append(bytes(stream))
    return found


@pytest.mark.parametrize("v5", [True, False])
def test_ten_thousand_mutated_streams_end_in_packets_or_bad_input(v5: bool) -> None:
    """Nothing else is raised, nothing loops, and any split comes to the same."""
    refused = 0
    for stream in mutations(10_000, 7, v5=v5):
        outcomes: list[object] = []
        for reads in ([stream], split(stream, [3, 1])):
            try:
                outcomes.append(packets_of(reads, v5=v5, most=1 << 20))
            except BadInput:
                outcomes.append(None)
        assert outcomes[0] == outcomes[1]
        refused += outcomes[0] is None
    assert 500 < refused < 9_500, "the mutations are neither harmless nor all alike"
