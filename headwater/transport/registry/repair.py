"""Bring back a repository that somebody signed with keys which are not its own.

Whoever signs is checked before anything is written (change.py); this is for repositories that older releases,
or other programs, have spoilt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp

from headwater.contract.errors import Conflict, DataMissing, Untrusted
from headwater.contract.refusals import BAD_SIGNATURE
from headwater.transport.objects import ObjectStore
from headwater.transport.registry.change import Change
from headwater.transport.registry.layout import DELEGATED, METADATA, ROOT_FILE, TIMESTAMP_KEY
from headwater.transport.registry.metadata import Content, State, expiry, verified
from headwater.transport.registry.repository import (
    MAX_METADATA_BYTES,
    Clock,
    demand_conditional_writes,
    newest_root,
    read_document,
    read_root,
    utc_now,
)
from headwater.transport.registry.ring import Ring


def repair(store: ObjectStore, keys_dir: Path, *, clock: Clock = utc_now, dry_run: bool = False) -> list[str]:
    """Sign anew what the repository's own keys have not signed; return those roles, none when it was whole.

    The spoilt timestamp and snapshot only say which documents belonged together. What is in them counts when root and
    targets verify: a document of `models` or `rollout` as its own role signed it, and of a spoilt one only those files
    that its role has signed before. So nobody has anything signed that was not; the most that one who can write to the
    store gets is an older choice among it, which he could serve without this too.

    Raises Untrusted where root, targets or the keys do not fit, DataMissing where the documents are gone, Conflict when
    somebody publishes meanwhile.
    """
    state, spoilt = _salvaged(store, read_root(keys_dir / ROOT_FILE))
    if not spoilt:
        return []
    roles = {role: state.roles[role] for role in DELEGATED if role in spoilt}
    for role, content in roles.items():
        roles[role] = Targets(content.version + 1, expires=expiry(role, clock()), targets=content.targets)
    change = Change(state, roles, Ring(keys_dir), clock())
    if dry_run:
        return spoilt
    demand_conditional_writes(store)
    if not change.write(store):
        raise Conflict("somebody published meanwhile", hint="try again")
    return spoilt


def _salvaged(store: ObjectStore, trusted_root: bytes) -> tuple[State, list[str]]:
    """The state to go on from, and the roles that were not signed as they should be."""
    root = newest_root(store, trusted_root)
    found = store.get(TIMESTAMP_KEY, max_bytes=MAX_METADATA_BYTES)
    if found is None:
        raise DataMissing("there is no signed repository in that store", hint="run `headwater fleet keys init` once")
    spoilt: list[str] = []
    timestamp = _read(Timestamp, found.data, "timestamp")
    data = read_document(store, "snapshot", timestamp.snapshot_meta)
    snapshot = _read(Snapshot, data, "snapshot")
    try:
        verified(Timestamp, found.data, root, "timestamp")
    except Untrusted:
        spoilt.append("timestamp")
    try:
        verified(Snapshot, data, root, "snapshot")
    except Untrusted:
        spoilt.append("snapshot")
    targets = verified(Targets, read_document(store, "targets", snapshot.meta.get("targets.json")), root, "targets")
    roles = {}
    for role in DELEGATED:
        data = read_document(store, role, snapshot.meta.get(f"{role}.json"))
        try:
            roles[role] = verified(Targets, data, targets, role)
        except Untrusted:
            roles[role] = _signed_before(store, targets, role, _read(Targets, data, role))
            spoilt.append(role)
    # Each publication raised both by one at least, so that no edge has seen a higher one than this.
    timestamp.version = max(timestamp.version, snapshot.version)
    return State(root, targets, roles, snapshot, timestamp, found.etag), spoilt


def _read(kind: type[Content], data: bytes, role: str) -> Content:
    """What metadata says, whoever signed it."""
    try:
        metadata = Metadata[Any].from_bytes(data)
    except RepositoryError as error:
        raise _beyond(role, str(error)) from error
    if not isinstance(metadata.signed, kind):
        raise _beyond(role, f"it is of type {metadata.signed.type}")
    return metadata.signed


def _beyond(role: str, why: str) -> Untrusted:
    return Untrusted(
        f"metadata of {role} cannot be repaired: {why}",
        hint=f"put {TIMESTAMP_KEY} back from a backup, or from the store's older versions of it",
        reason=BAD_SIGNATURE,
    )


def _signed_before(store: ObjectStore, targets: Targets, role: str, spoilt: Targets) -> Targets:
    """A spoilt document without the files that its role has never signed."""
    known: dict[str, list[TargetFile]] = {}
    for key in store.keys(METADATA):
        if not key.endswith(f".{role}.json"):
            continue
        found = store.get(key, max_bytes=MAX_METADATA_BYTES)
        try:
            content = verified(Targets, found.data if found else b"", targets, role)
        except Untrusted:
            continue
        for path, target in content.targets.items():
            known.setdefault(path, []).append(target)
    kept = {path: target for path, target in spoilt.targets.items() if target in known.get(path, [])}
    return Targets(spoilt.version, expires=spoilt.expires, targets=kept)
