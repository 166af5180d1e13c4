"""`scalar`: the payload is one number, as text or binary; its channel is a word of the topic or an option."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from headwater.contract import reading
from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.quantities import is_number_text, number, text_number
from headwater.contract.decoders.reasons import NO_VALUES, refused
from headwater.contract.decoders.shape import check_size
from headwater.contract.decoders.spec import DecoderSpec

_FORMATS = {"f32": "f", "f64": "d", "i8": "b", "i16": "h", "i32": "i", "i64": "q"}
_FORMATS |= {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}


class ScalarDecoder:
    """One number a message; the time of receipt stands for the sensor's."""

    def __init__(self, spec: DecoderSpec) -> None:
        order = "<" if spec.byte_order == "little" else ">"
        self._binary = None if spec.encoding == "text" else struct.Struct(order + _FORMATS[spec.encoding])
        self._encoding = spec.encoding
        self._comma = spec.decimal == ","
        self._channel = spec.channel
        self._word = spec.channel_word
        self._most = spec.max_payload_bytes

    def decode(self, topic: str, payload: bytes, received_ms: int) -> Sequence[Decoded]:
        """See Decoder."""
        check_size(payload, self._most)
        value = self._text(payload) if self._binary is None else self._number(self._binary, payload)
        try:
            return (Decoded(reading.encode(received_ms, {self._channel or self._of(topic): value})),)
        except UnicodeEncodeError as error:
            raise refused(NO_VALUES, "the topic's name of the channel is not text") from error

    def _number(self, binary: struct.Struct, payload: bytes) -> float | int | None:
        if len(payload) != binary.size:
            raise refused(BAD_PAYLOAD, f"{len(payload)} bytes, one {self._encoding} has {binary.size}")
        return number(binary.unpack(payload)[0])

    def _text(self, payload: bytes) -> float | int | None:
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            raise refused(BAD_PAYLOAD, "the payload is not UTF-8 text") from error
        text = text.replace(",", ".") if self._comma else text
        if not is_number_text(text):
            raise refused(BAD_PAYLOAD, f"the payload {text[:40]!r} is not one number")
        return text_number(text)

    def _of(self, topic: str) -> str:
        words = topic.split("/")
        if not -len(words) <= self._word < len(words) or not words[self._word]:
            raise refused(NO_VALUES, f"MQTT topic {topic!r} has no word {self._word}", hint="see `channel_word`")
        return words[self._word]


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> ScalarDecoder:
    """The decoder of a spec."""
    del schemas
    return ScalarDecoder(spec)
