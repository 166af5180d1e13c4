"""`python -m bench.proof`: what the proof costs the replicator in CPU; its bytes are asserted by its tests."""

from __future__ import annotations

import time

from headwater.transport.kafka_batch import Out, encode
from replicator.engine import Shipment, Written
from replicator.proof.book import Book, item_of
from replicator.proof.entry import Head

_BATCHES = 20_000
_SHAPES = ((1, 100), (16, 1000), (900, 1000))


def main() -> None:
    """Print a line for each shape of batch."""
    for count, size in _SHAPES:
        data = encode([Out(b"k", b"x" * size, (), 1000 + n) for n in range(count)])
        book, head = Book(Head(0, 0, 0, "", 0)), bytes(data[:61])
        began = time.process_time()
        for number in range(1, _BATCHES + 1):
            written = Written(0, number * count, number * count, head, exact=True)
            book.add(item_of(Shipment(count, len(data), 1, written), written), 1)
            book.ready.clear()
        each_us = (time.process_time() - began) / _BATCHES * 1e6
        print(f"proof.us_a_batch {each_us:.1f}  ({count} records of {size} bytes, {len(data)} bytes)")


if __name__ == "__main__":
    main()
