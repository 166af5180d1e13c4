"""What became of every message.

received + resumed = written + recognised + dead-lettered + filtered + dropped + waiting, at every instant. `resumed` is
what waited in the spool when this life began; without a spool it is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.transport.spool import Spool


@dataclass
class Counts:
    """Messages of this life. `waiting` is counted by what is really held, not as a remainder."""

    received: int = field(default=0, metadata={"help": "Messages that arrived, redeliveries included."})
    resumed: int = field(default=0, metadata={"help": "Messages that waited in the spool when this life began."})
    written: int = field(default=0, metadata={"help": "Messages that Kafka has acknowledged in readings."})
    recognised: int = field(default=0, metadata={"help": "Redeliveries of messages that were taken in before."})
    dead_lettered: int = field(default=0, metadata={"help": "Messages that Kafka has acknowledged in dead-letters."})
    filtered: int = field(default=0, metadata={"help": "Messages without anything to write, as their decoder says."})
    dropped: int = field(
        default=0, metadata={"help": "Messages that a full spool gave up, as its policy says, or that its disk lost."}
    )
    possible_duplicates: int = field(
        default=0, metadata={"help": "Of the written: could not be told from one written before; flagged."}
    )
    waiting: int = field(default=0, metadata={"help": "Messages held for Kafka now, in memory and in the spool."})

    @property
    def balanced(self) -> bool:
        """Whether every message is accounted for."""
        settled = self.written + self.recognised + self.dead_lettered + self.filtered + self.dropped
        return self.received + self.resumed == settled + self.waiting

    def as_dict(self) -> dict[str, int]:
        """Name and value of each."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


_shown: list[Any] = []


def export(counts: Counts, spool: Spool | None = None) -> None:
    """Show the counts as `headwater_bridge_<what>_total` (and `headwater_bridge_waiting`) to Prometheus."""
    from prometheus_client import REGISTRY  # only where metrics are asked for: memory
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

    class Collected(Collector):
        def collect(self) -> list[Metric]:
            found: list[Metric] = []
            for each in fields(counts):
                kind = GaugeMetricFamily if each.name == "waiting" else CounterMetricFamily
                value = getattr(counts, each.name)
                found.append(kind(f"headwater_bridge_{each.name}", each.metadata["help"], value=value))
            size, age_s, syncs = (0, 0.0, 0) if spool is None else (spool.bytes, spool.age_ms / 1000, spool.syncs)
            return [
                *found,
                GaugeMetricFamily("headwater_bridge_spool_bytes", "Bytes that the spool takes.", value=size),
                GaugeMetricFamily(
                    "headwater_bridge_spool_oldest_seconds", "Age of the oldest message in the spool.", value=age_s
                ),
                CounterMetricFamily(
                    "headwater_bridge_spool_syncs", "How often this life has waited for the spool's disk.", value=syncs
                ),
            ]

    while _shown:  # of the life before a reload
        REGISTRY.unregister(_shown.pop())
    _shown.append(Collected())
    REGISTRY.register(_shown[-1])
