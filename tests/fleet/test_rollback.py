"""Going back, what may go wrong on the way, and what an operator is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fleet.gate import verdict
from fleet.rollout import Rollouts
from headwater.contract.errors import BadInput, Unreachable
from headwater.contract.messages import Active, Refusal, Status
from headwater.contract.rollout import Rollout, Target, desired
from tests.fleet.bench import SITES, Bench


def test_every_site_goes_back_to_the_version_that_was_named(bench: Bench) -> None:
    """Not only to the previous one; pinned sites stay, and the next rollout starts from it."""
    for version in (1, 2, 3):
        bench.rollouts.start("pump", version, SITES, [1])
    bench.rollouts.rollback("pump", "lyon", 2, "")
    back = bench.rollouts.rollback("pump", None, 1, "noise")
    bench.plants.read(SITES)

    assert (back.state, back.previous and back.previous.version) == ("cancelled", 1)
    assert bench.versions() == {**dict.fromkeys(SITES, 1), "lyon": 2}
    assert bench.rollouts.start("pump", 3, ["osaka"], [1]).previous == back.previous


@pytest.mark.parametrize("site", [None, "lyon"])
def test_a_version_that_is_not_published_is_nowhere_to_go_back_to(bench: Bench, site: str | None) -> None:
    """The message names those that are; nothing is signed, in a dry run either."""
    for version in (1, 2):
        bench.rollouts.start("pump", version, SITES, [1])
    before = bench.documents.current("pump")
    for dry_run in (True, False):
        with pytest.raises(BadInput, match="version 9 of pump is not published"):
            bench.rollouts.rollback("pump", site, 9, "", dry_run=dry_run)
    with pytest.raises(BadInput, match="there is no rollout of fan"):
        bench.rollouts.rollback("fan", site, None, "", dry_run=True)
    with pytest.raises(BadInput, match="not before 2" if site is None else "already"):
        bench.rollouts.rollback("pump", site, 2, "")
    bench.rollouts.rollback("pump", site, 1, "", dry_run=True)

    assert bench.documents.current("pump") == before


def test_a_site_that_nobody_has_heard_of_is_not_pinned(bench: Bench) -> None:
    """A misspelt one gets the nearest name; one that is not in the rollout, but has reported, is fine."""
    for version in (1, 2):
        bench.rollouts.start("pump", version, ["lyon", "osaka"], [1])
    bench.plants.silent = {"lyonn"}
    with pytest.raises(BadInput, match="never reported") as caught:
        bench.rollouts.rollback("pump", "lyonn", None, "")
    assert caught.value.hint == "did you mean lyon?"
    with pytest.raises(BadInput, match="not a name"):
        bench.rollouts.rollback("pump", "", None, "")

    assert bench.rollouts.rollback("pump", "paris", 1, "").pins["paris"].version == 1


@pytest.mark.parametrize("site", [None, "lyon"])
def test_a_rollback_that_is_not_recorded_is_said_to_be_signed_and_can_be_repeated(
    bench: Bench, site: str | None
) -> None:
    """Kafka away: the site goes back all the same, the error says so, and the repeat writes the event alone."""
    for version in (1, 2):
        bench.rollouts.start("pump", version, SITES, [1])
    bench.events.away = True
    with pytest.raises(Unreachable, match=r"is signed and takes effect; only its record .* is missing"):
        bench.rollouts.rollback("pump", site, None, "")
    signed = bench.documents.current("pump")
    assert signed
    assert desired(signed, "lyon") == bench.documents.target("pump", 1)
    bench.events.away = False

    assert bench.rollouts.rollback("pump", site, None, "") == signed
    assert bench.documents.current("pump") == signed
    assert bench.events.seen[-1] == ("pinned" if site else "cancelled", signed.generation)


def test_a_refused_document_fails_its_wave_at_once() -> None:
    """Edges report it as version 0; one that arrived after a later document is not held to it."""
    rollout = Rollout("r-1", "pump", 5, Target(2, "b" * 64), Target(1, "a" * 64), ("lyon",), 1, "running", begun=4)
    refused = [Refusal("pump", 0, "bad-rollout", "a sentence", 4, 0)]
    runs = Status("lyon", 1, 0, "", "", {"pump": Active(1, "a" * 64, {}, 0, 0, "disk")}, {}, refused, {}, {})
    found = verdict(rollout, {"lyon": runs}, waited_s=0, timeout_s=3600)
    assert (found.state, found.reason) == ("failed", "bad-rollout")

    earlier = [Refusal("pump", 0, "bad-rollout", "a sentence", 3, 0), Refusal("fan", 0, "bad-rollout", "", 9, 0)]
    others = Status("lyon", 1, 0, "", "", {}, {}, earlier, {}, {})
    assert verdict(rollout, {"lyon": others}, waited_s=0, timeout_s=1).state == "waiting"
    arrived = Status("lyon", 1, 0, "", "", {"pump": Active(2, "b" * 64, {}, 0, 0, "disk")}, {}, refused, {}, {})
    assert verdict(rollout, {"lyon": arrived}, waited_s=0, timeout_s=1).state == "passed"


def test_a_rollout_to_pinned_sites_says_that_it_moves_nobody(bench: Bench) -> None:
    """Otherwise it would look as if the version had arrived."""
    for version in (1, 2):
        bench.rollouts.start("pump", version, ["lyon"], [1])
    bench.rollouts.rollback("pump", "lyon", 1, "")
    bench.said.clear()
    bench.rollouts.start("pump", 3, ["lyon"], [1])

    assert "every site is pinned (lyon)" in bench.said[0]
    assert not any("active" in line for line in bench.said)


def test_an_interrupted_rollout_names_both_ways_to_go_on(bench: Bench) -> None:
    """What was signed stays signed, and whoever pressed Ctrl-C is told."""
    bench.plants.silent = {"lyon"}

    def interrupt(line: str) -> None:
        bench.said.append(line)
        if line.startswith("waiting"):
            raise KeyboardInterrupt

    bench.rollouts._progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.rollouts.start("pump", 1, ["lyon"], [1])

    assert "stays signed for 1 of 1 sites" in bench.said[-1]
    assert "headwater fleet rollout resume --class pump" in bench.said[-1]


def test_nothing_is_signed_for_sites_that_cannot_be_watched(bench: Bench) -> None:
    """Kafka away at the start: the command fails before the first wave."""

    class Away:
        def read(self, sites: Sequence[str]) -> dict[str, Status]:
            raise Unreachable("Kafka does not answer")

    blind = Rollouts(bench.documents, Away(), bench.events, bench.said.append, timeout_s=1, poll_s=0.01)
    with pytest.raises(Unreachable):
        blind.start("pump", 1, SITES, [1])
    assert bench.documents.current("pump") is None


def test_a_rollout_of_an_older_version_can_be_undone(bench: Bench) -> None:
    """Its previous version is the newer one; going back to it is not a rollout of its own."""
    for version in (1, 3, 2):
        bench.rollouts.start("pump", version, SITES, [1])
    back = bench.rollouts.rollback("pump", None, None, "")

    assert back.previous == bench.documents.target("pump", 3)
