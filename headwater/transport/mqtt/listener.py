"""What a connection tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.transport.mqtt.packets import Publish

if TYPE_CHECKING:
    from headwater.transport.mqtt.connection import Connection


class Listener:
    """What a connection tells; each call comes from the event loop and must not wait."""

    def opened(self, connection: Connection) -> None:
        """Take note that the broker has accepted the connection; no message came before."""

    def received(self, messages: list[Publish]) -> None:
        """Take what one read brought, in the order of receipt."""

    def may_rest(self) -> bool:
        """Whether nothing need be read for a moment."""
        return True

    def published(self, packet_id: int) -> None:
        """Take note that the broker has acknowledged what `publish` sent."""
