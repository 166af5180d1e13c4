"""Our reading of the bytes agrees with google's protobuf."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contract.errors import BadInput
from headwater.contract.sparkplug import wire
from headwater.contract.sparkplug.datatypes import CONVERT, NAMES, key
from tests.contract.sparkplug import payloads
from tests.contract.sparkplug.payloads import TYPES, Payload, metric, payload

T = 1_763_718_300_000
FIELDS = ("int_value", "long_value", "float_value", "double_value", "boolean_value")
BITS = {"Int8": 8, "Int16": 16, "Int32": 32, "Int64": 64}


def read(data: bytes) -> tuple[int | None, int | None, list[wire.Metric]]:
    frame = wire.scan(data, 1000)
    times: dict[bytes, int] = {}
    return frame.sent_ms, frame.seq, [wire.metric(data, at, end, times) for at, end in frame.spans]


def number(value: Any, kind: str) -> object:
    (found,) = read(payload(metric(value, kind, name="a", typed=True)))[2]
    assert found.datatype == TYPES[kind]
    return CONVERT[key(TYPES[kind], found.field)](found.value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kind, -(1 << bits - 1)) for kind, bits in BITS.items() if bits < 64),
        *((kind, (1 << bits - 1) - 1) for kind, bits in BITS.items() if bits < 64),
        *((kind, -1) for kind in BITS),
        ("Int64", -999_999_999_999_999),
        ("UInt8", 255), ("UInt16", 65_535), ("UInt32", 4_294_967_295), ("UInt64", 999_999_999_999_999),
        ("Float", 0.5), ("Double", -1e-9), ("DateTime", T),
    ],
)  # fmt: skip
def test_each_scalar_type_is_read(kind: str, value: float) -> None:
    """The ends of every number's range come through protobuf unchanged."""
    assert number(value, kind) == value


def test_types_have_the_numbers_of_the_specification() -> None:
    """The encoder of these tests and the decoder name the same types by the same numbers."""
    assert {NAMES[number]: number for number in range(1, 20)} == TYPES
    assert NAMES[34] == "DateTimeArray"


def test_truth_and_what_no_reading_carries() -> None:
    """Booleans are 1 and 0; NaN, infinities, huge numbers and numbers out of their type's range are missing."""
    assert (number(True, "Boolean"), number(False, "Boolean")) == (1, 0)
    assert [number(value, "Double") for value in (math.nan, math.inf, -math.inf, 2e15)] == [None] * 4
    assert (number((1 << 64) - 1, "UInt64"), number(300, "UInt8"), number(1000, "Int8")) == (None, None, None)


@pytest.mark.parametrize("sent", [0xE9, 0xFFFFFFE9])
def test_signs_of_any_width(sent: int) -> None:
    """Publishers extend the sign of an Int8 to 8 or 32 bits; -23 is read from both, and from 64."""
    assert number(sent, "Int8") == -23
    assert CONVERT[key(1, 11)]((1 << 64) - 23) == -23


def test_properties_and_flags_are_read() -> None:
    """Units and quality are found, other properties passed over."""
    sent = metric(1, "Int32", name="a", flags=("is_historical", "is_null"), properties={"engUnit": "bar", "Quality": 0})
    sent.properties.keys.append("scale")
    sent.properties.values.add(double_value=2.0)
    data = payload(sent)
    (found,) = read(data)[2]

    assert found.flags == wire.HISTORICAL | wire.NULL
    assert found.properties is not None
    assert wire.properties(data, *found.properties) == {"engUnit": "bar", "Quality": 0}


def test_the_rebirth_request_is_sparkplug() -> None:
    """Protobuf reads our request as Node Control/Rebirth, Boolean, true."""
    found = Payload.FromString(wire.rebirth_request(T))

    assert found.timestamp == T
    assert not found.HasField("seq")
    assert [(each.name, each.datatype, each.boolean_value) for each in found.metrics] == [
        ("Node Control/Rebirth", TYPES["Boolean"], True)
    ]


metrics = st.builds(
    metric,
    value=st.one_of(st.floats(width=32), st.integers(-(2**31), 2**31 - 1), st.booleans(), st.text(max_size=9)),
    kind=st.just(""),
    name=st.none() | st.text(max_size=9),
    alias=st.none() | st.integers(0, 2**64 - 1),
    t=st.none() | st.integers(0, 2**64 - 1),
    flags=st.lists(st.sampled_from(["is_historical", "is_transient", "is_null"]), unique=True).map(tuple),
)


def same(ours: tuple[int | None, int | None, list[wire.Metric]], theirs: Any) -> None:
    def said(message: Any, name: str) -> Any:
        return getattr(message, name) if message.HasField(name) else None

    assert ours[:2] == (said(theirs, "timestamp"), said(theirs, "seq"))
    assert len(ours[2]) == len(theirs.metrics)
    for mine, other in zip(ours[2], theirs.metrics, strict=True):
        assert (mine.alias, mine.timestamp) == (said(other, "alias"), said(other, "timestamp"))
        assert (mine.name, mine.datatype) == (said(other, "name"), said(other, "datatype"))
        flags = 1 * other.is_historical + 2 * other.is_transient + 4 * other.is_null
        assert mine.flags == flags
        field = other.WhichOneof("value")
        if field in FIELDS:
            expected = getattr(other, field)
            got = bool(mine.value) if field == "boolean_value" else mine.value
            assert got is not None
            if field == "int_value":
                got = int(got) & 0xFFFFFFFF
            assert got == expected or (math.isnan(got) and math.isnan(expected))


@given(st.lists(metrics, max_size=5), st.none() | st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_protobuf_and_we_read_the_same(sent: list[Any], seq: int | None) -> None:
    """Whatever is in a payload, each field is read as protobuf reads it."""
    for each in sent:
        field = each.WhichOneof("value")
        assert field is None or field in (*FIELDS, "string_value", "int_value")
    data = payload(*sent, seq=seq)

    same(read(data), Payload.FromString(data))


def test_mutated_payloads_are_read_alike_or_refused() -> None:
    """Of 5,000 mutated payloads none raises anything but BadInput, and none is read otherwise than by protobuf."""
    seed = 7
    print("seed", seed)
    draw = random.Random(seed)
    good = [
        payload(metric(1.5, "Float", alias=300, t=T), metric(-7, "Int64", alias=2, t=T + 1), seq=200),
        payload(metric(1.5, "Double", name="flow", alias=3, typed=True, t=T, properties={"engUnit": "bar"}), seq=0),
    ]
    read_alike = 0
    for _ in range(5_000):
        data = bytearray(draw.choice(good))
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)) :]
        try:
            ours = read(bytes(data))
            theirs = Payload.FromString(bytes(data))
        except (BadInput, *wire.FOREIGN, DecodeError):
            continue
        same(ours, theirs)
        read_alike += 1
    assert read_alike > 500


def test_a_payload_that_is_none_is_refused_in_words() -> None:
    """Text, groups, endless varints and cut-off fields are refused; the empty payload has no metrics."""
    for data in (b"\x12\x7fabc", b"\x08" + b"\xff" * 11, b"\x0b\x0c", b'{"v":1}', b"\x12", b"\x3d\x00"):
        with pytest.raises(BadInput, match="not a Sparkplug B payload"):
            wire.scan(data, 10)
    assert wire.scan(b"", 10).spans == []
    assert payloads.payload(t=None) == b""
