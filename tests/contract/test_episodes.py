"""Alarm episodes of machines whose healthy state moves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from headwater.contract.episodes import EpisodeRule, Episodes, Floats, Verdict
from headwater.contract.errors import BadInput

RULE = EpisodeRule(
    margin=2, onset=2, follow=0.01, level=0.5, share=0.3, recovery=3, memory=5, settle=20, settle_margin=2, longest=30
)


def machine(rule: EpisodeRule = RULE, channels: int = 2) -> Episodes:
    """One machine that is healthy at 0, within 1 of it."""
    return Episodes(rule, np.zeros((1, channels)), np.ones((1, channels)))


def play(states: Episodes, rows: list[list[float]]) -> list[Verdict]:
    """Push rows of one machine; a network that sees nothing."""
    return [states.push(np.array([row]), np.zeros(1)) for row in rows]


def is_open(found: list[Verdict]) -> list[bool]:
    """Of each row."""
    return [bool(each.is_open[0]) for each in found]


def test_an_episode_opens_after_so_many_rows_in_a_row_over_the_margin() -> None:
    """A single row over the margin is no episode, two are."""
    states = machine()
    assert is_open(play(states, [[3, 0], [0, 0], [3, 0], [3, 0]])) == [False, False, False, True]


def test_what_the_network_says_opens_an_episode_as_a_channel_does() -> None:
    """The score is the larger of the two."""
    states = machine()
    found = [states.push(np.zeros((1, 2)), np.array([5.0])) for _ in range(2)]
    assert found[-1].opened[0]
    assert found[-1].score[0] == 5.0


def test_slow_drift_is_followed_and_a_jump_is_not() -> None:
    """A machine that moves by less than `follow` a row never alarms, however far it goes; a jump of 3 does."""
    slow, fast = machine(), machine()
    assert not any(is_open(play(slow, [[n * 0.009, 0] for n in range(1000)])))
    assert any(is_open(play(fast, [[0.0, 0]] * 10 + [[3.0, 0]] * 10)))


def test_the_fault_is_not_learned_while_it_is_there() -> None:
    """The baseline stands still in an episode: back at the old state the machine is healthy at once."""
    states = machine()
    play(states, [[4.0, 0]] * 20)
    assert states.deviation(np.zeros((1, 2)))[0, 0] == 0.0


def test_an_episode_closes_when_the_machine_is_back() -> None:
    """`recovery` rows under the level close it, and it is not rebased."""
    states = machine()
    found = play(states, [[4.0, 0]] * 5 + [[0.1, 0]] * 3)
    assert found[-1].closed[0]
    assert not found[-1].rebased[0]


def test_an_episode_closes_when_the_fault_is_gone_though_the_machine_stays_elsewhere() -> None:
    """What is left lies across the fault's direction: the present state is the baseline from then on."""
    states = machine()
    found = play(states, [[6.0, 0]] * 5 + [[0.0, 3.0]] * 3)
    assert found[-1].rebased[0]
    assert np.array_equal(states.deviation(np.array([[0.0, 3.0]])), [[0.0, 0.0]])


def test_an_episode_without_an_end_becomes_the_state_after_longest_rows() -> None:
    """30 rows after it opened it closes, rebased."""
    found = play(machine(), [[6.0, 0]] * 40)
    assert [n for n, each in enumerate(found) if each.rebased[0]] == [31]


def test_after_an_episode_the_margin_is_wider_for_a_while() -> None:
    """A score of 3 opens nothing within `settle` rows of the end, and does after them."""
    states = machine()
    play(states, [[4.0, 0]] * 5 + [[0.1, 0]] * 3)
    assert not any(is_open(play(states, [[3.0, 0]] * 5)))
    play(states, [[0.0, 0]] * 20)
    assert any(is_open(play(states, [[3.0, 0]] * 5)))


def test_only_an_operator_who_calls_it_false_raises_the_margin() -> None:
    """It closes, the present state is the baseline, and it takes `raised` times as much from then on."""
    states = machine()
    assert not states.acknowledge_false()
    play(states, [[6.0, 0]] * 5)
    assert states.acknowledge_false()
    found = play(states, [[6.0, 0]] * 25)
    assert not any(is_open(found))
    assert found[-1].margin[0] == pytest.approx(2 * 1.5)


