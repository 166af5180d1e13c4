"""The order of an edge node's messages: sequence numbers 0 to 255 that wrap (Sparkplug 3.0, section 6.4.5).

The number that is expected next is taken. Of those taken the CRC-32 of topic and payload is remembered until the
number comes around again, so that a repetition is told from a message that only looks behind. Which of the last 128
were given up as lost is remembered too, so that one that comes late after all is taken then.
"""

from __future__ import annotations

from array import array
from enum import Enum, auto

NUMBERS = 256
BEHIND = 128


class Place(Enum):
    """What a sequence number means now."""

    NEXT = auto()
    LATE = auto()  # given up as lost before
    REPEATED = auto()  # taken before, byte for byte
    ELSEWHERE = auto()  # something before it is missing, or it is behind


class Sequence:
    """Where one edge node is in its numbers."""

    __slots__ = ("crcs", "missing", "next", "seen")

    def __init__(self, expected: int = 0) -> None:
        self.next = expected
        self.seen = 0  # a bit a number
        self.missing = 0
        self.crcs = array("I", bytes(4 * NUMBERS))

    def place(self, seq: int, crc: int) -> Place:
        """What to do with this number; nothing is changed."""
        if seq == self.next:
            return Place.NEXT
        if self.missing >> seq & 1:
            return Place.LATE
        if self.seen >> seq & 1 and self.crcs[seq] == crc:
            return Place.REPEATED
        return Place.ELSEWHERE

    def ahead(self, seq: int) -> int:
        """How many numbers lie between the expected one and this one."""
        return (seq - self.next) % NUMBERS

    def take(self, seq: int, crc: int) -> None:
        """The message with the expected number was taken, or with one that had been given up."""
        if seq == self.next:
            self.next = (seq + 1) % NUMBERS
            self.missing &= ~(1 << (seq - BEHIND) % NUMBERS)
        self.seen |= 1 << seq
        self.missing &= ~(1 << seq)
        self.crcs[seq] = crc

    def jump(self, seq: int) -> None:
        """Give up what is missing before this number, and expect it."""
        ahead = self.ahead(seq)
        lost = (1 << min(ahead, BEHIND)) - 1
        self.missing |= _rotated(lost, seq - min(ahead, BEHIND))
        self.seen &= ~self.missing
        self.next = seq
        self.missing &= _rotated((1 << BEHIND) - 1, seq - BEHIND)

    def took(self, seq: int) -> bool:
        """Whether this number is one of those behind that were taken."""
        return bool(self.seen >> seq & 1) and self.ahead(seq) >= BEHIND


def _rotated(bits: int, by: int) -> int:
    wide = bits << by % NUMBERS
    return (wide | wide >> NUMBERS) & (1 << NUMBERS) - 1
