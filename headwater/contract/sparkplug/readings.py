"""From the metrics of a message to readings: one for each time in it.

Numbers only: text, bytes, data sets, templates, arrays and commands are passed over and counted. A value that is null,
not finite, out of its type's range or of a quality that is not GOOD is null in the reading. Historical and transient
values are readings of their own, marked by a header. Header `hw-sparkplug` says where the message stands, and what
is to be known of it:

`<births>/<seq>/<crc>[/<mark>...]`: how many births of the edge node this host had seen, the sequence number, CRC-32 of
topic and payload (hex), and `birth` (values of a birth), `gap` (a message before it was lost, and no birth came since)
or `late` (it came after it had been given up as lost).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from headwater.contract import headers, reading
from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.canonical import canonical_json
from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.reasons import BAD_TIME, TOO_MANY
from headwater.contract.errors import BadInput
from headwater.contract.sparkplug.datatypes import COMMAND, CONVERT, NAMES, NOT_NUMBERS, Number
from headwater.contract.sparkplug.outcome import TYPE_MISMATCH, UNKNOWN_METRIC, refuse
from headwater.contract.sparkplug.tables import BDSEQ, CONTROLS, Table
from headwater.contract.sparkplug.wire import FOREIGN, HISTORICAL, NULL, TRANSIENT, Frame, Metric, metric, properties

GOOD = 192
QUALITY = "Quality"
MOST_HEADER_BYTES = 16_384

_IS_HISTORICAL = (headers.HISTORICAL, b"true")
_IS_TRANSIENT = (headers.TRANSIENT, b"true")
_GROUPED = HISTORICAL | TRANSIENT
_Key = tuple[int | None, int]
_Values = dict[str, Number]


class Message(NamedTuple):
    """A message to read: its payload, whose it is, and the bounds. `base` are the headers of each of its readings."""

    frame: Frame
    table: Table
    asset: str
    received_ms: int
    base: headers.Headers
    most: int
    transient: bool


class Reader:
    """Reads messages; `counts` counts values that are not in any reading, by why."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._qualities: dict[str, int] = {}

    def read(self, message: Message) -> list[Decoded]:
        """The readings of a message; BadInput if a metric is unknown, of another type, or cannot be read."""
        self._qualities = {}
        done: list[tuple[_Key, _Values]] = []
        try:
            groups = self._grouped(message, done)
        except FOREIGN as error:
            raise refuse(BAD_PAYLOAD, f"a metric cannot be read: {error}") from error
        done.extend(groups.items())
        if len(done) > message.most:
            raise refuse(TOO_MANY, f"the message has {len(done)} times, at most {message.most} are read")
        out: list[Decoded] = []
        for (timestamp, flags), values in done:
            if flags & TRANSIENT and not message.transient:
                self._counts["transient"] += len(values)
                continue
            at = timestamp if timestamp is not None else message.frame.sent_ms
            self._write(out, message, message.received_ms if at is None else at, flags, values)
        return out

    def _grouped(self, message: Message, done: list[tuple[_Key, _Values]]) -> dict[_Key, _Values]:
        data, times = message.frame.data, dict[bytes, int]()
        aliases = message.table.aliases
        groups: dict[_Key, _Values] = {}
        for at, end in message.frame.spans:
            each = metric(data, at, end, times)
            _, alias, timestamp, datatype, flags, field, value, extra = each
            if each.name is None and datatype is None:
                found = aliases.get(alias)  # type: ignore[arg-type]  # None is no key
                if found is None:
                    raise _unknown(each)
                name, datatype = found
            else:
                name, datatype = self._named(each, message.table)
            convert = CONVERT.get(datatype << 5 | field if not flags & NULL else datatype << 5)
            if convert is None:
                self._pass_over(name, datatype, 0 if flags & NULL else field)
                continue
            number = convert(value)
            if extra is not None:
                number = self._of_quality(name, number, properties(data, *extra))
            key = (timestamp, flags & _GROUPED)
            group = groups.get(key)
            if group is None:
                group = groups[key] = {}
            elif name in group:
                done.append((key, group))
                group = groups[key] = {}
            group[name] = number
        return groups

    def _named(self, each: Metric, table: Table) -> tuple[str, int]:
        """Name and type of a metric that brings one or both of them."""
        found = table.aliases.get(each.alias) if each.name is None and each.alias is not None else None
        name = each.name or (found[0] if found else "")
        if not name:
            raise _unknown(each)
        known = table.names.get(name)
        if known is None:
            if name.startswith(CONTROLS) or name == BDSEQ:
                return name, COMMAND
            if each.datatype is None:
                raise _unknown(each)
            self._counts["not-in-birth"] += 1
            return name, each.datatype
        if each.datatype not in (None, known) and known != COMMAND:
            raise refuse(TYPE_MISMATCH, f"{name[:60]!r} is {_type(each.datatype)}, by the birth {_type(known)}")
        return name, known

    def _pass_over(self, name: str, datatype: int, field: int) -> None:
        if datatype == COMMAND:
            self._counts["commands"] += 1
        elif datatype in NAMES and datatype << 5 | field not in NOT_NUMBERS:
            raise refuse(
                TYPE_MISMATCH, f"{name[:60]!r} is {_type(datatype)} by its birth, the value is in field {field}"
            )
        else:
            self._counts["not-numbers"] += 1

    def _of_quality(self, name: str, number: Number, found: dict[str, str | int]) -> Number:
        quality = found.get(QUALITY, GOOD)
        if quality == GOOD or not isinstance(quality, int):
            return number
        self._qualities[name] = quality
        return None

    def _write(self, out: list[Decoded], message: Message, at: int, flags: int, values: Mapping[str, Number]) -> None:
        if not 0 <= at <= reading.MAX_TIME_MS:
            raise refuse(BAD_TIME, f"time {at} ms is not between 1970 and 9999")
        value = reading.encode(at, values)
        marks = message.base
        if flags & HISTORICAL:
            marks = (*marks, _IS_HISTORICAL)
        if flags & TRANSIENT:
            marks = (*marks, _IS_TRANSIENT)
        quality = b""
        if self._qualities:
            quality = canonical_json({name: self._qualities[name] for name in values if name in self._qualities})
            marks = (*marks, (headers.QUALITY, quality))
        if (len(value) > reading.MAX_PAYLOAD_BYTES or len(quality) > MOST_HEADER_BYTES) and len(values) > 1:
            each = list(values.items())
            self._write(out, message, at, flags, dict(each[: len(each) // 2]))
            self._write(out, message, at, flags, dict(each[len(each) // 2 :]))
        else:
            out.append(Decoded(value, message.asset, at, marks))


def _unknown(each: Metric) -> BadInput:
    what = f"metric {each.name[:60]!r}" if each.name else f"alias {each.alias}"
    return refuse(UNKNOWN_METRIC, f"{what} was not in the birth", hint="a new birth of the edge node helps")


def _type(datatype: int | None) -> str:
    return NAMES.get(datatype or 0, f"type {datatype}")
