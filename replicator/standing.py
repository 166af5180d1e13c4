"""How each partition stands, as its link says it into the positions topic: key `standing/<topic>/<partition>`."""

from __future__ import annotations

import msgspec

PREFIX = "standing/"


class Standing(msgspec.Struct, frozen=True):
    """One partition. Counts are of this life of the link.

    `reworked` counts source batches that were not passed on whole, by why; `void` records that were older than the
    target's retention when they were shipped.
    `filtered` counts records that rules left out, by rule, `unreadable` values that a rule could not read, as
    `<rule>: <why>, <shipped or dropped>`.
    `halted` says why the partition stands still, `hint` what to do, `exit_code` what kind of trouble it is, `tried`
    when it was last tried again, where that is done (ms since 1970).
    """

    engine: str
    reworked: dict[str, int] = {}
    void: int = 0
    halted: str = ""
    hint: str = ""
    exit_code: int = 0
    filtered: dict[str, int] = {}
    unreadable: dict[str, int] = {}
    tried: int = 0
    v: int = 1


def standing_key(topic: str, partition: int) -> bytes:
    """Key of a partition's standing."""
    return f"{PREFIX}{topic}/{partition}".encode()
