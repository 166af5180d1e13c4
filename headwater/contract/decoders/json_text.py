"""`json`: our own reading passed on byte for byte once it was checked, or any other JSON by paths (RFC 8259)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headwater.contract import reading
from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.decoded import Decoded, Decoder
from headwater.contract.decoders.reasons import TOO_MANY, refused
from headwater.contract.decoders.shape import TreeDecoder, check_size, unframed
from headwater.contract.decoders.spec import DecoderSpec
from headwater.contract.errors import BadInput

_SHAPELESS = frozenset({"kind", "max_payload_bytes", "max_samples", "framing"})
_BLANKS = b" \t\r\n"

_tree = msgspec.json.Decoder()
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_FOREIGN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


class ReadingDecoder:
    """Checks readings in the JSON of contract/reading.py, one or an array of them, and does not write them anew."""

    def __init__(self, spec: DecoderSpec) -> None:
        self._most_bytes = spec.max_payload_bytes
        self._most_samples = spec.max_samples
        self._framed = spec.framing == "confluent"

    def decode(self, topic: str, payload: bytes, received_ms: int) -> Sequence[Decoded]:
        """See Decoder."""
        del topic, received_ms
        check_size(payload, self._most_bytes)
        if self._framed:
            payload = unframed(payload)[1]
        try:
            if payload[:1] == b"{" or payload.lstrip(_BLANKS)[:1] != b"[":
                return (Decoded(payload, None, reading.time_of(payload)),)
            return self._elements(payload)
        except BadInput as error:
            raise refused(error.reason or BAD_PAYLOAD, str(error), hint=error.hint) from error

    def _elements(self, payload: bytes) -> list[Decoded]:
        try:
            elements = _elements.decode(payload)
        except _FOREIGN as error:
            raise refused(BAD_PAYLOAD, f"not an array of readings: {error}") from error
        if len(elements) > self._most_samples:
            raise refused(TOO_MANY, f"the message has more than {self._most_samples} samples")
        return [Decoded(value, None, reading.time_of(value)) for value in map(bytes, elements)]


def _read(schema_id: int | None, payload: bytes) -> Any:
    del schema_id  # of a JSON schema, which says nothing that is needed to read
    try:
        return _tree.decode(payload)
    except _FOREIGN as error:
        raise refused(BAD_PAYLOAD, f"not JSON: {error}") from error


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> Decoder:
    """The decoder of a spec: of our readings where it says nothing of the shape."""
    del schemas
    return ReadingDecoder(spec) if spec.model_fields_set <= _SHAPELESS else TreeDecoder(spec, _read)
