"""What a subscriber says of itself on its own connection: a will, and messages that it publishes."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """To be published, at QoS 0 or 1."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Presence(Protocol):
    """Told of each connection of a subscriber; the calls come from the event loop and must not wait."""

    def will(self) -> Message | None:
        """The will for a CONNECT that is sent now: the broker publishes it when the connection ends without a word."""
        ...

    def subscribed(self) -> None:
        """The connection stands and what was subscribed to is granted: `publish` reaches the broker."""
        ...

    def lost(self) -> None:
        """The connection has ended, or was not opened."""
        ...
