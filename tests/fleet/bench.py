"""A fleet in memory: signed documents, edges that obey at once, a record of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fleet.documents import Documents
from fleet.rollout import Rollouts
from headwater.contract.errors import Unreachable
from headwater.contract.manifest import MODEL_FILE, model_path
from headwater.contract.messages import Active, Refusal, Status
from headwater.contract.rollout import Rollout, Target, desired
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository

SITES = ("lyon", "osaka", "paris", "quito")
Behaviour = Callable[[str, Target], Refusal | None]


class Plants:
    """Edges that do at once what the newest document asks of them; `refuses` says which versions they will not run."""

    def __init__(self, store: Documents) -> None:
        self.store = store
        self.refuses: dict[tuple[str, int], str] = {}
        self.silent: set[str] = set()
        self.active: dict[str, Target] = {}
        self.refused: dict[str, list[Refusal]] = {}
        self.asked: list[tuple[str, int]] = []

    def read(self, sites: Sequence[str]) -> dict[str, Status]:
        document = self.store.current("pump")
        if document is None:
            return {}
        for site in set(sites) - self.silent:
            target = desired(document, site)
            if target is None or self.active.get(site) == target:
                continue
            self.asked.append((site, target.version))
            reason = self.refuses.get((site, target.version))
            if reason:
                refusal = Refusal("pump", target.version, reason, "a sentence", document.generation, 0)
                self.refused.setdefault(site, []).append(refusal)
            else:
                self.active[site] = target
        return {site: self._status(site) for site in sites if site not in self.silent}

    def _status(self, site: str) -> Status:
        target = self.active.get(site)
        active = {"pump": Active(target.version, target.sha256, {}, 0, 0, "download")} if target else {}
        return Status(site, 1, 0, "", "", active, {}, self.refused.get(site, []), {}, {})


class Events:
    """A journal in memory."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.away = False

    def write(self, event: str, rollout: Rollout, detail: str = "") -> None:
        del detail
        if self.away:
            raise Unreachable("Kafka does not answer")
        self.seen.append((event, rollout.generation))


class Bench:
    """A signed repository in memory with three versions, plants and a driver."""

    def __init__(self, keys: Path) -> None:
        store = MemoryStore()
        init_repository(store, keys)
        models = Publisher(store, keys, "models")
        models.publish({model_path("pump", n, MODEL_FILE): b"model %d" % n for n in (1, 2, 3)})
        self.documents = Documents(Publisher(store, keys, "rollout"))
        self.plants, self.events, self.said = Plants(self.documents), Events(), list[str]()
        self.rollouts = Rollouts(self.documents, self.plants, self.events, self.said.append, timeout_s=0.3, poll_s=0.01)

    def versions(self) -> dict[str, int]:
        return {site: target.version for site, target in self.plants.active.items()}
