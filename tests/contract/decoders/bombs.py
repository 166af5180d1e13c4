"""Payloads of at most 256 KiB that are made to cost far more than that."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from headwater.contract.decoders import Decoder, DecoderSpec, make
from headwater.contract.reading import MAX_PAYLOAD_BYTES
from tests.contract.decoders.examples import DESCRIPTORS

MOST = MAX_PAYLOAD_BYTES
Bomb = tuple[str, Decoder, bytes]


def of(spec: dict[str, Any], schemas: dict[str, bytes] | None = None) -> Decoder:
    """A decoder of a spec."""
    return make(DecoderSpec.of(spec), schemas or {})


def varint(value: int) -> bytes:
    """A zigzag varint, as Avro has it."""
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def bombs() -> Iterator[Bomb]:
    """Name, decoder and payload of each; none is so long that its length alone would refuse it."""
    for bomb in (*_json(), *_text(), *_cbor(), *_avro(), *_protobuf()):
        assert len(bomb[2]) <= MOST, bomb[0]
        yield bomb


def _dump(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def _json() -> Iterator[Bomb]:
    for name, decoder in (("reading", of({"kind": "json"})), ("json", of({"kind": "json", "missing": "null"}))):
        yield f"{name} brackets", decoder, b"[" * MOST
        yield f"{name} braces", decoder, b'{"a":' * (MOST // 5)
        yield f"{name} digits", decoder, b'{"t":1,"values":{"a":' + b"9" * (MOST - 30) + b"}}"
        yield f"{name} fraction", decoder, b'{"t":1,"values":{"a":0.' + b"1" * (MOST - 30) + b"}}"
        yield f"{name} exponent", decoder, b'{"t":1,"values":{"a":1e' + b"9" * (MOST - 30) + b"}}"
        yield f"{name} integers", decoder, b"[" + b",".join([b"9" * 4000] * 65) + b"]"
        yield f"{name} empty lists", decoder, b"[" + b"[]," * (MOST // 3 - 2) + b"[]]"
        yield f"{name} one key", decoder, b'{"' + b"k" * (MOST - 10) + b'":1}'
        yield (
            f"{name} keys",
            decoder,
            _dump({"t": 1, "values": dict.fromkeys(map(str, range(25_000)), 1)}),
        )
    below_long = {"t": 1, "k" * 150_000: dict.fromkeys(map(str, range(9900)), 1)}
    yield "json many below one long key", of({"kind": "json", "time": "t"}), _dump(below_long)
    levels: Any = dict.fromkeys(map(str, range(9900)), 1)
    for _ in range(30):
        levels = {"k" * 33: levels}
    yield "json many below long names", of({"kind": "json", "missing": "null"}), _dump(levels)
    times = of({"kind": "json", "samples": "s", "below": "$.b"})
    yield "json rows times columns", times, _dump({"s": [0] * 9999, "b": list(range(40_000))})
    texts = of({"kind": "json", "samples": "s", "below": "$.b"})
    yield "json rows times texts", texts, _dump({"s": [0] * 9999, "b": ["x"] * 40_000})
    yield from _shared()
    moment = of({"kind": "json", "time": "t", "time_unit": "s"})
    yield "json digits for a time", moment, b'{"a":1,"t":"' + b"9" * (MOST - 20) + b'"}'
    yield "json exponent for a time", moment, b'{"a":1,"t":1e308}'


def _shared() -> Iterator[Bomb]:
    """What every sample takes from the whole message."""
    spec = {"kind": "json", "samples": "s", "below": "$.b", "missing": "omit"}
    rows = [0] * 9999
    yield "json shared texts", of(spec), _dump({"s": rows, "b": [1] + ["x"] * 40_000})
    yield "json shared nothing", of(spec), _dump({"s": rows, "b": [1] + [None] * 40_000})
    yield "json shared long key", of(spec), _dump({"s": rows, "b": {"k" * 200_000: "x", "a": 1}})
    channel = of({"kind": "json", "samples": "s", "values": {"a": "$.b", "b": "c"}, "missing": "null"})
    yield "json shared blanks", channel, _dump({"s": rows, "b": " " * 200_000})
    moment = of({**spec, "time": "$.t", "time_unit": "iso8601"})
    yield "json shared time", moment, _dump({"s": rows, "b": [1], "t": " " * 200_000 + "2026-01-01T00:00:00"})


def _text() -> Iterator[Bomb]:
    yield "scalar digits", of({"kind": "scalar"}), b"9" * MOST
    yield "scalar blanks", of({"kind": "scalar"}), b" " * MOST
    yield "csv separators", of({"kind": "csv", "header": True}), b"," * MOST
    yield "csv quotes", of({"kind": "csv", "columns": ["a"]}), b'"' * MOST
    yield "csv line ends", of({"kind": "csv", "columns": ["a"]}), b"\n" * MOST
    wide = b",".join(b"%d" % i for i in range(4000))
    yield "csv wide", of({"kind": "csv", "header": True}), wide + b"\n" + (b"," * 3999 + b"\n") * 60


def _cbor() -> Iterator[Bomb]:
    decoder = of({"kind": "cbor"})
    long_key = b"\xa1\x7a\x00\x02\x49\xf0" + b"k" * 150_000
    yield (
        "cbor many below one long key",
        decoder,
        long_key + b"\xb9\x26\xac" + b"".join(b"\x64%04d\x01" % each for each in range(9900)),
    )
    for name, head in (("array", b"\x9b"), ("map", b"\xbb"), ("bytes", b"\x5b"), ("text", b"\x7b")):
        for length in (2**31, 2**62, 2**64 - 1):
            yield f"cbor {name} of {length}", decoder, head + length.to_bytes(8, "big") + bytes(1000)
    yield "cbor arrays", decoder, b"\x81" * MOST
    yield "cbor endless arrays", decoder, b"\x9f" * MOST
    yield "cbor tags", decoder, b"\xd8\x64" * (MOST // 2)
    yield "cbor cycle", decoder, b"\xd8\x1c\x82\x01\xd8\x1d\x00"
    shared = b"\x82" + b"\xd8\x1c\x82\x00\x00" + b"".join(b"\xd8\x1c\x82\xd8\x1d" + bytes([i]) * 2 for i in range(20))
    yield "cbor shared references", decoder, shared
    yield "cbor big number", decoder, b"\xc2\x5a\x00\x03\xf0\x00" + b"\x7f" * 0x3F000
    yield "cbor decimal", decoder, b"\xa1\x61a\xc4\x82\x1b\x7f" + b"\xff" * 7 + b"\x01"
    yield "cbor small decimal", decoder, b"\xa1\x61a\xc4\x82\x3b\x00\x0d" + b"\xff" * 6 + b"\x01"
    yield "cbor big float", decoder, b"\xa1\x61a\xc5\x82\x1b\x7f" + b"\xff" * 7 + b"\x01"
    yield "cbor pattern", decoder, b"\xd8\x23\x78\x40" + b"(" * 64
    yield "cbor keys that collide", decoder, _colliding_keys()
    yield "cbor empty arrays", decoder, b"\x9a\x00\x03\xf0\x00" + b"\x80" * 0x3F000


def _colliding_keys() -> bytes:
    """A map with keys [a, b] of one hash: CPython's tuple hash is xxHash without a secret, so b can be solved for."""
    first, second, fifth, mask = 11400714785074694791, 14029467366897019727, 2870177450012600261, 2**64 - 1

    def lane(accumulator: int, value: int) -> int:
        accumulator = (accumulator + value * second) & mask
        return ((accumulator << 31 | accumulator >> 33) & mask) * first & mask

    wanted, keys, a = 0x1234567, list[bytes](), 0
    before = wanted * pow(first, -1, 2**64) & mask
    before = (before >> 31 | before << 33) & mask
    while len(keys) < 12_000:
        a += 1
        b = (before - lane(fifth, a)) * pow(second, -1, 2**64) & mask
        if b < 2**61 - 1:
            keys.append(b"\x82\x1a" + struct.pack(">I", a) + b"\x1b" + struct.pack(">Q", b) + b"\x00")
    return b"\xb9" + struct.pack(">H", len(keys)) + b"".join(keys)


