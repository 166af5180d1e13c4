"""`cbor`, `msgpack`, `avro` and `protobuf` by paths."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from google.protobuf import descriptor_pb2

from headwater.contract.decoders import DecoderSpec, SchemaUnknown, make
from headwater.contract.errors import BadInput, BadSetting
from tests.contract.decoders.examples import (
    AVRO,
    AVRO_SAMPLE,
    DESCRIPTORS,
    TOPIC,
    TREE,
    T,
    avro,
    batch,
    decode,
    values,
)

PROTO = {"kind": "protobuf", "schema_name": "s", "message": "plant.Batch"}


def reason(spec: dict[str, Any], payload: bytes, schemas: dict[str, bytes] | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        decode(spec, payload, schemas)
    return caught.value.reason


def test_cbor_reads_as_json_does() -> None:
    """The same paths on the same tree give the same reading as the decoder json."""
    for options in ({"below": "data", "asset": "machine.id"}, {"values": {"x": "data.bearing.x[-1]", "y": "data.no"}}):
        spec = {"kind": "cbor", "time": "ts", **options}

        assert decode(spec, cbor2.dumps(TREE)) == decode({**spec, "kind": "json"}, json.dumps(TREE).encode())


def test_cbor_times_decimals_and_half_floats_are_understood() -> None:
    """Tags 0, 1 and 4; numbers that are not finite are null, other tags are what they enclose."""
    payload = cbor2.dumps({
        "t": dt.datetime.fromtimestamp(T / 1000, dt.UTC),
        "dec": Decimal("273.15"), "nan": float("nan"), "inf": float("inf"), "big": 2**70,
        "tagged": cbor2.CBORTag(4711, 5),
        "half": 0.5,
    }, canonical=True)  # fmt: skip
    one = decode({"kind": "cbor", "time": "t"}, payload)[0]

    assert one.timestamp_ms == T
    assert values(one) | {"big": None} == {
        "big": None, "dec": 273.15, "nan": None, "inf": None, "tagged": 5, "half": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"\x01\x02", b"\xa1\x01\x02", b"\xa1\x80\x02", b"\x81" * 40, b"\xc2\x41a"],
)
def test_what_is_not_cbor_with_text_for_keys_is_refused(payload: bytes) -> None:
    """Also what goes on after its end, and what is nested too deep."""
    assert reason({"kind": "cbor"}, payload) in ("bad-payload", "no-values")


def avro_spec(**options: Any) -> dict[str, Any]:
    return {"kind": "avro", "schema_name": "s", **options}


def test_avro_is_read_by_its_schema() -> None:
    """Records, unions, maps, arrays, and the logical types of times and decimals."""
    one = decode(avro_spec(time="ts", asset="machine"), avro(AVRO, AVRO_SAMPLE), {"s": json.dumps(AVRO).encode()})[0]

    assert (one.asset, one.timestamp_ms) == ("pump-3", T)
    assert values(one) == {
        "flow": 1.5, "running": 1, "more.heat": 0.5, "wave[0]": 1, "wave[1]": 2, "price": 3.25,
    }  # fmt: skip


def test_a_registrys_schema_is_asked_for_by_its_id() -> None:
    """The error names the id; the same decoder reads the message once the schema is among the schemas."""
    schemas: dict[str, bytes] = {}
    decoder = make(DecoderSpec(kind="avro", framing="confluent", time="ts", values={"flow": "flow"}), schemas)
    payload = b"\0\0\0\x01\x02" + avro(AVRO, AVRO_SAMPLE)

    with pytest.raises(SchemaUnknown) as caught:
        decoder.decode(TOPIC, payload, 1)
    assert (caught.value.schema_id, caught.value.reason) == (258, "schema-unknown")
    schemas["258"] = json.dumps(AVRO).encode()
    assert values(decoder.decode(TOPIC, payload, 1)[0]) == {"flow": 1.5}


def test_a_registrys_schema_that_cannot_be_used_refuses_its_messages_only() -> None:
    """The process goes on with the schemas that can."""
    schemas = {"1": b'"double"', "2": b'{"type":"array","items":"null"}', "3": b"{"}
    spec = {"kind": "avro", "framing": "confluent", "values": {"a": ""}}

    assert values(decode(spec, b"\0\0\0\0\x01" + avro("double", 2.5), schemas)[0]) == {"a": 2.5}
    assert reason(spec, b"\0\0\0\0\x02" + b"\x02\0", schemas) == "bad-payload"
    assert reason(spec, b"\0\0\0\0\x03" + b"\x02\0", schemas) == "bad-payload"
    assert reason(spec, b"\1\0\0\0\x01" + b"\x02\0", schemas) == "bad-payload"


def _bomb(depth: int) -> Any:
    """Each record has the next one twice: 2^depth fields of a schema of `depth` types."""
    schema: Any = "double"
    for level in range(depth):
        fields = [{"name": "a", "type": schema}]
        if level:
            fields.append({"name": "b", "type": f"r{level - 1}"})
        schema = {"type": "record", "name": f"r{level}", "fields": fields}
    return schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "record", "name": "n", "fields": [{"name": "next", "type": ["null", "n"]}]}, "contains itself"),
        ({"type": "record", "name": "a.n", "fields": [{"name": "x", "type": ["n"]}]}, "itself"),
        ({"type": "array", "items": "null"}, "take no bytes"),
        ({"type": "array", "items": {"type": "record", "name": "e", "fields": []}}, "take no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "f", "size": 0}}, "take no bytes"),
        (_bomb(30), "more than"),
        ({"type": "array", "items": "unheard-of"}, "no type"),
        ({"type": "record", "name": "n"}, "without fields"),
        ({"type": "record", "fields": []}, "without a name"),
        ({"type": "enum", "name": "e"}, "cannot be used"),
        (7, "where a type should be"),
        ("{", "is not JSON"),
    ],
)  # fmt: skip
def test_schemas_that_do_not_bound_a_payload_are_refused_at_once(schema: Any, words: str) -> None:
    """A schema that contains itself would end the process by a payload of 256 KiB; others would fill its memory."""
    text = b"{" if schema == "{" else json.dumps(schema).encode()
    with pytest.raises(BadSetting, match=words):
        make(DecoderSpec.of(avro_spec()), {"s": text})


@pytest.mark.parametrize(
    "payload", [b"\0", avro(AVRO, AVRO_SAMPLE)[:-1], avro(AVRO, AVRO_SAMPLE) + b"\0", b"\xff" * 99]
)
def test_what_does_not_fit_the_avro_schema_is_refused(payload: bytes) -> None:
    """Too short, too long, out of range."""
    assert reason(avro_spec(), payload, {"s": json.dumps(AVRO).encode()}) == "bad-payload"


def test_a_refusal_of_avro_names_no_object_of_ours() -> None:
    """Equal payloads are refused in equal words: no address in memory is among them."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}]}
    with pytest.raises(BadInput) as caught:
        decode({"kind": "avro", "schema_name": "s"}, b"\0", {"s": json.dumps(schema).encode()})
    assert str(caught.value) == "not Avro of its schema: it ends before its value does (cannot read double)"


