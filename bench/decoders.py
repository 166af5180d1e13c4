"""`python -m bench.decoders`: samples a second of one core, by format.

A row more is a `Row` more in `rows()`: a figure, messages, what decodes one, and what all of them must become.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cbor2
import fastavro
import typer
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from bench.figures import as_json as to_json
from bench.figures import console, figures_table, median_figure, table
from headwater.contract import reading
from headwater.contract.decoders import DecoderSpec, make
from headwater.contract.errors import Defect
from headwater.contract.sparkplug import Host, Options

MESSAGES = 1000  # distinct ones of each row, so that no cache of ours or the processor's flatters
LINES = 10  # samples of a message where a message has several
TOPIC = "lyon/pump/pump-3/flow"
T, RECEIVED = 1763718300000, 1763718300250
CHANNELS = (
    "accelerometer1",
    "accelerometer2",
    "current",
    "pressure",
    "temperature",
    "thermocouple",
    "voltage",
    "flow_rate",
)
JSON_GOAL = 300_000
SPARKPLUG_GOAL = 100_000

Sample = tuple[int, dict[str, float]]


class Row(NamedTuple):
    """One thing to measure.

    `decode` takes a message and returns a sequence with an element a sample; `expected`: times in ms and channels of
    all samples in order, or None where nothing is read; `read` turns an element into those.
    """

    figure: str
    title: str
    goal: float | None
    messages: Sequence[bytes]
    decode: Callable[[bytes], Sequence[Any]]
    expected: Sequence[Sample] | None
    read: Callable[[Any], Sample] = lambda decoded: _sample(decoded.value)
    counted: int = 1  # what the figure counts in one sample: 1, or its channels


def _sample(value: bytes) -> Sample:
    found = reading.decode(value)
    return found.t, {name: value for name, value in found.values.items() if value is not None}


def _samples(seed: int, count: int) -> list[Sample]:
    rng = random.Random(seed)
    return [(T + i * 1000, {name: round(rng.gauss(40, 9), 4) for name in CHANNELS}) for i in range(count)]


def _decoding(spec: dict[str, Any], schemas: dict[str, bytes] | None = None) -> Callable[[bytes], Sequence[Any]]:
    decoder = make(DecoderSpec.of(spec), schemas or {})
    return lambda message: decoder.decode(TOPIC, message, RECEIVED)


def rows(seed: int) -> list[Row]:
    """Everything that is measured."""
    return [*_json_rows(seed), *_text_rows(seed), *_binary_rows(seed), _sparkplug_row(seed)]


def _json_rows(seed: int) -> list[Row]:
    samples = _samples(seed, MESSAGES)
    many = _samples(seed, MESSAGES * LINES)
    ours = [reading.encode(t, values) for t, values in samples]
    groups = [many[i : i + LINES] for i in range(0, len(many), LINES)]
    arrays = [b"[" + b",".join(reading.encode(t, values) for t, values in group) + b"]" for group in groups]
    theirs = [json.dumps({"ts": t, "id": "pump-3", "data": v}, separators=(",", ":")).encode() for t, v in samples]
    named = {"time": "ts", "asset": "id", "values": {name: f"data.{name}" for name in CHANNELS}}
    lists = [
        json.dumps({"id": "pump-3", "s": [{"ts": t, **v} for t, v in group]}, separators=(",", ":")).encode()
        for group in groups
    ]
    size = sum(map(len, ours)) // len(ours)
    return [
        Row("decoders.raw_messages_per_s", "raw", None, ours, _decoding({}), samples),
        Row("decoders.json_readings_per_s", f"json: our reading of {size} bytes, checked", JSON_GOAL, ours,
            _decoding({"kind": "json"}), samples),
        Row("decoders.json_array_readings_per_s", f"json: array of {LINES} of them", None, arrays,
            _decoding({"kind": "json"}), many),
        Row("decoders.json_paths_per_s", "json: 8 paths, written anew", None, theirs,
            _decoding({"kind": "json", **named}), samples),
        Row("decoders.json_below_per_s", "json: all numbers below a path", None, theirs,
            _decoding({"kind": "json", "time": "ts", "below": "data"}), samples),
        Row("decoders.json_samples_per_s", f"json: array of {LINES} inside, below", None, lists,
            _decoding({"kind": "json", "samples": "s", "time": "ts"}), many),
    ]  # fmt: skip


def _text_rows(seed: int) -> list[Row]:
    many = _samples(seed, MESSAGES * LINES)
    scalars = [(RECEIVED, {"flow": values["flow_rate"]}) for _, values in many[:MESSAGES]]
    lines = [",".join(map(str, (t, *values.values()))) for t, values in many]
    pages = ["\n".join(lines[i : i + LINES]).encode() for i in range(0, len(lines), LINES)]
    columns = {"columns": ["t", *CHANNELS], "time": "t"}
    return [
        Row("decoders.scalar_per_s", "scalar: text", None, [str(v["flow"]).encode() for _, v in scalars],
            _decoding({"kind": "scalar"}), scalars),
        Row("decoders.csv_lines_per_s", f"csv: {LINES} lines of 9 columns", None, pages,
            _decoding({"kind": "csv", **columns}), many),
    ]  # fmt: skip


def _binary_rows(seed: int) -> list[Row]:
    samples = _samples(seed, MESSAGES)
    trees = [cbor2.dumps({"ts": t, "data": values}) for t, values in samples]
    fields = [{"name": "ts", "type": "long"}, *({"name": name, "type": "double"} for name in CHANNELS)]
    schema = {"type": "record", "name": "Sample", "fields": fields}
    text = {"1": json.dumps(schema).encode()}
    message, descriptors = _protobuf()
    return [
        Row("decoders.cbor_per_s", "cbor: all numbers below a path", None, trees,
            _decoding({"kind": "cbor", "time": "ts", "below": "data"}), samples),
        Row("decoders.avro_per_s", "avro: framed by a registry's id", None,
            [b"\0\0\0\0\x01" + _avro(schema, {"ts": t, **values}) for t, values in samples],
            _decoding({"kind": "avro", "framing": "confluent", "time": "ts"}, text), samples),
        Row("decoders.protobuf_per_s", "protobuf: by descriptor", None,
            [message(ts=t, **values).SerializeToString() for t, values in samples],
            _decoding({"kind": "protobuf", "schema_name": "s", "message": "Sample", "time": "ts"}, {"s": descriptors}),
            samples),
    ]  # fmt: skip


def _sparkplug_row(seed: int) -> Row:
    """DDATA of all channels by alias. Four times round the sequence numbers, so that a pass follows on a pass."""
    samples = _samples(seed, 4 * 256)
    host = Host(Options(role="active", asset_class="pump"))
    node = varint_fields((1, T), (3, 0))
    metrics = [
        bytes_field(2, bytes_field(1, name.encode()) + varint_fields((2, 100 + n), (4, 10)))
        for n, name in enumerate(CHANNELS)
    ]
    for topic, birth in (("NBIRTH/line-1", node), ("DBIRTH/line-1/pump-3", b"".join(metrics) + varint_fields((3, 1)))):
        host.take(0, f"spBv1.0/lyon/{topic}", birth, RECEIVED)

    def message(seq: int, t: int, values: dict[str, float]) -> bytes:
        parts = [
            bytes_field(2, varint_fields((2, 100 + n), (3, t)) + b"\x69" + struct.pack("<d", value))
            for n, value in enumerate(values.values())
        ]
        return varint_fields((1, t)) + b"".join(parts) + varint_fields((3, seq))

    def decode(payload: bytes) -> Sequence[Any]:
        return host.take(0, "spBv1.0/lyon/DDATA/line-1/pump-3", payload, RECEIVED).settled[0].result

    messages = [message((n + 2) % 256, t, values) for n, (t, values) in enumerate(samples)]
    title = f"sparkplug-b: {len(CHANNELS)} metrics by alias, a metric"
    return Row(
        "decoders.sparkplug_metrics_per_s", title, SPARKPLUG_GOAL, messages, decode, samples, counted=len(CHANNELS)
    )


def varint_fields(*fields: tuple[int, int]) -> bytes:
    """Fields of protobuf's wire type 0 (https://protobuf.dev/programming-guides/encoding/)."""
    out = bytearray()
    for number, given in fields:
        out.append(number << 3)
        value = given
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def bytes_field(number: int, content: bytes) -> bytes:
    """A field of wire type 2, of at most 127 bytes."""
    return bytes((number << 3 | 2, len(content))) + content


