"""The versions that are held in memory, and those that were refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from edge_agent.scorer.models import Id, Loaded, Rejected, load
from headwater.contract import refusals
from headwater.contract.features import FeatureSpec
from headwater.contract.messages import Refusal
from headwater.contract.windows import Charge

_log = structlog.get_logger(__name__)
_MOST_REFUSALS = 16
# They speak of the bytes on the disk, which the updater mends; any other speaks of the version.
_MENDABLE = frozenset({refusals.NOT_ON_DISK, refusals.BAD_LENGTH, refusals.BAD_DIGEST})


class Roster:
    """Loads versions from below a state folder; a refusal stands until a later generation asks for the version."""

    def __init__(self, state: Path) -> None:
        self.loaded: dict[Id, Loaded] = {}
        self._state = state
        self._refused: dict[Id, Refusal] = {}

    @property
    def refused(self) -> list[Refusal]:
        """The last refusals of this life, oldest first."""
        return list(self._refused.values())

    def want(self, wanted: Id, generation: int, now_ms: int) -> Loaded | None:
        """The version, loaded when it is not yet; None when it is refused.

        What is missing or altered on the disk is looked for each time; any other refusal is final within a generation.
        """
        if wanted in self.loaded:
            return self.loaded[wanted]
        before = self._refused.get(wanted)
        if before is not None and before.generation >= generation and before.reason not in _MENDABLE:
            return None
        try:
            self.loaded[wanted] = load(self._state, wanted)
        except Rejected as error:
            self._refuse(wanted, error, generation, now_ms)
            return None
        # Also what was refused of this version before the digest of its manifest was recorded.
        self._refused = {each: refusal for each, refusal in self._refused.items() if each[:3] != wanted[:3]}
        return self.loaded[wanted]

    def features(self, charge: Charge) -> FeatureSpec | None:
        """The features of a version in charge; None where it is not loaded."""
        found = self.loaded.get(Id.of(charge.asset_class, charge))
        return found.manifest.features if found is not None else None

    def keep(self, ids: Iterable[Id]) -> None:
        """Forget every loaded version but these."""
        kept = set(ids)
        self.loaded = {each: loaded for each, loaded in self.loaded.items() if each in kept}

    def _refuse(self, wanted: Id, error: Rejected, generation: int, now_ms: int) -> None:
        before = self._refused.pop(wanted, None)
        if before is None or (before.reason, before.generation) != (error.reason, generation):
            _log.warning(
                "model refused",
                asset_class=wanted.asset_class,
                version=wanted.version,
                reason=error.reason,
                why=str(error),
            )
            before = Refusal(wanted.asset_class, wanted.version, error.reason, str(error), generation, now_ms)
        self._refused[wanted] = before
        while len(self._refused) > _MOST_REFUSALS:
            del self._refused[next(iter(self._refused))]
