"""A repository with one model and one rollout document."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transport.registry.fleet_repo import MODEL, ROLLOUT, Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Version 1 of pump and generation 1, published."""
    made = Repo(tmp_path)
    made.publisher("models").publish({MODEL: b"model one"}, {MODEL: {"version": 1}})
    made.publisher("rollout").publish({ROLLOUT: b"{}"})
    return made
