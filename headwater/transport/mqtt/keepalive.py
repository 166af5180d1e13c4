"""Telling a broker that we live, and noticing that it does not (MQTT 5, 3.1.2.10).

paho's own keepalive knows only what paho itself has read: a message that takes longer than the keepalive to arrive
would end the connection, and so would a pause.
"""

from __future__ import annotations


class Keepalive:
    """Times in seconds of one clock. Any byte that arrives is a sign of life."""

    def __init__(self, period_s: float, now: float) -> None:
        self.period_s = period_s
        self.heard = now
        self._pinged = now

    def is_silent(self, now: float) -> bool:
        """Whether nothing came for so long that the answer to at least one PINGREQ is missing."""
        return now - self.heard > self.period_s

    def ping_is_due(self, now: float) -> bool:
        """Whether to send a PINGREQ now: twice a period, whatever else is sent."""
        if now - self._pinged < self.period_s / 2:
            return False
        self._pinged = now
        return True
