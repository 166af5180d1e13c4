"""Looks at a root of trust and at keys as files, without using them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from headwater.contract.errors import BadInput, BadSetting, Refused
from headwater.transport.registry.keys import signers
from headwater.transport.registry.layout import ROOT_FILE
from headwater.transport.registry.metadata import verified

_OTHERS_READ, _OTHERS_ENTER = 0o004, 0o001


class RootAnswer(NamedTuple):
    """What a root.json says: its version, until when it is good, and the ids of each top role's keys."""

    version: int
    expires: datetime
    keys: dict[str, frozenset[str]]


def look_at_root(path: Path) -> RootAnswer:
    """A root of trust as an edge would take it.

    Raises BadSetting when it cannot be read, BadInput when it is no metadata, Untrusted when it is not a root that
    its own keys signed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadSetting(
            f"the root of trust {path} cannot be read: {error.strerror}",
            hint="copy root.json here from where `headwater fleet keys init` was run, readable by this user",
        ) from error
    try:
        named = Metadata[Root].from_bytes(data).signed
    except RepositoryError as error:
        raise BadInput(f"{path} is no root of trust: {error}", hint="copy root.json here once more") from error
    root = verified(Root, data, named, "root")
    return RootAnswer(root.version, root.expires, {name: frozenset(role.keyids) for name, role in root.roles.items()})


def look_at_keys(folder: Path, roles: Sequence[str]) -> RootAnswer:
    """The root.json beside the keys of `roles`, each of which can be used and belongs to it.

    Raises BadSetting without a folder, what `look_at_root` raises, Refused where a role has no key or one of another
    fleet, BadInput for a file that is no key.
    """
    if not folder.is_dir():
        raise BadSetting(
            f"there is no folder {folder}",
            hint="make keys with: headwater fleet keys init; or let the setting `keys` name their folder",
        )
    root = look_at_root(folder / ROOT_FILE)
    for role in roles:
        known = root.keys.get(role)  # of top roles; who signs models and rollouts stands in the store
        strangers = [
            key.public_key.keyid for key in signers(folder, role) if known and key.public_key.keyid not in known
        ]
        if strangers:
            raise Refused(
                f"a key of the role {role} in {folder} is not one that {folder / ROOT_FILE} names",
                hint="keep the keys and the root.json of one fleet together",
            )
    return root


def seen_by_others(folder: Path) -> list[Path]:
    """Keys that any user of this machine may read."""
    if not folder.stat().st_mode & _OTHERS_ENTER:
        return []
    return sorted(key for key in folder.glob("*.pem") if key.stat().st_mode & _OTHERS_READ)
