"""`cbor`: CBOR (RFC 8949) by paths. The only place that imports cbor2.

Maps have text for keys. Tags other than times and decimals say nothing that a sensor means, so what they enclose is
taken as it is: no shared references that would make a cycle, no big numbers, patterns or mails to be read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import cbor2

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.decoded import Decoder
from headwater.contract.decoders.reasons import refused
from headwater.contract.decoders.shape import MAX_DEPTH, TreeDecoder
from headwater.contract.decoders.spec import DecoderSpec

# Tags that cbor2 gives a meaning (RFC 8949 3.4, IANA registry "CBOR tags"), but for 0, 1 (times) and 4 (decimals).
_DISARMED = (2, 3, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)


def _enclosed(value: Any, immutable: bool) -> Any:
    del immutable
    return value


def _unknown(tag: Any, immutable: bool) -> Any:
    del immutable
    return tag.value


_ENCLOSED = dict.fromkeys(_DISARMED, _enclosed)


def _read(schema_id: int | None, payload: bytes) -> Any:
    del schema_id
    stream = io.BytesIO(payload)
    decoder = cbor2.CBORDecoder(
        stream,
        tag_hook=_unknown,
        semantic_decoders=_ENCLOSED,
        max_depth=MAX_DEPTH,
        strict_hashable_types=True,  # an attacker can make arrays collide as keys, never texts
    )
    try:
        value = decoder.decode()
    except cbor2.CBORDecodeError as error:
        raise refused(BAD_PAYLOAD, f"not CBOR with text for keys: {error}") from error
    if stream.tell() != len(payload):
        raise refused(BAD_PAYLOAD, f"the payload goes on after {stream.tell()} bytes, where its value ends")
    return value


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> Decoder:
    """The decoder of a spec."""
    del schemas
    return TreeDecoder(spec, _read)