def _avro() -> Iterator[Bomb]:
    def decoder(schema: Any) -> Decoder:
        return of({"kind": "avro", "schema_name": "s"}, {"s": json.dumps(schema).encode()})

    numbers, texts = decoder({"type": "array", "items": "double"}), decoder({"type": "array", "items": "string"})
    for count in (2**31, 2**62, -(2**62)):
        yield f"avro array of {count}", numbers, varint(count) + bytes(MOST - 20)
        yield f"avro text of {count}", decoder("string"), varint(count) + bytes(1000)
        yield f"avro bytes of {count}", decoder("bytes"), varint(count) + bytes(1000)
        yield f"avro map of {count}", decoder({"type": "map", "values": "null"}), varint(count) + bytes(MOST - 20)
    yield "avro empty texts", texts, varint(260_000) + bytes(MOST - 20)
    yield "avro blocks", numbers, b"\x02" + bytes(8) + b"\x02" * 200
    maybe = [{"name": f"f{i}", "type": ["null", "double"]} for i in range(100)]
    rows = decoder({"type": "array", "items": {"type": "record", "name": "r", "fields": maybe}})
    yield "avro empty rows", rows, varint(2600) + bytes(MOST - 20)
    decimal = decoder({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2})
    yield "avro decimal", decimal, varint(MOST - 10) + b"\x7f" * (MOST - 10)
    yield "avro time", decoder({"type": "long", "logicalType": "timestamp-micros"}), varint(2**62)
    yield "avro varint", decoder("long"), b"\xff" * MOST


def _protobuf() -> Iterator[Bomb]:
    spec = {"kind": "protobuf", "schema_name": "s", "message": "plant.Batch"}
    decoder, rows = of(spec, {"s": DESCRIPTORS}), of({**spec, "samples": "samples"}, {"s": DESCRIPTORS})
    yield "protobuf groups", decoder, b"\x23" * MOST
    deep = b""
    while len(deep) < 100_000:
        size, head = len(deep), b""
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        deep = b"\x22" + head + bytes([size]) + deep
    yield "protobuf nested", decoder, deep
    yield "protobuf empty messages", decoder, b"\x12\x00" * (MOST // 2)
    yield "protobuf empty samples", rows, b"\x12\x00" * 9999
    yield "protobuf empty map entries", decoder, b"\x12\xfe\xff\x07" + b"\x22\x00" * 65_535
    yield "protobuf packed", decoder, b"\x1a\xf0\xff\x0f" + bytes(0x3FFF0)
    yield "protobuf length", decoder, b"\x0a\xff\xff\xff\xff\x07" + bytes(1000)
    yield "protobuf unknown", decoder, b"\x98\x06\x01" * (MOST // 3)
