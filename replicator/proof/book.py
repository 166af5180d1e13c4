"""The open entry of one partition: stamps go in, entries come out. No I/O."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from headwater.transport.kafka_batch import batches, records
from replicator.engine import Shipment, Written
from replicator.fingerprint import canonical
from replicator.proof.entry import (
    CELL_BYTES,
    COMPARED,
    ENTRY_BYTES,
    READ,
    SHIPPED,
    Cell,
    Entry,
    Head,
    chain_of,
    folded,
    head_after,
    pack,
)

_WEAKER = {SHIPPED: 0, COMPARED: 1, READ: 2}


class Item(NamedTuple):
    """One batch at the target. `exact`: it is one batch of the source. `canonical`: its records, if looked at."""

    stamp: int
    records: int
    size: int
    exact: bool
    era: int
    source_next: int
    target_next: int
    seen: str = SHIPPED
    canonical: bytes = b""

    @property
    def target_first(self) -> int:
        """Offset of its first record at the target."""
        return self.target_next - self.records


def item_of(shipment: Shipment, written: Written) -> Item:
    """An acknowledged batch; its records count for a digest where all of it was kept."""
    era, source_next, target_next, stamp, exact, sent = written
    section = b""
    if sent:
        for batch in batches(memoryview(sent)):
            section = b"".join(map(canonical, records(batch)))
    return Item(stamp, shipment.records, shipment.size, exact, era, source_next, target_next, SHIPPED, section)


class Book:
    """Goes on from a head. `size` is the bytes of the open entry, `since` when it got its first batch (ms, 0: none).

    An entry has a digest of its records where those of all its batches were looked at.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.era, self.source_next, self.target_next = head.era, head.source_next, head.target_next
        self.ready: list[Entry] = []
        self._source_first, self._target_first = head.source_next, head.target_next
        self._chain = head.chain
        self._cell_batches = self._cell_bytes = self._records = self._fold = 0
        self._exact = True
        self._clear()

    def _clear(self) -> None:
        self.size = self.since = self._batches = 0
        self._cells: list[Cell] = []
        self._open_cell()
        self._seen = SHIPPED
        self._sha256, self._digested = hashlib.sha256(), True
        self._source_first, self._target_first = self.source_next, self.target_next

    def follows(self, item: Item) -> bool:
        """Whether a batch is the next one."""
        return item.era == self.era and item.target_first == self.target_next

    def add(self, item: Item, now: int) -> None:
        """Take the next batch; it may complete an entry, which is then in `ready`."""
        self.since = self.since or now
        if self._cell_bytes and (self._cell_bytes + item.size > CELL_BYTES or self._exact != item.exact):
            self._close_cell()
        self._exact = item.exact
        self._cell_batches += 1
        self._records += item.records
        self._fold = folded(self._fold, item.stamp)
        self._cell_bytes += item.size
        self.size += item.size
        self._batches += 1
        if item.seen != self._seen and _WEAKER[item.seen] > _WEAKER[self._seen]:
            self._seen = item.seen
        self._digested = self._digested and bool(item.canonical)
        if self._digested:
            self._sha256.update(item.canonical)
        self.source_next, self.target_next = item.source_next, item.target_next
        if self.size >= ENTRY_BYTES:
            self.cut(now)

    def _open_cell(self) -> None:
        self._cell_batches = self._cell_bytes = self._records = self._fold = 0
        self._exact = True

    def _close_cell(self) -> None:
        if self._cell_batches:
            self._cells.append(Cell(self._cell_batches, self._records, self._fold, self._exact))
        self._open_cell()

    def cut(self, now: int) -> None:
        """End the open entry, if it has a batch."""
        if not self._batches:
            return
        self._close_cell()
        entry = Entry(
            era=self.era,
            source=(self._source_first, self.source_next),
            target=(self._target_first, self.target_next),
            batches=self._batches,
            bytes=self.size,
            cells=pack(self._cells),
            seen=self._seen,
            before=self._chain,
            at=now,
            sha256=self._sha256.hexdigest() if self._digested else "",
        )
        self._chain = chain_of(entry)
        self.ready.append(entry)
        self._clear()

    def begin(self, era: int, source_next: int, target_next: int, now: int) -> None:
        """Go on elsewhere: in a new era, or behind offsets that nobody can prove any more."""
        self.cut(now)
        self.era, self.source_next, self.target_next = era, source_next, target_next
        self._clear()

    def published(self, entry: Entry) -> Head:
        """The head once the first of `ready` is durable."""
        self.ready.remove(entry)
        self.head = head_after(entry)
        return self.head
