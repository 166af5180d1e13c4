"""What a link must be allowed besides, where it follows groups and writes MirrorMaker's records."""

from __future__ import annotations

import re

from headwater.transport.kafka_batch import KafkaSettings
from headwater.transport.kafka_batch.permissions import Resource, allow
from replicator.mm2.naming import HEARTBEATS
from replicator.settings import ReplicatorSettings

_WRITTEN = ("Create", "Write")
_KEPT = ("Create", "Read", "Write")  # read at each start
_SHIPPED_FROM = ("Read", "DescribeConfigs")
_SHIPPED_TO = ("Create", "Read", "Write", "DescribeConfigs", "Alter", "AlterConfigs")
_Right = tuple[Resource, str, str]
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def at_source(settings: ReplicatorSettings) -> list[str]:
    """Lines for the source: see the groups, write heartbeats, read them again, write offset syncs."""
    names, mm2, end = settings.names, settings.mm2, settings.source
    found: list[_Right] = [("group", each, "Describe") for each in _groups(settings)]
    if mm2.publish:
        found += [("topic", HEARTBEATS, each) for each in (*_WRITTEN, *_SHIPPED_FROM)]
        if mm2.offset_syncs_at == "source":
            found += [("topic", names.offset_syncs(names.target), each) for each in _WRITTEN]
    return _lines(end, found)


def at_target(settings: ReplicatorSettings) -> list[str]:
    """Lines for the target: write checkpoints, and offset syncs where they are wanted there, set groups' offsets."""
    names, mm2, end = settings.names, settings.mm2, settings.target
    found: list[_Right] = [("group", each, "Read") for each in (_groups(settings) if mm2.sync_group_offsets else [])]
    if mm2.publish:
        found += [("topic", names.checkpoints, each) for each in _KEPT]
        if mm2.offset_syncs_at == "target":
            found += [("topic", names.offset_syncs(names.source), each) for each in _WRITTEN]
        if names.keeps_names:
            found += [("topic", names.remote(HEARTBEATS), each) for each in _SHIPPED_TO]
    return _lines(end, found)


def _groups(settings: ReplicatorSettings) -> list[str]:
    """Groups by name where all of them are named, else `*`: ACLs know no patterns."""
    mm2 = settings.mm2
    if not (mm2.publish or mm2.sync_group_offsets):
        return []
    return list(mm2.groups) if all(_PLAIN.fullmatch(each) for each in mm2.groups) else ["*"]


def _lines(end: KafkaSettings, found: list[_Right]) -> list[str]:
    return [allow(end, operation, kind, name) for kind, name, operation in found]
