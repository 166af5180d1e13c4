"""The two clusters of a link, for commands: what cannot be reached is named as the setting that it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from headwater.contract.errors import Unreachable
from headwater.transport.kafka_batch import Cluster
from replicator.settings import ReplicatorSettings

End = Literal["source", "target"]
ENDS: tuple[End, End] = ("source", "target")


@asynccontextmanager
async def reached(settings: ReplicatorSettings, end: End, client_id: str) -> AsyncIterator[Cluster]:
    """The source or the target of a link, connected; Unreachable says which of the two it is, and its setting."""
    cluster = Cluster(getattr(settings, end), client_id=client_id)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(cluster)
        except Unreachable as error:
            raise Unreachable(f"the {end} ({setting_of(settings, end)}): {error}", hint=error.hint) from error
        yield cluster


def setting_of(settings: ReplicatorSettings, end: End) -> str:
    """Where the brokers of an end are set; the way down has them the other way round."""
    if settings.direction == "down":
        end = "source" if end == "target" else "target"
    return f"replicator.{end}.brokers"
