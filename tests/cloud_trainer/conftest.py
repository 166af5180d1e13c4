"""A site in a real cloud cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cloud_trainer.cloud import Cloud


@pytest.fixture
async def cloud(kafka: str, unique: str) -> AsyncIterator[Cloud]:
    """Topics of a site named after the test."""
    cloud = await Cloud.open(kafka, unique)
    yield cloud
    await cloud.cluster.close()
