"""What the updater must not forget: desired.json, and what survives even its loss: floors and digests."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from headwater.contract.canonical import canonical_json
from headwater.contract.desired import DESIRED_FILE, Desired, Freshness, UpdaterState, decode_desired
from headwater.contract.errors import BadInput, Permanent
from headwater.transport.files import file_error, replace_durably

_log = structlog.get_logger(__name__)
_FLOORS_FILE = "floors.json"
_IDLE_MS = 60_000


class Floors(msgspec.Struct, frozen=True):
    """By asset class: the highest generation seen, and the version below which everything is revoked.

    `manifests` has by class and version the signed digest of each manifest that was placed: a version may be wanted
    again while the role that signed it cannot be had. Where it is lost, only that has to wait.
    """

    generation: dict[str, int] = {}
    revoked_below: dict[str, int] = {}
    manifests: dict[str, dict[int, str]] = {}

    def raised(self, asset_class: str, *, generation: int = 0, revoked_below: int = 0) -> Floors:
        """Floors that are at least these; they never go down."""
        return msgspec.structs.replace(
            self,
            generation={**self.generation, asset_class: max(generation, self.generation.get(asset_class, 0))},
            revoked_below={
                **self.revoked_below,
                asset_class: max(revoked_below, self.revoked_below.get(asset_class, 0)),
            },
        )

    def manifest(self, asset_class: str, version: int) -> str:
        """The digest under which a manifest was placed, "" where none is known."""
        return self.manifests.get(asset_class, {}).get(version, "")

    def placed(self, asset_class: str, version: int, manifest_sha256: str) -> Floors:
        """With the digest of one more manifest."""
        known = {**self.manifests.get(asset_class, {}), version: manifest_sha256}
        return msgspec.structs.replace(self, manifests={**self.manifests, asset_class: known})

    def gone(self, asset_class: str, versions: Collection[int]) -> Floors:
        """Without those of versions that are not kept any more."""
        known = {each: digest for each, digest in self.manifests.get(asset_class, {}).items() if each not in versions}
        return msgspec.structs.replace(self, manifests={**self.manifests, asset_class: known})


class Memory:
    """The two files in a state folder. Floors are written first: desired.json never speaks of more than they do."""

    def __init__(self, state: Path) -> None:
        self._desired_path = state / DESIRED_FILE
        self._floors_path = state / _FLOORS_FILE
        self.desired = _read_desired(self._desired_path)
        self.floors = self._read_floors()
        for asset_class, generation in self.desired.generations.items():
            self.floors = self.floors.raised(asset_class, generation=generation)

    def keep_floors(self, floors: Floors) -> None:
        """Write the floors if they changed."""
        if floors != self.floors:
            replace_durably(self._floors_path, canonical_json(floors))
            self.floors = floors

    def keep_desired(self, desired: Desired) -> None:
        """Replace desired.json, unless only the time of the last look changed, and by less than a minute."""
        if _is_news(desired, self.desired):
            replace_durably(self._desired_path, desired.encode())
            self.desired = desired

    def _read_floors(self) -> Floors:
        data = _read(self._floors_path)
        try:
            return Floors() if data is None else msgspec.json.decode(data, type=Floors)
        except msgspec.DecodeError as error:
            raise BadInput(
                f"{self._floors_path} is damaged: {error}",
                hint="delete it only if older rollouts may be accepted again",
            ) from error


def note_failure(state: Path, phase: Literal["idle", "waiting", "stuck"], why: str) -> None:
    """Say in desired.json that a look could not even begin; what is wanted stays as it is.

    Nothing is raised: a disk that cannot be written is the failure itself, or is told by the next look.
    """
    path = state / DESIRED_FILE
    with suppress(Permanent):
        before = _read_desired(path)
        now_ms = time.time_ns() // 1_000_000
        freshness: Freshness = "unverified" if phase == "stuck" else before.updater.freshness
        told = UpdaterState(phase, why, before.updater.fetched_bytes, freshness, now_ms)
        after = msgspec.structs.replace(before, updater=told)
        if _is_news(after, before):
            replace_durably(path, after.encode())


def _is_news(desired: Desired, before: Desired) -> bool:
    same = msgspec.structs.replace(desired.updater, checked_at=before.updater.checked_at)
    changed = msgspec.structs.replace(desired, updater=same) != before
    return changed or desired.updater.checked_at - before.updater.checked_at >= _IDLE_MS


def _read_desired(path: Path) -> Desired:
    data = _read(path)
    if data is None:
        return Desired()
    try:
        return decode_desired(data)
    except BadInput as error:
        _log.warning("desired.json is made anew", path=str(path), why=str(error))
        return Desired()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_error(error, path) from error
