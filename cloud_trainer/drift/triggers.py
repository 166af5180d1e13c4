"""What asks for training by itself: a schedule, and drift that sketches show.

Each reason has an id that is the same for whoever finds it, and after a restart: a request that is in the log is not
sent again, and one that two trainers send at once is carried out once, by its id.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from prometheus_client import Counter

from cloud_trainer.drift.settings import DriftRecipe, Scheduled
from cloud_trainer.drift.shift import Found, Sketches
from cloud_trainer.runs import Runs
from headwater.contract import messages, topics
from headwater.contract.errors import BadInput, DataMissing, Permanent, Transient
from headwater.contract.features import FeatureSpec
from headwater.contract.manifest import MANIFEST_FILE, Manifest, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest
from headwater.contract.sketches import Sketch
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.kafka_batch.reading import checked_records, walk

_log = structlog.get_logger(__name__)
_requested = Counter("headwater_trainer_requested_total", "Requests that the trainer made by itself", ["reason"])
_refused = Counter("headwater_trainer_sketches_refused_total", "Records that are no sketch of their site", ["site"])
BY = "headwater train serve"


class Versions(Protocol):
    """Where published versions are looked up."""

    def versions(self, asset_class: str) -> list[int]:
        """Published versions, lowest first."""
        ...

    def read(self, path: str) -> bytes:
        """Content of a signed file."""
        ...


class Triggers:
    """Looks for reasons to train; holds in memory what it has read of sketches."""

    def __init__(
        self,
        kafka_settings: KafkaSettings,
        runs: Runs,
        models: Versions,
        schedule: tuple[Scheduled, ...],
        recipe: DriftRecipe,
    ) -> None:
        self._settings, self._runs, self._models = kafka_settings, runs, models
        self._schedule, self._recipe = schedule, recipe
        self._sketches = Sketches(recipe)
        self._read: dict[tuple[str, int], int] = {}
        self._classes: set[str] = set()
        self._manifests: dict[str, Manifest] = {}
        self._specs: dict[tuple[str, int], FeatureSpec | None] = {}
        self._asked: set[str] = set()
        self._told_of: set[str] = set()

    def look(self, now_s: float | None = None) -> list[RetrainRequest]:
        """Send a request for each reason that has none yet; those that were sent.

        What keeps a look from its end is logged, and the next look tries again: requests of people go on meanwhile.
        """
        try:
            now_s = time.time() if now_s is None else now_s
            asyncio.run(self._take())
            wanted = [*self._due(now_s), *self.drifted(now_s)]
            return [one for one in wanted if self._send(one)]
        except (Transient, Permanent) as error:
            _log.warning("no look for reasons to train", why=str(error))
            return []

    def _due(self, now_s: float) -> list[RetrainRequest]:
        return [one.request(now_s) for one in self._schedule]

    def drifted(self, now_s: float) -> list[RetrainRequest]:
        """A request for each class that has drifted by the sketches that were noted."""
        found = []
        for asset_class in sorted(self._classes):
            try:
                manifest = self._newest(asset_class)
            except Permanent as error:
                _log.warning("a class is not looked at", asset_class=asset_class, why=str(error))
                continue
            if manifest is None:
                continue
            seen = self._sketches.look(manifest, partial(self._features, asset_class))
            if seen.drifted and now_s >= _made_at(manifest) + self._recipe.rest_h * 3600:
                found.append(_request(seen))
        return found

    async def _take(self) -> None:
        """Read the sketches of all sites that have come since the last look, also those shipped beside the new ones."""
        async with Cluster(self._settings, client_id="headwater-train") as cluster:
            names = await asyncio.to_thread(kafka.topic_names, self._settings)
            for topic in (name for name in names if _is_of_sketches(name)):
                first, end = await cluster.offsets(topic, "earliest"), await cluster.offsets(topic, "latest")
                for partition in sorted(end):
                    start = max(first[partition], self._read.get((topic, partition), 0))
                    if start > end[partition]:
                        start = first[partition]  # the topic was made anew
                    await self._take_range(cluster, topic, partition, start, end[partition])

    async def _take_range(self, cluster: Cluster, topic: str, partition: int, start: int, end: int) -> None:
        try:
            async for batch, is_data in walk(cluster, topic, partition, start, end):
                for record in checked_records(topic, partition, batch) if is_data else ():
                    if record.offset >= start:
                        self.note(topic, record.offset, record.value)
        except DataMissing as error:
            _log.warning("sketches are gone before they were read", why=str(error))
        self._read[topic, partition] = end

    def note(self, topic: str, offset: int, value: bytes | None) -> None:
        """Take a record of a site's topic; what is no sketch of this site is counted, told once a topic, and passed."""
        site, _ = topics.origin(topic)
        try:
            sketch = _sketch_of(site, value)
        except BadInput as error:
            _refused.labels(site).inc()
            if topic not in self._told_of:
                self._told_of.add(topic)
                _log.warning("no sketch; more here are counted only", topic=topic, offset=offset, why=str(error))
            return
        if sketch.asset_class not in self._classes:
            self._classes.add(sketch.asset_class)
            self._begin(sketch.asset_class)
        self._sketches.add(sketch)

    def _begin(self, asset_class: str) -> None:
        """Know which version a class is looked at under before its log is read, so that what was before it is kept."""
        try:
            self._newest(asset_class)
        except (Transient, Permanent) as error:
            _log.info("sketches are read without their version; the look asks again", why=str(error))

    def _newest(self, asset_class: str) -> Manifest | None:
        """The newest version, which sketches are held against from now on."""
        versions = self._models.versions(asset_class)
        if not versions:
            return None
        known = self._manifests.get(asset_class)
        if known is None or known.version != versions[-1]:
            known = self._manifest(asset_class, versions[-1])
            self._manifests[asset_class] = known
            self._sketches.begin(asset_class, known.version, _made_at(known) * 1000)
        return known

    def _manifest(self, asset_class: str, version: int) -> Manifest:
        return decode_manifest(self._models.read(model_path(asset_class, version, MANIFEST_FILE)))

    def _features(self, asset_class: str, version: int) -> FeatureSpec | None:
        """What a version that was newest once measured by; None where it cannot be read any more."""
        name = (asset_class, version)
        if name not in self._specs:
            try:
                self._specs[name] = self._manifest(asset_class, version).features
            except Permanent as error:
                _log.warning("no older version to compare with", of=asset_class, version=version, why=str(error))
                self._specs[name] = None
        return self._specs[name]

    def _send(self, request: RetrainRequest) -> bool:
        if request.request_id in self._asked:
            return False
        there = request.request_id in self._runs.requests()
        if not there:
            self._runs.request(request)
            _requested.labels(request.request_id.partition("-")[0]).inc()
            _log.info("training requested", request=request.request_id, reason=request.reason)
        self._asked.add(request.request_id)
        return not there


def _sketch_of(site: str, value: bytes | None) -> Sketch:
    sketch = messages.decode(value, Sketch)
    sketch.check()
    if sketch.site != site:
        raise BadInput(f"a sketch of the site {sketch.site}")
    return sketch


def _is_of_sketches(name: str) -> bool:
    try:
        return topics.origin(name)[1] == topics.SKETCHES
    except BadInput:
        return False  # somebody else's topic


def _request(found: Found) -> RetrainRequest:
    return RetrainRequest(found.request_id, found.asset_class, None, BY, found.reason)


def _made_at(manifest: Manifest) -> float:
    """Unix time in seconds at which a version was made; the beginning of time where it does not say."""
    try:
        return datetime.fromisoformat(manifest.created_at).timestamp()
    except ValueError:
        return 0.0
