"""What an MQTT payload means.

The decoder `json` reads one object a message:
`{"v":1,"t":1763718300000,"values":{"flow":31.2,"current":1.33}}`, `t` in ms of Unix time by the sensor's
clock. A value may be null or absent, and one beyond MAX_VALUE counts as missing; fields that are not known are
ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headwater.contract.errors import BadInput

MAX_PAYLOAD_BYTES = 262_144
MAX_TIME_MS = 253_402_300_799_000  # the end of the year 9999
MAX_VALUE = 1e15  # either way, in the channel's unit; no sensor measures more, and squares of it stay finite


class Reading(msgspec.Struct, frozen=True):
    """One message of an asset: sensor time in ms, and a value for one or more channels."""

    t: int
    values: dict[str, float | None]


class _Wire(msgspec.Struct, gc=False):  # it holds no cycle, and many at once need not be searched for one
    t: int
    values: dict[str, float | None]
    v: int = 1


_decoder = msgspec.json.Decoder(_Wire)
_encoder = msgspec.json.Encoder()


def decode(payload: bytes | memoryview) -> Reading:
    """The reading in a payload; BadInput says in words why there is none."""
    wire = _checked(payload)
    return Reading(wire.t, {name: _finite(value) for name, value in wire.values.items()})


def decode_or_none(payloads: Sequence[bytes]) -> list[Any] | None:
    """What many payloads hold, unchecked but for their types, or None when one is no such JSON (reading_columns.py).

    Each has `t`, `values` and `v`; the caller does what `decode` does beyond.
    """
    try:
        return list(map(_decoder.decode, payloads))
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None


def time_of(payload: bytes | memoryview) -> int:
    """Sensor time in ms of a payload that `decode` would take; BadInput, as there, of any other."""
    return _checked(payload).t


def _checked(payload: bytes | memoryview) -> _Wire:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadInput(f"payload of {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read")
    try:
        wire = _decoder.decode(payload)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"not a reading: {error}", hint="expected JSON with `t` in ms and `values`") from error
    if wire.v != 1:
        raise BadInput(f"reading of version {wire.v}, this agent knows 1", hint="update the agent")
    if not 0 <= wire.t <= MAX_TIME_MS:
        raise BadInput(f"time {wire.t} ms is not between 1970 and 9999")
    if not wire.values:
        raise BadInput("reading without values")
    return wire


def encode(t: int, values: Mapping[str, float | None]) -> bytes:
    """The payload of a reading, as the simulator publishes it."""
    return _encoder.encode({"v": 1, "t": t, "values": values})


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) <= MAX_VALUE else None  # NaN compares false
