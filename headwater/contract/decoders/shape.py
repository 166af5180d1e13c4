"""From what a format holds to readings: samples, times, assets and channels, under the bounds of the spec."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from headwater.contract import reading
from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders import quantities
from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.paths import Step, parse
from headwater.contract.decoders.reasons import (
    BAD_ASSET,
    BAD_TIME,
    NO_VALUES,
    TOO_LARGE,
    TOO_MANY,
    VALUE_MISSING,
    refused,
)
from headwater.contract.decoders.spec import DecoderSpec
from headwater.contract.errors import BadInput

MAX_DEPTH = 32  # levels below which no channel is looked for
MAX_CHANNELS = 10_000  # of one sample
MAX_NAME_CHARACTERS = 1024  # of a channel: each below a key repeats it, so that a long one counts many times
MAX_SHARED = 200_000  # samples times the channels that each of them takes from the whole message: 0.1 s of work
MAX_READINGS_BYTES = 8 << 20  # all readings of one message; long names times many samples must not fill the memory

_FRAME = struct.Struct(">BI")  # Confluent's wire format: magic 0, schema id
_Channel = tuple[str, Any]  # its name and what stands there
_OF_A_SAMPLE = frozenset({BAD_TIME, BAD_ASSET, NO_VALUES, VALUE_MISSING})
_COMPARABLE = frozenset({int, float, str})


def check_size(payload: bytes, most: int) -> None:
    """BadInput for a payload of no or more than `most` bytes."""
    if not payload:
        raise refused(BAD_PAYLOAD, "the payload is empty")
    if len(payload) > most:
        raise refused(TOO_LARGE, f"payload of {len(payload)} bytes, at most {most} are read")


def unframed(payload: bytes) -> tuple[int, bytes]:
    """Schema id and rest of a framed payload (Confluent, "Wire format"); BadInput without the frame."""
    if len(payload) < _FRAME.size or payload[0]:
        raise refused(BAD_PAYLOAD, "the payload does not begin with a zero byte and a schema id", hint="see `framing`")
    return _FRAME.unpack_from(payload)[1], payload[_FRAME.size :]


def gathered(made: Iterable[Decoded], most: int) -> list[Decoded]:
    """All readings of one message; BadInput when there are more than `most`, or more bytes than any message needs.

    What is wrong with one sample says which it is, counted from 1.
    """
    readings: list[Decoded] = []
    size = 0
    try:
        for one in made:
            size += len(one.value)
            if len(readings) >= most:
                raise refused(TOO_MANY, f"the message has more than {most} samples")
            if size > MAX_READINGS_BYTES:
                raise refused(TOO_LARGE, f"the message becomes more than {MAX_READINGS_BYTES} bytes of readings")
            readings.append(one)
    except BadInput as error:
        if error.reason not in _OF_A_SAMPLE:
            raise
        raise refused(error.reason, f"sample {len(readings) + 1}: {error}", hint=error.hint) from error
    return readings


class Sampler:
    """Makes one reading of the raw time, asset and channels of a sample."""

    def __init__(self, spec: DecoderSpec) -> None:
        self._time = spec.time
        self._unit = spec.time_unit
        self._asset = spec.asset
        self._missing = spec.missing
        self._absent = frozenset(spec.missing_values)

    def reading(self, time: Any, asset: Any, channels: Iterable[_Channel], received_ms: int) -> Decoded:
        """A reading with canonical bytes; BadInput when time, asset or channels are not what the spec says."""
        t = None if self._time is None else quantities.time_ms(time, self._unit, self._time)
        name = None if self._asset is None else quantities.asset(asset, self._asset)
        values = self._values(channels)
        if not values:
            raise refused(NO_VALUES, "a sample has no channel", hint="see `values` and `below` of the route")
        try:
            value = reading.encode(received_ms if t is None else t, values)
        except UnicodeEncodeError as error:
            raise refused(BAD_PAYLOAD, "the name of a channel is not text") from error
        if len(value) > reading.MAX_PAYLOAD_BYTES:
            raise refused(TOO_LARGE, f"a sample becomes {len(value)} bytes, which no reader of readings takes")
        return Decoded(value, name, t)

    def _values(self, channels: Iterable[_Channel]) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        names = 0
        for channel, raw in channels:
            found = quantities.number(raw)
            if self._absent and (found in self._absent or (type(raw) in _COMPARABLE and raw in self._absent)):
                found = None
            if found is not None or self._missing == "null":
                values[channel] = found
                names += len(channel)
            elif self._missing == "refuse":
                said = f"channel {channel!r} has no usable number but {quantities.shown(raw)}"
                raise refused(VALUE_MISSING, said, hint="see `missing` and `missing_values` of the route")
            if len(values) > MAX_CHANNELS:
                raise refused(TOO_MANY, f"a sample has more than {MAX_CHANNELS} channels")
            if names > reading.MAX_PAYLOAD_BYTES:  # before all are made, which would fill the memory
                raise refused(TOO_LARGE, f"the names of a sample's channels are more than {names} characters")
        return values


class TreeShape:
    """Readings from a tree of dicts, lists and scalars, as JSON and its kin are read into."""

    def __init__(self, spec: DecoderSpec) -> None:
        self._samples = parse(spec.samples)
        self._time = parse(spec.time or "")
        self._asset = parse(spec.asset or "")
        self._values = [(channel, parse(path)) for channel, path in spec.values.items()]
        self._below = parse(spec.below)
        self._has_time = spec.time is not None
        self._has_asset = spec.asset is not None
        self._most = spec.max_samples
        self._sampler = Sampler(spec)
        self._skip = frozenset(self._names_to_skip())

    def readings(self, message: Any, received_ms: int) -> list[Decoded]:
        """The readings of a message; BadInput when it has another shape than the spec says."""
        found = self._found(message)
        shared = self._shared(message, len(found))
        return gathered((self._reading(message, one, received_ms, shared) for one in found), self._most)

    def _shared(self, message: Any, samples: int) -> list[_Channel] | None:
        """What every sample has below a part of the whole message, looked for once; None where there is no such."""
        if self._values or not self._below.from_message:
            return None
        channels = list(self._all_below(self._below.find(message, None), "", MAX_DEPTH))
        if samples * len(channels) > MAX_SHARED:
            raise refused(
                TOO_MANY,
                f"{samples} samples times {len(channels)} channels below {self._below.text!r}, at most {MAX_SHARED}",
                hint="give fewer samples a message, or a `below` that does not begin with $",
            )
        return channels

    def _found(self, message: Any) -> Sequence[Any]:
        if not self._samples.text:
            return message if type(message) is list else [message]
        found = self._samples.find(message, message)
        if type(found) is not list:
            said = f"there is no array of samples at {self._samples.text!r} but {quantities.shown(found)}"
            raise refused(BAD_PAYLOAD, said, hint="see `samples` of the route")
        return found

    def _reading(self, message: Any, sample: Any, received_ms: int, shared: list[_Channel] | None) -> Decoded:
        time = self._time.find(message, sample) if self._has_time else None
        asset = self._asset.find(message, sample) if self._has_asset else None
        if self._values:
            channels: Iterable[_Channel] = [(name, path.find(message, sample)) for name, path in self._values]
        elif shared is not None:
            channels = shared
        else:
            channels = self._all_below(self._below.find(message, sample), "", MAX_DEPTH)
        return self._sampler.reading(time, asset, channels, received_ms)

    def _all_below(self, node: Any, name: str, depth: int) -> Iterator[_Channel]:
        if not depth:
            raise refused(BAD_PAYLOAD, f"the message is nested deeper than {MAX_DEPTH} levels")
        for child, value in _children(node, name):
            if child in self._skip:
                continue
            if type(value) is str or type(value) is bytes:
                continue
            if len(child) > MAX_NAME_CHARACTERS:
                begin = child[:40]
                raise refused(TOO_LARGE, f"a name of {len(child)} characters, at most {MAX_NAME_CHARACTERS}: {begin!r}")
            if type(value) in (dict, list):
                yield from self._all_below(value, child, depth - 1)
            else:
                yield child, value

    def _names_to_skip(self) -> Iterator[str]:
        """Names that time and asset would have as channels."""
        for path in [self._time] * self._has_time + [self._asset] * self._has_asset:
            same_root = path.from_message == self._below.from_message or not self._samples.text
            inside = len(self._below.steps)
            if same_root and path.steps[:inside] == self._below.steps and len(path.steps) > inside:
                yield named(path.steps[inside:])


def named(steps: Sequence[Step]) -> str:
    """The name of a channel below: steps as a path, keys as they are."""
    name = ""
    for step in steps:
        name = f"{name}[{step}]" if isinstance(step, int) else f"{name}.{step}" if name else step
    return name


def _children(node: Any, name: str) -> Iterator[_Channel]:
    if type(node) is dict:
        for key, value in node.items():
            if type(key) is str:
                yield (f"{name}.{key}" if name else key), value
    elif type(node) is list:
        for index, value in enumerate(node):
            yield f"{name}[{index}]", value


class TreeDecoder:
    """A decoder for every format that is read into a tree: `read` does that, and raises BadInput for what it is not."""

    def __init__(self, spec: DecoderSpec, read: Callable[[int | None, bytes], Any]) -> None:
        self._most = spec.max_payload_bytes
        self._framed = spec.framing == "confluent"
        self._read = read
        self._shape = TreeShape(spec)

    def decode(self, topic: str, payload: bytes, received_ms: int) -> Sequence[Decoded]:
        """See Decoder."""
        del topic
        check_size(payload, self._most)
        schema_id, content = unframed(payload) if self._framed else (None, payload)
        return self._shape.readings(self._read(schema_id, content), received_ms)
