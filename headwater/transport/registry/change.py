"""One change of a repository, signed and verified as a whole before the first byte of it is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tuf.api.metadata import Snapshot, Targets, Timestamp

from headwater.contract.errors import Conflict, Refused
from headwater.transport.objects import ObjectStore
from headwater.transport.registry.layout import TIMESTAMP_KEY
from headwater.transport.registry.metadata import State, next_snapshot, next_timestamp, signed, verified
from headwater.transport.registry.repository import MAX_METADATA_BYTES, put_next
from headwater.transport.registry.ring import Ring


class Change:
    """New documents of some roles on top of a state, with the snapshot and the timestamp that follow from them.

    Making it raises Untrusted unless every signature would be accepted by those who read it: a repository that a
    wrong key has signed is of no use to anybody.
    """

    def __init__(self, state: State, roles: Mapping[str, Targets], ring: Ring, now: datetime) -> None:
        self._state, self._roles, self._now = state, roles, now
        self._signers = {role: ring.signers(role, state.targets) for role in roles}
        self._signers |= {role: ring.signers(role, state.root) for role in ("snapshot", "timestamp")}
        self._rehearse()

    def _rehearse(self) -> None:
        """Sign all of it, and read it as an edge would."""
        state = self._state
        documents = {role: (new.version, signed(new, self._signers[role])) for role, new in self._roles.items()}
        for role, (_, data) in documents.items():
            _demand_newer(role, verified(Targets, data, state.targets, role), state.roles[role])
        snapshot = signed(next_snapshot(state, documents, self._now), self._signers["snapshot"])
        follower = verified(Snapshot, snapshot, state.root, "snapshot")
        _demand_newer("snapshot", follower, state.snapshot)
        timestamp = self._timestamp((follower.version, snapshot))
        _demand_newer("timestamp", verified(Timestamp, timestamp, state.root, "timestamp"), state.timestamp)

    def _timestamp(self, snapshot: tuple[int, bytes]) -> bytes:
        following = next_timestamp(self._state.timestamp.version + 1, snapshot, self._now)
        return signed(following, self._signers["timestamp"])

    def write(self, store: ObjectStore) -> bool:
        """Roles, snapshot, timestamp, in this order; False when somebody else has changed the repository meanwhile."""
        documents = {role: put_next(store, role, new, self._signers[role]) for role, new in self._roles.items()}
        follower = next_snapshot(self._state, documents, self._now)
        timestamp = self._timestamp(put_next(store, "snapshot", follower, self._signers["snapshot"]))
        try:
            store.put(TIMESTAMP_KEY, timestamp, if_match=self._state.etag)
        except Conflict:
            # Ours after all, when its answer was lost and the request sent twice.
            found = store.get(TIMESTAMP_KEY, max_bytes=MAX_METADATA_BYTES)
            return found is not None and found.data == timestamp
        return True


def _demand_newer(role: str, new: Targets | Snapshot | Timestamp, old: Targets | Snapshot | Timestamp) -> None:
    if new.version <= old.version:
        raise Refused(f"version {new.version} of {role} would not follow {old.version}")
