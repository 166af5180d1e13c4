"""Rollouts: waves, gates, taking back, pins."""

from __future__ import annotations

import json

import pytest

from fleet import documents
from fleet.gate import verdict
from fleet.rollout import Rollouts
from headwater.contract.errors import BadInput, Conflict, GateFailed, Refused
from headwater.contract.messages import Active, Status
from headwater.contract.rollout import Rollout, Target
from tests.fleet.bench import SITES, Bench


def test_a_rollout_reaches_every_site_wave_by_wave(bench: Bench) -> None:
    """No site of a wave is asked before every site of the wave before runs the version."""
    done = bench.rollouts.start("pump", 1, SITES, [0.25, 0.5, 1])

    assert (done.state, done.generation) == ("complete", 4)
    assert bench.versions() == dict.fromkeys(SITES, 1)
    assert [site for site, _ in bench.plants.asked[:2]] == list(done.sites[:2])
    assert bench.events.seen == [("wave", 1), ("wave", 2), ("wave", 3), ("complete", 4)]


def test_a_refusal_ends_the_rollout_and_everybody_goes_back(bench: Bench) -> None:
    """Sites behind the first wave never hear of a version that the first wave refused."""
    bench.rollouts.start("pump", 1, SITES, [1])
    for site in SITES:
        bench.plants.refuses[site, 2] = "not-finite"
    with pytest.raises(GateFailed, match="not-finite"):
        bench.rollouts.start("pump", 2, SITES, [0.25, 1])

    document = bench.documents.current("pump")
    assert document
    assert document.state == "cancelled"
    assert bench.versions() == dict.fromkeys(SITES, 1)
    assert len([1 for _, version in bench.plants.asked if version == 2]) == 1


def test_after_a_cancelled_rollout_the_next_goes_back_to_the_last_good_one(bench: Bench) -> None:
    """`previous` skips versions that were taken back, and an old refusal does not count against a new try."""
    bench.rollouts.start("pump", 1, SITES, [1])
    bench.plants.refuses["lyon", 2] = "golden-mismatch"
    with pytest.raises(GateFailed):
        bench.rollouts.start("pump", 2, SITES, [1])
    bench.plants.refuses.clear()
    done = bench.rollouts.start("pump", 2, SITES, [1])

    assert (done.state, done.previous and done.previous.version) == ("complete", 1)
    assert bench.versions() == dict.fromkeys(SITES, 2)


def test_silence_fails_a_wave_after_its_time(bench: Bench) -> None:
    """A site that does not report is neither success nor failure until the timeout."""
    bench.plants.silent = {"lyon"}
    with pytest.raises(GateFailed, match=r"lyon.*timeout"):
        bench.rollouts.start("pump", 1, SITES, [1])


def test_a_pin_sends_one_site_back(bench: Bench) -> None:
    """Rolling one site back leaves the others, survives the next rollout, and ends with unpin."""
    bench.rollouts.start("pump", 1, SITES, [1])
    bench.rollouts.start("pump", 2, SITES, [1])
    bench.rollouts.rollback("pump", "lyon", None, "noise")
    bench.rollouts.wait_for("pump", "lyon")
    assert bench.versions() == {**dict.fromkeys(SITES, 2), "lyon": 1}

    bench.rollouts.start("pump", 3, SITES, [1])
    assert bench.versions() == {**dict.fromkeys(SITES, 3), "lyon": 1}

    bench.rollouts.unpin("pump", "lyon")
    bench.rollouts.wait_for("pump", "lyon")
    assert bench.versions() == dict.fromkeys(SITES, 3)


def test_pause_holds_the_next_wave_and_resume_goes_on(bench: Bench) -> None:
    """A paused rollout reaches nobody new; resume takes the waves that are left."""
    target = bench.documents.target("pump", 1)
    opened = documents.reach(documents.begin(None, "pump", target, SITES, ""), 1)
    bench.documents.publish(opened)
    paused = bench.rollouts.pause("pump")
    bench.plants.read(SITES)
    assert (paused.state, list(bench.versions())) == ("paused", [opened.sites[0]])
    with pytest.raises(Refused):
        bench.rollouts.start("pump", 2, SITES, [1])

    assert bench.rollouts.resume("pump", [0.25, 1]).state == "complete"
    assert bench.versions() == dict.fromkeys(SITES, 1)


def test_two_operators_cannot_publish_the_same_generation(bench: Bench) -> None:
    """The slower one gets a Conflict and nothing of his is seen."""
    target = bench.documents.target("pump", 1)
    first = documents.begin(None, "pump", target, ("lyon",), "one")
    bench.documents.publish(first)
    with pytest.raises(Conflict):
        bench.documents.publish(documents.begin(None, "pump", target, ("osaka",), "two"))

    assert bench.documents.current("pump") == first


