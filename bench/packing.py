"""`python -m bench.packing`: what packing batches anew (`replicator.link.recompress`) saves, and its cost in CPU."""

from __future__ import annotations

import os
import struct
import time

import typer

from bench.figures import NONE, console, table
from bench.replicator.cases import Case, outs
from headwater.transport.kafka_batch import Fetched, Out, encode
from headwater.transport.kafka_batch.compression import Codec
from replicator.packing import Packer

_FETCH_BYTES = 256 << 10
_SECONDS = 2.0
_TO: tuple[Codec, ...] = ("zstd", "lz4")
_CASES = (
    Case("1 KB, none, 64 KB batches", 4096, 1000),
    Case("1 KB, none, 16 KB batches", 4096, 1000, batch=16 << 10),
    Case("1 KB, none, single", 4096, 1000, batch=1),
    Case("100 B, none, single", 4096, 100, batch=1),
    Case("100 B, none, 16 KB batches", 4096, 100, batch=16 << 10),
    Case("1 KB, lz4, 64 KB batches", 4096, 1000, "lz4"),
    Case("1 KB, lz4, single", 4096, 1000, "lz4", batch=1),
    Case("1 KB, zstd, single", 4096, 1000, "zstd", batch=1),
)


def main() -> None:
    """Print what packing saves and costs, a line for each shape of what was fetched; about 40 seconds of CPU.

    Example:  python -m bench.packing
    """
    rows = [row(case, to) for to in _TO for case in _CASES]
    noise = [encode([Out(None, os.urandom(1000), (), 1) for _ in range(63)]) for _ in range(65)]
    rows += [measured("1 KB of noise, none, 64 KB batches", noise, 63, to) for to in _TO]
    columns = ("fetched", "to", "bytes left", "µs a record", "MB/s of one core", "CPU a minute at 1 Mbit/s")
    console(as_json=False).print(table("Packed anew", columns, rows))


def row(case: Case, to: Codec) -> list[str]:
    """One shape."""
    each = case.per_batch
    made = [encode(outs(case, 0, at, each, 1_700_000_000_000), codec=case.codec) for at in range(0, case.records, each)]
    return measured(case.name, made, each, to)


def measured(name: str, made: list[bytearray], each: int, to: Codec) -> list[str]:
    """Packed again and again, a fetch at a time; the last column is the CPU that 1 Mbit/s of what was fetched needs."""
    fetches, read = _fetches(made, each), sum(len(batch) for batch in made)
    packer = Packer(to, {}, lambda _: None)
    rounds, left, began = 0, 0, time.process_time()
    while time.process_time() - began < _SECONDS:
        left = sum(len(found.batch.raw) for fetched in fetches for found in packer.found(fetched, 0))
        rounds += 1
    took = (time.process_time() - began) / rounds
    share = f"{left / read:.3f}" if left < read else NONE
    rate = read / took
    records = len(made) * each
    return [name, to, share, f"{took / records * 1e6:.1f}", f"{rate / 1e6:.0f}", f"{125_000 / rate * 60:.2f} s"]


def _fetches(made: list[bytearray], each: int) -> list[Fetched]:
    found, data, offset = [], bytearray(), 0
    for batch in made:
        struct.pack_into(">q", batch, 0, offset)
        offset += each
        data += batch
        if len(data) >= _FETCH_BYTES or batch is made[-1]:
            found.append(Fetched("t", 0, 0, offset, offset, 0, [], memoryview(data)))
            data = bytearray()
    return found


if __name__ == "__main__":
    typer.run(main)
