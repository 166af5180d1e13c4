"""What a link must be allowed at its two clusters, as the lines that an administrator types."""

from __future__ import annotations

from headwater.contract.topics import REPLICATION_CONTROL, gaps, manifest, positions
from headwater.transport.kafka_batch import KafkaSettings
from headwater.transport.kafka_batch.permissions import Resource, allow
from replicator.mm2 import rights
from replicator.settings import ReplicatorSettings
from replicator.sharing.shares import group_of

_SOURCE = ("Read", "DescribeConfigs")  # Read allows Describe, too
# Read: the anchor asks the target where it was. Alter and AlterConfigs: what changes at the source is carried over.
_TARGET = ("Create", "Read", "Write", "DescribeConfigs", "Alter", "AlterConfigs")


def acl_lines(settings: ReplicatorSettings) -> dict[str, list[str]]:
    """Lines by side, `source` and `target`; patterns of topics need all topics of the source."""
    site, source, target = settings.site, settings.source, settings.target
    names = settings.topics if not settings.selection.include else ("*",)
    asked = [allow(source, operation, "topic", name) for name in names for operation in _SOURCE]
    asked.append(allow(source, "Read", "topic", REPLICATION_CONTROL.name))
    kept = settings.names.keeps_names
    beside = tuple(f"{name}.backlog" for name in names if settings.link.fresh_first.has(name))
    topics = [(name, False) for name in (*names, *beside)] if kept else [(settings.names.remote(""), True)]
    own = [(spec.name, False) for spec in (positions(site), gaps(site), manifest(site, -1))]
    covered = [each for each in own if not any(prefix and each[0].startswith(name) for name, prefix in topics)]
    written = [
        allow(target, operation, "topic", name, prefix=prefix)
        for name, prefix in (*topics, *covered)
        for operation in _TARGET
    ]
    written.append(_line(target, "Write", "transactional-id", f"replicator-{site}"))
    if settings.shared:
        written.append(allow(target, "Read", "group", group_of(site)))
    asked += rights.at_source(settings)
    written += rights.at_target(settings)
    if settings.down_link is not None:
        down = acl_lines(settings.down_link)
        return {"source": asked + down["target"], "target": written + down["source"]}
    return {"source": asked, "target": written}


def operator_lines(settings: ReplicatorSettings) -> list[str]:
    """Lines for whoever pauses, resumes or trims: the topic of what is paused, and deletion at the source."""
    names = settings.topics if not settings.selection.include else ("*",)
    ends = [settings.source] if settings.down_link is None else [settings.source, settings.target]
    control = REPLICATION_CONTROL.name
    steering = [allow(end, operation, "topic", control) for end in ends for operation in ("Create", "Read", "Write")]
    return steering + [allow(settings.source, "Delete", "topic", name) for name in names]


def _line(settings: KafkaSettings, operation: str, resource: Resource, name: str) -> str:
    """For a name and all that begin with it: compacted topics have a writer each."""
    return allow(settings, operation, resource, name, prefix=True)
