"""What may be chosen, and every bound of what a publisher can make this host keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headwater.contract.errors import BadSetting
from headwater.contract.names import check_name

Role = Literal["passive", "active", "primary"]


@dataclass(frozen=True)
class Limits:
    """Bounds; beyond them a message is refused (reasons in outcome.py), or held messages are released early."""

    payload_bytes: int = 4 << 20
    readings: int = 10_000  # that one message becomes
    nodes: int = 1_000  # edge nodes; of those without a birth the oldest is forgotten first
    devices: int = 1_000  # of one edge node
    metrics: int = 20_000  # of one edge node; also of one message
    name_bytes: int = 1_024  # of one metric's name
    table_bytes: int = 64 << 20  # of all tables, at DEFINITION_BYTES and the name a metric
    held: int = 100  # messages of one edge node that wait for an earlier one; at most 120
    held_bytes: int = 16 << 20  # of all held payloads


@dataclass(frozen=True)
class Options:
    """How this host behaves. Times are in ms.

    `role`: `passive` publishes nothing, `active` asks for births, `primary` also says by STATE that it is there, so
    that edge nodes may keep their data while it is not. `host_id` is needed for the last.
    `asset`: which words of the topic name the asset; a device's name is unique only within its edge node.
    `after_gap`: data that came after a lost message and before the next birth, whose names are therefore by a birth
    that may have been replaced, is read and marked, or refused.
    """

    role: Role = "passive"
    host_id: str = ""
    asset_class: str = ""
    asset: Literal["device", "node-device", "group-node-device"] = "device"
    after_gap: Literal["mark", "refuse"] = "mark"
    transient: Literal["keep", "skip"] = "keep"
    unit_keys: tuple[str, ...] = ("engUnit", "engineeringUnit", "Engineering Units", "units", "unit")
    reorder_ms: int = 2_000
    rebirth_ms: int = 1_000  # between two requests to one edge node; doubled while none is answered
    rebirth_most_ms: int = 300_000
    rebirths_per_s: int = 20  # to all edge nodes together
    device_birth_ms: int = 30_000  # a device that is not born within it after its edge node is offline
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.role == "primary" and (not self.host_id or set(self.host_id) & set("/+#\0")):
            raise BadSetting(f"host id {self.host_id!r} cannot stand in a topic", hint="a word without /, + and #")
        if self.asset_class:
            check_name(self.asset_class, "asset class")
        if not 1 <= self.limits.held <= 120:
            raise BadSetting(f"{self.limits.held} held messages", hint="1 to 120: sequence numbers repeat after 256")
        if min(self.reorder_ms, self.rebirth_ms, self.rebirths_per_s) < 1:
            raise BadSetting("reorder_ms, rebirth_ms and rebirths_per_s are at least 1")
