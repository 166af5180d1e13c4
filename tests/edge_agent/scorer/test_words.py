"""An operator's word on an alarm, whoever is in charge by then and in whichever life it is read."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from edge_agent.scorer.partition import Memory, Partition
from edge_agent.scorer.scoring import Answer, Due, scored
from headwater.contract.acknowledgement import Acknowledgement
from headwater.contract.alarm import AlarmState
from headwater.contract.arrival import Arrival
from headwater.contract.features import Window
from headwater.contract.reading import Reading
from tests.edge_agent.scorer.test_lives import SITE, version

EPISODE = "lyon-a-1"


def window(offset: int, level: float, by: int) -> Due:
    rows = version(by).manifest.features.window
    values = Window(offset, offset, offset, offset, np.tile((level, level + 0.2), (rows, 1)))
    return Due(Arrival(offset, "a", "pump", Reading(offset, {})), values, version(by))


def word(by: int | None, *, is_false: bool = True) -> Answer:
    return Answer("a", 9, Acknowledgement(EPISODE, is_false, at=5), 5, {"pump": None if by is None else version(by)})


def open_under(number: int) -> Partition:
    """A machine whose windows of 9 opened an episode."""
    partition = Partition(0)
    scored(SITE, partition, [window(offset, 9.0, number) for offset in (0, 1)])
    memory = partition.memories["a"]
    assert memory.alarm.episode
    memory.alarm = AlarmState(episode=EPISODE, peak=memory.alarm.peak)
    return partition


def next_life(partition: Partition) -> Partition:
    """What the next life knows: the state as it is written."""
    state = partition.state_of("a")
    saved = json.loads(msgspec.json.encode(state.episodes)) if state.episodes else None
    again = Partition(0)
    again.memories["a"] = Memory(state.alarm_class, state.alarm, followed_by=state.followed_by, saved=saved)
    return again


@pytest.mark.parametrize(("opened_by", "in_charge"), [(2, 2), (2, 3), (2, 1), (1, 2)])
def test_a_false_word_is_heeded_between_a_swap_and_the_next_window(opened_by: int, in_charge: int) -> None:
    """In this life and in the next one: the same end, and the same scores of what comes after it."""
    ways = [open_under(opened_by), next_life(open_under(opened_by))]
    found = []
    for partition in ways:
        (ended,) = scored(SITE, partition, [word(in_charge)])
        assert ended.transition is not None
        assert (ended.transition.kind, ended.transition.episode, ended.by) == ("closed", EPISODE, version(in_charge))
        assert partition.totals()["unheeded"] == 0
        assert not partition.memories["a"].alarm.episode
        after = scored(SITE, partition, [window(offset, 9.1, in_charge) for offset in range(10, 14)])
        found.append([(each.number, each.threshold, each.baseline, each.transition) for each in after])
    assert found[0] == found[1]
    if opened_by == 2 and in_charge != 1:
        assert found[0][0][2] == pytest.approx((9.0, 9.2)), "where it was is where it is healthy"


def test_the_word_raises_the_margin_of_the_version_that_comes_after() -> None:
    """Half as much again as where it was not said."""
    with_word, without = open_under(2), open_under(2)
    scored(SITE, with_word, [word(3)])
    for partition in (with_word, without):
        scored(SITE, partition, [window(10, 9.0, 3)])
    rule = version(3).manifest.episodes
    assert rule is not msgspec.UNSET
    raised = with_word.memories["a"].following, without.memories["a"].following
    assert [each.snapshot()["raised"] for each in raised if each is not None] == [rule.rule.raised, 1.0]


@pytest.mark.parametrize(
    ("opened_by", "answer", "why"),
    [
        (1, word(1), "fixed thresholds"),
        (2, word(None), "not loaded"),
        (2, Answer("a", 9, Acknowledgement("lyon-a-0", is_false=True, at=5), 5, {"pump": version(2)}), "not open"),
    ],
)
def test_a_false_word_that_changes_nothing_is_counted_and_told(
    opened_by: int, answer: Answer, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason; the count is in the asset's state, so that the next life has it too."""
    partition = open_under(opened_by)
    (found,) = scored(SITE, partition, [answer])
    assert found.transition is None
    assert partition.memories["a"].alarm.episode == EPISODE
    assert partition.totals()["unheeded"] == partition.state_of("a").unheeded == 1
    assert why in capsys.readouterr().out


def test_a_true_word_is_only_kept_in_the_log() -> None:
    """It ends nothing and is not counted."""
    partition = open_under(2)
    assert scored(SITE, partition, [word(2, is_false=False)])[0].transition is None
    assert partition.memories["a"].alarm.episode == EPISODE
    assert partition.totals()["unheeded"] == 0
