"""How long the certificate of a service is still good."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime

from headwater.app.doctor.finding import Finding, attempt, good, warning
from headwater.transport.tls import certificate_end

DAY_S = 86_400
SOON_DAYS = 14


def certificate(check: str, host: str, port: int, context: ssl.SSLContext) -> Finding:
    """Good for two weeks more, or a warning; bad when it is not trusted."""

    def look() -> Finding:
        end = certificate_end(host, port, context)
        days = (end - time.time()) / DAY_S
        says = f"good until {datetime.fromtimestamp(end, UTC):%Y-%m-%d}, {days:.0f} days"
        if days < SOON_DAYS:
            return warning(check, says, f"renew the certificate of {host}:{port}; nothing connects when it has ended")
        return good(check, says)

    return attempt(check, look, "set ca_file to the authority that signed it, and name the server as it does")
