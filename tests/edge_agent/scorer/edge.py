"""An edge for tests: topics on a real cluster, readings put in, one scorer process at a time, everything read back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headwater.contract import headers, reading, topics
from headwater.contract.arrival import Arrival, Unusable, arrival
from headwater.contract.checkpoint import CHECKPOINT_KEY, SWAP_PREFIX, decode
from headwater.contract.messages import Status
from headwater.contract.messages import decode as decode_message
from headwater.contract.windows import Charge
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, Record, Writer
from headwater.transport.kafka_batch.reading import checked_records, walk
from headwater.transport.retry import retrying

LIFE = Path(__file__).with_name("life.py")
SITE = "lyon"
PARTITIONS = 2
FAST = {"status_interval_s": 0.5, "checkpoint_interval_s": 0.3, "poll_interval_s": 0.05}


class Edge:
    """One edge on one cluster; `state` is its folder."""

    def __init__(self, brokers: str, state: Path, cluster: Cluster, writer: Writer) -> None:
        self.brokers = brokers
        self.state = state
        self.cluster = cluster
        self.settings: dict[str, Any] = dict(FAST)
        self._writer = writer
        self._process: subprocess.Popen[bytes] | None = None
        self._log = state / "scorer.log"

    @classmethod
    async def open(cls, brokers: str, state: Path) -> Edge:
        settings = KafkaSettings(brokers=brokers)
        await asyncio.to_thread(ensure_topics, settings, topics.edge_topics(PARTITIONS))
        cluster = Cluster(settings, client_id="test")
        await cluster.connect()
        writer = await Writer.open(cluster, "publisher", {topics.READINGS: range(PARTITIONS)})
        return cls(brokers, state, cluster, writer)

    async def close(self) -> None:
        self.kill()
        await self._writer.close()
        await self.cluster.close()

    def start(self) -> None:
        """Begin a life of the scorer."""
        assert self._process is None
        given = {"site": SITE, "brokers": self.brokers, "state": str(self.state), "settings": self.settings}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, str(LIFE), json.dumps(given)], stderr=log)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, if it lives."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """The exit code of a scorer that ends by itself."""
        assert self._process is not None
        code = self._process.wait(timeout=20)
        self._process = None
        return code

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    async def put(self, partition: int, outs: Sequence[Out]) -> int:
        return await self._writer.write(topics.READINGS, partition, outs)

    async def all(self, topic: str, partition: int) -> list[Record]:
        """Every record that is in the log; a broker that was just started may not lead its partitions yet."""
        return await retrying(f"reading {topic}", lambda: self._all(topic, partition), deadline_s=20, first_s=0.02)

    async def _all(self, topic: str, partition: int) -> list[Record]:
        first = (await self.cluster.offsets(topic, "earliest"))[partition]
        end = (await self.cluster.offsets(topic, "latest"))[partition]
        found: list[Record] = []
        async for batch, is_data in walk(self.cluster, topic, partition, first, end):
            found += checked_records(topic, partition, batch) if is_data else []
        return [record for record in found if first <= record.offset < end]

    async def arrivals(self, partition: int) -> list[Arrival]:
        """The usable readings of a partition."""
        found = []
        for record in await self.all(topics.READINGS, partition):
            try:
                found.append(arrival(record.offset, record.key, record.value, record.headers))
            except Unusable:
                continue
        return found

    async def swaps(self, partition: int) -> list[Charge]:
        """The swap records of a partition, oldest first."""
        records = await self.all(topics.STATE, partition)
        return [decode(r.value or b"", Charge) for r in records if (r.key or b"").startswith(SWAP_PREFIX.encode())]

    async def forget_manifests(self, partition: int) -> None:
        """Write the newest checkpoint again as an agent did that knew no digests of manifests."""
        records = [r for r in await self.all(topics.STATE, partition) if r.key == CHECKPOINT_KEY.encode()]
        plain = json.loads(records[-1].value or b"")
        for charge in plain["charges"].values():
            del charge["manifest_sha256"]
        older = Out(CHECKPOINT_KEY.encode(), json.dumps(plain).encode(), (), time.time_ns() // 1_000_000)
        async with await Writer.open(self.cluster, "older", {topics.STATE: [partition]}) as writer:
            await writer.write(topics.STATE, partition, [older])

    async def statuses(self) -> list[Status]:
        return [decode_message(record.value, Status) for record in await self.all(topics.STATUS, 0)]

    async def status_when(self, holds: Callable[[Status], bool], seconds: float = 15.0) -> Status:
        """The first newest status for which `holds`."""
        deadline = time.monotonic() + seconds
        while True:
            found = await self.statuses()
            if found and holds(found[-1]):
                return found[-1]
            dead = self._process is None or self._process.poll() is not None
            assert not dead, self.log()[-3000:]
            assert time.monotonic() < deadline, f"last {found[-1:]}\n{self.log()[-3000:]}"
            await asyncio.sleep(0.05)

    async def end(self, topic: str = topics.READINGS) -> int:
        """Records in the log of all partitions, markers not counted."""
        return sum([len(await self.all(topic, p)) for p in range(PARTITIONS)])

    async def in_charge(self, version: int) -> Status:
        """Wait until a version judges pumps."""
        return await self.status_when(lambda s: "pump" in s.active and s.active["pump"].version == version)

    async def grows(self, topic: str, by: int, seconds: float = 15.0) -> None:
        """Wait until a topic's ends have moved on by some offsets."""
        deadline = time.monotonic() + seconds
        before = await self._ends(topic)
        while await self._ends(topic) < before + by:
            assert time.monotonic() < deadline, self.log()[-3000:]
            await asyncio.sleep(0.01)

    async def _ends(self, topic: str) -> int:
        ends = await retrying("asking", lambda: self.cluster.offsets(topic, "latest"), deadline_s=20, first_s=0.02)
        return sum(ends.values())

    async def all_judged(self, seconds: float = 15.0) -> Status:
        """Wait until every reading is counted in the status."""
        count = await self.end()
        return await self.status_when(lambda status: status.counts["readings"] == count, seconds)


def out(asset: str, t: int, values: dict[str, float | None], asset_class: str = "pump") -> Out:
    """A reading as the bridge writes it."""
    return raw(asset.encode(), reading.encode(t, values), asset_class)


def raw(key: bytes | None, value: bytes | None, asset_class: str | None = "pump") -> Out:
    """A record of `readings` with any content."""
    found = ((headers.CLASS, headers.text(asset_class)),) if asset_class is not None else ()
    return Out(key, value, found, time.time_ns() // 1_000_000)
