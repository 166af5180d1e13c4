"""Which messages of a connection the broker has closed, so that it will not send them again.

An acknowledgement is not answered at QoS 1, and a broker that sends without bound (Mosquitto does at MQTT 3.1.1 while
it works off a queue) says nothing by sending more: thousands of acknowledgements may be on their way to it when the
connection breaks. But packets of a connection are worked off in their order: once a PINGRESP is there, the broker has
had all that we sent before the PINGREQ. So one is sent behind every `most` / 4 acknowledgements, and no more than
`most` messages are handed on that are not known to be closed. A broker that keeps to a receive maximum of `most` / 2
is not slowed by it.
"""

from __future__ import annotations

import structlog

from headwater.transport.mqtt.packets import Publish

MOST_KEPT_BYTES = 64 << 20
_MESSAGE_BYTES = 300  # of a message that is kept, beside its payload

_log = structlog.get_logger(__name__)


class Closing:
    """One connection, `begin` starts the next. `most`: messages that may be open and handed on at a time.

    Others are kept here, since PINGRESP lies behind what the broker has sent already: up to the 65,535 messages that
    it can have under way, or 64 MB. Beyond that they are handed on, with a warning.
    """

    def __init__(self, most: int, where: str) -> None:
        self._most = most
        self._step = max(1, most // 4)
        self._where = where
        self._has_warned = False
        self.begin()

    def begin(self) -> None:
        """A new connection."""
        self.kept: list[Publish] = []
        self._kept_bytes = 0
        self._handed = self._acknowledged = self._asked = self._closed = 0

    def let_through(self, messages: list[Publish]) -> list[Publish]:
        """What may be handed on, now that these have come."""
        if not self.kept and self._handed + len(messages) <= self._closed + self._most:
            self._handed += len(messages)
            return messages
        self.kept += messages
        self._kept_bytes += sum(map(_size, messages))
        return self.release()

    def release(self) -> list[Publish]:
        """What may be handed on of what was kept."""
        room = self._closed + self._most - self._handed
        if self._kept_bytes > MOST_KEPT_BYTES:
            room = len(self.kept)
            self._warn()
        if not self.kept or room <= 0:
            return []
        messages = self.kept[:room]
        del self.kept[:room]
        self._kept_bytes -= sum(map(_size, messages))
        self._handed += len(messages)
        return messages

    def acknowledged(self, count: int) -> int | None:
        """Take note of acknowledgements that were sent; what to ask the broker to answer now, if anything."""
        self._acknowledged += count
        if self._acknowledged - self._asked < self._step:
            return None
        self._asked = self._acknowledged
        return self._asked

    def answered(self, mark: int) -> None:
        """The broker has had all that was sent before it was asked for `mark`."""
        self._closed = max(self._closed, mark)

    def _warn(self) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        _log.warning(
            "the mqtt broker sends further ahead than can be kept; a kill may leave messages twice in Kafka",
            broker=self._where,
            hint="bound what it sends ahead (Mosquitto: max_inflight_messages 1000)",
        )


def _size(message: Publish) -> int:
    return len(message[3]) + _MESSAGE_BYTES
