"""Finding a way into a cluster: any of its brokers will do."""

from __future__ import annotations

import random
import ssl

from headwater.contract.errors import Unreachable
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.meter import Meter
from headwater.transport.kafka_batch.settings import KafkaSettings


async def first_reachable(
    settings: KafkaSettings,
    addresses: list[tuple[str, int]],
    tls: ssl.SSLContext | None,
    client_id: str,
    meter: Meter | None = None,
) -> Connection:
    """Connect to any of `addresses`, in random order; Unreachable names every one that failed."""
    failures: list[Unreachable] = []
    for address in random.sample(addresses, len(addresses)):
        try:
            return await Connection.open(settings, address, tls, client_id, meter)
        except Unreachable as error:
            failures.append(error)
    hints = {error.hint for error in failures}
    hint = hints.pop() if len(hints) == 1 else "check `brokers`, and that one of them runs"
    raise Unreachable("; ".join(map(str, failures)), hint=hint)
