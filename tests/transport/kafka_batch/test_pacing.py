"""Bytes leave at their rate, in their order, each once."""

from __future__ import annotations

import asyncio
import time

from headwater.transport.kafka_batch.pacing import Pacer


async def test_bytes_leave_by_and_by_and_in_order() -> None:
    """20 KB at 100 KB/s take a fifth of a second; without a rate what is left goes at once."""
    got = bytearray()
    done = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            got.extend(data)
            if len(got) >= 20_000:
                done.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    pacer = Pacer(writer.transport)  # type: ignore[arg-type]  # a TCP transport reads too
    sent = bytes(range(250)) * 80
    try:
        began = time.monotonic()
        pacer.rate = 100_000
        pacer.writelines([sent[:7], sent[7:15_000], sent[15_000:]])
        await asyncio.wait_for(done.wait(), 5)
        assert 0.12 < time.monotonic() - began < 1.0
        assert got == sent
        pacer.writelines([sent, sent])
        assert pacer.held
        pacer.rate = None
        assert not pacer.held
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
