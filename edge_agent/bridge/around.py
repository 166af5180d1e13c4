"""A source of messages around another one."""

from __future__ import annotations

from headwater.transport.mqtt.source import MqttSource


class Around:
    """What an MqttSource around another one leaves to it."""

    def __init__(self, inner: MqttSource) -> None:
        self._inner = inner

    def acknowledge(self, count: int, epoch: int) -> None:
        """See MqttSource."""
        self._inner.acknowledge(count, epoch)

    def pause(self) -> None:
        """See MqttSource."""
        self._inner.pause()

    def resume(self) -> None:
        """See MqttSource."""
        self._inner.resume()
