"""What the kernel knows of a connection: round trip, bytes sent, bytes sent again.

Layout: struct tcp_info of linux/tcp.h, which only grows at its end (bytes_sent, bytes_retrans: Linux 4.19).
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_RTT = struct.Struct("=I")
_RTT_AT = 68
_RECEIVED_AT = 128
_UNSENT_AT = 144
_SENT_AT = 200
_PAIR = struct.Struct("=QQ")
_QUAD = struct.Struct("=Q")
_BYTES = 216
_ENDED = 7  # TCP_CLOSE: nothing leaves any more


class Road(NamedTuple):
    """One connection so far, TLS and retransmissions included, IP and TCP headers not; `rtt_s` is smoothed.

    `unsent`: bytes that the kernel holds and still sends, also once the socket is closed.
    """

    rtt_s: float
    sent: int
    resent: int
    received: int
    unsent: int = 0


def road(sock: socket.socket) -> Road | None:
    """Ask the kernel; None where it does not say (another system, a closed socket)."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES)
    except OSError:
        return None
    if len(info) < _BYTES:
        return None
    sent, resent = _PAIR.unpack_from(info, _SENT_AT)
    (received,) = _QUAD.unpack_from(info, _RECEIVED_AT)
    unsent = 0 if info[0] == _ENDED else _RTT.unpack_from(info, _UNSENT_AT)[0]
    return Road(_RTT.unpack_from(info, _RTT_AT)[0] / 1e6, sent, resent, received, unsent)
