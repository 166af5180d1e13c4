"""A site that runs version 1."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

from headwater.transport.objects import MemoryStore
from tests.edge_agent.updater.site import Site
from tests.transport.registry.fleet_repo import Repo


@pytest.fixture
def empty_site(tmp_path: Path) -> Site:
    """A site whose fleet has published nothing."""
    return Site(Repo(tmp_path / "fleet"), tmp_path / "edge")


@pytest.fixture(scope="session")
def first_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The state that most tests begin with, made once: version 1 of generation 1 was tried and placed."""
    folder = tmp_path_factory.mktemp("first")
    made = Site(Repo(folder / "fleet"), folder / "edge")
    made.ask(made.publish(1))
    assert made.look().classes["pump"].version == 1
    return made


@pytest.fixture
def site(first_site: Site, tmp_path: Path) -> Site:
    """A copy of it."""
    repo = copy.copy(first_site.repo)
    repo.store = MemoryStore()
    repo.store.objects = dict(first_site.repo.store.objects)
    shutil.copytree(first_site.state, tmp_path / "edge", symlinks=True)
    return Site(repo, tmp_path / "edge", generation=first_site.generation)
