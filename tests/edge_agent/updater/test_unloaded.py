"""A rollout of a class that a site does not load is refused by name, and taken up once the site loads it."""

from __future__ import annotations

from typing import Literal

import pytest

from headwater.contract.refusals import CLASS_NOT_LOADED
from headwater.contract.rollout import Rollout, Target, rollout_path
from tests.edge_agent.scorer.models import CLASS
from tests.edge_agent.updater.site import SITE, Site

ENGINE = Target(4, "e" * 64)


def send_out(
    site: Site,
    generation: int,
    state: Literal["running", "paused", "complete", "cancelled"] = "running",
    sites: tuple[str, ...] = (SITE,),
    reached: int = 1,
) -> None:
    """Sign a rollout of the class `engine`."""
    document = Rollout("e-1", "engine", generation, ENGINE, None, sites, reached, state)
    site.repo.publisher("rollout").publish({rollout_path("engine", generation): document.encode()})


def refusals(site: Site) -> list[tuple[str, int, str, int]]:
    return [(one.asset_class, one.version, one.reason, one.generation) for one in site.look().refused]


def test_a_class_that_is_not_loaded_is_refused_once_by_name(site: Site) -> None:
    """With what to look at; what runs goes on, and so does the class that is loaded."""
    send_out(site, 1)
    found = site.look()
    assert [one.reason for one in found.refused] == [CLASS_NOT_LOADED]
    assert found.refused[0].detail == f"class engine is not among edge.asset_classes of {SITE} ({CLASS})"
    assert found.updater.phase == "idle"
    site.ask(site.publish(2))
    site.look()
    assert site.running() == 2
    assert refusals(site) == [("engine", 4, CLASS_NOT_LOADED, 1)]
    send_out(site, 2)
    assert refusals(site) == [("engine", 4, CLASS_NOT_LOADED, 1), ("engine", 4, CLASS_NOT_LOADED, 2)]


@pytest.mark.parametrize(
    ("state", "sites", "reached"),
    [("complete", (SITE,), 1), ("cancelled", (SITE,), 1), ("running", ("osaka",), 1), ("running", ("osaka", SITE), 1)],
)
def test_nothing_is_refused_that_nobody_waits_for(
    site: Site, state: Literal["running", "complete", "cancelled"], sites: tuple[str, ...], reached: int
) -> None:
    """Rollouts that have ended, of other sites, and of later waves."""
    send_out(site, 1, state, sites, reached)
    assert refusals(site) == []


def test_a_class_that_comes_to_be_loaded_is_looked_at_anew(site: Site) -> None:
    """The same document is followed: here it names a version that nobody signed."""
    send_out(site, 1)
    assert refusals(site) == [("engine", 4, CLASS_NOT_LOADED, 1)]
    site.classes = (CLASS, "engine")
    assert refusals(site) == [("engine", 4, "not-signed", 1)]
