"""What the scorer remembers in the compacted topic `state`; partition n stands for partition n of `readings`.

| key | value |
|---|---|
| `<asset>` | `AssetState`: its sliding window or life and its alarm, as they were before the reading at offset `upto` |
| `.checkpoint` | `Checkpoint`: the offset from which to go on, and who is in charge |
| `.swap.<class>.<offset>.<version>` | `Charge`: one record a swap, kept for ever so that every score can be recounted |

No asset is called so: names have no dot.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from headwater.contract.alarm import AlarmState
from headwater.contract.errors import BadInput
from headwater.contract.windows import Charge

CHECKPOINT_KEY = ".checkpoint"
SWAP_PREFIX = ".swap."


class Left(msgspec.Struct, frozen=True):
    """What the last score of a life said, in cycles, and at which sensor time in ms; see messages.Score."""

    remaining: float
    low: float
    high: float
    cycles: int
    life_since: int
    t: int
    version: int


class AssetState(msgspec.Struct, frozen=True):
    """All readings of the asset below `upto` are in it. `cadence` is the digest under which `window` is cut."""

    upto: int
    asset_class: str  # of the window, "" without one
    cadence: str
    window: dict[str, Any] | None  # Windower.snapshot or Cycles.snapshot
    alarm_class: str  # of the last score, "" before the first
    alarm: AlarmState
    windows: int = 0  # windows of this asset judged so far
    not_finite: int = 0  # of these, windows for which a model gave no number
    followed_by: str = ""  # digest of what the state of episodes is of, "" without one
    episodes: dict[str, Any] | None = None  # Episodes.snapshot
    unheeded: int = 0  # words of operators that changed nothing
    void_since: int = -1  # offset since when its limits do not describe the machine, -1 while they do
    void_t: int = 0  # sensor time then, ms
    left: Left | None = None  # of its life, None for other assets and right behind an overhaul
    renewed: int = -1  # offset of an overhaul behind which no reading came yet, -1 without one
    v: int = 1


class Checkpoint(msgspec.Struct, frozen=True):
    """Every output caused by a reading below `upto` is acknowledged, and all states stand for at least `upto`."""

    upto: int
    charges: dict[str, Charge]  # by asset class
    counts: dict[str, int]
    renewed: dict[str, int] = {}  # as that of AssetState, of assets without one
    dead_letters_from: int = 0  # offset in `dead-letters` before which none is from a reading at `upto` or later
    v: int = 1


Stored = TypeVar("Stored", AssetState, Checkpoint, Charge)


def swap_key(charge: Charge) -> str:
    """Key of the record that declares a swap."""
    return f"{SWAP_PREFIX}{charge.asset_class}.{charge.since}.{charge.version}"


def encode(stored: AssetState | Checkpoint | Charge) -> bytes:
    """JSON; floats read back to the same bits."""
    return msgspec.json.encode(stored)


def decode(data: bytes | memoryview, kind: type[Stored]) -> Stored:
    """What `encode` wrote; BadInput when it is not of this kind and version."""
    try:
        stored = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"not a {kind.__name__} in the topic `state`: {error}") from error
    if getattr(stored, "v", 1) != 1:
        raise BadInput(f"{kind.__name__} of an unknown version", hint="update the agent")
    return stored
