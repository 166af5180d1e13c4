"""One working decoder of each format with a payload that it reads, and schemas to build others of."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

import cbor2
import fastavro
from google.protobuf import descriptor_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from headwater.contract import reading
from headwater.contract.decoders import Decoded, Decoder, DecoderSpec, make

T = 1763718300000
RECEIVED = 1763718300250
TOPIC = "lyon/pump/pump-3/flow"

TREE = {
    "ts": T,
    "machine": {"id": "pump-3", "tags": ["a", {"level": 2}]},
    "data": {"flow": 31.2, "current": 1, "running": True, "note": "fine", "bearing": {"x": [0.25, -0.5]}},
}
AVRO: dict[str, Any] = {
    "type": "record",
    "name": "plant.Sample",
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "machine", "type": "string"},
        {"name": "flow", "type": ["null", "double"]},
        {"name": "running", "type": "boolean"},
        {"name": "more", "type": {"type": "map", "values": "float"}},
        {"name": "wave", "type": {"type": "array", "items": "int"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
    ],
}


def decode(spec: dict[str, Any], payload: bytes, schemas: dict[str, bytes] | None = None) -> list[Decoded]:
    """What a decoder of this spec makes of a payload."""
    return list(make(DecoderSpec.of(spec), schemas or {}).decode(TOPIC, payload, RECEIVED))


def values(decoded: Decoded) -> dict[str, float | None]:
    """The channels of a reading, as the scorer sees them."""
    return reading.decode(decoded.value).values


def avro(schema: Any, value: Any) -> bytes:
    """An Avro value in binary."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def _field(name: str, number: int, kind: Field.Type.ValueType, of: str = "", many: bool = False) -> Field:
    label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
    return Field(name=name, number=number, type=kind, label=label, type_name=of or None)


def proto_file() -> descriptor_pb2.FileDescriptorProto:
    """plant.proto: a Batch of Samples, with a map, a time, an optional field and a message that contains itself."""
    file = descriptor_pb2.FileDescriptorProto(name="plant.proto", package="plant", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    sample = file.message_type.add(name="Sample")
    sample.field.append(_field("at", 1, Field.TYPE_MESSAGE, ".google.protobuf.Timestamp"))
    sample.field.append(_field("flow", 2, Field.TYPE_DOUBLE))
    sample.field.append(_field("running", 3, Field.TYPE_BOOL))
    sample.field.append(_field("more", 4, Field.TYPE_MESSAGE, ".plant.Sample.MoreEntry", many=True))
    maybe = _field("maybe", 5, Field.TYPE_SINT32)
    maybe.proto3_optional, maybe.oneof_index = True, 0
    sample.field.append(maybe)
    sample.oneof_decl.add(name="_maybe")
    entry = sample.nested_type.add(name="MoreEntry")
    entry.options.map_entry = True
    entry.field.append(_field("key", 1, Field.TYPE_STRING))
    entry.field.append(_field("value", 2, Field.TYPE_FLOAT))
    batch = file.message_type.add(name="Batch")
    batch.field.append(_field("machine", 1, Field.TYPE_STRING))
    batch.field.append(_field("samples", 2, Field.TYPE_MESSAGE, ".plant.Sample", many=True))
    batch.field.append(_field("wave", 3, Field.TYPE_INT32, many=True))
    batch.field.append(_field("inner", 4, Field.TYPE_MESSAGE, ".plant.Batch"))
    return file


DESCRIPTORS = descriptor_pb2.FileDescriptorSet(file=[proto_file()]).SerializeToString()


def proto_message(name: str) -> Any:
    """A new message of plant.proto."""
    pool = DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb))
    pool.Add(proto_file())
    return GetMessageClass(pool.FindMessageTypeByName(name))()


def batch() -> bytes:
    """A Batch of two Samples."""
    made = proto_message("plant.Batch")
    made.machine = "pump-3"
    made.wave.extend([3, -4])
    for number in range(2):
        sample = made.samples.add(flow=31.5 + number, running=number == 1, maybe=-7 * number or None)
        sample.at.seconds, sample.at.nanos = T // 1000 + number, 250_000_000
        sample.more["heat"] = 0.5
    data: bytes = made.SerializeToString()
    return data


class Example(NamedTuple):
    """A decoder and a payload that it reads."""

    name: str
    spec: dict[str, Any]
    payload: bytes
    schemas: Mapping[str, bytes] = MappingProxyType({})

    def decoder(self) -> Decoder:
        """The decoder of the spec."""
        return make(DecoderSpec.of(self.spec), self.schemas)


_SAMPLE = {
    "ts": T, "machine": "pump-3", "flow": 1.5, "running": True, "more": {"heat": 0.5}, "wave": [1, 2], "price": "3.25",
}  # fmt: skip
AVRO_SAMPLE = {**_SAMPLE, "price": Decimal("3.25")}
_PATHS = {"time": "ts", "asset": "machine.id"}
_OURS = reading.encode(T, {"flow": 31.2, "current": None})

EXAMPLES = [
    Example("raw", {"kind": "raw"}, b"anything"),
    Example("reading", {"kind": "json"}, _OURS),
    Example("readings", {"kind": "json"}, b"[" + _OURS + b" , " + _OURS + b"]"),
    Example("json", {"kind": "json", **_PATHS, "below": "data"}, json.dumps(TREE).encode()),
    Example(
        "json samples",
        {"kind": "json", "samples": "s", "time": "$.t", "values": {"a": "x[0]", "b": "y"}},
        json.dumps({"t": T, "s": [{"x": [1, 2], "y": "3.5"}, {"x": [4]}]}).encode(),
    ),
    Example("scalar", {"kind": "scalar"}, b"-31.25e1"),
    Example("binary scalar", {"kind": "scalar", "encoding": "f32"}, struct.pack("<f", 1.5)),
    Example("csv", {"kind": "csv", "header": True, "time": "t"}, b't,flow,"cur,rent"\r\n1,2.5,"3"\r\n2,,nan\r\n'),
    Example("cbor", {"kind": "cbor", **_PATHS, "below": "data"}, cbor2.dumps(TREE)),
    Example(
        "avro",
        {"kind": "avro", "schema_name": "s", "time": "ts", "asset": "machine"},
        avro(AVRO, AVRO_SAMPLE),
        {"s": json.dumps(AVRO).encode()},
    ),
    Example(
        "framed avro",
        {"kind": "avro", "framing": "confluent", "time": "ts", "values": {"flow": "flow"}},
        b"\0\0\0\0\x07" + avro(AVRO, AVRO_SAMPLE),
        {"7": json.dumps(AVRO).encode()},
    ),
    Example(
        "protobuf",
        {"kind": "protobuf", "schema_name": "s", "message": "plant.Batch", "samples": "samples", "time": "at",
         "asset": "$.machine"},
        batch(),
        {"s": DESCRIPTORS},
    ),
]  # fmt: skip
