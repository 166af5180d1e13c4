"""How a link is cut into shares: each partition belongs to one, for good, whoever holds it."""

from __future__ import annotations

import re
from collections.abc import Collection
from zlib import crc32

from replicator.way import BACKLOG

SHARES = 8  # more instances than these stand by
_PLACE = re.compile(rb"^(?:(?:gap|standing|proof)/)?([^/]+)/(\d+)(?:/|$)")  # a topic may be called 7

Held = Collection[int]


def share_of(topic: str, partition: int) -> int:
    """The share of a partition of the source; partitions of one topic are spread evenly, its backlog stays with it."""
    return (crc32(topic.removesuffix(BACKLOG).encode()) + partition) % SHARES


def share_of_key(key: bytes) -> int | None:
    """The share of what is stored under a key that names a partition, such as `gap/<topic>/<partition>/<era>`."""
    found = _PLACE.match(key)
    return None if found is None else share_of(found[1].decode(errors="replace"), int(found[2]))


def writer_name(site: str, share: int | None = None) -> str:
    """The transactional id of whoever writes a link's topics, of all of it or of one share."""
    return f"replicator-{site}" + ("" if share is None else f"-share-{share}")


def group_of(site: str) -> str:
    """The consumer group, at the target, in which the instances of a link find each other."""
    return f"headwater-replicator-{site}"
