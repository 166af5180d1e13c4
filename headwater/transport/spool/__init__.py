"""A log on disk between MQTT and Kafka: whole after power loss at any write, bounded by bytes, fsync shared by a group.

A message is acknowledged to MQTT once `commit` has returned; a drainer reads the log from any position and trims it.

The folder
    `lock` (flock of the one process that has it open) and segments, named `<id>.<base>.<number>.spool`: 24 hex digits
    of the spool's id (12 of ms of Unix time, 12 random), the position of the first record (19 digits), and a number
    that only grows, so that names are never used twice. The last segment is never deleted: positions go on from it.
    `*.new` is a segment that was not finished; it is removed at the next start.

A segment (version 1; integers are little-endian)
    | 8 bytes  | `HWSPOOL` and a zero byte                                     |
    | uint32   | CRC-32C of the segment's name and the 20 bytes that follow   |
    | uint32   | version, 1                                                   |
    | int64    | ms of Unix time when it was made                             |
    | 8 bytes  | zero                                                         |
    Then frames, one an append and back to back; then zeros up to the preallocated size. The header is synced before
    the file gets its name, and all of the former segment before that, so that a segment's existence says that every
    position below its base was durable. What an older segment holds from that position on is void (a failed fsync).

A frame
    | 4 bytes  | AB 48 57 46                                                             |
    | uint32   | CRC-32C of the segment's name and the 40 bytes that follow              |
    | uint32   | CRC-32C of the body                                                     |
    | uint32   | bytes of the body                                                       |
    | int64    | position of its first record                                            |
    | int64    | durable end when it was written: every position below was synced        |
    | int64    | ms of Unix time of the append                                           |
    | uint32   | records; 0 in the mark that a clean close leaves                        |
    | uint16   | parts of each record, or 65535: they differ                             |
    | uint8    | bytes of a length in the index, 2 or 4                                  |
    | uint8    | zero                                                                    |
    The body is the index (with 65535: parts of each record as uint32; then the length of each part), then all parts.
    The name in the checksum keeps apart the frames of other segments, be they in payloads or in recycled blocks.

CRC-32C is Castagnoli's polynomial (RFC 3720, appendix B.4), from the package crc32c.

Start after a crash: only the last segment can hold anything unsynced. Damage in it is a torn write, and the log is cut
there, unless an intact frame behind it says that the damaged position was durable: then it is a gap. What no later
frame vouches for is written again and synced before it counts as durable, because the page cache may hold what a
failed fsync never brought to disk. So an acknowledged record is lost only to a disk that loses synced bytes. That is
named (`Missing`) wherever an intact frame or segment lies behind. Where none does, because the disk has lost the end of
the last segment from some place on (the whole file cut there, zeroed, or damaged up to its last byte), nothing tells
it from a torn write: the log is cut there too (a warning names the position, where a piece of a record is left), and
what was acknowledged behind is lost without being counted. At most that is the last segment.
"""

from headwater.transport.spool.bounds import Full, Gap, Missing
from headwater.transport.spool.frames import Record
from headwater.transport.spool.log import Spool

__all__ = ["Full", "Gap", "Missing", "Record", "Spool"]
