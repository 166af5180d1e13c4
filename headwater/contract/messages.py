"""JSON on the wire, one struct a topic. Unknown fields are ignored by readers; `v` is the version of the format.

Times named `t…` are sensor time, times named `…_at` the clock of the machine that wrote the record; all in ms of
Unix time.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput


class Score(msgspec.Struct, frozen=True):
    """A model's verdict on one window. `score` is None where the model gave no number.

    Of a model that follows its machines it is in healthy limits. `void_since` is the offset of `readings` since which
    such a machine runs elsewhere than where it was calibrated, so that its budget of false alarms is not promised.
    `baseline` is where it was taken to be healthy, by channel, in scaled units: what it takes to compute it again.

    Of a model of remaining life: `remaining` with the interval `low` to `high`, after `cycles` of this life, all in
    cycles; the window is the whole life. `life_since` is the offset in `readings` of the overhaul that it began with,
    -1 where none is known or readings were lost since: then the life is older than `cycles` says, and what counts from
    its begin is not to be relied on.
    """

    asset: str
    asset_class: str
    t_first: int
    t_last: int
    score: float | None
    threshold: float
    version: int
    v: int = 1
    void_since: int | msgspec.UnsetType = msgspec.UNSET
    baseline: tuple[float, ...] | msgspec.UnsetType = msgspec.UNSET
    remaining: float | msgspec.UnsetType = msgspec.UNSET
    low: float | msgspec.UnsetType = msgspec.UNSET
    high: float | msgspec.UnsetType = msgspec.UNSET
    cycles: int | msgspec.UnsetType = msgspec.UNSET
    life_since: int | msgspec.UnsetType = msgspec.UNSET


class Alarm(msgspec.Struct, frozen=True):
    """An episode that opened or closed; `channels` names the largest contributions first, as shares of the score.

    `remaining` between `low` and `high`: as in the score that did it, where that is of remaining life.
    """

    site: str
    asset: str
    asset_class: str
    episode: str
    state: Literal["opened", "closed"]
    t: int
    score: float
    threshold: float
    peak: float
    version: int
    channels: list[tuple[str, float]]
    raised_at: int
    v: int = 1
    remaining: float | msgspec.UnsetType = msgspec.UNSET
    low: float | msgspec.UnsetType = msgspec.UNSET
    high: float | msgspec.UnsetType = msgspec.UNSET


class Refusal(msgspec.Struct, frozen=True):
    """A version that this edge refused, with a code (docs/design.md lists them) and a sentence."""

    asset_class: str
    version: int
    reason: str
    detail: str
    generation: int
    at: int


class Active(msgspec.Struct, frozen=True):
    """The version that decides, and the first offset of `readings` that it judges, by partition."""

    version: int
    sha256: str
    since: dict[str, int]
    swapped_at: int
    swap_ms: int  # from the desired version being placed to the swap record being acknowledged
    source: Literal["download", "disk"]


class Void(msgspec.Struct, frozen=True):
    """A machine whose healthy limits no longer describe where it runs, since this offset and sensor time (ms)."""

    asset: str
    asset_class: str
    partition: int
    since: int
    t: int


class Status(msgspec.Struct, frozen=True):
    """The whole state of one edge; `seq` only grows."""

    site: str
    seq: int
    at: int
    agent: str
    runtime: str
    active: dict[str, Active]  # by asset class
    generation: dict[str, int]  # by asset class: highest rollout generation seen
    refused: list[Refusal]
    updater: dict[str, Any]  # phase, last_error, fetched_bytes, freshness
    counts: dict[str, int]  # windows, before_model, dead_letters, readings
    v: int = 1
    void: list[Void] = []  # the ones that have been so for longest; how many there are is in the counts


class SessionGap(msgspec.Struct, frozen=True):
    """MQTT messages that were published from `from_ms` to `to_ms` may be missing, by the clock of this edge.

    `attempt` names the connecting during which it was found; no two records have the same.
    """

    site: str
    client_id: str
    from_ms: int
    to_ms: int
    cause: Literal["session-lost", "killed-while-connecting"]
    session_before: str
    session_after: str
    attempt: str
    v: int = 1


class RetrainRequest(msgspec.Struct, frozen=True):
    """A command to train. Offsets are per cloud topic and partition [start, end); None means all there is by now.

    `dataset` is the SHA-256 of the dataset in these offsets, or, without offsets, of a frozen one.
    """

    request_id: str
    asset_class: str
    offsets: dict[str, dict[str, tuple[int, int]]] | None = None
    requested_by: str = ""
    reason: str = ""
    dataset: str | None = None
    v: int = 1


class TrainingRun(msgspec.Struct, frozen=True):
    """What became of a request; `judged`: what the judge decided (`judge`: cloud_trainer/judging/decision.py)."""

    request_id: str
    asset_class: str
    state: Literal["started", "published", "failed", "judged"]
    at: int
    version: int | None = None
    sha256: str | None = None
    dataset_sha256: str | None = None
    records: int = 0
    seconds: float = 0.0
    detail: str = ""
    judge: dict[str, Any] | None = None
    v: int = 1


Message = TypeVar("Message", bound=msgspec.Struct)


def encode(message: msgspec.Struct) -> bytes:
    """Canonical JSON of a message."""
    return canonical_json(message)


def decode(data: bytes | memoryview | None, kind: type[Message]) -> Message:
    """The message in a record's value; BadInput when it is not one of this kind and version."""
    try:
        message = msgspec.json.decode(data or b"", type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"not a {kind.__name__}: {error}") from error
    if getattr(message, "v", 1) != 1:
        raise BadInput(f"{kind.__name__} of an unknown version", hint="update this program")
    return message
