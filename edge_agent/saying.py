"""Puts what an operator says into the log, where the scorer meets it and the cloud gets it."""

from __future__ import annotations

from edge_agent.settings import EdgeSettings
from headwater.contract import topics
from headwater.contract.spoken import Spoken
from headwater.transport.kafka import send


def say(settings: EdgeSettings, asset: str, partition: int, said: Spoken, header: tuple[str, str]) -> None:
    """Write it under the asset's key; BadInput for what is too long. Raises as the transport does."""
    said.check()
    name, value = header
    headers = ((name, value.encode()),)
    send(settings.kafka, topics.READINGS, asset.encode(), said.encode(), headers=headers, partition=partition)
