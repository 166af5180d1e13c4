"""From the payload of an MQTT message to readings: what a decoder is, and how one is made of its spec."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from headwater.contract.decoders.spec import DecoderSpec
from headwater.contract.errors import BadSetting
from headwater.contract.headers import Headers


class Decoded(NamedTuple):
    """One reading of a message.

    `value`: the bytes to write, a reading in the JSON of contract/reading.py (unless the decoder is `raw`).
    `asset`: as the payload names it; None: the route's key template decides.
    `timestamp_ms`: the sensor's time; None when the payload has none.
    """

    value: bytes
    asset: str | None = None
    timestamp_ms: int | None = None
    headers: Headers = ()


class Decoder(Protocol):
    """Reads payloads. Whatever the bytes, it raises nothing but BadInput, with a `reason` (reasons.py) and a hint."""

    def decode(self, topic: str, payload: bytes, received_ms: int) -> Sequence[Decoded]:
        """The readings in a message received at `received_ms` (Unix time); none: it is filtered, nothing to write.

        BadInput: it cannot be read. SchemaUnknown: it can be once the schema that it names is among the schemas.
        """
        ...


Build = Callable[[DecoderSpec, Mapping[str, bytes]], Decoder]

# Imported when a route asks for it: the codec libraries are an extra, and an edge loads what it needs.
MODULES: dict[str, str] = {
    "raw": "raw",
    "json": "json_text",
    "scalar": "scalar",
    "csv": "csv_lines",
    "cbor": "cbor",
    "protobuf": "protobuf",
    "avro": "avro",
    "sparkplug-b": "sparkplug_b",
}


def make(spec: DecoderSpec, schemas: Mapping[str, bytes] = {}) -> Decoder:  # never written to
    """The decoder of a spec. `schemas`: by `schema_name`, or by the registry's id in decimal digits.

    The mapping is looked at whenever a message names a schema, so that it may grow while the decoder is used.
    BadSetting: the spec names a schema, message or field that does not exist, or needs a library that is missing.
    """
    module = f"headwater.contract.decoders.{MODULES[spec.kind]}"
    try:
        build = cast("Build", importlib.import_module(module).build)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("headwater"):
            raise
        raise BadSetting(
            f"the decoder {spec.kind} needs the Python package {error.name}, which is not installed",
            hint="pip install 'headwater[decoders]'",
        ) from error
    return build(spec, schemas)
