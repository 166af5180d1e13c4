"""Writes the manifest of a link: takes note of each acknowledged batch, and publishes entries for little.

Entries and heads take at most 0.15 % of the bytes that the link has shipped in this life, so at most 0.2 % with their
requests and answers around them: what is complete (4 MiB) goes at once, the rest after `interval_s`, the oldest first,
as the allowance covers it; at the end of a life all books are closed. A head says in the positions topic how far a
partition is proven. It is stored behind its entry, and before the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

import structlog

from headwater.contract.errors import DataMissing, Transient, Untrusted
from headwater.transport.kafka_batch import Cluster, SetBack
from headwater.transport.retry import Voice
from replicator import logs
from replicator.engine import Engine, Shipment, now_ms
from replicator.journal import Journal
from replicator.logs import Start
from replicator.position import Position, decode, encode
from replicator.proof.book import Book, Item, item_of
from replicator.proof.entry import Entry, Head, entry_key, head_after
from replicator.proof.keeping import keep_long_enough
from replicator.proof.manifest import read_manifest
from replicator.proof.reread import reread
from replicator.proof.settings import ProofSettings
from replicator.way import Way

_log = structlog.get_logger(__name__)
_SHARE = 0.0015
_WRITE_BYTES = 300  # of two small requests and their answers
_HEAD_BYTES = 160
_MOST_WAITING = 50_000  # batches that wait for what came before them; beyond, they are read back too
_LOOK_S = 1.0
_FETCH_BYTES = 4 << 20
_MOST_READ_BACK = 16 << 20  # a life that is killed leaves 4 MiB; more waits when the proof was switched off


def _no_floor(_way: Way, _head: Callable[[Way], Head | None]) -> None:
    return None


class _Desk(NamedTuple):
    """One partition: its engine, its book once it has one, and what was shipped but does not follow yet."""

    engine: Engine
    waiting: deque[Item]
    books: list[Book]  # at most one
    voice: Voice

    @property
    def book(self) -> Book | None:
        return self.books[0] if self.books else None


class Prover:
    """`open` a partition before it ships; then `run` beside the link, and `close` at its end.

    `floor` gives the first offset of a partition that another stream ships and has not proven (fresh/), from the heads.
    """

    def __init__(
        self,
        settings: ProofSettings,
        site: str,
        probe: Cluster,
        target: Cluster,
        journal: Journal,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._settings, self._site = settings, site
        self._probe, self._target, self._journal = probe, target, journal
        self._clock = clock
        self._desks: dict[Way, _Desk] = {}
        self._doubted: dict[Way, str] = {}
        self._earned = 0.0
        self._wake = asyncio.Event()
        self._fetch_bytes = _FETCH_BYTES
        self.floor: Callable[[Way, Callable[[Way], Head | None]], int | None] = _no_floor

    @property
    def doubted(self) -> dict[Way, str]:
        """Partitions whose target does not hold what was shipped, and why."""
        return self._doubted

    def pace(self, road_bytes: int) -> None:
        """Read back no more than that at a time, so that acknowledgements do not wait behind it."""
        self._fetch_bytes = min(road_bytes, _FETCH_BYTES)

    def open(self, engine: Engine) -> None:
        """Prove a partition from here on."""
        self._desks[engine.way] = _Desk(engine, deque(maxlen=_MOST_WAITING), [], Voice())

    def safe_to_delete(self, way: Way) -> int | None:
        """Source offset behind what is shipped, acknowledged and proven in this log of the source; None: nothing is."""
        desk = self._desks.get(way)
        position = desk and desk.engine.position
        if desk is None or desk.book is None or position is None or desk.book.head.era != position.era:
            return None
        floor = self.floor(way, self._head)
        return desk.book.head.source_next if floor is None else min(desk.book.head.source_next, floor)

    def _head(self, way: Way) -> Head | None:
        stored = self._journal.head(way)
        return None if stored is None else decode(stored, Head, f"the proof of {way}")

    def on_shipped(self, way: Way, shipment: Shipment) -> None:
        """Take note of an acknowledged batch."""
        desk = self._desks.get(way)
        if desk is None or shipment.written is None:
            return
        self._earned += shipment.size * _SHARE
        item = item_of(shipment, shipment.written)
        book = desk.book
        if book is not None and not desk.waiting and book.follows(item):
            book.add(item, self._clock())
            if book.ready:
                self._wake.set()
        else:
            desk.waiting.append(item)

    async def run(self) -> None:
        """Work until cancelled; Fenced when another replicator for this site has started."""
        kept_for: set[str] = set()
        while True:
            await self.settle()
            await self.publish(closing=False)
            named = {way.target for way, desk in self._desks.items() if desk.book is not None}
            if named - kept_for and await self._keep_long_enough(named):
                kept_for = named
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), min(_LOOK_S, self._settings.interval_s))
            except TimeoutError:
                pass

    async def _keep_long_enough(self, names: set[str]) -> bool:
        try:
            await keep_long_enough(self._target, self._site, sorted(names))
        except Transient:
            return False
        return True

    async def close(self) -> None:
        """Close the books: all that is acknowledged gets its entry."""
        await self.settle()
        await self.publish(closing=True)

    async def settle(self) -> None:
        """Bring every book up to what the target has acknowledged, reading back what nobody took note of."""
        for way, desk in list(self._desks.items()):
            if way in self._doubted or desk.engine.position is None:
                continue
            try:
                await self._settle(way, desk, desk.engine.position)
            except Untrusted as error:
                self._doubted[way] = str(error)
                _log.error("the target differs from what was shipped", way=str(way), why=str(error), hint=error.hint)
            except SetBack:  # of the journal: the next life reads what it has
                raise
            except (Transient, DataMissing) as error:
                if desk.voice.says(str(error)):
                    _log.warning("the proof waits", way=str(way), why=str(error))
            else:
                desk.voice.waited_s()

    async def _settle(self, way: Way, desk: _Desk, position: Position) -> None:
        book = desk.book
        if book is None:
            book = await self._begin(way, desk, position)
        if position.era < book.era:
            raise Transient(f"{way}: the stored position is older than its proof")
        if position.era == book.era and position.target_next < book.target_next:
            book = await self._rewound(way, desk, position)
        while True:
            self._take_waiting(desk, book)
            limit = desk.waiting[0].target_first if desk.waiting else position.target_next
            if position.era != book.era:
                await self._end_era(way, book, position)
            elif limit > book.target_next:
                await self._read_back(way, book, min(limit, position.target_next))
            else:
                return
            position = desk.engine.position or position
            if position.target_next < book.target_next:
                return  # looked at again, from the start

    def _take_waiting(self, desk: _Desk, book: Book) -> None:
        """Add what follows; drop what is read back already."""
        while desk.waiting:
            item = desk.waiting[0]
            if book.follows(item):
                book.add(item, self._clock())
            elif item.era > book.era or (item.era == book.era and item.target_first > book.target_next):
                return
            desk.waiting.popleft()

    async def _begin(self, way: Way, desk: _Desk, position: Position) -> Book:
        """Go on from the stored head; a link of an earlier version has none, and is proven from here on."""
        stored = self._journal.head(way)
        if stored is None:
            return await self._from(way, desk, self._here(position))
        desk.books[:] = [Book(decode(stored, Head, f"the proof of {way}"))]
        return desk.books[0]

    def _here(self, position: Position) -> Head:
        return Head(position.era, position.source_next, position.target_next, "", self._clock())

    async def _from(self, way: Way, desk: _Desk, head: Head) -> Book:
        await self._journal.keep_heads([(way, head)])
        desk.books[:] = [Book(head)]
        return desk.books[0]

    async def _rewound(self, way: Way, desk: _Desk, position: Position) -> Book:
        """The target has lost records: they are shipped again, so what was proven of them is proven again."""
        _log.warning("the target lost records that were proven", way=str(way), from_offset=position.target_next)
        desk.waiting.clear()
        head = desk.books[0].head
        if head.target_next > position.target_next:
            kept = (await read_manifest(self._target, self._site)).get((way.ledger, way.partition), [])
            entries = [each for each in kept if each.target[1] <= position.target_next]
            head = head_after(entries[-1]) if entries else self._here(position)
        return await self._from(way, desk, head)

    async def _end_era(self, way: Way, book: Book, position: Position) -> None:
        """Prove the rest of an ended era by what the target has; its source log may be another one by now."""
        if book.target_next < position.target_first:
            await self._read_back(way, book, position.target_first, compare=False)
        if book.target_next >= position.target_first:
            book.begin(position.era, position.source_first, position.target_first, self._clock())

    async def _read_back(self, way: Way, book: Book, until: int, *, compare: bool = True) -> None:
        first = (await self._target.offsets(way.target, "earliest"))[way.partition]
        if first > book.target_next:
            await self._skip(way, book, min(first, until), "deleted at the target before it was proven")
            return
        size = 0
        name, meter = f"headwater-proof-{self._site}", self._target.meter
        async with Cluster(self._target.settings, client_id=name, meter=meter) as reader:  # not in a queue
            read = reread(self._probe, reader, way, book, until, compare=compare, fetch_bytes=self._fetch_bytes)
            async with aclosing(read):
                async for item in read:
                    book.add(item, self._clock())
                    size += item.size
                    if size > _MOST_READ_BACK:
                        break
        if book.target_next < until:
            await self._skip(way, book, until, "too much was shipped without a proof to be read back")

    async def _skip(self, way: Way, book: Book, until: int, why: str) -> None:
        """Leave records without a proof; a check says so."""
        _log.warning("not proven", way=str(way), first_offset=book.target_next, end=until, why=why)
        first, end = await logs.bounds(self._probe, way.topic, way.partition)
        source_next = book.source_next
        if first <= source_next <= end:
            counted = await logs.count_on(self._probe, way, Start(source_next, 0), until - book.target_next, end)
            source_next = counted.offset
        book.begin(book.era, source_next, until, self._clock())

    async def publish(self, *, closing: bool) -> None:
        """Write the entries that are complete, and those that are due and can be afforded."""
        now = self._clock()
        books = [(way, desk.book) for way, desk in self._desks.items() if desk.book is not None]
        for way, book in sorted(books, key=lambda each: each[1].since):
            overdue = book.since and now - book.since >= self._settings.interval_s * 1000
            if closing or (overdue and self._earned >= _cost(way, book)):
                book.cut(now)
        while due := [(way, book, book.ready[0]) for way, book in books if book.ready]:
            await self._write(due)

    async def _write(self, due: Sequence[tuple[Way, Book, Entry]]) -> None:
        entries = [(entry_key(way.ledger, way.partition, entry.target[0]), encode(entry)) for way, _, entry in due]
        await self._journal.publish(entries)
        await self._journal.keep_heads([(way, book.published(entry)) for way, book, entry in due])
        self._earned -= sum(len(key) + len(value) + _HEAD_BYTES for key, value in entries) + _WRITE_BYTES


def _cost(way: Way, book: Book) -> float:
    """Bytes that an entry takes, generously."""
    return 2 * len(way.topic) + 400 + _HEAD_BYTES + _WRITE_BYTES + book.size / 2000
