"""Who should run what: one signed document per generation and asset class, and pure functions over it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput
from headwater.contract.names import check_name, check_site

MAX_ROLLOUT_BYTES = 65_536


class Target(msgspec.Struct, frozen=True):
    """A version of a model, by the digest of its .tflite."""

    version: int
    sha256: str


class Rollout(msgspec.Struct, frozen=True):
    """Desired state of an asset class. `generation` only grows; a site never goes back to a lower one.

    `sites` are in hash-rank order; the first `reached` of them run `target`, the others `previous`.
    A pin of a site wins over both.
    """

    rollout_id: str
    asset_class: str
    generation: int
    target: Target
    previous: Target | None
    sites: tuple[str, ...]
    reached: int
    state: Literal["running", "paused", "complete", "cancelled"]
    pins: dict[str, Target] = {}
    begun: int = 0  # generation with which this rollout began: refusals of earlier ones do not count
    reason: str = ""
    created_at: str = ""
    v: int = 1

    def check(self) -> None:
        """Raise BadInput unless the document makes sense to this agent."""
        check_name(self.asset_class, "asset class")
        check_name(self.rollout_id, "rollout id")
        for site in (*self.sites, *self.pins):
            check_site(site)
        if self.v != 1:
            raise BadInput(f"rollout document of version {self.v}, this agent knows 1", hint="update the agent")
        if self.generation < 1 or not 0 <= self.reached <= len(self.sites):
            raise BadInput(f"generation {self.generation} or reached {self.reached} is out of bounds")

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self)


def decode_rollout(data: bytes) -> Rollout:
    """A rollout document that passed `check`; BadInput otherwise."""
    if len(data) > MAX_ROLLOUT_BYTES:
        raise BadInput(f"rollout document of {len(data)} bytes, at most {MAX_ROLLOUT_BYTES}")
    try:
        rollout = msgspec.json.decode(data, type=Rollout)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"not a rollout document: {error}") from error
    rollout.check()
    return rollout


def desired(rollout: Rollout, site: str) -> Target | None:
    """What `site` should run, or None when it is not told anything yet.

    A site outside of `sites` follows the target once the rollout is complete: it joined later.
    """
    if site in rollout.pins:
        return rollout.pins[site]
    if rollout.state == "cancelled":
        return rollout.previous
    if site not in rollout.sites:
        return rollout.target if rollout.state == "complete" else rollout.previous
    reached = rollout.sites.index(site) < rollout.reached
    return rollout.target if reached else rollout.previous


def in_field(rollout: Rollout) -> Target | None:
    """What sites run that no wave moves: a complete rollout's target, else what was there before it; None: nothing."""
    return rollout.target if rollout.state == "complete" else rollout.previous


def rank(rollout_id: str, sites: Sequence[str]) -> tuple[str, ...]:
    """Sites by the hash of rollout id and site, so that no site is always the first to try."""
    return tuple(sorted(set(sites), key=lambda site: hashlib.sha256(f"{rollout_id}/{site}".encode()).digest()))


def wave_size(share: float, sites: int) -> int:
    """How many sites a wave reaches in all: ceil(share * sites), at least one; BadInput for a share outside (0, 1]."""
    if not 0 < share <= 1:
        raise BadInput(f"share {share} of a wave is not between 0 and 1")
    return max(1, math.ceil(share * sites - 1e-9))


def newest_generation(paths: Iterable[str], asset_class: str) -> int:
    """The highest n among signed `rollout/<class>/<n>.json`; 0 when there is none."""
    found = [0]
    for path in paths:
        name = path.removeprefix(f"rollout/{asset_class}/")
        number = name.removesuffix(".json")
        if name not in (path, number) and number.isascii() and number.isdecimal() and str(int(number)) == number:
            found.append(int(number))
    return max(found)


def rollout_path(asset_class: str, generation: int) -> str:
    """Name of a signed target: `rollout/pump/7.json`."""
    return f"rollout/{check_name(asset_class, 'asset class')}/{generation}.json"
