"""Bytes on the road to a cluster, as the kernel counts them."""

from __future__ import annotations

from headwater.transport.kafka_batch.road import Road


class Roads:
    """Bytes on the road to one cluster, over all its connections of this life; counted once a second."""

    def __init__(self) -> None:
        self._live: dict[int, Road] = {}
        self._sent = self._resent = 0

    def look(self, live: dict[int, Road]) -> None:
        """What the connections say now; those that ended keep their last word."""
        for name, last in self._live.items():
            now = live.get(name)
            if now is None or now.sent < last.sent:
                self._sent += last.sent
                self._resent += last.resent
        self._live = live

    @property
    def sent(self) -> int:
        """All bytes, also those that were sent again."""
        return self._sent + sum(each.sent for each in self._live.values())

    @property
    def resent(self) -> int:
        """Bytes that TCP sent again."""
        return self._resent + sum(each.resent for each in self._live.values())

    @property
    def connections(self) -> int:
        """That are live."""
        return len(self._live)

    @property
    def round_trip_ms(self) -> float | None:
        """Of the connection that has sent most."""
        busiest = max(self._live.values(), key=lambda each: each.sent, default=None)
        return None if busiest is None else busiest.rtt_s * 1000
