"""How far partitions are proven, from what the link has stored of itself."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.transport.kafka_batch import Record
from replicator.fresh.status import floor_of
from replicator.position import Position, decode, position_key
from replicator.proof.entry import HEAD_PREFIX, Head
from replicator.standing import PREFIX, Standing, standing_key

_RECORD = "record"  # and "record: rules"
_PARTS = 3  # of a head's key; names of topics have no slash
Heads = dict[tuple[str, int], Head]


def heads_in(kept: Mapping[bytes, Record]) -> Heads:
    """By source topic and partition; those that go record by record are left out."""
    found = {}
    for key, record in kept.items():
        parts = key.decode().split("/")
        if key.startswith(HEAD_PREFIX) and len(parts) == _PARTS:  # `proof/0` is the position of a topic called proof
            _, topic, partition = parts
            pair, where = (topic, int(partition)), f"{topic}[{partition}]"
            standing = kept.get(standing_key(*pair))
            engine = "" if standing is None else decode(standing.value, Standing, f"how {where} stands").engine
            if not engine.startswith(_RECORD):
                found[pair] = decode(record.value, Head, f"the proof of {where}")
    return found


def without_proof(kept: Mapping[bytes, Record]) -> list[tuple[str, int]]:
    """Source topics and partitions that go record by record, of which there is no manifest."""
    found = []
    for key, record in kept.items():
        parts = key.decode().split("/")
        if key.startswith(PREFIX.encode()) and len(parts) == _PARTS:
            standing = decode(record.value, Standing, f"how {parts[1]}[{parts[2]}] stands")
            if standing.engine.startswith(_RECORD):
                found.append((parts[1], int(parts[2])))
    return sorted(found)


def safe_offset(kept: Mapping[bytes, Record], topic: str, partition: int) -> int | None:
    """Source offset behind what is shipped, acknowledged and proven of the log that the source has now."""
    head, stored = heads_in(kept).get((topic, partition)), kept.get(position_key(topic, partition))
    if head is None or stored is None:
        return None
    position = decode(stored.value, Position, f"the position of {topic}[{partition}]")
    if head.era != position.era:
        return None
    floor = floor_of(kept, topic, partition)
    safe = min(head.source_next, position.source_next)
    return safe if floor is None else min(safe, floor)
