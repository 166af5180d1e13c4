"""What was set aside of a partition: ranges of the source that go to `<site>.<topic>.backlog`, one behind the other.

Kept in the positions topic at `<topic>/<partition>/aside`, written together with the position of whichever stream it
changes: with the first position of the live stream's new era when a range is set aside, with that of the backlog when
a range is begun or filled. The key names the partition, so all of it belongs to one share and one writer.
"""

from __future__ import annotations

import msgspec
from msgspec import structs

from replicator.position import Position
from replicator.proof.entry import Head

DEFERRED = "deferred"  # cause of a gap that is filled beside: position.Gap before the era that begins behind it


class Range(msgspec.Struct, frozen=True):
    """Source offsets [first, end), which come before the live stream's era `era`; `at` is ms since 1970.

    `before` is the live stream's position when they were set aside, as long as batches of a life that ended may still
    land behind it; `first` is settled once the first batch of the new era is at the target, which ends that.
    """

    first: int
    end: int
    era: int
    at: int
    before: Position | None = None
    source_id: str = ""  # of the topic that they are of, as in Position


class Aside(msgspec.Struct, frozen=True):
    """One partition. `shipping`: the stored position of the backlog is within the first range.

    `at`: when something was set aside last, ms since 1970.
    """

    ranges: tuple[Range, ...] = ()
    shipping: bool = False
    at: int = 0
    v: int = 1

    @property
    def unsettled(self) -> Range | None:
        """The newest range, while its beginning is not sure."""
        return self.ranges[-1] if self.ranges and self.ranges[-1].before is not None else None

    @property
    def next(self) -> Range | None:
        """What is to be shipped first, if that may begin."""
        return self.ranges[0] if self.ranges and self.ranges[0].before is None else None

    def with_range(self, new: Range) -> Aside:
        """One more range, behind all others."""
        return structs.replace(self, ranges=(*self.ranges, new), at=new.at)

    def settled(self, first: int) -> Aside:
        """With the newest range's beginning known."""
        *others, newest = self.ranges
        if first >= newest.end:
            return structs.replace(self, ranges=tuple(others))
        return structs.replace(self, ranges=(*others, structs.replace(newest, first=first, before=None)))

    def cut(self, end: int) -> Aside:
        """Without what is at or behind an offset: the live stream ships the source's log from there."""
        kept = [structs.replace(each, end=min(each.end, end)) for each in self.ranges if each.first < end]
        return structs.replace(self, ranges=tuple(kept), shipping=self.shipping and bool(kept))


def aside_key(topic: str, partition: int) -> bytes:
    """Key of what was set aside."""
    return f"{topic}/{partition}/aside".encode()


def unproven_from(aside: Aside, position: Position | None, head: Head | None) -> int | None:
    """First source offset that was set aside and is not shipped and proven; None: all is.

    `position` and `head` are those of the backlog. Ranges go in the order of their offsets.
    """
    found = []
    waiting = aside.ranges[1:] if aside.shipping else aside.ranges
    if waiting:
        found.append(waiting[0].first)
    if position is None:
        return min(found, default=None)
    if head is None:
        found.append(position.source_first)
    elif head.target_next >= position.target_next:
        found += [position.source_next] if aside.shipping else []
    elif head.era == position.era:
        found.append(head.source_next)
    elif head.target_next >= position.target_first:
        found.append(position.source_first)
    else:
        found.append(min(head.source_next, position.source_first))
    return min(found, default=None)
