"""A site for tests: its updater over a repository in memory, and a fleet that publishes and asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_agent.updater.cycle import once
from edge_agent.updater.settings import UpdaterSettings
from headwater.contract.canonical import sha256
from headwater.contract.desired import Desired, decode_desired, model_folder
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, decode_manifest, model_path
from headwater.contract.rollout import Rollout, Target, rollout_path
from tests.edge_agent.scorer.models import CLASS, lenient, make
from tests.transport.registry.fleet_repo import Repo, days

SITE = "lyon"


@dataclass
class Site:
    """`repo` is the fleet's, `state` the edge's."""

    repo: Repo
    state: Path
    settings: dict[str, Any] = field(default_factory=dict)
    generation: int = 0
    classes: tuple[str, ...] = (CLASS,)

    def publish(
        self, version: int, *, data: bytes | None = None, manifest: Manifest | None = None, **make_: Any
    ) -> Target:
        """Sign a version; other bytes or another manifest when given."""
        made, told = make(version, **make_)
        data, manifest = data if data is not None else made, manifest or told
        files = {
            model_path(CLASS, version, MODEL_FILE): data,
            model_path(CLASS, version, MANIFEST_FILE): manifest.encode(),
        }
        self.repo.publisher("models").publish(files)
        return Target(version, sha256(data))

    def ask(
        self,
        target: Target,
        previous: Target | None = None,
        *,
        state: Literal["running", "paused", "complete", "cancelled"] = "complete",
        reached: int = 1,
        pins: dict[str, Target] | None = None,
    ) -> int:
        """Sign a rollout document of the next generation."""
        self.generation += 1
        document = Rollout("r-1", CLASS, self.generation, target, previous, (SITE,), reached, state, pins or {})
        self.repo.publisher("rollout").publish({rollout_path(CLASS, self.generation): document.encode()})
        return self.generation

    def look(self) -> Desired:
        """One cycle; what desired.json says is what it returned."""
        found = once(self.updater_settings(), SITE, self.state, self.repo.store)
        assert decode_desired((self.state / "desired.json").read_bytes()) == found
        return found

    def updater_settings(self) -> UpdaterSettings:
        """Settings with the fleet's root of trust."""
        return UpdaterSettings(root_file=self.repo.keys / "root.json", asset_classes=self.classes, **self.settings)

    def running(self) -> int:
        """Version that desired.json asks for."""
        return decode_desired((self.state / "desired.json").read_bytes()).classes[CLASS].version

    def model_file(self, version: int) -> Path:
        """Where the model of a version lies."""
        return self.state / model_folder(CLASS, version) / MODEL_FILE

    def alter_manifest(self, version: int) -> Path:
        """Raise the threshold in a manifest on the edge's disk; it stays valid. Return where it lies."""
        path = self.model_file(version).with_name(MANIFEST_FILE)
        path.write_bytes(lenient(decode_manifest(path.read_bytes())).encode())
        return path

    def expire(self, role: str) -> None:
        """Let a role's signature expire."""
        past = self.repo.now.replace(microsecond=0) - days(1)
        self.repo.forge(role, lambda signed: setattr(signed, "expires", past), [f"{role}-1"])

    def content(self, version: int, file: str = MODEL_FILE) -> str:
        """Key in the store of a version's file."""
        return self.repo.content_key(model_path(CLASS, version, file))