def _avro(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def _protobuf() -> tuple[Any, bytes]:
    """A message class with a time and the channels, and its FileDescriptorSet."""
    file = descriptor_pb2.FileDescriptorProto(name="sample.proto", syntax="proto3")
    sample = file.message_type.add(name="Sample")
    field = descriptor_pb2.FieldDescriptorProto
    sample.field.add(name="ts", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    for number, name in enumerate(CHANNELS, start=2):
        sample.field.add(name=name, number=number, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL)
    pool = DescriptorPool()
    pool.Add(file)
    found = GetMessageClass(pool.FindMessageTypeByName("Sample"))
    return found, descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def check(row: Row) -> int:
    """Samples of one pass over the messages; Defect unless they are what was put in."""
    made = [element for message in row.messages for element in row.decode(message)]
    if row.expected is not None and [row.read(element) for element in made] != list(row.expected):
        raise Defect(f"{row.title}: the samples are not those that were put in")
    return len(made)


def rate(row: Row, samples: int, seconds: float) -> float:
    """Samples a CPU second, over passes for at least `seconds`; Defect if one was missing."""
    decode, messages, count, passes = row.decode, row.messages, 0, 0
    began = time.process_time()
    while True:
        for message in messages:
            count += len(decode(message))
        passes += 1
        spent = time.process_time() - began
        if spent >= seconds:
            break
    if count != passes * samples:
        raise Defect(f"{row.title}: {count} samples of {passes * samples}")
    return count / spent


def main(
    quick: bool = typer.Option(False, "--quick", help="Shorter runs, a quarter of a minute."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
    runs: int = typer.Option(3, min=1, help="Runs of each format, alternating."),
    seed: int = typer.Option(1, help="Seed of the values."),
) -> None:
    """Decode 1,000 distinct messages of 8 channels over and over, on one thread; rates are a second of CPU.

    Example:  python -m bench.decoders --quick
    """
    found = rows(seed)
    counts = [check(row) for row in found]
    rates: list[list[float]] = [[] for _ in found]
    for _ in range(runs):
        for row, count, measured in zip(found, counts, rates, strict=True):
            measured.append(round(row.counted * rate(row, count, 0.2 if quick else 1.0)))
    figures = [
        median_figure(row.figure, measured, "1/s", row.goal, better="higher", note=row.title)
        for row, measured in zip(found, rates, strict=True)
    ]
    out = console(as_json=as_json)
    cells = [
        [
            row.title,
            f"{sum(map(len, row.messages)) / count / row.counted:,.0f}",
            f"{1e6 / figure.value:.2f}" if figure.value else "",
        ]
        for row, count, figure in zip(found, counts, figures, strict=True)
    ]
    out.print(table(f"{MESSAGES:,} messages, {runs} runs", ("decoder", "bytes a sample", "CPU µs a sample"), cells))
    out.print(figures_table(figures))
    out.print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if as_json:
        typer.echo(to_json(figures, seed))


if __name__ == "__main__":
    typer.run(main)
