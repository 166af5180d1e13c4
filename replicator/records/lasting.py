"""A writer lasts as long as its log has what it had acknowledged."""

from __future__ import annotations

from headwater.transport.kafka_batch import SetBack, Writer
from replicator.way import Way


async def lasting(writer: Writer, way: Way) -> Writer | None:
    """The writer, or None where its log was set back: it is closed then, and the next one reads the tail.

    Transient: nobody answers.
    """
    try:
        await writer.look(way.target, way.partition)
    except SetBack:
        await writer.close()
        return None
    return writer
