"""Opening a connection within a time, and saying in words why it did not come about: the same for every wire."""

from __future__ import annotations

import asyncio
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
        raise unreachable(peer, f"cannot be connected to: {error}") from error


def unreachable(peer: str, what: str) -> Unreachable:
    """The error for a broker that cannot be talked to, or not any more."""
    return Unreachable(f"{peer} {what}", hint="check its address, and that it runs")