def test_protobuf_is_read_by_its_descriptor() -> None:
    """Repeated fields, times, maps, defaults of fields without presence; absent optional ones are missing."""
    spec = {**PROTO, "samples": "samples", "time": "at", "asset": "$.machine"}
    made = decode(spec, batch(), {"s": DESCRIPTORS})

    assert [(one.asset, one.timestamp_ms) for one in made] == [("pump-3", T + 250), ("pump-3", T + 1250)]
    assert [values(one) for one in made] == [
        {"flow": 31.5, "running": 0, "more.heat": 0.5},
        {"flow": 32.5, "running": 1, "more.heat": 0.5, "maybe": -7},
    ]


def test_protobuf_fields_can_be_named_one_by_one() -> None:
    """Through arrays, maps and messages inside."""
    paths = {"wave": "wave[-1]", "heat": "samples[0].more.heat", "cold": "samples[0].more.cold", "in": "inner.wave[0]"}

    one = decode({**PROTO, "values": paths}, batch(), {"s": DESCRIPTORS})[0]

    assert values(one) == {"wave": -4, "heat": 0.5, "cold": None, "in": None}


def test_a_frame_before_protobuf_is_taken_off() -> None:
    """Zero, schema id, and the indexes of the message: one byte for the first of its file, or a list."""
    spec = {**PROTO, "framing": "confluent", "values": {"wave": "wave[0]"}}

    for indexes in (b"\0", b"\x04\x02\x00"):
        one = decode(spec, b"\0\0\0\0\x07" + indexes + batch(), {"s": DESCRIPTORS})[0]
        assert values(one) == {"wave": 3}
    assert reason(spec, b"\0\0\0\0\x07\xff\xff\xff\xff\xff\xff", {"s": DESCRIPTORS}) == "bad-payload"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"message": "plant.Bach"}, "did you mean plant.Batch?"),
        ({"schema_name": "t"}, "there are s"),
        ({"values": {"a": "wav"}}, "did you mean wave?"),
        ({"values": {"a": "samples.flow"}}, "write [0] before flow"),
        ({"values": {"a": "machine.x"}}, ""),
        ({"values": {"a": "machine[0]"}}, ""),
        ({"samples": "sample"}, "did you mean samples?"),
        ({"samples": "samples", "time": "flw"}, "did you mean flow?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_before_any_message(change: dict[str, Any], hint: str) -> None:
    """Messages and fields are known from the descriptor."""
    with pytest.raises(BadSetting) as caught:
        make(DecoderSpec.of({**PROTO, **change}), {"s": DESCRIPTORS})
    assert caught.value.hint == hint


def test_a_schema_that_is_no_whole_descriptor_set_is_refused() -> None:
    """With the command that makes one."""
    alone = descriptor_pb2.FileDescriptorProto(name="a.proto", dependency=["b.proto"])
    for text in (b"\xff", descriptor_pb2.FileDescriptorSet(file=[alone]).SerializeToString()):
        with pytest.raises(BadSetting) as caught:
            make(DecoderSpec.of(PROTO), {"s": text})
        assert "--include_imports" in caught.value.hint


@pytest.mark.parametrize("payload", [b"\xff", batch()[:-1], b"\x0a\xff\xff\xff\xff\x07", b"\x0a\x02\xff\xff"])
def test_what_is_not_the_protobuf_message_is_refused(payload: bytes) -> None:
    """Truncated, with lengths beyond the end, with text that is not UTF-8."""
    assert reason(PROTO, payload, {"s": DESCRIPTORS}) == "bad-payload"


def test_protobuf_messages_inside_of_each_other_are_bounded() -> None:
    """By levels, and by the fields that empty elements would stand for."""
    deep = b""
    for _ in range(40):
        deep = b"\x22" + bytes([len(deep)]) + deep
    assert reason(PROTO, deep, {"s": DESCRIPTORS}) == "bad-payload"
    assert reason(PROTO, b"\x12\x00" * 131_000, {"s": DESCRIPTORS}) == "too-large"
