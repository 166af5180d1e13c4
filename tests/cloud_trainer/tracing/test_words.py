"""What is said of an alarm, in lines."""

from __future__ import annotations

import msgspec
import pytest

from cloud_trainer.tracing.words import lines_of_trace
from headwater.contract.messages import Alarm

ALARM = Alarm("lyon", "engine-1", "engine", "lyon-engine-1-7", "opened", 0, 96.0, 95.0, 96.79, 1, [], 0)


@pytest.mark.parametrize(
    ("alarm", "said"),
    [
        (ALARM, "peak 96.79"),
        (
            msgspec.structs.replace(ALARM, channels=[("heat", 0.75), ("flow", 0.25)]),
            "peak 96.79; most of it heat 75%, flow 25%",
        ),
        (
            msgspec.structs.replace(ALARM, remaining=28.21, low=19.0, high=36.5),
            "peak 96.79; 28.2 cycles remain (19.0 to 36.5)",
        ),
    ],
)
def test_an_alarm_says_what_it_knows(alarm: Alarm, said: str) -> None:
    """Channels where they are blamed, what remains of a life where the alarm is about that, nothing left hanging."""
    told = {"alarm": {**msgspec.to_builtins(alarm), "at": "lyon.alarms:0:17"}}
    assert lines_of_trace(told)[1].strip() == f"lyon/engine-1: {said}"
