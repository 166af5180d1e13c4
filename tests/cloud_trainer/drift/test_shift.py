"""Drift of a class is told from a broken sensor and from a failing machine."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_trainer.drift.settings import DriftRecipe, Scheduled
from cloud_trainer.drift.shift import Found, Sketches
from headwater.contract.sketches import Sketch, channel_of
from tests.cloud_trainer.drift.sketched import manifest, sketch
from tests.contract.lives import of_life
from tests.edge_agent.scorer.models import make

RECIPE = DriftRecipe(readings=2000)


def seen(*of: Sketch, version: int = 1) -> Found:
    return looked(Sketches(RECIPE), *of, version=version)


def looked(sketches: Sketches, *of: Sketch, version: int = 1) -> Found:
    for one in of:
        sketches.add(one)
    return sketches.look(manifest(version), lambda _: None)


def three(asset: str, **more: float) -> list[Sketch]:
    return [sketch(asset, number, **more) for number in range(3)]  # type: ignore[arg-type]  # over is a whole number


def test_a_class_that_shifted_has_drifted() -> None:
    """Half of the assets are enough; the reason names the channel; the request is the same for the same version."""
    found = seen(*three("pump-1", shift=1.0), *three("pump-2"), *three("pump-3", shift=1.2))
    assert found.drifted
    assert [one.what for one in found.assets] == ["shifted", "same", "shifted"]
    assert "2 of 3 assets shifted, most in flow of lyon/pump-3" in found.reason
    assert found.request_id == "drift-pump-v1"
    assert not seen(*three("pump-1"), *three("pump-2"), *three("pump-3", shift=1.2)).drifted


def test_a_failing_machine_is_no_drift() -> None:
    """An asset whose scores are over the threshold is not a reason to train: it would be learned as normal."""
    found = seen(*three("pump-1", shift=3.0, over=100))
    assert [one.what for one in found.assets] == ["alarming"]
    assert not found.drifted


def test_a_stuck_sensor_is_no_drift() -> None:
    """A channel that moved in training and stands still, or is mostly missing, is a sensor's fault."""
    assert seen(*three("pump-1", shift=1.0, scale=0.0)).assets[0].what == "stuck"
    nothing = channel_of(np.full(1000, np.nan))
    gone = [msgspec.structs.replace(one, channels={**one.channels, "flow": nothing}) for one in three("pump-1")]
    found = seen(*gone)
    assert (found.assets[0].what, found.drifted) == ("stuck", False)


def test_little_is_no_evidence() -> None:
    """Before an asset has enough readings it counts for nothing; only the newest ones count."""
    assert seen(sketch("pump-1", 0, shift=2.0)).assets == []
    recovered = [sketch("pump-1", n, shift=2.0 if n < 3 else 0.0) for n in range(6)]
    assert seen(*recovered).assets[0].what == "same"


def test_readings_that_come_twice_count_once() -> None:
    """A life that replays sends a sketch of the same readings again: it is passed over."""
    twice = [sketch("pump-1", number, shift=2.0) for number in (0, 0, 0, 1)]
    assert looked(Sketches(DriftRecipe(readings=2001)), *twice).assets == []
    assert len(seen(*twice).assets) == 1


@given(st.lists(st.booleans(), min_size=12, max_size=12), st.booleans(), st.integers(1, 12))
def test_a_backlog_is_put_among_the_others(is_fresh: list[bool], fresh_first: bool, thousands: int) -> None:
    """Whatever a link shipped beside the new sketches, and whichever topic is read first: the same newest ones."""
    every = [sketch("pump-1", number, shift=number / 10) for number in range(12)]
    parts = [[one for one, fresh in zip(every, is_fresh, strict=True) if fresh == which] for which in (True, False)]
    found = []
    for order in (every, [*parts[not fresh_first], *parts[fresh_first]]):
        sketches = Sketches(DriftRecipe(readings=1000 * thousands))
        for one in order:
            sketches.add(one)
        found.append(sketches.look(manifest(), lambda _: None))
    assert found[0] == found[1]


def test_another_version_is_measured_anew() -> None:
    """Sketches in the scales of an older version say nothing about a newer one, nor about one without reference."""
    assert seen(*three("pump-1", shift=2.0), version=2).assets == []
    sketches = Sketches(RECIPE)
    assert looked(sketches, *three("pump-1", shift=2.0)).drifted
    plain = msgspec.structs.replace(manifest(), metrics={})
    assert not sketches.look(plain, lambda _: None).drifted
    sketches.begin("pump", 2, 0.0)
    assert looked(sketches).assets == []


def test_a_version_without_scales_has_nothing_to_be_held_against() -> None:
    """A class that went over to remaining life, by the service itself: what the version before saw is no help."""
    after = msgspec.structs.replace(of_life(make(2)[1]), request_id="drift-pump-v1")
    sketches = Sketches(RECIPE)
    sketches.begin("pump", 2, 1e15)
    for one in three("pump-1"):
        sketches.add(one)
    found = sketches.look(after, lambda _: manifest(1).features)
    assert (found.drifted, found.assets) == (False, [])


def test_a_period_has_one_request() -> None:
    """Any time within a period asks for the same request, and the next period for another."""
    daily = Scheduled(asset_class="pump", every_h=24)
    begin = 1_763_683_200  # 2025-11-21 00:00 UTC
    first = daily.request(begin)
    assert first.request_id == "schedule-pump-20251121T000000Z"
    assert daily.request(begin + 86_399) == first
    assert daily.request(begin + 86_400).request_id == "schedule-pump-20251122T000000Z"
    with pytest.raises(ValueError, match="is not a name"):
        Scheduled(asset_class="Pump 1", every_h=1)
