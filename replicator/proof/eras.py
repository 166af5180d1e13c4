"""Which eras of a partition the source's log still has, and what no entry and no gap says anything of. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from headwater.transport.kafka_batch import Record
from replicator.fresh.engines import OTHER_LOG
from replicator.fresh.parts import Span, Stream, gaps_in, without
from replicator.position import DOUBLED, Gap, Position
from replicator.proof.entry import Entry
from replicator.way import Way

_END = 1 << 62


def whole(kept: Mapping[bytes, Record], entries: Sequence[Entry], way: Way, position: Position) -> Stream:
    """All eras of the log that the source has now: what was shipped of it, but for what gaps name.

    Where the first of them began is known from the gap before it, or from its entries; without either only the newest
    era is meant, since what stands before the first one may be of another link (mm2/adopting.py).
    """
    gaps = gaps_in(kept, way.ledger, way.partition)
    since = since_when(gaps)
    mine = [each for each in entries if each.era >= since]
    begins = min([position.source_first, *(each.source[0] for each in mine)])
    if since:
        begins = next(each.resumed_at for each in gaps if each.era == since)
    later = [each for each in gaps if each.era > since]
    spans = without([(begins, _END)], [(each.first, each.end) for each in later if each.cause != DOUBLED])
    places = [(each.source[1], each.target[1]) for each in mine]
    return Stream(way, position, spans, doubled(later), places)


def since_when(gaps: Sequence[Gap]) -> int:
    """The first era of the log that the source has now."""
    return max((each.era for each in gaps if each.cause in OTHER_LOG), default=0)


def doubled(gaps: Sequence[Gap]) -> list[Span]:
    """Ranges of the target that gaps name as doubled."""
    return [(each.first, each.end) for each in gaps if each.cause == DOUBLED]


class Holes(NamedTuple):
    """Offsets [first, end) between two eras that no entry covers and no gap names.

    Each of the source has the target offset beside it.
    """

    target: list[Span]
    source: list[tuple[Span, int]]


def holes(entries: Sequence[Entry], gaps: Sequence[Gap]) -> Holes:
    """What is missing from the manifest where one era ends and another one begins."""
    found, known, since = Holes([], []), doubled(gaps), since_when(gaps)
    named = [(each.first, each.end) for each in gaps if each.cause != DOUBLED]
    for former, entry in pairwise(entries):
        if former.era == entry.era:
            continue
        found.target.extend(_between(former.target[1], entry.target[0], known))
        if former.era >= since:
            between = _between(former.source[1], entry.source[0], named)
            found.source.extend((span, entry.target[0]) for span in between)
    return found


def _between(first: int, end: int, known: Sequence[Span]) -> list[Span]:
    return without([(first, end)], known) if first < end else []
