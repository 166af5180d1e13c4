"""`raw`: the payload as it is, unread; whoever reads the topic judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.reasons import TOO_LARGE, refused
from headwater.contract.decoders.spec import DecoderSpec


class RawDecoder:
    """Passes payloads on."""

    def __init__(self, most: int) -> None:
        self._most = most

    def decode(self, topic: str, payload: bytes, received_ms: int) -> Sequence[Decoded]:
        """See Decoder; only too long a payload is refused."""
        del topic, received_ms
        if len(payload) > self._most:
            raise refused(TOO_LARGE, f"payload of {len(payload)} bytes, at most {self._most} are taken")
        return (Decoded(payload),)


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> RawDecoder:
    """The decoder of a spec."""
    del schemas
    return RawDecoder(spec.max_payload_bytes)
