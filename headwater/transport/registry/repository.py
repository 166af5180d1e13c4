"""A repository in a store: make an empty one, read its verified state, add write-once documents to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from headwater.contract.errors import BadInput, Conflict, DataMissing, Refused, Untrusted
from headwater.contract.refusals import BAD_DIGEST, BAD_SIGNATURE
from headwater.transport.files import file_error, replace_durably
from headwater.transport.objects import ObjectStore, probe_conditional_writes
from headwater.transport.registry.keys import make_keys, missing_keys, signers
from headwater.transport.registry.layout import DELEGATED, PLANS, ROOT_FILE, TIMESTAMP_KEY, metadata_key
from headwater.transport.registry.metadata import (
    State,
    expiry,
    new_delegations,
    new_root,
    next_timestamp,
    signed,
    verified,
)
from headwater.transport.registry.ring import Ring

Clock = Callable[[], datetime]
Document = tuple[int, bytes]  # version and content of a write-once file
Versioned = TypeVar("Versioned", Targets, Snapshot)
MAX_METADATA_BYTES = 5_000_000  # python-tuf's bound for targets metadata


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


def init_repository(store: ObjectStore, keys_dir: Path, *, clock: Clock = utc_now) -> bytes:
    """Make keys (where `keys_dir` has none) and an empty signed repository; return root.json, which edges need.

    Refused when the store ignores conditional writes or holds a repository. A crash at any point leaves what the
    next call completes: root.json is on disk before it is in the store, and the timestamp is written last.
    """
    check_init(store, keys_dir)
    demand_conditional_writes(store, writers=8)
    root_file = keys_dir / ROOT_FILE
    if not _exists(root_file):
        make_keys(keys_dir)
        keys = {role: signers(keys_dir, role) for role in PLANS}
        replace_durably(root_file, signed(new_root(keys, clock()), keys["root"]))
    root, keys = read_root(root_file), _keys_of_root(keys_dir)
    put_once(store, metadata_key("root", 1), root)
    documents = {"targets": put_next(store, "targets", new_delegations(keys, clock()), keys["targets"])}
    for role in DELEGATED:
        documents[role] = put_next(store, role, Targets(expires=expiry(role, clock())), keys[role][:1])
    meta = {f"{role}.json": MetaFile.from_data(*document, ["sha256"]) for role, document in documents.items()}
    first = Snapshot(expires=expiry("snapshot", clock()), meta=meta)
    snapshot = put_next(store, "snapshot", first, keys["snapshot"])
    store.put(TIMESTAMP_KEY, signed(next_timestamp(1, snapshot, clock()), keys["timestamp"]), if_absent=True)
    return root


def check_init(store: ObjectStore, keys_dir: Path) -> bool:
    """Whether `init_repository` would make keys (False: those that are there would be used).

    Raises what it would raise, as far as that shows without writing: the race of writers is not held.
    """
    _refuse_repository(store)
    if not _exists(keys_dir / ROOT_FILE):
        return bool(missing_keys(keys_dir))
    _keys_of_root(keys_dir)
    return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise file_error(error, path) from error


def _keys_of_root(keys_dir: Path) -> dict[str, list[CryptoSigner]]:
    """All keys of a folder by role; Untrusted when those of a role are not the ones that its root.json names."""
    trusted = read_root(keys_dir / ROOT_FILE)
    root, ring = _parsed_root(trusted), Ring(keys_dir)
    keys = {role: signers(keys_dir, role) for role in PLANS}
    return keys | {role: ring.signers(role, root) for role in ("targets", "snapshot", "timestamp")}


def _refuse_repository(store: ObjectStore) -> None:
    if store.head(TIMESTAMP_KEY) is not None:
        raise Refused("there is a signed repository in that store already", hint="choose another bucket or prefix")


def read_root(path: Path) -> bytes:
    """The root.json of a folder of keys; BadInput when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", hint="check its owner and mode") from error


