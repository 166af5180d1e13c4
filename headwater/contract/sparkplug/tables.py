"""What a birth says: the names behind the aliases, their types, and the units.

Aliases must be unique within an edge node (Sparkplug 3.0, tck-id-payloads-alias-uniqueness). They are looked up under
the device of the topic, so that an edge node which numbers each device anew is read rightly too, and an alias of
another device is not taken for one of this. An alias that a birth gives to two metrics belongs to neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.reasons import TOO_MANY
from headwater.contract.sparkplug.datatypes import COMMAND
from headwater.contract.sparkplug.outcome import refuse
from headwater.contract.sparkplug.wire import FOREIGN, Frame, Metric, metric

DEFINITION_BYTES = 400  # of a metric beside its name: 280 measured, and more where a dictionary has just grown

BDSEQ = "bdSeq"
CONTROLS = ("Node Control/", "Device Control/")  # commands, not measurements


class Definition(NamedTuple):
    """A metric of a birth; `datatype` as in datatypes.NAMES."""

    name: str
    datatype: int
    alias: int | None


class Table:
    """The metrics of an edge node itself, or of one device."""

    __slots__ = ("aliases", "bytes", "definitions", "names")

    def __init__(self, definitions: tuple[Definition, ...]) -> None:
        self.definitions = definitions
        self.names = {each.name: _type(each) for each in definitions}
        self.bytes = sum(DEFINITION_BYTES + (1 if each.name.isascii() else 4) * len(each.name) for each in definitions)
        self.aliases: dict[int, tuple[str, int]] = {}
        twice = set()
        for each in definitions:
            if each.alias is not None:
                if each.alias in self.aliases:
                    twice.add(each.alias)
                self.aliases[each.alias] = (each.name, _type(each))
        for alias in twice:
            del self.aliases[alias]


def _type(each: Definition) -> int:
    return COMMAND if each.name.startswith(CONTROLS) else each.datatype


def metrics(frame: Frame) -> Iterator[Metric]:
    """The metrics of a payload; BadInput where one cannot be read."""
    times: dict[bytes, int] = {}
    for at, end in frame.spans:
        try:
            yield metric(frame.data, at, end, times)
        except FOREIGN as error:
            raise refuse(BAD_PAYLOAD, f"a metric cannot be read: {error}") from error


def table(frame: Frame, name_bytes: int) -> Table:
    """The table of a birth; BadInput if a metric has no name, or one of more than `name_bytes`."""
    found: dict[str, Definition] = {}
    for each in metrics(frame):
        if not each.name:
            raise refuse(BAD_PAYLOAD, f"a metric of a birth has no name (alias {each.alias})")
        if len(each.name.encode()) > name_bytes:
            raise refuse(TOO_MANY, f"metric {each.name[:60]!r} has a name of more than {name_bytes} bytes")
        if each.name != BDSEQ:
            found[each.name] = Definition(each.name, each.datatype or 0, each.alias)
    return Table(tuple(found.values()))


def bdseq(frame: Frame) -> int | None:
    """The number by which a death is matched to a birth, if the payload has one."""
    for each in metrics(frame):
        if each.name == BDSEQ and isinstance(each.value, int):
            return each.value
    return None