def test_it_is_said_when_the_limits_no_longer_describe_the_machine() -> None:
    """A slow mean that has moved by `void_share` limits voids the promise; near the centre it holds."""
    states = machine()
    assert not any(each.is_void[0] for each in play(states, [[0.9, 0]] * 500))
    assert play(states, [[1.5, 0]] * 200)[-1].is_void[0]


def test_a_state_that_became_the_baseline_is_still_not_the_calibrated_one() -> None:
    """A machine that stays ten limits away alarms no more, but nothing is promised of it."""
    found = play(machine(), [[10.0, 0]] * 400)
    assert not found[-1].is_open[0]
    assert found[-1].is_void[0]


def test_a_row_that_is_not_finite_changes_nothing() -> None:
    """Neither a missing channel nor a network without an answer moves the state."""
    states = machine()
    play(states, [[3.0, 0], [0.2, 0]])
    before = states.snapshot()
    states.push(np.array([[np.nan, 1.0]]), np.zeros(1))
    states.push(np.array([[np.inf, 1.0]]), np.zeros(1))
    states.push(np.ones((1, 2)), np.array([np.nan]))
    assert states.snapshot() == before


def _story(rows: int) -> Floats:
    dice = np.random.default_rng(4)
    found = dice.normal(0, 0.4, (rows, 3)) + np.linspace(0, 2, rows)[:, None]
    found[rows // 3 : rows // 2] += (5.0, -2.0, 0.5)
    return np.asarray(found)


def test_many_machines_side_by_side_have_the_bits_of_one_alone() -> None:
    """Trainer (many lanes, many rules) and edge (one) come to the same state."""
    rules = [EpisodeRule(margin=m, longest=rows) for m in (1.5, 2.0, 3.0) for rows in (20, 500)]
    centre, limits = np.zeros((6, 3)), np.ones((6, 3))
    together = Episodes(rules, centre, limits)
    alone = [Episodes(rule, centre[:1], limits[:1]) for rule in rules]
    for row in _story(400):
        together.push(np.tile(row, (6, 1)), np.full(6, 0.3))
        for each in alone:
            each.push(row[None], np.full(1, 0.3))
    assert [together.snapshot(n) for n in range(6)] == [each.snapshot() for each in alone]


def test_a_state_that_is_written_and_read_goes_on_with_the_same_bits() -> None:
    """Through JSON, in the middle of an episode and outside of one."""
    rows = _story(300)
    for cut in (50, 120, 200):
        whole, first, second = machine(channels=3), machine(channels=3), machine(channels=3)
        for row in rows:
            whole.push(row[None], np.zeros(1))
        for row in rows[:cut]:
            first.push(row[None], np.zeros(1))
        second.restore(json.loads(json.dumps(first.snapshot())))
        for row in rows[cut:]:
            second.push(row[None], np.zeros(1))
        assert second.snapshot() == whole.snapshot()


@pytest.mark.parametrize(
    "wrong", [{}, {"baseline": [0.0]}, {"baseline": [0.0, "x"]}, {"baseline": [0.0, float("nan")]}, {"over": None}]
)
def test_a_state_of_something_else_is_refused_whole(wrong: dict[str, object]) -> None:
    """BadInput, and the state is what it was."""
    states = machine()
    before = states.snapshot()
    with pytest.raises(BadInput, match="state of alarm episodes"):
        states.restore({} if not wrong else {**before, **wrong})
    assert states.snapshot() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"onset": 0},
        {"raised": 0.5},
        {"settle_margin": 1e-3},
        {"margin": 5e-324},
        {"margin": 0},
        {"margin": float("nan")},
        {"follow": 1},
        {"level": 0},
        {"share": 1},
        {"settle": -1},
    ],
)
def test_a_rule_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    """BadInput names the rule."""
    with pytest.raises(BadInput, match="EpisodeRule"):
        machine(EpisodeRule(**wrong))  # type: ignore[arg-type]  # counts are given as they are


def test_limits_that_are_none_are_refused() -> None:
    """A limit of 0, or one for another number of channels, is a mistake of the calibration."""
    for limit in (0.0, 1e-300, np.nan, np.inf):
        with pytest.raises(BadInput, match="limits are over 0"):
            Episodes(RULE, np.zeros((1, 2)), np.full((1, 2), limit))
    with pytest.raises(BadInput, match="fit each other"):
        Episodes(RULE, np.zeros((1, 2)), np.ones((1, 3)))
