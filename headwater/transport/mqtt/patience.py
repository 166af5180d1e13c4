"""How long to wait before a lost connection is made anew.

Two clients with one client id end each other's connections for as long as both come back at once ([MQTT-3.1.4-3]).
MQTT 5 says so in the DISCONNECT; a broker of 3.1.1 only closes, which looks like any other loss but for its rhythm.
"""

from __future__ import annotations

import random

from headwater.transport.mqtt.reasons import TAKEN_OVER
from headwater.transport.retry import pauses

_STEADY_S = 10.0  # a connection that lasted as long was a good one: the next pause starts small again
_STEP_ASIDE_S = 10.0  # least pause before the session is taken back from another client
_MOST_SHORT = 6  # connections in a row: more are taken for a quarrel where the broker cannot say so


class Patience:
    """The pauses of one session. `taken_over` counts the connections that another client is known to have ended."""

    def __init__(self, client_id: str, protocol: str) -> None:
        self.taken_over = 0
        self._client_id = client_id
        self._is_mute = protocol == "3.1.1"
        self._waits = pauses()
        self._short = 0

    def after(self, lasted_s: float, end_code: int | None) -> tuple[float, str]:
        """Seconds to wait after a connection that lasted so long and ended so, and a hint where one helps."""
        self._short += 1
        if lasted_s > _STEADY_S:
            self._waits, self._short = pauses(), 0
        pause_s = next(self._waits)
        if end_code == TAKEN_OVER:
            self.taken_over += 1
        elif self._short < _MOST_SHORT or not self._is_mute:
            return pause_s, ""
        self._short = 0
        hint = f"does another client use the client id {self._client_id}? give one of them another one (mqtt.client_id)"
        return _STEP_ASIDE_S + random.uniform(0, _STEP_ASIDE_S), hint
