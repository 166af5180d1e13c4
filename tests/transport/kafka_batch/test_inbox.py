"""Answers come whole however they are cut up, and their memory is used again only when nobody looks at it."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from headwater.contract.errors import Unreachable
from headwater.transport.kafka_batch.inbox import Inbox, Spare
from headwater.transport.kafka_batch.plain import PlainTransport, connect

SEED = 20_261_121
LARGE = 100_000


def test_answers_come_whole_however_they_are_cut() -> None:
    """Small and large ones, received in pieces of every size."""
    dice = random.Random(SEED)
    for most in (3, 1000, 1 << 20):
        sent = [dice.randbytes(dice.choice([4, 5, 300, 70_000, 300_000])) for _ in range(40)]
        stream = b"".join(len(each).to_bytes(4, "big") + each for each in sent)
        got: list[bytes] = []
        inbox = Inbox(lambda view, got=got: got.append(bytes(view)))  # type: ignore[misc]  # bound in the loop
        at = 0
        while at < len(stream):
            room = inbox.buffer()
            piece = stream[at : at + min(len(room), dice.randint(1, most))]
            room[: len(piece)] = piece
            inbox.received(len(piece))
            at += len(piece)
        assert got == sent
        assert not inbox.missing


def test_what_is_no_answer_is_refused() -> None:
    """A length that no broker sends ends it."""
    inbox = Inbox(lambda _: None)
    inbox.buffer()[:4] = b"HTTP"
    with pytest.raises(Unreachable, match="no Kafka answer"):
        inbox.received(4)


def test_memory_is_used_again_only_when_no_view_is_left() -> None:
    """A part that somebody still holds keeps its bytes; after that the memory serves the next answer."""
    spare = Spare()
    first = spare.take(LARGE)
    first[:] = b"1" * LARGE
    part = first[50:60]
    where = id(first.obj)
    first.release()
    second = spare.take(LARGE)
    assert id(second.obj) != where
    second[:] = b"2" * LARGE
    assert bytes(part) == b"1" * 10
    part.release()
    assert id(spare.take(LARGE).obj) == where


class _Peer(asyncio.BufferedProtocol):
    """Takes note of what a transport tells."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.enough, self.lost = asyncio.Event(), asyncio.Event()
        self.paused = 0
        self._room = bytearray(1 << 16)

    def get_buffer(self, sizehint: int) -> bytearray:
        del sizehint
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.got += self._room[:nbytes]
        if len(self.got) >= 5:
            self.enough.set()

    def pause_writing(self) -> None:
        self.paused += 1

    def resume_writing(self) -> None:
        self.paused -= 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost.set()


async def test_all_that_is_sent_arrives_in_order_past_a_slow_peer() -> None:
    """Buffers that the kernel does not take at once follow, the writer is paused meanwhile, and an end is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        loop = asyncio.get_running_loop()
        host, port = server.getsockname()
        sock = await connect(host, port)
        far, _ = await loop.sock_accept(server)
    peer = _Peer()
    transport = PlainTransport(sock, peer)
    transport.set_write_buffer_limits(high=1 << 20)
    sent = [random.Random(n).randbytes(200_000) for n in range(60)]
    for at in range(0, 60, 3):
        transport.writelines(sent[at : at + 3])
    assert peer.paused == 1
    with far:
        got = bytearray()
        while len(got) < 12_000_000:
            got += await loop.sock_recv(far, 1 << 20)
        assert got == b"".join(sent)
        assert not peer.paused
        assert not transport.get_write_buffer_size()
        transport.expect(5)  # it is not woken before all five are there
        await loop.sock_sendall(far, b"abc")
        await asyncio.sleep(0.05)
        assert not peer.got
        await loop.sock_sendall(far, b"de")
        async with asyncio.timeout(5):
            await peer.enough.wait()
        assert peer.got == b"abcde"
    async with asyncio.timeout(5):
        await peer.lost.wait()
    assert transport.is_closing()
