"""What a topic is called at the target, and where a name says that a topic came from.

The rules are those of DefaultReplicationPolicy and IdentityReplicationPolicy (connect/mirror-client in Apache Kafka
4.3), so that MirrorMaker's own tools find everything by the names that they expect.
"""

from __future__ import annotations

from typing import NamedTuple

from headwater.contract.topics import GAPS_SUFFIX, MANIFEST_SUFFIX, POSITIONS_SUFFIX, REPLICATION_CONTROL

HEARTBEATS = "heartbeats"


class Naming(NamedTuple):
    """Names of one link, from the cluster called `source` to the one called `target`."""

    source: str
    target: str
    separator: str = "."
    keeps_names: bool = False

    def remote(self, topic: str) -> str:
        """Name at the target of a source topic. Heartbeats are prefixed in any case, for they tell the way."""
        if self.keeps_names and not self.is_heartbeats(topic):
            return topic
        return f"{self.source}{self.separator}{topic}"

    def hops(self, topic: str) -> list[str]:
        """Aliases in a topic's name, the last hop first: `b.a.t` has come from b, and to b from a."""
        *found, _ = self._split(topic)
        return found

    def original(self, topic: str) -> str:
        """The name without its aliases."""
        return self._split(topic)[-1]

    def is_heartbeats(self, topic: str) -> bool:
        """Whether it holds heartbeats, of whatever cluster."""
        return self._split(topic)[-1] == HEARTBEATS

    def is_internal(self, topic: str) -> bool:
        """Whether it is a cluster's, MirrorMaker's or a link's own, and never shipped."""
        mirrors = topic.startswith("mm2-") and topic.endswith(f"{self.separator}internal")
        suffixes = (POSITIONS_SUFFIX, GAPS_SUFFIX, MANIFEST_SUFFIX)
        bookkeeping = topic.endswith((f"{self.separator}{self._checkpoints}", *(f".{each}" for each in suffixes)))
        bookkeeping |= topic == REPLICATION_CONTROL.name
        return mirrors or bookkeeping or topic.startswith(("__", "."))

    def came_from_target(self, topic: str) -> bool:
        """Whether the name says that the topic has been at the target before: shipping it would go round in circles.

        With names that are kept no name says that; see the module cycles.
        """
        return (not self.keeps_names or self.is_heartbeats(topic)) and self.target in self.hops(topic)

    @property
    def checkpoints(self) -> str:
        """Topic of the checkpoints, at the target."""
        return f"{self.source}{self.separator}{self._checkpoints}"

    @property
    def _checkpoints(self) -> str:
        return f"checkpoints{self.separator}internal"

    def offset_syncs(self, other: str) -> str:
        """Topic of the offset syncs at one end; `other` is the alias of the other end."""
        return self.separator.join(("mm2-offset-syncs", other, "internal"))

    def _split(self, topic: str) -> list[str]:
        """Cut at the separators; as Java splits, empty parts at the end are part of the name, not of the way."""
        stem = topic
        while stem.endswith(self.separator):
            stem = stem.removesuffix(self.separator)
        parts = stem.split(self.separator)
        return [*parts[:-1], parts[-1] + topic[len(stem) :]]
