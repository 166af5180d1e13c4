"""A client quota of a broker, which holds back what a killed process has sent."""

from __future__ import annotations

import struct

from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.kafka_batch.wire import Api, Call, array, string


async def limit(settings: KafkaSettings, client_id: str, bytes_per_s: float | None) -> None:
    """A quota for what a client produces (AlterClientQuotas, version 0); None takes it away."""
    connection = await Connection.open(settings, settings.addresses()[0], None, "quota")
    entity = array([string("client-id") + string(client_id)])
    change = array([string("producer_byte_rate") + struct.pack(">d?", bytes_per_s or 0.0, bytes_per_s is None)])
    call = Call(
        Api("AlterClientQuotas", 49, 0),
        [array([entity + change]) + b"\0"],
        lambda r: (r.int32(), len(r.times()), r.int16()),
    )
    try:
        assert (await connection.request(call))[2] == 0
    finally:
        connection.close()
