"""Rollout documents: the present one of a class, and pure functions that make the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, Refused
from headwater.contract.manifest import MODEL_FILE, model_path
from headwater.contract.names import check_site
from headwater.contract.rollout import (
    Rollout,
    Target,
    decode_rollout,
    in_field,
    newest_generation,
    rank,
    rollout_path,
    wave_size,
)
from headwater.transport.registry.publisher import Publisher

OPEN = ("running", "paused")


class Documents:
    """The signed rollout documents of a repository; every change is a new generation, and none is overwritten."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def current(self, asset_class: str) -> Rollout | None:
        """The document with the highest generation of a class, or None when there is none."""
        generation = newest_generation(self._publisher.targets(f"rollout/{asset_class}/"), asset_class)
        if not generation:
            return None
        return decode_rollout(self._publisher.read(rollout_path(asset_class, generation)))

    def classes(self) -> list[str]:
        """Classes that have a rollout."""
        return sorted({path.split("/")[1] for path in self._publisher.targets("rollout/")})

    def target(self, asset_class: str, version: int) -> Target:
        """A published version with its digest; BadInput when it is not signed."""
        path = model_path(asset_class, version, MODEL_FILE)
        found = self._publisher.targets(path).get(path)
        if found is None:
            known = ", ".join(map(str, self._publisher.versions(asset_class))) or "none"
            raise BadInput(f"version {version} of {asset_class} is not published", hint=f"published versions: {known}")
        return Target(version, found.sha256)

    def publish(self, rollout: Rollout) -> None:
        """Sign a document; Conflict when somebody else has published this generation."""
        rollout.check()
        path = rollout_path(rollout.asset_class, rollout.generation)
        self._publisher.publish({path: rollout.encode()})


def begin(current: Rollout | None, asset_class: str, target: Target, sites: Sequence[str], reason: str) -> Rollout:
    """The document of a new rollout that has not reached any site yet. Refused while another one is open."""
    if current is not None and current.state in OPEN:
        raise Refused(
            f"rollout {current.rollout_id} of {asset_class} is {current.state}",
            hint=f"go on with: headwater fleet rollout resume --class {asset_class}, "
            f"or undo it with: headwater fleet rollout rollback --class {asset_class}",
        )
    if not sites:
        raise BadInput("a rollout needs at least one site", hint="--sites lyon,osaka")
    generation = 1 if current is None else current.generation + 1
    rollout_id = f"{asset_class}-{generation}-{sha256(target.sha256.encode())[:6]}"[:40]
    return Rollout(
        rollout_id=rollout_id,
        asset_class=asset_class,
        generation=generation,
        target=target,
        previous=None if current is None else in_field(current),
        sites=rank(rollout_id, [check_site(site) for site in sites]),
        reached=0,
        state="running",
        pins={} if current is None else current.pins,
        begun=generation,
        reason=reason,
        created_at=_now(),
    )


def waves(shares: Sequence[float], sites: int) -> list[int]:
    """Sites reached after each wave; BadInput unless the shares grow to 1."""
    if not shares or list(shares) != sorted(set(shares)) or shares[-1] != 1:
        raise BadInput(f"waves {','.join(map(str, shares))} do not grow to 1", hint="such as 0.1,0.5,1")
    return sorted({wave_size(share, sites) for share in shares})


def reach(rollout: Rollout, sites: int) -> Rollout:
    """The same rollout with its next wave."""
    first = rollout.reached == 0
    generation = rollout.generation if first else rollout.generation + 1
    return msgspec.structs.replace(rollout, generation=generation, reached=sites, state="running", created_at=_now())


def changed(rollout: Rollout, **changes: object) -> Rollout:
    """The next generation of a document."""
    return msgspec.structs.replace(rollout, generation=rollout.generation + 1, created_at=_now(), **changes)


def pinned(rollout: Rollout, site: str, target: Target, reason: str) -> Rollout:
    """The next generation, in which `site` runs `target` whatever the waves say."""
    return changed(rollout, pins={**rollout.pins, check_site(site): target}, reason=reason)


def sent_back(rollout: Rollout, target: Target, reason: str) -> Rollout:
    """The next generation, in which every site that is not pinned runs `target`.

    BadInput unless it is the previous one or an earlier one: what is newer goes out in waves.
    """
    if target != rollout.previous and target.version >= rollout.target.version:
        raise BadInput(
            f"version {target.version} is not before {rollout.target.version} of {rollout.asset_class}",
            hint=f"headwater fleet rollout start --class {rollout.asset_class} --version {target.version} sends it out",
        )
    return changed(rollout, state="cancelled", previous=target, reason=reason)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
