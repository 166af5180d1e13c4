"""What goes over connections is counted to the last byte, however they end."""

from __future__ import annotations

import pytest

from headwater.contract.errors import Unreachable, Untrusted
from headwater.transport.kafka_batch import KafkaSettings, calls
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.meter import Meter
from tests.proxy import Proxy
from tests.transport.kafka_batch.conftest import Doors

_SLACK = 200  # what TLS says at its end, and the end itself


class _Counting(Proxy):
    carried = 0

    def spend(self, data: bytes, upward: bool) -> bytes:
        self.carried += len(data)
        return super().spend(data, upward)


@pytest.mark.parametrize("door", ["client", "tls"])
async def test_what_a_lost_connection_has_carried_counts_without_a_look_before(doors: Doors, door: str) -> None:
    """Bytes both ways, TLS included, of connections that are cut, closed and alive."""
    tls = door == "tls"
    settings = KafkaSettings(brokers="-:1", tls=tls, ca_file=doors.certificate if tls else None)
    meter, context = Meter(), settings.tls_context()
    async with _Counting(("127.0.0.1", doors.ports[door])) as proxy:
        for end in ("cut", "close", ""):
            connection = await Connection.open(settings, ("localhost", proxy.port), context, "tests", meter)
            await connection.request(calls.metadata([f"{'none' * 20}-{n}" for n in range(500)]))
            if end == "cut":
                proxy.cut()
                with pytest.raises(Unreachable):
                    await connection.request(calls.metadata([]))
            elif end == "close":
                connection.close()
            assert 40_000 < proxy.carried <= meter.carried <= proxy.carried + _SLACK * proxy.connections
        connection.close()


async def test_a_handshake_that_fails_has_cost_its_bytes(doors: Doors) -> None:
    """Who is not trusted, again and again, is paid for each time."""
    settings, meter = KafkaSettings(brokers="-:1", tls=True), Meter()
    async with _Counting(("127.0.0.1", doors.ports["tls"])) as proxy:
        with pytest.raises(Untrusted):
            await Connection.open(settings, ("localhost", proxy.port), settings.tls_context(), "tests", meter)
        assert 500 < proxy.carried <= meter.carried + _SLACK
