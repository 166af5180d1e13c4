"""A swap: another version takes charge of a class at an offset of each partition.

In this order, while nothing is judged: (1) windows of another cadence are filled from the log, (2) a checkpoint that
names the new version and its first offset is acknowledged, (3) the version takes charge in memory. A crash before (2)
leaves the old version in charge of that partition and the next life swaps again; a crash after it leaves a checkpoint
from which the next life does (1) again. Partitions swap each for itself; between two of them a crash leaves both
versions in charge, each of its partitions, until the next life swaps the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from edge_agent.scorer.ledger import Ledger
from edge_agent.scorer.models import Id, Loaded
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.recovery import adopt
from edge_agent.scorer.rewind import Rewound, rewind, rewind_lives
from headwater.contract.desired import Desired, Wanted
from headwater.contract.overhaul import Came
from headwater.contract.windows import Cadence, Charge
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.retry import retrying

_log = structlog.get_logger(__name__)


class Incoming(NamedTuple):
    """A loaded version that shall take charge, and what the updater says of it."""

    loaded: Loaded
    wanted: Wanted


class _Declared(NamedTuple):
    charge: Charge
    rewound: list[Came]


def due(partitions: Sequence[Partition], desired: Desired) -> dict[str, Wanted]:
    """By class the wanted versions that are not in charge of every partition."""
    return {
        name: wanted
        for name, wanted in desired.classes.items()
        if any(_differs(partition, name, wanted) for partition in partitions)
    }


async def swap(
    cluster: Cluster, ledger: Ledger, partitions: Sequence[Partition], incoming: Mapping[str, Incoming], most: int
) -> None:
    """Put the incoming versions (by class) in charge of every partition that has another; `most`: see `rewind`.

    No partition may be replaying: what a former life judged must stay with the version that judged it.
    """
    declared: dict[int, dict[str, _Declared]] = {}
    for partition in partitions:
        declared[partition.number] = {
            name: await _declare(cluster, partition, each, most)
            for name, each in incoming.items()
            if _differs(partition, name, each.wanted)
        }
    changed = [partition for partition in partitions if declared[partition.number]]
    await asyncio.gather(*(_take_charge(ledger, p, declared[p.number], incoming) for p in changed))
    for name, each in incoming.items():
        charges = [p.charges[name] for p in changed if name in declared[p.number]]
        if charges:
            _log.info(
                "swapped",
                asset_class=name,
                version=each.wanted.version,
                since={p.number: p.charges[name].since for p in changed},
                swap_ms=max(charge.swap_ms for charge in charges),
            )


def _differs(partition: Partition, name: str, wanted: Wanted) -> bool:
    charge = partition.charges.get(name)
    return charge is None or Id.of(name, charge) != Id.of(name, wanted)


async def _declare(cluster: Cluster, partition: Partition, incoming: Incoming, most: int) -> _Declared:
    manifest, cadence = incoming.loaded.manifest, incoming.loaded.cadence
    since = partition.position
    rewound_from, rewound = await _rewound(cluster, partition, manifest.asset_class, cadence, most)
    now_ms = _now_ms()
    charge = Charge(
        asset_class=manifest.asset_class,
        version=manifest.version,
        sha256=manifest.sha256,
        since=since,
        rewound_from=rewound_from,
        cadence=cadence,
        swapped_at=now_ms,
        swap_ms=max(0, now_ms - incoming.wanted.placed_at),
        source=incoming.wanted.source,
        manifest_sha256=incoming.loaded.id.manifest_sha256,
    )
    return _Declared(charge, rewound)


async def _rewound(cluster: Cluster, partition: Partition, name: str, cadence: Cadence, most: int) -> Rewound:
    """What windows of another cadence, or lives that cannot be gone on with, are filled from; nothing for others."""
    windows, end = partition.windows, partition.position
    if windows.cadence(name) == cadence or windows.can_go_on(name, cadence):
        return Rewound(end, [])

    def read() -> Coroutine[Any, Any, Rewound]:
        if cadence.memory is not msgspec.UNSET:
            return rewind_lives(cluster, partition.number, end, most)
        return rewind(cluster, partition.number, end, windows.assets(name), cadence.window - 1, most)

    return await retrying(f"reading readings[{partition.number}] again before offset {end}", read)


async def _take_charge(
    ledger: Ledger, partition: Partition, declared: Mapping[str, _Declared], incoming: Mapping[str, Incoming]
) -> None:
    charges = {name: each.charge for name, each in declared.items()}
    await ledger.checkpoint(partition, _now_ms(), charges)
    now_ms = _now_ms()
    for name, (charge, rewound) in declared.items():
        filled = partition.windows.swap(name, charge.cadence, rewound)
        adopt(partition, filled)
        took_ms = max(0, now_ms - incoming[name].wanted.placed_at)
        partition.charges[name] = msgspec.structs.replace(charge, swap_ms=took_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
