"""The manifest topic, read: which entries hold, and whether they follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from headwater.contract import topics
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Cluster, read_records
from replicator.proof.entry import Entry, chain_of

Entries = dict[tuple[str, int], list[Entry]]


async def read_manifest(target: Cluster, site: str) -> Entries:
    """Entries by source topic and partition, in the order of their offsets; nothing where there is no manifest."""
    name = topics.manifest(site, -1).name
    found: Entries = {}
    try:
        first, end = (await target.offsets(name, "earliest"))[0], (await target.offsets(name, "latest"))[0]
    except BadInput:
        return found
    async for batch in read_records(target, name, 0, first, end):
        for record in batch:
            topic, partition, _ = (record.key or b"//").decode(errors="replace").split("/", 2)
            try:
                entry = msgspec.json.decode(record.value or b"", type=Entry)
                pair = topic, int(partition)
            except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
                raise BadInput(f"{name} offset {record.offset} is not readable: {error}") from error
            place(found.setdefault(pair, []), entry)
    return found


def place(entries: list[Entry], entry: Entry) -> None:
    """Add an entry; it replaces all that reach beyond its first offset."""
    while entries and entries[-1].target[1] > entry.target[0]:
        entries.pop()
    entries.append(entry)


class Break(NamedTuple):
    """Where the chain does not hold: target offsets [first, end) that no entry covers, or an entry that was altered."""

    first: int
    end: int
    why: str


def breaks(entries: Sequence[Entry]) -> list[Break]:
    """Holes, and entries whose `before` is not the chain of the one before."""
    found = []
    for former, entry in pairwise(entries):
        if entry.target[0] > former.target[1] and entry.era == former.era:
            found.append(Break(former.target[1], entry.target[0], "no entry covers them"))
        if entry.before != chain_of(former):
            found.append(Break(*entry.target, "their entry does not follow the one before"))
    return found
