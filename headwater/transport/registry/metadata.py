"""Signed metadata as pure functions: build it, change it, sign it, check it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from headwater.contract.errors import Conflict, Untrusted
from headwater.contract.refusals import BAD_SIGNATURE
from headwater.transport.registry.layout import DELEGATED, PLANS, TargetInfo

Content = TypeVar("Content", Root, Targets, Snapshot, Timestamp)
Keys = Mapping[str, Sequence[CryptoSigner]]


@dataclass(frozen=True)
class State:
    """One consistent, verified state of a repository, and the tag of the timestamp that points to it."""

    root: Root
    targets: Targets
    roles: dict[str, Targets]
    snapshot: Snapshot
    timestamp: Timestamp
    etag: str

    def with_role(self, name: str, role: Targets) -> State:
        """The state with one delegated role replaced."""
        return replace(self, roles={**self.roles, name: role})


def verified(kind: type[Content], data: bytes, delegator: Root | Targets, role: str) -> Content:
    """Content of metadata that `delegator`'s keys for `role` signed; Untrusted otherwise. Expiry is not looked at."""
    try:
        metadata = Metadata[Any].from_bytes(data)
        if not isinstance(metadata.signed, kind):
            raise Untrusted(f"metadata of {role} is of type {metadata.signed.type}", reason=BAD_SIGNATURE)
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except RepositoryError as error:
        raise Untrusted(f"metadata of {role} is not signed as it should be: {error}", reason=BAD_SIGNATURE) from error
    return metadata.signed


def signed(content: Root | Targets | Snapshot | Timestamp, signers: Sequence[CryptoSigner]) -> bytes:
    """Serialised metadata with a signature by each of `signers`."""
    metadata: Metadata[Any] = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def expiry(role: str, now: datetime) -> datetime:
    """When metadata of `role` signed at `now` expires, to the second, as TUF writes times."""
    return now.astimezone(UTC).replace(microsecond=0) + timedelta(days=PLANS[role].days)


def new_root(keys: Keys, now: datetime) -> Root:
    """Version 1 of the root: the keys and thresholds of the four top roles."""
    root = Root(expires=expiry("root", now), consistent_snapshot=True)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.roles[role] = Role([], PLANS[role].threshold)
        for signer in keys[role]:
            root.add_key(signer.public_key, role)
    return root


def new_delegations(keys: Keys, now: datetime) -> Targets:
    """Version 1 of the targets: two terminating delegations with disjoint paths, and no file of its own."""
    known: dict[str, Key] = {signer.public_key.keyid: signer.public_key for role in DELEGATED for signer in keys[role]}
    roles = {
        role: DelegatedRole(
            role,
            [signer.public_key.keyid for signer in keys[role]],
            PLANS[role].threshold,
            terminating=True,
            paths=[PLANS[role].pattern],
        )
        for role in DELEGATED
    }
    return Targets(expires=expiry("targets", now), delegations=Delegations(known, dict(roles)))


def merged(
    role: Targets, name: str, files: Mapping[str, bytes], custom: Mapping[str, dict[str, Any]], now: datetime
) -> Targets:
    """The next version of a role with `files` added; Conflict where a path is signed with other bytes already."""
    targets = dict(role.targets)
    for path, data in files.items():
        target = TargetFile.from_data(path, data)
        if path in custom:
            target.unrecognized_fields["custom"] = custom[path]
        old = targets.get(path)
        if old is not None and (old.hashes, old.length) != (target.hashes, target.length):
            raise Conflict(f"{path} is published already, with other bytes", hint="publish under the next number")
        targets[path] = target
    return Targets(role.version + 1, expires=expiry(name, now), targets=targets)


def next_snapshot(state: State, documents: Mapping[str, tuple[int, bytes]], now: datetime) -> Snapshot:
    """The snapshot after `state` in which each document (by role: version and bytes) replaces the former one."""
    meta = dict(state.snapshot.meta)
    for role, (version, data) in documents.items():
        meta[f"{role}.json"] = MetaFile.from_data(version, data, ["sha256"])
    return Snapshot(state.snapshot.version + 1, expires=expiry("snapshot", now), meta=meta)


def next_timestamp(version: int, snapshot: tuple[int, bytes], now: datetime) -> Timestamp:
    """The timestamp of `version` that points to a snapshot (its version and bytes)."""
    meta = MetaFile.from_data(snapshot[0], snapshot[1], ["sha256"])
    return Timestamp(version, expires=expiry("timestamp", now), snapshot_meta=meta)


def info(target: TargetFile) -> TargetInfo:
    """What is signed about a target; Untrusted where there is no SHA-256."""
    sha256 = target.hashes.get("sha256")
    if sha256 is None:
        raise Untrusted(f"{target.path} is signed without a SHA-256", reason=BAD_SIGNATURE)
    custom = target.custom
    return TargetInfo(sha256, target.length, custom if isinstance(custom, dict) else {})
