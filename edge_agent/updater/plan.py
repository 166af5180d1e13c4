"""What to do about a rollout document: pure decisions, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from headwater.contract.desired import Wanted
from headwater.contract.errors import BadInput, HeadwaterError, Refused, Untrusted
from headwater.contract.messages import Refusal
from headwater.contract.refusals import BAD_ROLLOUT, BAD_SIGNATURE, EXPIRED
from headwater.contract.rollout import Rollout, Target, decode_rollout

MOST_REFUSALS = 16  # remembered and reported, the newest


def check_generation(asset_class: str, newest: int, floor: int) -> None:
    """Untrusted when the store offers less than this edge has seen: an old document, signed long ago, is replayed."""
    if newest < floor:
        raise Untrusted(
            f"rollout of {asset_class} went back from generation {floor} to {newest}",
            hint="somebody replays an old state of the store, or it was set up anew",
            reason=BAD_SIGNATURE,
        )


def read_document(data: bytes, asset_class: str, generation: int) -> Rollout:
    """The rollout document, proven to be the one that its name promises; BadInput (bad-rollout) otherwise."""
    try:
        rollout = decode_rollout(data)
    except BadInput as error:
        raise BadInput(str(error), hint=error.hint, reason=BAD_ROLLOUT) from error
    if (rollout.asset_class, rollout.generation) != (asset_class, generation):
        raise BadInput(
            f"rollout/{asset_class}/{generation}.json is for {rollout.asset_class} generation {rollout.generation}",
            reason=BAD_ROLLOUT,
        )
    return rollout


def is_settled(asset_class: str, generation: int, wanted: Wanted | None, refused: Iterable[Refusal]) -> bool:
    """Whether a generation was dealt with: placed, or refused, which is not tried again until the document changes."""
    return (wanted is not None and wanted.generation == generation) or any(
        (refusal.asset_class, refusal.generation) == (asset_class, generation) for refusal in refused
    )


def step(wanted: Wanted | None, target: Target | None) -> Literal["stay", "same", "place"]:
    """What a document asks of this site: nothing, what it has already, or a version to be placed."""
    if target is None:
        return "stay"
    if wanted is not None and target_of(wanted) == target:
        return "same"
    return "place"


def target_of(wanted: Wanted) -> Target:
    """The version that was placed, as a document names it."""
    return Target(wanted.version, wanted.sha256)


def is_refusal(error: HeadwaterError) -> bool:
    """Whether the version itself is bad, rather than the moment.

    A signature that has expired or does not verify says nothing about the version: it is looked at again.
    """
    return bool(error.reason) and error.reason not in (EXPIRED, BAD_SIGNATURE)


def phase_after(problem: HeadwaterError | None) -> Literal["idle", "waiting", "stuck"]:
    """Whether waiting may help: a store comes back, the fleet renews a signature, a content arrives."""
    if problem is None:
        return "idle"
    for_good = isinstance(problem, (BadInput, Refused, Untrusted)) and problem.reason != EXPIRED
    return "stuck" if for_good else "waiting"


def with_refusal(refused: list[Refusal], new: Refusal) -> list[Refusal]:
    """The newest refusals, the last one last."""
    return [*refused, new][-MOST_REFUSALS:]
