"""A state of episodes that this agent cannot read costs the machine its past, not its alarms."""

from __future__ import annotations

import numpy as np

from edge_agent.scorer.partition import Memory, Partition
from edge_agent.scorer.scoring import Due, scored
from headwater.contract.alarm import AlarmState
from headwater.contract.arrival import Arrival
from headwater.contract.features import Window
from headwater.contract.reading import Reading
from tests.edge_agent.scorer.test_lives import SITE, version


def test_an_open_alarm_ends_though_its_state_cannot_be_read() -> None:
    """The episode goes on by what the machine does now, and closes when the fault is over."""
    by, partition = version(2), Partition(0)
    partition.memories["a"] = Memory(
        alarm_class="pump", alarm=AlarmState(episode="lyon-a-1", peak=9.0), followed_by=by.followed_by, saved={"of": 1}
    )
    dues = [
        Due(Arrival(n, "a", "pump", Reading(n, {})), Window(n, n, n, n, np.full((6, 2), level)), by)
        for n, level in enumerate([9.0, 9.0, *[0.2] * 6])
    ]
    found = [each.transition for each in scored(SITE, partition, dues) if each.transition is not None]
    assert [(each.kind, each.episode) for each in found] == [("closed", "lyon-a-1")]
