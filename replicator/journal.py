"""What a link remembers and what it has to say: two topics at the target, written by one life at a time.

The positions topic is read whole at the start; of the gaps topic (notices.py) nothing is read.

The writer is fenced: a second replicator for the same site shuts the first one out at its next write. Where several
instances share a link (sharing/), each share has a writer of its own. So the producer
id is drawn once: a life that read none, and was shut out before it wrote one, never uses what it drew. The same writer
writes the manifest (proof/entry.py). With a partition's first position the first head of its proof is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec
import structlog

from headwater.contract.errors import Fenced
from headwater.contract.topics import gaps, manifest, positions
from headwater.transport.kafka_batch import Cluster, Out, Record, Writer, read_compacted
from headwater.transport.retry import pauses
from replicator.notices import Notice
from replicator.position import PRODUCER_KEY, Gap, Identity, Position, decode, encode, gap_key, position_key
from replicator.proof.entry import HEAD_PREFIX, Head, head_key
from replicator.sharing.shares import SHARES, Held, share_of, share_of_key, writer_name
from replicator.way import Way

_log = structlog.get_logger(__name__)
_MOST_PAUSE_S = 30.0
SHARED_KEY = b"shared"
NOTHING: Mapping[bytes, msgspec.Struct] = MappingProxyType({})
_Opens = Callable[[int | None], Awaitable[Writer]]


class Shared(msgspec.Struct, frozen=True):
    """Whether the link was shared by those who wrote last. `ending`: somebody is about to take all of it."""

    shared: bool = True
    ending: bool = False
    v: int = 1


def _is_shared(topic: str, kept: Mapping[bytes, Record]) -> bool:
    """Whether shares may be opened as they are: the producer id is drawn, and nobody has all of the link."""
    record = kept.get(SHARED_KEY)
    if record is None or PRODUCER_KEY not in kept:
        return False
    said = decode(record.value, Shared, f"{topic}, key shared")
    return said.shared and not said.ending


async def _read_on(
    cluster: Cluster, topic: str, kept: Mapping[bytes, Record], opened: Sequence[Writer] = ()
) -> dict[bytes, Record]:
    """What is stored now, by what was read before `opened` were: a slow road carries it once."""
    end = max((record.offset + 1 for record in kept.values()), default=0)
    if any(each.markers[topic, 0] < end for each in opened):  # another log by now
        return await read_compacted(cluster, topic, 0)
    return {**kept, **await read_compacted(cluster, topic, 0, end)}


class Journal:
    """Made by `Journal.open`. Writes raise Fenced when another replicator for this site has started."""

    def __init__(
        self,
        topic: str,
        gaps_topic: str,
        proof_topic: str,
        writers: Mapping[int | None, Writer],
        kept: dict[bytes, Record],
    ) -> None:
        self._topic = topic
        self._gaps_topic = gaps_topic
        self._proof_topic = proof_topic
        self._heads = {key: bytes(record.value or b"") for key, record in kept.items() if key.startswith(HEAD_PREFIX)}
        self._writers = writers  # by share; one without, where the link is not shared
        self._rest = next(iter(writers.values()))  # writes what belongs to no partition
        self._kept = kept
        self._read_to = max((record.offset + 1 for record in kept.values()), default=0)
        self.former: Held = ()  # shares of those who shared the link until now, if it is not shared any more
        self.written_bytes = 0  # so far, before they were compressed
        self._pid: int | None = None
        self._drawing = asyncio.Lock()

    @classmethod
    async def open(cls, cluster: Cluster, site: str, held: Held | None = None) -> Journal:
        """Shut out the former life, then read what it stored; the topics must exist.

        `held`: the shares of a link that several instances share; whoever had them, or all of the link, is shut out.
        """
        topic, gaps_topic, proof_topic = positions(site).name, gaps(site).name, manifest(site, -1).name
        partitions = {topic: [0], gaps_topic: [0], proof_topic: [0]}

        async def writer(share: int | None) -> Writer:
            return await Writer.open(cluster, writer_name(site, share), partitions, tails={topic: 0})

        if held is None:
            return await cls._of_all(cluster, topic, gaps_topic, proof_topic, writer)
        return await cls._of_shares(cluster, (topic, gaps_topic, proof_topic), writer, sorted(held))

    @classmethod
    async def _of_all(cls, cluster: Cluster, topic: str, gaps_topic: str, proof_topic: str, writer: _Opens) -> Journal:
        """Open what is not shared; where it was, whoever has a share of it is shut out too.

        That is announced before: who opens a share meanwhile is either shut out, or reads it and shuts out this life.
        """
        whole: dict[int | None, Writer] = {None: await writer(None)}
        journal = cls(topic, gaps_topic, proof_topic, whole, await read_compacted(cluster, topic, 0))
        kept = journal._kept.get(SHARED_KEY)
        if kept is None or not decode(kept.value, Shared, f"{topic}, key shared").shared:
            return journal
        await journal.keep({SHARED_KEY: Shared(ending=True)})
        for former in await asyncio.gather(*map(writer, range(SHARES))):
            await former.close()
        await journal.keep({SHARED_KEY: Shared(shared=False)})
        journal = cls(topic, gaps_topic, proof_topic, whole, await read_compacted(cluster, topic, 0))
        journal.former = range(SHARES)
        return journal

    @classmethod
    async def _of_shares(
        cls, cluster: Cluster, topics: tuple[str, str, str], writer: _Opens, shares: Sequence[int]
    ) -> Journal:
        """Open shares. Where the link is shared already, nobody but their former holders is shut out.

        What is stored is looked at again behind the fences of the shares: see `_of_all`.
        """
        topic, rest = topics[0], None
        kept = await read_compacted(cluster, topic, 0)
        while True:
            began = time.monotonic()
            try:
                if not _is_shared(topic, kept):
                    await cls._draw(cluster, topics, writer, kept)
            except Fenced as error:
                rest = rest or pauses(2 * (time.monotonic() - began), _MOST_PAUSE_S)  # the other needs as long
                pause = next(rest)
                _log.info("another instance opens the link too", why=str(error), pause_s=round(pause, 2))
                await asyncio.sleep(pause)
                kept = await _read_on(cluster, topic, kept)
                continue
            opened = await asyncio.gather(*(writer(share) for share in shares))
            kept = await _read_on(cluster, topic, kept, opened)
            if _is_shared(topic, kept):
                return cls(*topics, dict(zip(shares, opened, strict=True)), kept)
            await asyncio.gather(*(each.close() for each in opened))

    @classmethod
    async def _draw(
        cls, cluster: Cluster, topics: tuple[str, str, str], writer: _Opens, kept: Mapping[bytes, Record]
    ) -> None:
        """Have the one producer id stored, and that the link is shared, before a share is opened; one instance does it.

        Whoever has all of the link is shut out, and finds that it is shared if it begins again. Fenced: another one
        draws, or opens all of the link.
        """
        only = await writer(None)
        try:
            journal = cls(*topics, {None: only}, await _read_on(cluster, topics[0], kept, [only]))
            await journal.producer_id(cluster)
            await journal.keep({SHARED_KEY: Shared()})
        finally:
            await only.close()

    @property
    def held(self) -> frozenset[int] | None:
        """Shares that are this life's; None: the link is not shared."""
        return None if None in self._writers else frozenset(each for each in self._writers if each is not None)

    def owns(self, topic: str, partition: int) -> bool:
        """Whether a partition is this life's to ship."""
        return None in self._writers or share_of(topic, partition) in self._writers

    async def producer_id(self, cluster: Cluster) -> int:
        """The link's producer id at the target, drawn and stored at the first call of the first life."""
        async with self._drawing:
            if self._pid is None:
                kept = self._kept.get(PRODUCER_KEY)
                if kept is not None:
                    self._pid = decode(kept.value, Identity, f"{self._topic}, key producer").pid
                else:
                    drawn = await cluster.init_producer_id()
                    await self._write([(PRODUCER_KEY, encode(Identity(pid=drawn.id)))])
                    self._pid = drawn.id
            return self._pid

    async def look(self, way: Way) -> None:
        """Raise SetBack where the positions are older than what this life has stored of a partition's share.

        Who goes on with what it remembers would write into a target that was restored from a copy as if it were not,
        and the next life, which knows the copy alone, could not make sense of that.
        """
        writer = self._writers.get(share_of_key(position_key(way.ledger, way.partition)), self._rest)
        await writer.look(self._topic, 0)

    async def look_at_all(self) -> None:
        """As `look`, for all that this life may write to the positions topic."""
        await asyncio.gather(*(writer.look(self._topic, 0) for writer in self._writers.values()))

    def position(self, topic: str, partition: int) -> Position | None:
        """What the former life stored of a partition; BadInput if it is not readable."""
        kept = self._kept.get(position_key(topic, partition))
        return kept and decode(kept.value, Position, f"{self._topic}, key {topic}/{partition}")

    async def store(
        self,
        found: Sequence[tuple[Way, Position]],
        gaps: Sequence[Gap] = (),
        also: Mapping[bytes, msgspec.Struct] = NOTHING,
    ) -> None:
        """Store positions, the gaps that they leave behind, and what is to be known `also`; of a partition all or none.

        Returns when it is durable.
        """
        pairs = [(gap_key(gap), encode(gap)) for gap in gaps]
        pairs += [(key, encode(value)) for key, value in also.items()]
        pairs += [(position_key(way.ledger, way.partition), encode(each)) for way, each in found]
        for way, each in found:
            key = head_key(way.ledger, way.partition)
            if not each.count and key not in self._heads:
                self._heads[key] = encode(Head(each.era, each.source_next, each.target_next, "", each.at))
                pairs.append((key, self._heads[key]))
        await self._write(pairs)

    def head(self, way: Way) -> bytes | None:
        """What is stored of the proof of a partition, encoded."""
        return self._heads.get(head_key(way.ledger, way.partition))

    async def keep_heads(self, heads: Sequence[tuple[Way, Head]]) -> None:
        """Store how far partitions are proven."""
        pairs = [(head_key(way.ledger, way.partition), encode(head)) for way, head in heads]
        await self._write(pairs)
        self._heads.update(pairs)

    async def publish(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Write to the manifest."""
        await self._write(pairs, self._proof_topic)

    def kept(self, key: bytes) -> bytes | None:
        """What the former life stored under a key, encoded."""
        record = self._kept.get(key)
        return None if record is None else record.value

    @property
    def stored(self) -> dict[bytes, bytes | None]:
        """All that former lives stored, encoded."""
        return {key: record.value for key, record in self._kept.items()}

    async def news(self, cluster: Cluster) -> dict[bytes, bytes | None]:
        """What anybody has stored since the start, or since the last call, encoded."""
        fresh = await read_compacted(cluster, self._topic, 0, self._read_to)
        self._read_to = max((record.offset + 1 for record in fresh.values()), default=self._read_to)
        return {key: record.value for key, record in fresh.items()}

    async def keep(self, values: Mapping[bytes, msgspec.Struct]) -> None:
        """Store further values under keys of their own."""
        await self._write([(key, encode(value)) for key, value in values.items()])

    async def say(self, notices: Sequence[Notice]) -> None:
        """Write to the gaps topic; returns when it is durable."""
        await self._write([(notice.key, encode(notice)) for notice in notices], self._gaps_topic)

    async def keep_name(self) -> None:
        """Repeat the fence; once a day, so that Kafka does not forget whom to shut out (seven days)."""
        await asyncio.gather(*(writer.refence() for writer in self._writers.values()))

    async def close(self) -> None:
        """End the writer."""
        await asyncio.gather(*(writer.close() for writer in self._writers.values()))

    async def _write(self, pairs: Sequence[tuple[bytes, bytes]], topic: str = "") -> None:
        now = int(time.time() * 1000)
        outs: dict[Writer, list[Out]] = {}
        for key, value in pairs:
            writer = self._writers.get(share_of_key(key), self._rest)
            outs.setdefault(writer, []).append(Out(key, value, (), now))
            self.written_bytes += len(key) + len(value)
        await asyncio.gather(*(writer.write(topic or self._topic, 0, each) for writer, each in outs.items()))
