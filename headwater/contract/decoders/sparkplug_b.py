"""`sparkplug-b`: one message of Sparkplug B, by itself.

Sparkplug is no format that can be read a message at a time: data say aliases, whose names are in births. The bridge
has a host that remembers them (contract/sparkplug/); this is for trying a message, and shows what a birth gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.spec import DecoderSpec
from headwater.contract.errors import BadInput
from headwater.contract.sparkplug import Host, Options, Refusal
from headwater.contract.sparkplug.addresses import NAMESPACE
from headwater.contract.sparkplug.outcome import NOT_BORN, UNKNOWN_METRIC, refuse
from headwater.contract.sparkplug.sequence import NUMBERS
from headwater.contract.sparkplug.wire import scan

_MOST_METRICS = 20_000
_SEQ = b"\x18"  # field 3 of a payload, a varint


class OneMessage:
    """Reads a message as if the edge node had been born, without metrics, just before it."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def decode(self, topic: str, payload: bytes, received_ms: int) -> Sequence[Decoded]:
        """See Decoder. Data are refused, unless they bring the names of their metrics."""
        host = Host(self._options)
        words = topic.split("/")
        with suppress(BadInput):  # `take` says so in words
            if len(words) in (4, 5) and words[2] not in ("NBIRTH", "NDEATH"):
                seq = (scan(payload, _MOST_METRICS).seq or 0) - 1
                host.take(None, f"{NAMESPACE}/{words[1]}/NBIRTH/{words[3]}", _birth(seq % NUMBERS), received_ms)
        for settled in host.take("", topic, payload, received_ms).settled:
            if settled.token == "":
                if isinstance(settled.result, Refusal):
                    reason, detail = settled.result
                    raise refuse(reason, detail, hint=_HINT if reason in _BY_BIRTH else "")
                return settled.result
        raise refuse(NOT_BORN, "its number is not between 0 and 255, or its edge node cannot be born", hint=_HINT)


_BY_BIRTH = frozenset({NOT_BORN, UNKNOWN_METRIC})
_HINT = "names are in the births, which the running bridge remembers: try the NBIRTH or the DBIRTH instead"


def options_of(spec: DecoderSpec) -> Options:
    """How the host of a route behaves. The class of assets is the route's."""
    return Options(
        role=spec.role,
        host_id=spec.host_id,
        asset=spec.asset_words,
        after_gap=spec.after_gap,
        transient=spec.transient,
        reorder_ms=spec.reorder_ms,
        rebirth_ms=spec.rebirth_ms,
        rebirth_most_ms=max(300_000, spec.rebirth_ms),
        device_birth_ms=spec.device_birth_ms,
    )


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> OneMessage:
    """The decoder of a spec."""
    del schemas
    return OneMessage(options_of(spec))


def _birth(seq: int) -> bytes:
    return _SEQ + (bytes([seq]) if seq < 128 else bytes([seq & 127 | 128, seq >> 7]))
