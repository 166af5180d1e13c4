"""Batches are packed anew before they cross a link that is narrower than the processors are slow.

Producers at a machine compress little or nothing, and write small batches. With `replicator.link.recompress` every
batch in another codec is compressed anew, and small ones in a row, in whatever codec, leave as one. A large batch is
inflated and compressed without a look into its records; small ones are taken apart, since their records change place.

What is wrong with a batch shows where it would have shown: its checksum is tried first, and one that fails leaves as it
came, for the target to refuse. So do batches with holes or with append times, which the engine builds anew anyway. The
anchor counts records, not batches, so another life may pack them otherwise.

Where nothing is gained (LEAST_GAIN), batches leave as they came, and after that it is tried less and less often.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Batch, Fetched, Out, batches, encode, records
from headwater.transport.kafka_batch.batches import HEADER_BYTES
from headwater.transport.kafka_batch.compression import Codec, inflate
from headwater.transport.kafka_batch.reading import Found, judged
from headwater.transport.kafka_batch.records import encode_records
from replicator.merging import Merger

SMALL_BYTES = 16 << 10
PACKED_BYTES = 128 << 10  # of what is put together, inflated by guess
LEAST_GAIN = 0.05
_INFLATES = 4  # times, by guess
_MOST_REST = 64  # fetches


class _Part(NamedTuple):
    """A batch to be packed, and its size when inflated, by guess."""

    batch: Batch
    size: int


class Packer:
    """One partition's, in place of a Merger. `counts["recompressed"]` grows by source batches; `tell` is told then.

    `sources` has the last source batch of each that was put together, by its base offset.
    """

    def __init__(self, codec: Codec, counts: dict[str, int], tell: Callable[[dict[str, int]], None]) -> None:
        self.saved_bytes = 0
        self._codec = codec
        self._counts = counts
        self._tell = tell
        self._merger = Merger()
        self.sources = self._merger.sources
        self._resting = 0  # fetches in which nothing is tried
        self._vain = 0  # fetches in a row in which nothing was gained

    def found(self, fetched: Fetched, start: int) -> list[Found]:
        """What `judged` tells of what was fetched, batches from offset `start` on packed anew."""
        self.sources.clear()
        if self._resting:
            self._resting -= 1
            return self._merger.found(fetched, start)
        packed, tried = self._counts.get("recompressed", 0), False
        found: list[Found] = []
        run: list[_Part] = []
        for each in judged(fetched):
            part = self._part(each, start)
            tried = tried or part is not None
            if run and (part is None or not _joins(run, part)):
                found += self._packed(run)
                run = []
            if part is None:
                found.append(each)
            else:
                run.append(part)
        found += self._packed(run)
        if self._counts.get("recompressed", 0) > packed:
            self._vain = 0
            self._tell(self._counts)
        elif tried:
            self._vain += 1
            self._resting = min(2**self._vain, _MOST_REST)
        return found

    def _part(self, found: Found, start: int) -> _Part | None:
        batch = found.batch
        whole = batch.base_offset >= start and batch.last_offset - batch.base_offset + 1 == batch.count
        if not found.is_data or not whole or batch.is_append_time:
            return None
        try:
            codec = batch.codec
        except BadInput:
            return None
        if codec == self._codec and len(batch.raw) >= SMALL_BYTES:
            return None
        return _Part(batch, len(batch.raw) * (1 if codec == "none" else _INFLATES)) if batch.crc_ok() else None

    def _packed(self, run: list[_Part]) -> list[Found]:
        as_it_came = [Found(part.batch, is_data=True) for part in run]
        if not run or (len(run) == 1 and run[0].batch.codec == self._codec):
            return as_it_came
        try:
            data = self._alone(run[0].batch) if len(run) == 1 else self._together(run)
        except BadInput:  # records that cannot be read: found where they are unpacked or refused
            return as_it_came
        size = sum(len(part.batch.raw) for part in run)
        if len(data) > size * (1 - LEAST_GAIN):
            return as_it_came
        first, last = run[0].batch, run[-1].batch
        struct.pack_into(">q", data, 0, first.base_offset)
        (made,) = batches(memoryview(data))
        self.sources[first.base_offset] = last
        self._counts["recompressed"] = self._counts.get("recompressed", 0) + len(run)
        self.saved_bytes += size - len(data)
        return [Found(made, is_data=True)]

    def _alone(self, batch: Batch) -> bytearray:
        section = inflate(batch.attributes & 7, batch.raw[HEADER_BYTES:])
        return encode_records(section, batch.count, batch.base_timestamp, batch.max_timestamp, self._codec, -1, -1, -1)

    def _together(self, run: list[_Part]) -> bytearray:
        outs = [
            Out(each.key, each.value, each.headers, each.timestamp_ms) for part in run for each in records(part.batch)
        ]
        return encode(outs, codec=self._codec)


def merger(codec: Codec | None, counts: dict[str, int], tell: Callable[[dict[str, int]], None]) -> Merger | Packer:
    """What puts batches together: a Packer where there is a codec to pack them with."""
    return Merger() if codec is None else Packer(codec, counts, tell)


def _joins(run: list[_Part], part: _Part) -> bool:
    """Whether a batch leaves together with those before it."""
    small = max(len(run[-1].batch.raw), len(part.batch.raw)) < SMALL_BYTES
    follows = run[-1].batch.last_offset + 1 == part.batch.base_offset
    return small and follows and sum(each.size for each in run) + part.size <= PACKED_BYTES
