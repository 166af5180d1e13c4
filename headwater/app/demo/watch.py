"""Watches the clusters while the demo runs: lag over time, alarms as they reach the cloud, status of the sites."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping

from headwater.app.demo.swaps import Placements
from headwater.contract import messages, topics
from headwater.contract.errors import Defect, HeadwaterError
from headwater.contract.messages import Alarm, Status
from headwater.transport.kafka_batch import Cluster, KafkaSettings, read_compacted, read_records

EVERY_S = 0.2


class Watch:
    """A thread that polls; what it saw can be read at any time. Leaving the context ends it."""

    def __init__(self, clusters: Mapping[str, str], placements: Placements) -> None:
        self._cloud = clusters["cloud"]
        self._edges = {site: brokers for site, brokers in clusters.items() if site != "cloud"}
        self._read: dict[tuple[str, int], int] = {}  # alarms: next offset by topic and partition
        self._scores: dict[str, Mapping[int, int]] = {}  # by site: ends of the edge's scores at the last look
        self.placements = placements
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._poll()), name="watch", daemon=True)
        self.since = time.time()
        self.lag: dict[str, list[tuple[float, int]]] = {site: [] for site in self._edges}
        self.seen: dict[tuple[str, str], float] = {}  # episode and state: Unix time at which it was in the cloud
        self.status: dict[str, Status] = {}
        self._ends: dict[str, int] = {}  # records in each cloud topic
        self._moved = time.monotonic()
        self._reported = time.monotonic()
        self.trouble = ""

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def silent_s(self) -> float:
        """Seconds since a new status of any site arrived."""
        return time.monotonic() - self._reported

    def check(self) -> None:
        """Defect when nobody watches any more: what is told of alarms and lag would then be a lie."""
        if not self._thread.is_alive():
            raise Defect(f"the demo's watch has ended: {self.trouble or 'see above'}")

    def refusal(self, asset_class: str, version: int) -> str:
        """Reason code with which some site refused a version, or nothing yet."""
        for status in list(self.status.values()):
            for refusal in status.refused:
                if (refusal.asset_class, refusal.version) == (asset_class, version):
                    return refusal.reason
        return ""

    def version(self, site: str, asset_class: str) -> int | None:
        """The version that a site says it runs, as the cloud knows it."""
        status = self.status.get(site)
        active = status.active.get(asset_class) if status else None
        return active.version if active else None

    def arrived(self) -> dict[str, int]:
        """Records by topic of the cloud, as of the last look."""
        return dict(self._ends)

    def quiet_s(self) -> float:
        """Seconds since a reading, score or alarm last arrived."""
        return time.monotonic() - self._moved

    async def _poll(self) -> None:
        async with Cluster(KafkaSettings(brokers=self._cloud), client_id="headwater-demo-watch") as cloud:
            edges = {
                site: Cluster(KafkaSettings(brokers=brokers), client_id="headwater-demo-watch")
                for site, brokers in self._edges.items()
            }
            while not self._stop.is_set():
                for site, edge in edges.items():
                    try:
                        await self._look(site, edge, cloud)
                    except HeadwaterError as error:
                        self.trouble = str(error)  # a topic that is not there yet, a broker that starts
                await asyncio.sleep(EVERY_S)
            for edge in edges.values():
                await edge.close()

    async def _look(self, site: str, edge: Cluster, cloud: Cluster) -> None:
        await self._swaps(site, edge)
        for topic in (topics.READINGS, topics.SCORES, topics.ALARMS):
            name = topics.remote(site, topic)
            end = sum((await cloud.offsets(name, "latest")).values())
            if self._ends.get(name) != end:
                self._ends[name], self._moved = end, time.monotonic()
        there = self._ends[topics.remote(site, topics.READINGS)]
        here = sum((await edge.offsets(topics.READINGS, "latest")).values())
        self.lag[site].append((time.time() - self.since, here - there))
        await self._alarms(topics.remote(site, topics.ALARMS), cloud)
        found = await read_compacted(cloud, topics.remote(site, topics.STATUS), 0)
        newest = found.get(site.encode())
        if newest is not None:
            status = messages.decode(newest.value, Status)
            if site not in self.status or self.status[site].seq != status.seq:
                self.status[site], self._reported = status, time.monotonic()

    async def _swaps(self, site: str, edge: Cluster) -> None:
        """Note when the first score of each placed version is in the log; scores are read while one is missing."""
        self.placements.look(site)
        ends = await edge.offsets(topics.SCORES, "latest")
        if self.placements.waits(site):
            before = self._scores.get(site, {})
            for partition, end in ends.items():
                async for records in read_records(edge, topics.SCORES, partition, before.get(partition, 0), end):
                    self.placements.scored(site, records, time.time_ns() // 1_000_000)
        self._scores[site] = ends

    async def _alarms(self, topic: str, cloud: Cluster) -> None:
        for partition, end in (await cloud.offsets(topic, "latest")).items():
            start = self._read.get((topic, partition), 0)
            async for records in read_records(cloud, topic, partition, start, end):
                now = time.time()
                for alarm in (messages.decode(record.value, Alarm) for record in records):
                    self.seen.setdefault((alarm.episode, alarm.state), now)
            self._read[topic, partition] = end
