"""Open a socket for paho without blocking the event loop: paho's own connect waits for TCP and TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from paho.mqtt.client import _WebsocketWrapper

from headwater.transport.mqtt.settings import MqttSettings


async def dial(settings: MqttSettings) -> Any:
    """Connect, shake hands where TLS is set, and ask for a WebSocket where one is wanted.

    The caller bounds the time; raises OSError. What comes back has the methods of a socket that paho uses.
    """
    sock = await _connected(settings)
    if settings.transport == "tcp":
        return sock
    try:
        return await asyncio.to_thread(_websocket, sock, settings)
    except BaseException:
        sock.close()
        raise


def _websocket(sock: socket.socket, settings: MqttSettings) -> Any:
    sock.settimeout(settings.connect_timeout_s)
    wrapped = _WebsocketWrapper(
        socket=sock,
        host=settings.host,
        port=settings.port,
        is_ssl=settings.tls,
        path=settings.websocket_path,
        extra_headers=None,
    )
    sock.setblocking(False)
    return wrapped


async def _connected(settings: MqttSettings) -> socket.socket:
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
