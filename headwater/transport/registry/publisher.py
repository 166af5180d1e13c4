"""For those who hold keys: sign models or rollouts into a repository."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, Conflict, DataMissing, Untrusted
from headwater.contract.refusals import BAD_DIGEST, NOT_SIGNED
from headwater.transport.objects import ObjectStore
from headwater.transport.registry.change import Change
from headwater.transport.registry.layout import (
    DELEGATED,
    MODELS,
    ROOT_FILE,
    TargetInfo,
    role_of,
    target_key,
)
from headwater.transport.registry.metadata import State, info, merged
from headwater.transport.registry.repository import (
    Clock,
    demand_conditional_writes,
    put_once,
    read_root,
    read_state,
    utc_now,
)
from headwater.transport.registry.ring import Ring
from headwater.transport.retry import pauses

_GIVE_UP_S = 60.0


class Publisher:
    """Signs files of one role (`models` or `rollout`) into a repository. Others may publish at the same time.

    Needs in `keys_dir`: root.json, a key of the role, of snapshot and of timestamp. Everything that a new
    version is based on is verified from root.json down, so that a store cannot have its own changes signed.
    """

    def __init__(self, store: ObjectStore, keys_dir: Path, role: str, *, clock: Clock = utc_now) -> None:
        if role not in DELEGATED:
            raise BadInput(f"{role!r} is not a role that signs files", hint=f"one of {', '.join(DELEGATED)}")
        self._store = store
        self._role = role
        self._clock = clock
        self._ring = Ring(keys_dir)
        for name in (role, "snapshot", "timestamp"):
            self._ring.load(name)
        self._root = read_root(keys_dir / ROOT_FILE)
        self._probed = False

    def publish(self, files: Mapping[str, bytes], custom: Mapping[str, dict[str, Any]] | None = None) -> None:
        """Sign `files` (bytes by path); visible all at once, or not at all. Without files it renews the signatures.

        Order: contents, role, snapshot, timestamp; only the last changes what anybody sees, and only if nobody
        published meanwhile: then the work is repeated on top of theirs. Raises what `check` does; Conflict also when
        others were faster for a minute; Refused when the store ignores conditional writes.
        """
        self.check(files, custom)
        if not self._probed:
            demand_conditional_writes(self._store)
            self._probed = True
        for path, data in files.items():
            put_once(self._store, target_key(path, sha256(data)), data)
        deadline = time.monotonic() + _GIVE_UP_S
        for pause in pauses(first_s=0.05, most_s=1.0):
            if self._change(files, custom or {}).write(self._store):
                return
            if time.monotonic() + pause > deadline:
                raise Conflict(f"other publishers were faster for {_GIVE_UP_S:.0f} s", hint="try again")
            time.sleep(pause)

    def check(self, files: Mapping[str, bytes], custom: Mapping[str, dict[str, Any]] | None = None) -> None:
        """Raise what publishing would raise, as far as that shows without writing.

        BadInput when the role may not sign a path, Conflict when a path is signed with other bytes already,
        Untrusted when the repository is not what root.json says, or one of the keys is not one of its keys.
        """
        for path in files:
            if role_of(path) != self._role:
                raise BadInput(f"the role {self._role} may not sign {path}")
        self._change(files, custom or {})

    def targets(self, prefix: str = "") -> dict[str, TargetInfo]:
        """Every signed file whose path begins with `prefix`."""
        return _listed(self._state(), prefix)

    def versions(self, asset_class: str) -> list[int]:
        """Published versions of a class, lowest first."""
        paths = (path.split("/") for path in self.targets(f"{MODELS}/{asset_class}/"))
        return sorted({int(parts[2]) for parts in paths if parts[2].isdecimal()})

    def read(self, path: str) -> bytes:
        """Content of a signed file; Untrusted when it is not signed or differs from what was signed."""
        target = self.targets(path).get(path)
        if target is None:
            raise Untrusted(f"{path} is not signed", reason=NOT_SIGNED)
        found = self._store.get(target_key(path, target.sha256), max_bytes=target.length)
        if found is None:
            raise DataMissing(f"the content of {path} is not in the store")
        if sha256(found.data) != target.sha256:
            raise Untrusted(
                f"{path} has other bytes than were signed",
                reason=BAD_DIGEST,
                hint="its copy in the store was changed or damaged, and no edge takes it: name another "
                "version, or train and publish the next",
            )
        return found.data

    def _state(self) -> State:
        try:
            return read_state(self._store, self._root)
        except Untrusted as error:
            raise Untrusted(
                str(error),
                hint=f"does {self._ring.folder} belong to that repository? If so, and another folder's keys have "
                "signed there: headwater fleet renew --repair",
                reason=error.reason,
            ) from error

    def _change(self, files: Mapping[str, bytes], custom: Mapping[str, dict[str, Any]]) -> Change:
        """What publishes on top of the present state."""
        state, now = self._state(), self._clock()
        role = merged(state.roles[self._role], self._role, files, custom, now)
        return Change(state, {self._role: role}, self._ring, now)


def _listed(state: State, prefix: str) -> dict[str, TargetInfo]:
    found = (target for role in state.roles.values() for target in role.targets.values())
    return {target.path: info(target) for target in found if target.path.startswith(prefix)}
