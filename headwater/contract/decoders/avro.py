"""`avro`: single Avro values (Avro specification 1.12, "Binary Encoding") by paths.

With `framing = "confluent"` each payload names its schema by a registry's id; without, `schema_name` says which it is.
The only place that imports fastavro.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.avro_schema import read_schema
from headwater.contract.decoders.decoded import Decoder
from headwater.contract.decoders.reasons import SchemaUnknown, refused
from headwater.contract.decoders.shape import TreeDecoder
from headwater.contract.decoders.spec import DecoderSpec, nearest
from headwater.contract.errors import BadSetting

MAX_DECIMAL_BYTES = 32  # a decimal of 256 KiB takes seconds to read, and is no number that a sensor measures
MOST_SCHEMAS = 256  # kept parsed at a time; a publisher may name any number of them

_OBJECT = re.compile(r" from <[^<>]* at 0x[0-9a-f]+>")

# What fastavro raises when bytes do not fit a schema: it has no exception of its own for that.
_FOREIGN = (EOFError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, MemoryError, RecursionError)


def _decimal(data: bytes, writer_schema: Any = None, reader_schema: Any = None) -> Decimal | None:
    """Avro's logical type decimal on bytes: unscaled, big-endian two's complement; None for one too long."""
    del reader_schema
    if len(data) > MAX_DECIMAL_BYTES:
        return None
    return Decimal(int.from_bytes(data, signed=True)).scaleb(-int(writer_schema.get("scale", 0)))


fastavro.read.LOGICAL_READERS["bytes-decimal"] = _decimal


class _Schemas:
    """Schemas by name, parsed when they are first needed; what cannot be parsed is remembered too."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = texts
        self._parsed: dict[str, Any] = {}

    def named(self, name: str) -> Any:
        """A parsed schema, or the BadSetting that parsing it raised; KeyError when there is none of that name."""
        found = self._parsed.get(name)
        if found is None:
            text = self._texts[name]
            if len(self._parsed) >= MOST_SCHEMAS:
                self._parsed.clear()
            found = self._parsed[name] = _parsed(text, name)
        return found


def _parsed(text: bytes, name: str) -> Any:
    try:
        return fastavro.parse_schema(read_schema(text, name))
    except BadSetting as error:
        return error
    except (SchemaParseException, UnknownType, *_FOREIGN) as error:
        return BadSetting(f"the Avro schema {name!r} cannot be used: {error}")


class _Reader:
    """Reads values, of one schema or of those that the payloads name."""

    def __init__(self, spec: DecoderSpec, schemas: Mapping[str, bytes]) -> None:
        self._schemas = _Schemas(schemas)
        self._only: Any = None
        if spec.schema_name is not None:
            if spec.schema_name not in schemas:
                raise BadSetting(f"there is no schema {spec.schema_name!r}", hint=nearest(spec.schema_name, schemas))
            self._only = self._schemas.named(spec.schema_name)
            if isinstance(self._only, BadSetting):
                raise self._only

    def read(self, schema_id: int | None, payload: bytes) -> Any:
        """The value in a payload; BadInput when the payload does not fit its schema."""
        schema = self._only if schema_id is None else self._of(schema_id)
        stream = io.BytesIO(payload)
        try:
            value = fastavro.schemaless_reader(stream, schema, None)
        except _FOREIGN as error:
            said = f"not Avro of its schema: {_why(error)}"
            raise refused(BAD_PAYLOAD, said, hint="see `schema_name` and `framing` of the route") from error
        if stream.tell() != len(payload):
            raise refused(BAD_PAYLOAD, f"the payload goes on after {stream.tell()} bytes, where its value ends")
        return value

    def _of(self, schema_id: int) -> Any:
        try:
            schema = self._schemas.named(str(schema_id))
        except KeyError:
            raise SchemaUnknown(schema_id) from None
        if isinstance(schema, BadSetting):
            raise refused(BAD_PAYLOAD, str(schema), hint=schema.hint)
        return schema


def _why(error: BaseException) -> str:
    """The words of fastavro, without Python's own names and objects."""
    said = _OBJECT.sub("", str(error)).strip()
    if isinstance(error, EOFError):
        return f"it ends before its value does ({said})"
    return said or "its bytes mean nothing there"


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> Decoder:
    """The decoder of a spec; BadSetting for a schema that cannot be used."""
    return TreeDecoder(spec, _Reader(spec, schemas).read)
