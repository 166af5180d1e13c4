"""A small repository with all its keys, so that tests can be its publisher, its edge and its attacker."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Signed, Snapshot, Timestamp

from headwater.transport.objects import MemoryStore
from headwater.transport.registry.client import Client
from headwater.transport.registry.keys import signers
from headwater.transport.registry.layout import TIMESTAMP_KEY, metadata_key
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository

MODEL = "models/pump/1/model.tflite"
ROLLOUT = "rollout/pump/1.json"


@dataclass
class Repo:
    """A repository in memory. `clock` can be turned; `forge` signs what no honest publisher would."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _edges: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.keys = self.folder / "keys"
        self.root = init_repository(self.store, self.keys, clock=self.clock)

    def clock(self) -> datetime:
        """The publishers' clock."""
        return self.now

    def publisher(self, role: str) -> Publisher:
        """A publisher of that role."""
        return Publisher(self.store, self.keys, role, clock=self.clock)

    def client(self, state: Path | None = None) -> Client:
        """An edge; a new one, unless its state folder is given."""
        return Client(self.store, state or self.folder / f"edge{next(self._edges)}", self.root)

    def key(self, name: str) -> CryptoSigner:
        """A key by the name of its file: `models-1`."""
        role, _, number = name.rpartition("-")
        return signers(self.keys, role)[int(number) - 1]

    def document(self, role: str) -> Metadata[Any]:
        """The newest metadata of a role, to be changed."""
        return Metadata[Any].from_bytes(self.store.objects[self.newest(role)])

    def newest(self, role: str) -> str:
        """Key of the newest metadata of a role."""
        if role == "timestamp":
            return TIMESTAMP_KEY
        versions = [int(k.split("/")[1].split(".")[0]) for k in self.store.objects if k.endswith(f".{role}.json")]
        return metadata_key(role, max(versions))

    def forge(self, role: str, change: Callable[[Any], None], by: list[str], *, bump: bool = True) -> None:
        """Change the signed part of a role, sign it by the named keys, and lead the timestamp to it."""
        metadata = self.document(role)
        change(metadata.signed)
        metadata.signed.version += bump
        data = self._sign(metadata, by)
        self.store.objects[TIMESTAMP_KEY if role == "timestamp" else metadata_key(role, metadata.signed.version)] = data
        if role in ("timestamp", "root"):
            return
        if role == "snapshot":
            self.point_timestamp(metadata.signed, data)
            return

        def name_it(snapshot: Snapshot) -> None:
            snapshot.meta[f"{role}.json"] = MetaFile.from_data(metadata.signed.version, data, ["sha256"])

        self.forge("snapshot", name_it, ["snapshot-1"])

    def point_timestamp(self, snapshot: Signed, data: bytes) -> None:
        """Lead the timestamp to a snapshot, by the timestamp's own key."""

        def name_it(timestamp: Timestamp) -> None:
            timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, data, ["sha256"])

        self.forge("timestamp", name_it, ["timestamp-1"])

    def _sign(self, metadata: Metadata[Any], by: list[str]) -> bytes:
        metadata.signatures.clear()
        for name in by:
            metadata.sign(self.key(name), append=True)
        return metadata.to_bytes()

    def content_key(self, path: str) -> str:
        """Key of the content of a target."""
        folder, _, name = path.rpartition("/")
        found = [k for k in self.store.objects if k.startswith(f"targets/{folder}/") and k.endswith("." + name)]
        return found[0]

    def rewrite(self, role: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the JSON of the newest metadata of a role in the store, signatures untouched."""
        document = json.loads(self.store.objects[self.newest(role)])
        change(document)
        self.store.objects[self.newest(role)] = json.dumps(document).encode()


def days(count: float) -> timedelta:
    """So many days."""
    return timedelta(days=count)
