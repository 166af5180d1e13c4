"""Machines that run where their limits do not hold are named in the status, with the offset and time since when."""

from __future__ import annotations

import msgspec

from edge_agent.scorer import outputs
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.recovery import remember, restore
from edge_agent.scorer.scoring import scored
from edge_agent.scorer.status import status
from edge_agent.status_text import lines
from headwater.contract.desired import Desired
from headwater.contract.messages import Status, Void
from headwater.transport.kafka_batch import Record
from tests.edge_agent.scorer.test_lives import SITE
from tests.edge_agent.scorer.test_words import window

AWAY, HOME = 0.45, 0.02  # within the margin that opens an alarm, beyond the share of a limit at which it is void


def moved(partition: Partition) -> Partition:
    """A machine that has moved slowly."""
    scored(SITE, partition, [window(offset, AWAY, 2) for offset in range(40)])
    return partition


def told(partition: Partition) -> Status:
    return status(SITE, 1, 0, "test", [partition], Desired(), [])


def test_a_machine_that_has_moved_is_named_until_it_is_back() -> None:
    """Also by the next life; a version with fixed thresholds promises nothing, so that nothing is void."""
    partition = moved(Partition(1))
    (one,) = told(partition).void
    assert (one.asset, one.asset_class, one.partition) == ("a", "pump", 1)
    assert 0 <= one.since == one.t < 40
    assert told(partition).counts["void"] == 1

    partition.position, partition.dirty = 40, {"a"}
    written = [*outputs.assets(partition, 0), *outputs.checkpoint(partition, {}, 0)]
    records = {out.key or b"": Record(n, 0, out.key, out.value, out.headers) for n, out in enumerate(written)}
    again = restore(1, remember(records), {})
    assert told(again).void == [one]

    scored(SITE, again, [window(offset, HOME, 2) for offset in range(40, 80)])
    assert told(again).void == []
    scored(SITE, partition, [window(40, AWAY, 1)])
    assert told(partition).void == []


def test_the_longest_are_named_and_all_are_counted() -> None:
    """A fleet that drifted together does not fill the record."""
    partition = Partition(0)
    for number in range(150):
        partition.memory(f"pump-{number}").void_since = number
        partition.memory(f"pump-{number}").void_t = 1000 - number
    found = told(partition)
    assert found.counts["void"] == 150
    assert len(found.void) == 100
    assert found.void[0].asset == "pump-149"


def test_people_read_who_and_since_when() -> None:
    """As lines of `headwater edge status`."""
    void = msgspec.to_builtins([Void("pump-2", "pump", 3, 4711, 1_763_718_300_000)])
    shown = lines(
        {
            "site": SITE,
            "bridge_pid": None,
            "desired": None,
            "problems": [],
            "status": {"void": void, "counts": {"void": 1}},
        }
    )
    assert "void      pump-2 (pump) since 2025-11-21 09:45:00, offset 4711 of readings[3]" in shown
    assert any(line.startswith("count     1 machines that run where") for line in shown)
