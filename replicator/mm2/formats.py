"""The records of MirrorMaker 2's internal topics, byte for byte.

Layouts: Heartbeat.java, Checkpoint.java (connect/mirror-client) and OffsetSync.java (connect/mirror) of Apache Kafka,
unchanged from 2.4 to 4.3: Kafka's wire types one after the other, INT16 version first in the values of the first two.
Each topic has one partition. Offsets are Kafka's, times ms since 1970.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.wire import INT16, INT32, INT64, Reader, reading, string

_VERSION = 0
Bytes = bytes | memoryview | None
T = TypeVar("T")


class Heartbeat(NamedTuple):
    """The flow `source` to `target` is alive."""

    source: str
    target: str
    at_ms: int

    @property
    def key(self) -> bytes:
        """Its record key."""
        return string(self.source) + string(self.target)

    @property
    def value(self) -> bytes:
        """Its record value."""
        return INT16.pack(_VERSION) + INT64.pack(self.at_ms)


class Checkpoint(NamedTuple):
    """A group that stands at `upstream` at the source stands at `downstream` at the target; `topic` is the target's."""

    group: str
    topic: str
    partition: int
    upstream: int
    downstream: int
    metadata: str = ""

    @property
    def key(self) -> bytes:
        """Its record key."""
        return string(self.group) + string(self.topic) + INT32.pack(self.partition)

    @property
    def value(self) -> bytes:
        """Its record value."""
        return INT16.pack(_VERSION) + INT64.pack(self.upstream) + INT64.pack(self.downstream) + string(self.metadata)


class OffsetSync(NamedTuple):
    """The record at `upstream` at the source is the one at `downstream` at the target; `topic` is the source's."""

    topic: str
    partition: int
    upstream: int
    downstream: int

    @property
    def key(self) -> bytes:
        """Its record key."""
        return string(self.topic) + INT32.pack(self.partition)

    @property
    def value(self) -> bytes:
        """Its record value."""
        return INT64.pack(self.upstream) + INT64.pack(self.downstream)


def read_heartbeat(key: Bytes, value: Bytes) -> Heartbeat:
    """Read a record of `heartbeats`; BadInput if it is none, or of a later version."""
    with reading("a heartbeat"):
        k, v = _readers(key, value)
        _check_version(v)
        return _all_read(Heartbeat(k.name(), k.name(), v.int64()), k, v)


def read_checkpoint(key: Bytes, value: Bytes) -> Checkpoint:
    """Read a record of `<source>.checkpoints.internal`; BadInput as above."""
    with reading("a checkpoint"):
        k, v = _readers(key, value)
        _check_version(v)
        return _all_read(Checkpoint(k.name(), k.name(), k.int32(), v.int64(), v.int64(), v.name()), k, v)


def read_offset_sync(key: Bytes, value: Bytes) -> OffsetSync:
    """Read a record of `mm2-offset-syncs.<other>.internal`; BadInput if it is none."""
    with reading("an offset sync"):
        k, v = _readers(key, value)
        return _all_read(OffsetSync(k.name(), k.int32(), v.int64(), v.int64()), k, v)


def _readers(key: Bytes, value: Bytes) -> tuple[Reader, Reader]:
    return Reader(memoryview(key or b"")), Reader(memoryview(value or b""))


def _check_version(r: Reader) -> None:
    version = r.int16()
    if version != _VERSION:
        raise BadInput(f"a record of MirrorMaker 2 in version {version}; version {_VERSION} is known")


def _all_read(found: T, *readers: Reader) -> T:
    if any(r.at != len(r.view) for r in readers):
        raise IndexError("bytes behind the last field")
    return found
