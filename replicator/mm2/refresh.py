"""What changes while a link runs: new topics, new partitions, configurations that drift apart."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from headwater.contract.errors import HeadwaterError, Permanent, Transient, Unreachable
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import topic_configs
from headwater.transport.kafka_batch.alterations import all_topics, set_topic_configs
from headwater.transport.retry import Voice
from replicator import targets
from replicator.opening import Topics
from replicator.settings import ReplicatorSettings

if TYPE_CHECKING:
    from replicator.metrics import Metrics

_log = structlog.get_logger(__name__)
Drift = dict[str, tuple[str, str]]  # name of a configuration: as it should be, as it is at the target


class Refresh:
    """Looks at both clusters every few seconds, and has `topics` take up what is new."""

    def __init__(self, settings: ReplicatorSettings, source: Cluster, target: Cluster, topics: Topics) -> None:
        self.drift: dict[str, Drift] = {}
        self._settings = settings
        self._source = source
        self._target = target
        self._topics = topics
        self._taken = set(settings.topics)
        self._compared_s = -1e9

    async def run(self, metrics: Metrics | None) -> None:
        """Look until cancelled; trouble with a cluster is logged, and the next look tries again."""
        voice = Voice()
        while True:
            try:
                await self._look()
                if time.monotonic() - self._compared_s >= self._settings.topic_configs.refresh_s:
                    self._compared_s = time.monotonic()
                    await self._compare(metrics)
            except (Transient, Permanent) as error:
                if voice.says(str(error)):
                    _log.warning("looking for changes again", site=self._settings.site, why=str(error), hint=error.hint)
            else:
                voice.waited_s()
            await asyncio.sleep(self._settings.selection.refresh_s)

    async def _look(self) -> None:
        found = await self._found()
        naming = self._settings.names
        for topic in sorted(found.keys() - self._taken):
            if self._settings.ships(topic):
                self._taken.add(topic)
                _log.info("a new topic", topic=topic, partitions=found[topic], target=naming.remote(topic))
                self._topics.take_up(topic)
        for topic, flows in list(self._topics.flows.items()):
            now = found.get(topic, 0)
            if now > len(flows):
                await targets.widen(self._target, naming.remote(topic), now)
                self._topics.widen(topic, now)

    async def _found(self) -> dict[str, int]:
        """Topics at the source with their partitions: all of them if any may be wanted, else those under way."""
        named = None if self._settings.may_ship_others else list(self._topics.flows)
        return await all_topics(self._source, named)

    async def _compare(self, metrics: Metrics | None) -> None:
        """Compare each topic; one that is not there, or may not be looked at, is told when the others are done."""
        trouble: HeadwaterError | None = None
        for topic in list(self._topics.flows):
            try:
                await self._compare_one(topic, metrics)
            except Unreachable:
                raise
            except (Transient, Permanent) as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    async def _compare_one(self, topic: str, metrics: Metrics | None) -> None:
        name = self._settings.names.remote(topic)
        found = await drift(self._source, self._target, topic, name)
        if found and self._settings.topic_configs.follow:
            await set_topic_configs(self._target, name, {key: wanted for key, (wanted, _) in found.items()})
            _log.info("configuration followed", topic=name, set={key: wanted for key, (wanted, _) in found.items()})
            found = {}
        self._tell(topic, name, found)
        if metrics is not None:
            metrics.on_drift(topic, len(found))

    def _tell(self, topic: str, name: str, found: Drift) -> None:
        if found == self.drift.get(topic, {}):
            return
        self.drift[topic] = found
        if found:
            differ = {key: {"source": wanted, "target": there} for key, (wanted, there) in found.items()}
            hint = "set topic_configs.follow to have the target follow the source"
            _log.warning("configurations differ", topic=name, differ=differ, hint=hint)
        else:
            _log.info("configurations agree again", topic=name)


async def drift(source: Cluster, target: Cluster, topic: str, name: str) -> Drift:
    """How the configuration of the target's topic differs from what a link would give it now.

    The faithful ones (bytes and times as they are) are part of it, whatever the source has.
    """
    wanted = {**(await targets.spec_at_source(source, topic)).configs, **targets.FAITHFUL}
    there = await topic_configs(target, name, list(wanted))
    return {key: (value, there[key]) for key, value in wanted.items() if there.get(key, value) != value}


async def chosen(source: Cluster, settings: ReplicatorSettings) -> list[str]:
    """Topics that a link ships now: those that are named, then those of the source that a pattern fits."""
    if not settings.may_ship_others:
        return list(settings.topics)
    fitting = [topic for topic in await all_topics(source) if settings.ships(topic)]
    return [*settings.topics, *sorted(set(fitting) - set(settings.topics))]
