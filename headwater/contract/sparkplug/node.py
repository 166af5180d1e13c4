"""What a host knows of an edge node and its devices."""

from __future__ import annotations

from typing import Literal, NamedTuple

from headwater.contract.sparkplug.addresses import Address
from headwater.contract.sparkplug.rebirth import Asking
from headwater.contract.sparkplug.sequence import Sequence
from headwater.contract.sparkplug.tables import Table

NODE = ""  # the edge node itself, among its devices

Gap = Literal["", "away", "lost"]  # since the last birth: none; missed while not connected; lost while connected


class Arrived(NamedTuple):
    """A message that was received; `crc` is that of topic and payload. Times in ms."""

    token: object
    address: Address
    payload: bytes
    received_ms: int
    sent_ms: int | None
    seq: int
    crc: int


class Device:
    """A device, or the edge node itself. `table` is None while it is not born or offline.

    `stale_since` (host time, ms) and `reason`: since when its metrics are not current, if they are not.
    """

    __slots__ = ("asset", "reason", "stale_since", "table")

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self.table: Table | None = None
        self.stale_since: int | None = None
        self.reason = ""


class Node:
    """An edge node `group/name`. `held` are messages that wait for an earlier one, in the order of receipt.

    `births` seen by this host; `crc` of the last one; `sent_ms`: the edge node's time of the last message in order;
    `strays`: messages since then that waited in vain and are older than it. `due_ms`: when devices that were not born
    again become stale, from `born_ms` (host time) on. `resuming`: the host was away, so the next gap is no surprise.
    `hopeless`: it was waited for its birth in vain. `wants`: there is a reason to ask for one.
    """

    __slots__ = (
        *(
            "asking",
            "bdseq",
            "births",
            "born_ms",
            "crc",
            "devices",
            "due_ms",
            "gap",
            "held",
            "hopeless",
            "key",
            "online",
            "order",
        ),
        *("resuming", "sent_ms", "strays", "wants"),
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.devices: dict[str, Device] = {}
        self.births = 0
        self.bdseq: int | None = None
        self.crc = 0
        self.sent_ms: int | None = None
        self.born_ms = 0
        self.due_ms: int | None = None
        self.online = False
        self.hopeless = False
        self.gap: Gap = ""
        self.resuming = False
        self.order = Sequence()
        self.strays = 0
        self.held: list[Arrived] = []
        self.asking = Asking()
        self.wants = False

    def metrics(self) -> int:
        """Metrics in all its tables."""
        return sum(len(each.table.definitions) for each in self.devices.values() if each.table)
