"""Prometheus metrics on a port, when asked; of this machine alone unless an address says more."""

from __future__ import annotations

import errno

from headwater.contract.errors import Permanent


def serve(port: int | None, address: str = "127.0.0.1") -> None:
    """Serve this process's metrics at http://address:port/metrics; nothing when `port` is None."""
    if port is None:
        return
    from prometheus_client import start_http_server  # noqa: PLC0415  # most processes never serve

    try:
        start_http_server(port, addr=address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise Permanent(f"metrics cannot be served on {address}:{port}: {error.strerror}") from error
        raise Permanent(f"port {port} is taken", hint="choose another metrics_port, or leave it out") from error
