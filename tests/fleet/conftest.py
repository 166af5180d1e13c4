"""The fleet that rollouts are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "keys")
