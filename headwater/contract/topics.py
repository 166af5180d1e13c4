"""Every topic that Headwater uses, and the only place that spells one.

A dot in a name belongs to the replicator: `<site>.<topic>` is that site's topic in the cloud.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.contract.errors import BadInput
from headwater.contract.names import check_site

READINGS = "readings"  # key asset, value the MQTT payload byte for byte
SCORES = "scores"  # key asset; partition n answers partition n of readings
ALARMS = "alarms"  # key asset; episodes opened and closed
DEAD_LETTERS = "dead-letters"  # key of the source; the refused bytes
STATE = "state"  # compacted; feature and alarm state with the offset that it stands for
STATUS = "status"  # compacted; key site, the whole state of one edge
SESSION_GAPS = "session-gaps"  # key site; from when to when MQTT messages may be missing
SKETCHES = "sketches"  # key asset; what readings look like, for drift
CLOCKS = "clocks"  # compacted; key asset, how far its clock is off
SPARKPLUG_EVENTS = "sparkplug-events"  # key asset; births and stale intervals, of a bridge with a Sparkplug route
SPARKPLUG_STATES = "sparkplug-states"  # compacted; key <site>/<group>/<edge node>, what its births said
RETRAIN_REQUESTS = "retrain-requests"  # cloud; key request id
TRAINING_RUNS = "training-runs"  # cloud; key request id
MODEL_EVENTS = "model-events"  # cloud; key class, one record a published version
FLEET_EVENTS = "fleet-events"  # cloud; key rollout
LABELS = "labels"  # cloud, compacted; key <site>/<asset>/<order>, what maintenance found out

DAY_MS = 86_400_000


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it is created: `configs` are Kafka's own names, values as text."""

    name: str
    partitions: int
    configs: dict[str, str] = field(default_factory=dict)

    @property
    def compacted(self) -> bool:
        """Whether counts of a range may change, so that it is copied record by record."""
        return self.configs.get("cleanup.policy") == "compact"


COMPACT = {"cleanup.policy": "compact"}
# Small segments are compacted early, so that a start reads little.
_SMALL = {**COMPACT, "segment.bytes": str(4 << 20), "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


def edge_topics(partitions: int = 4, retention_days: int = 7) -> list[TopicSpec]:
    """The topics of one edge cluster; `scores`, `alarms` and `state` mirror the partitions of `readings`."""
    kept = _kept(retention_days)
    return [
        TopicSpec(READINGS, partitions, kept),
        TopicSpec(SCORES, partitions, kept),
        TopicSpec(ALARMS, partitions, _kept(90)),
        TopicSpec(DEAD_LETTERS, partitions, kept),
        TopicSpec(STATE, partitions, COMPACT),
        TopicSpec(SKETCHES, partitions, _kept(90)),
        TopicSpec(STATUS, 1, COMPACT),
        TopicSpec(SESSION_GAPS, 1, _kept(90)),
        TopicSpec(CLOCKS, 1, COMPACT),
    ]


def sparkplug_topics(partitions: int = 4, retention_days: int = 7) -> list[TopicSpec]:
    """The topics of an edge cluster that a Sparkplug route needs beside its own."""
    return [
        TopicSpec(SPARKPLUG_EVENTS, partitions, _kept(retention_days)),
        TopicSpec(SPARKPLUG_STATES, 1, _SMALL),
    ]


def cloud_topics() -> list[TopicSpec]:
    """The cloud's own topics. Those of the sites are made by their replicators."""
    kept = [TopicSpec(name, 1, _kept(90)) for name in (RETRAIN_REQUESTS, TRAINING_RUNS, MODEL_EVENTS, FLEET_EVENTS)]
    return [*kept, TopicSpec(LABELS, 1, _SMALL)]


REPLICATED = (READINGS, SCORES, ALARMS, STATUS, SESSION_GAPS, SKETCHES)  # dead letters stay where they can be repaired
BACKLOG = "backlog"  # behind `<site>.<topic>`: what a link that ships new records first left out there
POSITIONS_SUFFIX = "positions.internal"
GAPS_SUFFIX = "gaps.internal"
REPLICATION_CONTROL = TopicSpec("headwater-replication-control", 1, _SMALL)  # at a link's source: what is paused
MANIFEST_SUFFIX = "manifest.internal"
MANIFEST_KEPT_MS = 400 * DAY_MS  # at least; longer where the topics at the target are kept longer


def remote(site: str, topic: str) -> str:
    """Name in the cloud of a site's topic: `lyon.readings`."""
    if "." in topic:
        raise BadInput(f"topic {topic!r} has a dot: it was replicated already", hint="replicate local topics only")
    return f"{check_site(site)}.{topic}"


def local(name: str) -> tuple[str, str]:
    """Site and topic of a replicated topic's name: `lyon.readings` gives (`lyon`, `readings`)."""
    site, dot, topic = name.partition(".")
    if not dot or "." in topic:
        raise BadInput(f"{name!r} is not the name of a replicated topic", hint="expected <site>.<topic>")
    return check_site(site), topic


def backlog(site: str, topic: str) -> str:
    """Name in the cloud of what a link shipped beside a site's topic (replicator `link.fresh_first`)."""
    return f"{remote(site, topic)}.{BACKLOG}"


def origin(name: str) -> tuple[str, str]:
    """As `local`, also of the topic of a backlog: `lyon.readings.backlog` too gives (`lyon`, `readings`)."""
    return local(name.removesuffix(f".{BACKLOG}"))


def positions(site: str) -> TopicSpec:
    """The compacted topic at the target in which a link remembers its producer and its positions."""
    return TopicSpec(f"{check_site(site)}.{POSITIONS_SUFFIX}", 1, _SMALL)


def manifest(site: str, retention_ms: int) -> TopicSpec:
    """The topic at the target with the proof of what a link shipped; -1 ms keeps it for good.

    Entries are written after the records that they prove, so the longest retention of these is long enough.
    """
    return TopicSpec(
        f"{check_site(site)}.{MANIFEST_SUFFIX}", 1, {"cleanup.policy": "delete", "retention.ms": str(retention_ms)}
    )


def gaps(site: str) -> TopicSpec:
    """The compacted topic at the target in which a link says what did not arrive as it was, for everybody to read."""
    return TopicSpec(f"{check_site(site)}.{GAPS_SUFFIX}", 1, _SMALL)
