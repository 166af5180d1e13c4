"""What a host answers: messages that are settled, records of what happened, and what must be published.

All of an outcome must be written before a message that it settles is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.reasons import BAD_ASSET, BAD_TIME, TOO_LARGE, TOO_MANY, in_words
from headwater.contract.errors import BadInput

BAD_TOPIC = "bad-topic"
BAD_SEQUENCE = "bad-sequence"
NOT_BORN = "not-born"
UNKNOWN_METRIC = "unknown-metric"
TYPE_MISMATCH = "type-mismatch"
AFTER_GAP = "after-gap"
FORMER_SESSION = "former-session"
REPEATED = "repeated"
ASSET_TAKEN = "asset-taken"
TOO_MANY_NODES = "too-many-nodes"

REASONS: dict[str, str] = {
    BAD_TOPIC: "the topic is not one of Sparkplug B",
    BAD_PAYLOAD: "the payload is not Sparkplug B",
    BAD_SEQUENCE: "the sequence number is missing, or is not between 0 and 255",
    BAD_TIME: "a time is not between 1970 and 9999",
    BAD_ASSET: "the name of the edge node or device cannot be that of an asset",
    NOT_BORN: "data of an edge node or device whose birth was not seen, or that is offline",
    UNKNOWN_METRIC: "a metric whose alias or name was not in the birth",
    TYPE_MISMATCH: "a value of another type than in the birth, which has perhaps been replaced",
    AFTER_GAP: "data after a lost message and before the next birth, and the options say to refuse it",
    FORMER_SESSION: "data from before the last birth that came too late to be read by the former one",
    REPEATED: "a sequence number for the second time, with other content",
    ASSET_TAKEN: "another edge node or device has the same asset name",
    TOO_LARGE: "the payload has more bytes than is allowed",
    TOO_MANY: "more devices, metrics or readings than are allowed",
    TOO_MANY_NODES: "more edge nodes than are allowed",
}


class Refusal(NamedTuple):
    """Why a message becomes a dead letter: a key of REASONS, and a sentence."""

    reason: str
    detail: str


class Settled(NamedTuple):
    """A message of which nothing is awaited any more: its readings (none: there is nothing to write), or why not."""

    token: object
    result: list[Decoded] | Refusal


class Event(NamedTuple):
    """A record beside the readings: JSON, with the asset as key. `token` is the message that caused it, if one did.

    `stale`: an asset's metrics are no longer current, `from` host time (ms) on; `to` is null at the beginning and the
    host time of the next sign of life in a second record at the end; `reason` is `ndeath`, `ddeath`, `not-reborn` or
    `host-disconnected`. `birth`: the metrics of an asset with types and units, in `parts` records when they are many.
    """

    kind: Literal["stale", "birth"]
    token: object | None
    record: Decoded


class Publish(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass
class Outcome:
    """What came of one call. `changed`: edge nodes whose snapshot should be written (births and deaths)."""

    settled: list[Settled] = field(default_factory=list)
    publishes: list[Publish] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def refusal(error: BadInput) -> Refusal:
    """The refusal that an error stands for."""
    return Refusal(error.reason or BAD_PAYLOAD, in_words(error))


def refuse(reason: str, message: str, *, hint: str = "") -> BadInput:
    """The error to raise for a message; its words are short whatever the payload says."""
    return BadInput(in_words(message), hint=hint, reason=reason)
