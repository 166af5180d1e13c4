"""The floor of the clock: it may not go back, and one that ran ahead once stops nobody."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from headwater.contract.errors import Refused
from headwater.transport.registry.client import Client
from tests.transport.registry.fleet_repo import Repo, days


def test_a_clock_that_went_back_activates_nothing(repo: Repo, tmp_path: Path) -> None:
    """A machine that believes in last year would accept what has expired since."""
    state = tmp_path / "state"
    assert repo.client(state).refresh().problem is None
    last_year = time.time_ns() // 1_000_000 - 365 * 86_400_000
    problem = Client(repo.store, state, repo.root, clock_ms=lambda: last_year).refresh().problem
    assert isinstance(problem, Refused)
    assert "clock" in str(problem)


@pytest.mark.parametrize("behind_d", [0, 30])
def test_a_clock_that_ran_ahead_once_is_forgiven(repo: Repo, tmp_path: Path, behind_d: int) -> None:
    """Set right, it is no clock that has gone back: what counts is when the metadata was signed; nothing is stuck."""
    state, now = tmp_path / "state", time.time_ns() // 1_000_000
    day = 86_400_000
    ahead = Client(repo.store, state, repo.root, clock_ms=lambda: now + 40 * day)
    assert ahead.refresh().problem is None
    assert Client(repo.store, state, repo.root, clock_ms=lambda: now).refresh() == ("fresh", None)
    assert json.loads((state / "floor.json").read_bytes())["good_at"] == now
    if behind_d:
        refused = Client(repo.store, state, repo.root, clock_ms=lambda: now - behind_d * day).refresh()
        assert isinstance(refused.problem, Refused)
        assert str(state / "floor.json") in refused.problem.hint


def test_a_publisher_whose_clock_runs_ahead_does_not_stop_edges(repo: Repo, tmp_path: Path) -> None:
    """Two clocks must have passed a time before an edge's may not be behind it; both wrong, the hint's remedy works."""
    repo.now += days(20)
    repo.publisher("models").publish({})
    state, now = tmp_path / "state", time.time_ns() // 1_000_000
    for _ in range(2):
        assert Client(repo.store, state, repo.root, clock_ms=lambda: now).refresh().problem is None
    both = Client(repo.store, state, repo.root, clock_ms=lambda: now + 20 * 86_400_000)
    assert both.refresh().problem is None
    assert isinstance(Client(repo.store, state, repo.root, clock_ms=lambda: now).refresh().problem, Refused)
    (state / "floor.json").unlink()
    assert Client(repo.store, state, repo.root, clock_ms=lambda: now).refresh().problem is None


def test_a_floor_that_cannot_be_read_is_a_sentence(repo: Repo, tmp_path: Path) -> None:
    """Nothing is accepted without it, and the file is named."""
    (tmp_path / "state" / "floor.json").mkdir(parents=True)
    refreshed = repo.client(tmp_path / "state").refresh()
    assert refreshed.freshness == "unverified"
    assert "floor.json cannot be read" in str(refreshed.problem)