def demand_conditional_writes(store: ObjectStore, *, writers: int = 2) -> None:
    """Refused when the store does not keep publishers apart. A race of 2 takes 10 ms; of 8, seconds on SeaweedFS."""
    fault = probe_conditional_writes(store, writers=writers)
    if fault is not None:
        raise Refused(
            f"that store is not fit for publishing: {fault}",
            hint="use one that honours conditional writes (SeaweedFS, versitygw, AWS), or a file:// folder",
        )


def put_once(store: ObjectStore, key: str, data: bytes) -> None:
    """Write a file that never changes; Untrusted when it is there with other bytes."""
    try:
        store.put(key, data, if_absent=True)
    except Conflict:
        found = store.get(key, max_bytes=max(len(data), MAX_METADATA_BYTES))
        if found is None or found.data != data:
            raise Untrusted(f"object {key} is there with other bytes", reason=BAD_DIGEST) from None


def put_next(store: ObjectStore, role: str, content: Versioned, signers: Sequence[CryptoSigner]) -> Document:
    """Sign and write a document under its version, or under the next that nobody has used.

    A used one may be left over from a publisher that died: versions may have gaps, since only what the timestamp
    leads to counts.
    """
    while True:
        data = signed(content, signers)
        try:
            store.put(metadata_key(role, content.version), data, if_absent=True)
        except Conflict:
            content.version += 1
        else:
            return content.version, data


def read_state(store: ObjectStore, trusted_root: bytes) -> State:
    """The state that the timestamp leads to, verified from `trusted_root` on; expired metadata is accepted.

    Raises Untrusted for a wrong signature, length or digest, DataMissing where there is no repository.
    """
    root = newest_root(store, trusted_root)
    found = store.get(TIMESTAMP_KEY, max_bytes=MAX_METADATA_BYTES)
    if found is None:
        raise DataMissing("there is no signed repository in that store", hint="run `headwater fleet keys init` once")
    timestamp = verified(Timestamp, found.data, root, "timestamp")
    snapshot = verified(Snapshot, read_document(store, "snapshot", timestamp.snapshot_meta), root, "snapshot")
    targets = verified(Targets, read_document(store, "targets", snapshot.meta.get("targets.json")), root, "targets")
    roles = {
        role: verified(Targets, read_document(store, role, snapshot.meta.get(f"{role}.json")), targets, role)
        for role in DELEGATED
    }
    return State(root, targets, roles, snapshot, timestamp, found.etag)


def newest_root(store: ObjectStore, trusted: bytes) -> Root:
    """The last of the roots that follow from the trusted one; Untrusted when one is not signed by the one before."""
    root = _parsed_root(trusted)
    while (found := store.get(metadata_key("root", root.version + 1), max_bytes=MAX_METADATA_BYTES)) is not None:
        follower = verified(Root, found.data, root, "root")
        if follower.version != root.version + 1:
            raise Untrusted(f"root {root.version + 1} calls itself {follower.version}", reason=BAD_SIGNATURE)
        root = verified(Root, found.data, follower, "root")
    return root


def _parsed_root(trusted: bytes) -> Root:
    try:
        first = Metadata[Root].from_bytes(trusted).signed
    except RepositoryError as error:
        raise BadInput(f"{ROOT_FILE} cannot be read: {error}") from error
    if not isinstance(first, Root):
        raise BadInput(f"{ROOT_FILE} is not a root of trust but {first.type}")
    return verified(Root, trusted, first, "root")


def read_document(store: ObjectStore, role: str, meta: MetaFile | None) -> bytes:
    """Write-once metadata as it was pointed to; Untrusted where it differs, DataMissing where it is gone."""
    if meta is None:
        raise Untrusted(f"the snapshot does not name {role}", reason=BAD_SIGNATURE)
    found = store.get(metadata_key(role, meta.version), max_bytes=meta.length or MAX_METADATA_BYTES)
    if found is None:
        raise DataMissing(f"{metadata_key(role, meta.version)} is not in the store, although it is signed")
    try:
        meta.verify_length_and_hashes(found.data)
    except RepositoryError as error:
        raise Untrusted(f"metadata of {role} differs from what was signed: {error}", reason=BAD_DIGEST) from error
    return found.data
