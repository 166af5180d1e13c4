"""Which batches share a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.outbox import Outbox
from headwater.transport.kafka_batch.wire import Call


class _Socket:
    """A connection with room for everything; `requests` has the bodies that were sent."""

    clear = ready = True

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def post(self, call: Call[Any], answered: Callable[[Any], None]) -> None:
        del answered
        self.requests.append(b"".join(bytes(each) for each in call.body))


async def _sent(posts: list[tuple[int, bytes]]) -> list[bytes]:
    socket = _Socket()
    outbox = Outbox(cast("Connection", socket), 30.0)
    for partition, batch in posts:
        outbox.post("t", partition, batch, lambda _: None)
    await asyncio.sleep(0)
    return socket.requests


async def test_a_request_has_one_batch_of_each_partition_in_their_order() -> None:
    """A broker refuses two batches of a partition in a request, and order is kept within a partition."""
    posts = [(0, b"<a0>"), (0, b"<a1>"), (1, b"<b0>"), (0, b"<a2>"), (1, b"<b1>")]
    found = await _sent(posts)
    assert [[name in each for name in (b"<a0>", b"<a1>", b"<a2>", b"<b0>", b"<b1>")] for each in found] == [
        [True, False, False, True, False],
        [False, True, False, False, True],
        [False, False, True, False, False],
    ]


async def test_a_request_that_is_full_leaves_the_next_one_to_those_that_were_left_out() -> None:
    """No partition waits for another one's queue to end, though a request has no room for all."""
    large = 3 << 20
    posts = [(p, b"%d%d" % (p, n) + bytes(large)) for n in range(2) for p in range(3)]
    found = await _sent(posts)
    served = [
        next(p for p in range(3) if b"%d%d" % (p, n) in each) for n in range(2) for each in found[3 * n : 3 * n + 3]
    ]
    assert len(found) == 6
    assert served == [0, 1, 2, 0, 1, 2]