@pytest.mark.parametrize("shares", [[], [0.5], [0.5, 0.2, 1], [1, 1], [0, 1]])
def test_waves_must_grow_to_all(bench: Bench, shares: list[float]) -> None:
    """A wave list that would leave sites behind is refused before anything is published."""
    with pytest.raises(BadInput):
        bench.rollouts.start("pump", 1, SITES, shares)

    assert bench.documents.current("pump") is None


def test_an_unpublished_version_cannot_be_rolled_out(bench: Bench) -> None:
    """The message names the versions that exist."""
    with pytest.raises(BadInput) as caught:
        bench.rollouts.start("pump", 9, SITES, [1])

    assert "1, 2, 3" in caught.value.hint


def test_a_dry_run_names_the_waves_and_changes_nothing(bench: Bench) -> None:
    """What would happen can be read first."""
    planned = bench.rollouts.planned("pump", 1, SITES, [0.25, 1])

    assert [len(wave) for wave in planned] == [1, 3]
    assert bench.documents.current("pump") is None


def test_the_gate_waits_for_the_right_digest() -> None:
    """The same version number with another digest has not arrived."""
    rollout = Rollout("r-1", "pump", 1, Target(1, "a" * 64), None, ("lyon",), 1, "running", begun=1)
    other = Status("lyon", 1, 0, "", "", {"pump": Active(1, "b" * 64, {}, 0, 0, "disk")}, {}, [], {}, {})

    assert verdict(rollout, {"lyon": other}, waited_s=0, timeout_s=1).state == "waiting"
    assert verdict(rollout, {"lyon": other}, waited_s=1, timeout_s=1).state == "failed"


def test_events_are_json_of_their_own(bench: Bench) -> None:
    """A document says who asked for what in plain fields."""
    done = bench.rollouts.start("pump", 1, ["lyon"], [1], "drift")

    assert json.loads(done.encode())["reason"] == "drift"


def test_a_rollout_that_another_operator_ends_is_not_watched_on(bench: Bench) -> None:
    """The command that started it says so at once, instead of waiting for sites that were sent back."""
    bench.rollouts.start("pump", 1, SITES, [1])
    bench.plants.silent = set(SITES)
    other = Rollouts(bench.documents, bench.plants, bench.events, bench.said.append, timeout_s=60, poll_s=0.01)

    def interfere(line: str) -> None:
        if line.startswith("waiting"):
            bench.rollouts.rollback("pump", None, None, "noise at lyon")

    other._progress = interfere
    with pytest.raises(Conflict, match=r"cancelled at generation .* \(noise at lyon\)"):
        other.start("pump", 2, SITES, [1])


def test_a_site_that_refuses_to_go_back_is_named_with_its_reason(bench: Bench) -> None:
    """Waiting for a pin ends with the site's refusal, not with a timeout."""
    bench.rollouts.start("pump", 1, SITES, [1])
    bench.rollouts.start("pump", 2, SITES, [1])
    bench.plants.refuses["lyon", 1] = "revoked"
    bench.rollouts.rollback("pump", "lyon", 1, "")
    with pytest.raises(GateFailed, match="revoked") as caught:
        bench.rollouts.wait_for("pump", "lyon")
    assert caught.value.reason == "revoked"


def test_waiting_is_said_again_with_the_time(bench: Bench) -> None:
    """The first line says when edges look; then the same wait is told every so often, not at each look."""
    bench.plants.silent = {"lyon"}
    said: list[str] = []
    patient = Rollouts(
        bench.documents, bench.plants, bench.events, said.append, timeout_s=0.5, poll_s=0.01, repeat_s=0.2
    )
    with pytest.raises(GateFailed, match="timeout"):
        patient.start("pump", 1, ["lyon"], [1])

    waiting = [line for line in said if line.startswith("waiting for lyon")]
    assert "edge.updater.poll_interval_s" in waiting[0]
    assert 2 <= len(waiting) <= 3
    assert waiting[1].endswith("s by now")


def test_an_open_rollout_names_both_ways_out(bench: Bench) -> None:
    """Whoever starts another one is given the two commands in full."""
    target = bench.documents.target("pump", 1)
    opened = documents.begin(None, "pump", target, SITES, "")
    with pytest.raises(Refused) as caught:
        documents.begin(opened, "pump", target, SITES, "")

    for way in ("resume", "rollback"):
        assert f"headwater fleet rollout {way} --class pump" in caught.value.hint


def test_a_first_version_has_nothing_before_it(bench: Bench) -> None:
    """No other version is asked for where there is none to name."""
    bench.rollouts.start("pump", 1, SITES, [1])
    with pytest.raises(BadInput, match="no version was before 1") as caught:
        bench.rollouts.rollback("pump", "lyon", None, "")

    assert caught.value.hint == ""
