"""Open a socket for paho without blocking the event loop: paho's own connect waits for TCP and TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl

from headwater.transport.mqtt.settings import MqttSettings


async def dial(settings: MqttSettings) -> socket.socket:
    """Connect, and shake hands where TLS is set. The caller bounds the time; raises OSError."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, settings.host, settings.port)
    plain: socket.socket = transport.get_extra_info("socket").dup()  # asyncio resolves names; paho owns the socket
    transport.abort()
    plain.setblocking(False)
    context = settings.tls_context()
    if context is None:
        return plain
    secured = context.wrap_socket(plain, server_hostname=settings.host, do_handshake_on_connect=False)
    try:
        await _shake_hands(secured)
    except BaseException:
        secured.close()
        raise
    return secured


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        ready = asyncio.Event()
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            loop.add_reader(sock, ready.set)
        except ssl.SSLWantWriteError:
            loop.add_writer(sock, ready.set)
        else:
            return
        try:
            await ready.wait()
        finally:
            loop.remove_reader(sock)
            loop.remove_writer(sock)
