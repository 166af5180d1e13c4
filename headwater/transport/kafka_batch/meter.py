"""Bytes that connections carry, counted to the last one, however they end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from headwater.transport.kafka_batch.road import road


class Meter:
    """Of all connections of the clusters that were given it; those that live are asked when somebody wants to know.

    What is counted is the kernel's (road.py): both ways, TLS and what TCP sent again included, IP and TCP headers not;
    nothing where the kernel does not say. A connection that ends has its socket closed before anybody is told, so each
    is asked through a second handle. `booked`: how many of the bytes somebody has written down, for whoever does.
    """

    def __init__(self) -> None:
        self.booked = 0
        self._ended = 0
        self._live: set[socket.socket] = set()

    def watch(self, sock: socket.socket) -> Callable[[], None]:
        """Count what goes over a connection from its first byte; call what is returned when it ends, before closing."""
        handle = sock.dup()
        self._live.add(handle)
        return partial(self._end, handle)

    def _end(self, handle: socket.socket) -> None:
        if handle in self._live:
            self._live.remove(handle)
            last = road(handle)
            self._ended += 0 if last is None else last.sent + last.received + last.unsent
            handle.close()

    @property
    def carried(self) -> int:
        """Bytes so far."""
        roads = [road(each) for each in self._live]
        return self._ended + sum(each.sent + each.received for each in roads if each is not None)

    @property
    def ports(self) -> set[int]:
        """Local ports of the connections that live."""
        return {each.getsockname()[1] for each in self._live}
