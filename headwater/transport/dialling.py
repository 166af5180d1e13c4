"""Opening a connection within a time, and saying in words why it did not come about: the same for every wire."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headwater.contract.errors import Unreachable, Untrusted


@asynccontextmanager
async def dialling(peer: str, timeout_s: float) -> AsyncIterator[None]:
    """Bound what is done inside; `peer` is for people, such as `broker kafka:9092`.

    Unreachable: no answer in time, or no connection. Untrusted: the certificate is not valid, or not the peer's.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(
            f"the certificate of {peer} is not trusted: {error.verify_message}",
            hint="set ca_file to the authority that signed it, and name the broker as the certificate does",
        ) from error
    except TimeoutError as error:
        raise unreachable(peer, f"did not answer within {timeout_s:g} s") from error
    except OSError as error:
        raise unreachable(peer, f"cannot be connected to: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """Without the number of the error, and the address that is told already."""
    if error.errno is None or isinstance(error, (ssl.SSLError, socket.gaierror)):
        return error.strerror or str(error) or "it ended the connection"
    return os.strerror(error.errno)


# Alerts of TLS by which a server ends the handshake for the sake of our certificate (RFC 8446, 6.2), as OpenSSL spells
# them; before TLS 1.3 a missing one is told as a failed handshake, which may have other reasons too.
_DEMANDED = "CERTIFICATE_REQUIRED"
_NOT_LIKED = ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_", "ALERT_UNSUPPORTED_CERTIFICATE")
# What answers in clear where TLS was begun.
NO_HANDSHAKE = "it ended the TLS handshake; this port may not speak TLS"
_NO_TLS = (
    NO_HANDSHAKE,
    "WRONG_VERSION_NUMBER",
    "UNEXPECTED_EOF_WHILE_READING",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)
_GONE = ("ended the connection", "closed the connection", "reset by peer")
_NO_AGREEMENT = "ALERT_HANDSHAKE_FAILURE"


def unreachable(peer: str, what: str) -> Unreachable:
    """The error for a broker that cannot be talked to, or not any more; `what` may hold what OpenSSL says."""
    return Unreachable(f"{peer} {what}", hint=_hint(what))


def _hint(what: str) -> str:
    if any(each in what for each in _NO_TLS):
        return "it does not speak TLS there: look at tls and port of these settings"
    if "WebSocket" in what or "Upgrade" in what:
        return "it does not speak WebSocket there: look at transport, port and websocket_path of these settings"
    if _DEMANDED in what:
        return "it demands a client certificate: set cert_file and key_file"
    if any(each in what for each in _NOT_LIKED):
        return "it does not take our client certificate: look at cert_file, its end, and the authorities that it trusts"
    if _NO_AGREEMENT in what:
        return "it may demand a client certificate (set cert_file and key_file), or another version of TLS"
    if any(each in what for each in _GONE):
        return "look at its log; perhaps it speaks something else there: look at tls, port and, for MQTT, transport"
    return "check its address, and that it runs"
