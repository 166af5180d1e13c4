"""Whether a wave has passed: a pure function of what its sites report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from headwater.contract.messages import Status
from headwater.contract.rollout import Rollout


class Verdict(NamedTuple):
    """`sites` are those that `state` is about: still waited for, arrived, or the one that failed."""

    state: Literal["waiting", "passed", "failed"]
    sites: tuple[str, ...]
    reason: str = ""
    detail: str = ""


def verdict(rollout: Rollout, statuses: Mapping[str, Status], *, waited_s: float, timeout_s: float) -> Verdict:
    """Judge the sites that the rollout has reached and that are not pinned.

    One refusal of the target, or of the document, since the rollout began fails the wave. Silence is neither success
    nor failure until `timeout_s` has passed; then it fails as `timeout`.
    """
    wave = [site for site in rollout.sites[: rollout.reached] if site not in rollout.pins]
    for site in wave:
        refusal = _refusal(rollout, statuses.get(site))
        if refusal is not None:
            return Verdict("failed", (site,), *refusal)
    missing = tuple(site for site in wave if not _arrived(rollout, statuses.get(site)))
    if not missing:
        return Verdict("passed", tuple(wave))
    if waited_s >= timeout_s:
        return Verdict("failed", missing, "timeout", f"no report of the new version within {timeout_s:.0f} s")
    return Verdict("waiting", missing)


def _arrived(rollout: Rollout, status: Status | None) -> bool:
    active = status.active.get(rollout.asset_class) if status else None
    return active is not None and active.sha256 == rollout.target.sha256 and active.version == rollout.target.version


def _refusal(rollout: Rollout, status: Status | None) -> tuple[str, str] | None:
    """A refusal of the target since the rollout began, or of a whole document (version 0) while nothing arrived."""
    counted = (rollout.target.version,) if _arrived(rollout, status) else (rollout.target.version, 0)
    for refusal in status.refused if status else ():
        same = refusal.asset_class == rollout.asset_class and refusal.version in counted
        if same and refusal.generation >= rollout.begun:
            return refusal.reason, refusal.detail
    return None
