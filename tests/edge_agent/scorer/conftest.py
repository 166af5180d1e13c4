"""An edge on a cluster of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge_agent.scorer.edge import Edge
from tests.services import Broker


@pytest.fixture
async def edge(private_kafka: Broker, tmp_path: Path) -> AsyncIterator[Edge]:
    edge = await Edge.open(private_kafka.bootstrap, tmp_path)
    yield edge
    await edge.close()
