"""One chapter's clusters and the replicator between them: both roads behind relays, all of it breakable."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.replicator import clusters, mirror
from bench.replicator.cases import Case
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.contract.topics import COMPACT, TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch.settings import KafkaSettings
from tests.brokers import relayed
from tests.chaos.bed import HEADWATER, Restartable
from tests.chaos.process import Life
from tests.chaos.quota import limit
from tests.chaos.replicator.feed import KEYED, PARTITIONS, Feed
from tests.chaos.replicator.logs import Entry, Watch, ends
from tests.chaos.replicator.plan import Chapter
from tests.chaos.supervised import Supervised
from tests.proxy import Proxy
from tests.services import Broker

SITE = "chaos"
CLIENT_ID = f"headwater-replicator-{SITE}"
BACKUP = "backup"
_MIRROR_READY_S = 60.0
# A throttled connection waits two seconds at most; producers are forgotten when a fault says so.
_MORE = """\
quota.window.num=2
log.index.size.max.bytes=262144
producer.id.expiration.check.interval.ms=200
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""


@dataclass
class Bed(Supervised):
    """What faults are done to. `eaten`: records that a fault has deleted at the source, by topic and partition."""

    system: str
    chapter: Chapter
    folder: Path
    source: Broker
    target: Broker
    source_road: Proxy
    target_road: Proxy
    feed: Feed
    watch: Watch
    tools: KafkaTools
    eaten: dict[tuple[str, int], list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def start(self) -> Life:
        """A new life; of what ran before nothing is asked."""
        if self.system == HEADWATER:
            argv = [sys.executable, "-m", "headwater", "replicate", "run"]
            self.lives.append(Life(argv, self._settings(), self.folder, '"link is open"', "replicator.log"))
        else:
            self.lives.append(Life(self._mirror(), {}, self.folder, "", "mirror.log"))
        return self.life

    @property
    def sent(self) -> int:
        """Records so far, aborted ones included."""
        return self.feed.sent

    def pace(self, rate: float) -> None:
        """Records a second."""
        self.feed.rate = rate

    def check(self) -> None:
        """Raise what went wrong with the producers."""
        self.feed.check()

    def note(self, what: str) -> None:
        """For whoever looks for what went wrong: a line in the folder, between the lines that the system logs."""
        with (self.folder / "faults.log").open("a") as file:
            file.write(what + "\n")

    async def ends(self) -> dict[str, list[int]]:
        """Where each partition of each target topic ends."""
        return await asyncio.to_thread(ends, self.target.bootstrap, [f"{SITE}.{topic}" for topic in PARTITIONS])

    async def moves(self) -> None:
        """Wait until something arrives, if it does: MirrorMaker says nothing of being ready."""
        before = await self.ends()
        end = asyncio.get_running_loop().time() + _MIRROR_READY_S
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.5)
            if await self.ends() != before:
                return

    async def limit(self, bytes_per_s: float | None) -> None:
        """A quota for what the replicator produces; None takes it away."""
        await limit(KafkaSettings(brokers=self.target.bootstrap), CLIENT_ID, bytes_per_s)

    def backup(self) -> None:
        """Copy the target's disk as it is in this instant; it stands still meanwhile."""
        data = self._data
        shutil.rmtree(data.with_name(BACKUP), ignore_errors=True)
        self.target.pause()
        try:
            subprocess.run(["cp", "-a", "--sparse=always", data, data.with_name(BACKUP)], check=True)
        finally:
            self.target.resume()

    def restore(self) -> bool:
        """Bring the copy back; whether there is one. The target must not run."""
        data = self._data
        if not data.with_name(BACKUP).exists():
            return False
        shutil.rmtree(data)
        subprocess.run(["cp", "-a", "--sparse=always", data.with_name(BACKUP), data], check=True)
        return True

    def forget(self) -> None:
        """Remove what the target keeps of producers beside the logs; it must have been stopped in order."""
        for snapshot in self._data.glob(f"{SITE}.*/*.snapshot"):
            snapshot.unlink()

    @property
    def _data(self) -> Path:
        return self.folder / "services" / self.target.name / "data"

    def _settings(self) -> Mapping[str, str]:
        found = {
            "SITE": SITE,
            "TOPICS": json.dumps(list(PARTITIONS)),
            "POSITION_INTERVAL_S": f"{self.chapter.position_interval_s}",
            "SHARED": str(self.chapter.combination.shared).lower(),
        }
        for end, road in (("SOURCE", self.source_road), ("TARGET", self.target_road)):
            found |= {
                f"{end}__BROKERS": road.address,
                f"{end}__REQUEST_TIMEOUT_S": "3",
                f"{end}__CONNECT_TIMEOUT_S": "3",
            }
        return {
            "HEADWATER_HOME": str(self.folder),
            **{f"HEADWATER_REPLICATOR__{name}": value for name, value in found.items()},
        }

    def _mirror(self) -> list[str]:
        nowhere = self.folder / "none.pem"
        source, target = (clusters.Ends(road.address, "", nowhere) for road in (self.source_road, self.target_road))
        bed = clusters.Bed(self.folder, self.tools, source, target)
        file = self.folder / "mirror.properties"
        case = Case("chaos", 0, 0, partitions=max(PARTITIONS.values()))
        file.write_text(mirror.properties(bed, case, SITE, ",".join(PARTITIONS), tuned=False))
        return mirror.command(bed, mirror.class_path(print), file)


@asynccontextmanager
async def open_bed(chapter: Chapter, system: str, folder: Path, tools: KafkaTools) -> AsyncIterator[Bed]:
    """Start both clusters in a folder of their own and end everything afterwards."""
    runner = Runner(folder / "services")
    try:
        async with AsyncExitStack() as stack:
            roads = [await stack.enter_async_context(Proxy(("127.0.0.1", 0))) for _ in range(2)]
            edge, cloud = await asyncio.gather(
                *(
                    asyncio.to_thread(_start, runner, tools, *each)
                    for each in zip(("edge", "cloud"), roads, strict=True)
                )
            )
            settings = KafkaSettings(brokers=edge.bootstrap)
            specs = [TopicSpec(name, count, COMPACT if name == KEYED else {}) for name, count in PARTITIONS.items()]
            await asyncio.to_thread(ensure_topics, settings, specs)
            roads[1].delay_s = chapter.delay_s
            feed = stack.enter_context(Feed(edge.bootstrap, chapter.combination, chapter.seed))
            watch = stack.enter_context(Watch(cloud.bootstrap, {f"{SITE}.{t}": n for t, n in PARTITIONS.items()}))
            bed = Bed(system, chapter, folder, edge, cloud, roads[0], roads[1], feed, watch, tools)
            stack.callback(bed.kill)
            yield bed
    finally:
        await asyncio.to_thread(runner.stop, grace_s=1.0)


def _start(runner: Runner, tools: KafkaTools, name: str, road: Proxy) -> Broker:
    plan = relayed(KafkaService(name, lambda: tools), more=_MORE)
    service = Restartable(plan.inner, plan.more, ("relay",), road.port)
    runner.start(service)
    road.target = ("127.0.0.1", runner.ports(service)["relay"])
    return Broker(name, runner.address(service), runner, service)
