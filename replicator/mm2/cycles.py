"""No topic goes round in circles where topics keep their names: no name says then where a record came from.

Each link that keeps names says at its target, in its positions topic, which topics it brings there and by way of which
clusters (their ids, as Kafka gives them). It says so before it ships a topic, and only then reads at its source what
others bring there: of two links that begin at once in opposite directions, at least one sees the other. A topic that
has been at the target already is waited for until the other link has stopped, or has been silent for `_LEASE_S`; clocks
are not compared, only whether the other's word changes. Longer ways round show after a beat or two for each cluster.
Of MirrorMaker, and of links that publish as it does, the offset syncs at the target tell whether it ships back.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
import structlog

from headwater.contract.errors import BadInput, HeadwaterError, Refused, Transient
from headwater.contract.topics import POSITIONS_SUFFIX
from headwater.transport.kafka_batch import Cluster, read_compacted
from headwater.transport.kafka_batch.alterations import all_topics, cluster_id
from replicator.journal import Journal
from replicator.mm2.formats import read_offset_sync
from replicator.position import decode
from replicator.settings import ReplicatorSettings

_log = structlog.get_logger(__name__)
ORIGINS_KEY = b"origins"
BEAT_S = 20.0
_LEASE_S = 3.5 * BEAT_S
_LAST_WORD_S = 2.0
_BOTH_WAYS = "with prefixed names (naming.keep_names = false) both ways can be shipped"


class Origins(msgspec.Struct, frozen=True):
    """What a link brings to its target: by topic, the ids of the clusters that the topic has been at."""

    topics: dict[str, list[str]]
    beat: int
    v: int = 1


def guard_of(settings: ReplicatorSettings, source: Cluster, target: Cluster, journal: Journal) -> Guard | None:
    """The guard of a link that keeps names; None where the names themselves tell."""
    return Guard(settings, source, target, journal) if settings.naming.keep_names else None


async def two_clusters(source: Cluster, target: Cluster) -> tuple[str, str]:
    """Ids of source and target; Refused where they are one, into which nothing that keeps its name can be shipped."""
    here, there = await cluster_id(source), await cluster_id(target)
    if here == there:
        why = "source and target are one cluster: topics that keep their names would be shipped onto themselves"
        raise Refused(why, hint="unset naming.keep_names, or correct the brokers")
    return here, there


class Guard:
    """Of one link that keeps names. `admit` each topic before it is shipped, and `run` beside the link."""

    def __init__(
        self, settings: ReplicatorSettings, source: Cluster, target: Cluster, journal: Journal, beat_s: float = BEAT_S
    ) -> None:
        self._settings = settings
        self._source = source
        self._target = target
        self._journal = journal
        self._beat_s, self._lease_s = beat_s, _LEASE_S * beat_s / BEAT_S
        self._ids: tuple[str, str] | None = None
        self._told: dict[str, list[str]] = {}  # what this link says it brings
        self._beat = 0
        self._heard: dict[str, tuple[int, float]] = {}  # the last beat of other links, and when it was new
        self._synced: dict[tuple[str, int], int] = {}
        self._one = asyncio.Lock()

    async def admit(self, topic: str) -> None:
        """Say that this link brings a topic. Transient while it has come from the target; Refused: one cluster only."""
        async with self._one:
            here, there = await self._clusters()
            if self._settings.names.is_heartbeats(topic):
                return  # prefixed in any case
            self._told[topic] = [here]
            await self._say()
            came_by = await self._came_by(topic)
            if there in came_by:
                del self._told[topic]
                await self._say()
                why = f"{topic} comes from {self._settings.names.target}: shipping it back would go round in circles"
                raise Transient(why, hint=f"end the link that brings it here; {_BOTH_WAYS}")
            self._told[topic] = sorted({here, *came_by})
            await self._say()

    async def run(self) -> None:
        """Repeat what this link says, until cancelled; Refused when a topic turns out to go round."""
        try:
            while True:
                await asyncio.sleep(self._beat_s)
                try:
                    async with self._one:
                        await self._look_again()
                except Transient as error:
                    _log.warning("looking for circles again", site=self._settings.site, why=str(error))
        finally:
            await self._take_back()

    async def _look_again(self) -> None:
        here, there = await self._clusters()
        for topic in self._told:
            came_by = await self._came_by(topic)
            if there in came_by:
                raise self._round(topic)
            self._told[topic] = sorted({here, *came_by})
        await self._look_at_syncs()
        self._beat += 1
        await self._say()

    async def _take_back(self) -> None:
        """Say that nothing is brought any more, where that can be said at once.

        One of several instances does not say it: the others go on.
        """
        if self._settings.shared:
            return
        self._told = {}
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._say()
        except (TimeoutError, HeadwaterError) as error:
            why = str(error) or "the target does not answer"
            _log.warning("not taken back which topics this link brings", why=why, waits_s=self._lease_s)

    async def _say(self) -> None:
        await self._journal.keep({ORIGINS_KEY: Origins(dict(self._told), self._beat)})

    async def _clusters(self) -> tuple[str, str]:
        if self._ids is None:
            self._ids = await two_clusters(self._source, self._target)
        return self._ids

    async def _came_by(self, topic: str) -> set[str]:
        """Ids of the clusters by way of which living links bring a topic to the source."""
        found: set[str] = set()
        for name in await all_topics(self._source):
            if name.endswith(f".{POSITIONS_SUFFIX}"):
                origins = await self._origins(name)
                if origins is not None and self._is_alive(name, origins):
                    found.update(origins.topics.get(topic, ()))
        return found

    async def _origins(self, name: str) -> Origins | None:
        """What the link with this positions topic says; None if it prefixes names, or the topic is gone."""
        try:
            kept = (await read_compacted(self._source, name, 0)).get(ORIGINS_KEY)
        except BadInput:
            return None
        return kept and decode(kept.value, Origins, f"{name}, key origins")

    def _is_alive(self, name: str, origins: Origins) -> bool:
        """Whether the word of a link has changed within the lease, or was never heard before."""
        now = time.monotonic()
        beat, since = self._heard.get(name, (None, now))
        if beat != origins.beat:
            since = now
        self._heard[name] = origins.beat, since
        return now - since < self._lease_s

    async def _look_at_syncs(self) -> None:
        """Whether MirrorMaker ships one of the topics back at this moment: its offset syncs move."""
        names, mm2 = self._settings.names, self._settings.mm2
        if mm2.publish and mm2.offset_syncs_at == "target":
            return  # they are this link's own
        try:
            kept = await read_compacted(self._target, names.offset_syncs(names.source), 0)
        except BadInput:
            return
        for key, record in kept.items():
            sync = read_offset_sync(key, record.value)
            before = self._synced.setdefault((sync.topic, sync.partition), sync.upstream)
            if sync.topic in self._told and sync.upstream > before:
                raise self._round(sync.topic)

    def _round(self, topic: str) -> Refused:
        names = self._settings.names
        return Refused(
            f"{topic} goes round in circles: {names.source} ships it to {names.target}, and it is shipped back",
            hint=f"end one of the two links; {_BOTH_WAYS}",
        )
