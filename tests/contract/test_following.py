"""One machine under one model, and under the next one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from headwater.contract.episodes import EpisodeRule
from headwater.contract.features import FeatureSpec, Scaling
from headwater.contract.following import CALLED_FALSE, EpisodeSpec, Following, Healthy

RULE = EpisodeRule(margin=2, onset=1, follow=0.0, recovery=2, settle=0, longest=1000, raised=2)


def following(centre: float = 10.0, scale: float = 2.0) -> Following:
    """A machine of one channel, healthy within a scaled unit of its centre."""
    features = FeatureSpec(("flow",), 4, 1, {"": Scaling((centre,), (scale,))})
    return Following(features, EpisodeSpec(RULE, {"": Healthy((0.0,), (1.0,))}, 1.0, 7.0), "lyon/pump-1")


def window(level: float) -> np.ndarray:
    return np.full((4, 1), level)


def test_the_next_version_knows_what_an_operator_said_and_where_the_machine_is() -> None:
    """Called false at 20: another scaling later 20 is healthy still, and it takes twice the margin to open."""
    first = following()
    assert first.push(window(20.0), 0.0, 1.0).opened[0]
    assert first.acknowledge_false()
    second = following(centre=12.0, scale=1.0)
    second.succeed(json.loads(json.dumps(first.snapshot())))
    assert second.deviation(window(20.0))[0] == pytest.approx(0.0)
    assert not second.push(window(23.9), 0.0, 1.0).opened[0]
    assert second.push(window(24.1), 0.0, 1.0).opened[0]


def test_a_snapshot_says_what_an_operators_word_would_make_of_it() -> None:
    """To the bit, so that a life that has only the state heeds the word as the one that follows the machine does."""
    machine = following()
    assert CALLED_FALSE not in machine.snapshot()
    assert machine.push(window(20.0), 0.0, 1.0).opened[0]
    machine.push(window(23.7), 0.0, 1.0)
    otherwise = json.loads(json.dumps(machine.snapshot()))[CALLED_FALSE]
    assert machine.acknowledge_false()
    assert otherwise == machine.snapshot()


def test_a_word_on_what_was_not_followed_raises_the_margin() -> None:
    """An episode of fixed thresholds: the version that follows the machine begins with the wider margin."""
    machine = following()
    machine.begin_false()
    assert not machine.push(window(17.9), 0.0, 1.0).opened[0]
    assert machine.push(window(18.1), 0.0, 1.0).opened[0]


@pytest.mark.parametrize("before", [{}, {"place": [1.0, 2.0], "raised": 1.0}, {"place": ["x"], "raised": 1.0}])
def test_a_state_that_does_not_fit_is_passed_over(before: dict[str, object]) -> None:
    """The machine begins where the version was calibrated."""
    second = following()
    second.succeed(before)
    assert second.baseline == (0.0,)


@pytest.mark.parametrize("level", [1e8, -1e150, 1e300])
def test_readings_beyond_all_bounds_leave_a_state_that_can_be_written(level: float) -> None:
    """Whatever a sensor says, every number of the state is finite, and the episode ends when it is over."""
    machine = following()
    for _ in range(5):
        machine.push(window(level), 0.0, 1.0)
    state = json.loads(json.dumps(machine.snapshot()))
    for each in (state, state.pop(CALLED_FALSE)):
        assert all(np.isfinite(value).all() for value in each.values())
    again = following()
    again.restore(state)
    for _ in range(5):
        found = again.push(window(10.0), 0.0, 1.0)
    assert not found.is_open[0]


def test_the_network_is_asked_about_the_window_less_what_the_machine_has_moved() -> None:
    """At a baseline of 20 a window of 21 looks as one of 11 does at the calibrated 10."""
    moved = following().again((5.0,))
    assert moved.input(window(21.0)) == pytest.approx(following().input(window(11.0)))
