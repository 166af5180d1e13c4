"""By packet id, what was taken in longer ago than the recogniser's two generations: ten bytes a message.

Brokers send further ahead than they were allowed to. Mosquitto 2.0.11 answers each acknowledgement with as many
messages as its whole window, so that it soon has sent all of its queue; and while it does so it looks at one
acknowledgement a turn. A connection that breaks then leaves thousands of messages open that were acknowledged.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

FAR = 49_152  # messages, of 65,535 packet ids: one that many back may be under way, its id is not yet used again
_PAGE = 8192  # sequences
_IDS = 1 << 16
_LAST_ID = _IDS - 1


# What a message was: hash((topic, payload)), which a process can compare with its own, or from a log the digest; its
# place in the order of receipt; its sequence. A plain tuple, made once a message.
Entry = tuple[int | bytes, int, int]


class _Index(NamedTuple):
    """By packet id: the hash of what a message was, and the least that its sequence can be (0: none)."""

    contents: array[int]
    ages: array[int]

    @classmethod
    def empty(cls) -> _Index:
        """Knows nothing; 1 MB."""
        return cls(array("q", bytes(8 * _IDS)), array("q", bytes(8 * _IDS)))


class Reach(NamedTuple):
    """Packet ids, oldest and newest, of messages one behind the other, from a broker that counts ids upwards."""

    oldest: int
    newest: int

    def covers(self, packet_id: bytes, margin: int) -> bool:
        """Whether an open message of this id is newer than the oldest, by `margin`, or than all."""
        behind = (self.newest - int.from_bytes(packet_id, "big")) % _LAST_ID
        return behind > FAR or behind + margin < (self.newest - self.oldest) % _LAST_ID


def reach_of(ids: Sequence[int], most: int) -> Reach | None:
    """What these ids, in the order of receipt, reach back to; None where the broker does not seem to count upwards.

    A life that ended leaves up to `most` of them out of their order. The lowest free ids come again and again.
    """
    if len(ids) < 2 * most or len(set(ids)) < len(ids):
        return None
    near = 4 * most
    if any(near < (after - before) % _LAST_ID < _LAST_ID - near for before, after in pairwise(ids)):
        return None
    return Reach(ids[0], ids[-1])


class Far:
    """A message is known by hash((topic, payload)), or by its digest, of which only the hash is kept."""

    def __init__(self) -> None:
        self._pages: deque[tuple[int, bytes, array[int]]] = deque()
        self._index: _Index | None = None
        self._logged: _Index | None = None
        self._newest_logged = 0

    def fold(self, entries: Mapping[bytes, Entry], since: int, sequence: int) -> None:
        """Take in a generation of messages, by packet id, that came behind `since`; `sequence` is the newest of all."""
        if sequence - since <= FAR // 2:
            self._add(entries, since)
        else:  # one page would be as old as its oldest: a generation that was learnt from a log is long
            pages: dict[int, dict[bytes, Entry]] = {}
            for packet_id, entry in entries.items():
                pages.setdefault(max(since, entry[2]) // _PAGE, {})[packet_id] = entry
            for number, page in sorted(pages.items()):
                self._add(page, max(since, number * _PAGE))
        self._index = None
        while self._pages and sequence - self._pages[0][0] >= FAR:
            self._pages.popleft()
        if sequence - self._newest_logged >= FAR:
            self._logged = None

    def _add(self, entries: Mapping[bytes, Entry], since: int) -> None:
        hashes = [was if type(was) is int else hash(was) for was, _, _ in entries.values()]
        self._pages.append((max(1, since), b"".join(entries), array("q", hashes)))

    def log(self, packet_id: bytes, sequence: int, content: bytes) -> None:
        """Take in the digest of what a former life wrote; under one id the one with the highest sequence counts."""
        if self._logged is None:
            self._logged = _Index.empty()
        self._newest_logged = max(self._newest_logged, sequence)
        at = int.from_bytes(packet_id, "big")
        if sequence > self._logged.ages[at]:
            self._logged.ages[at], self._logged.contents[at] = sequence, hash(content)

    def has(self, packet_id: bytes, topic: bytes, payload: bytes, digest: bytes, sequence: int) -> bool:
        """Whether the last message under this id was this one, and less than FAR behind `sequence`, the newest."""
        at = int.from_bytes(packet_id, "big")
        if self._index is None and self._pages:
            self._index = self._indexed()
        for index in (self._index, self._logged):
            if index is not None and index.ages[at]:
                known = index.contents[at] in (hash((topic, payload)), hash(digest))
                return known and sequence - index.ages[at] < FAR
        return False

    def _indexed(self) -> _Index:
        found = _Index.empty()
        for age, ids, hashes in self._pages:
            for at, content in zip(range(0, len(ids), 2), hashes, strict=True):
                number = ids[at] << 8 | ids[at + 1]
                found.contents[number], found.ages[number] = content, age
        return found
