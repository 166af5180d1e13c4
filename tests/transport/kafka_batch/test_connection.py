"""Connections: login in every way that is offered, clear words when it fails, and ends that nobody misses."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from pydantic import SecretStr

from headwater.contract.errors import BadInput, BadSetting, HeadwaterError, Refused, Unreachable, Untrusted
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, encode
from headwater.transport.kafka_batch.login import SPOKEN
from headwater.transport.kafka_batch.settings import Mechanism
from headwater.transport.librdkafka import librdkafka
from headwater.transport.retry import retrying
from tests.services import Broker
from tests.transport.kafka_batch.conftest import Doors, make_topic, now_ms

SCRAM_USER, SCRAM_PASSWORD = "bridge,=x", "pass wörd="


@pytest.fixture(scope="module")
def scram_user(doors: Doors) -> None:
    """A user with both SCRAM mechanisms, whose name needs escaping."""
    admin = AdminClient({"bootstrap.servers": doors.plain.brokers})
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        wanted = UserScramCredentialUpsertion(
            SCRAM_USER, ScramCredentialInfo(mechanism, 4096), SCRAM_PASSWORD.encode(), b"salt-" * 4
        )
        for future in admin.alter_user_scram_credentials([wanted]).values():
            future.result(10)


def sasl(doors: Doors, mechanism: Mechanism, password: str | None = None) -> KafkaSettings:
    user, right = ("plain", "secret") if mechanism == "PLAIN" else (SCRAM_USER, SCRAM_PASSWORD)
    return KafkaSettings(
        brokers=f"127.0.0.1:{doors.ports['sasl']}",
        tls=True,
        ca_file=doors.certificate,
        sasl_mechanism=mechanism,
        username=user,
        password=SecretStr(right if password is None else password),
    )


@pytest.mark.usefixtures("scram_user")
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_user_logs_in_and_writes_over_tls(doors: Doors, unique: str, mechanism: Mechanism) -> None:
    """Each mechanism works over TLS, with batches larger than a TLS record both ways."""

    async def first(settings: KafkaSettings) -> Cluster:
        client = Cluster(settings, client_id="tests")
        await client.connect()
        return client

    # The broker learns of new SCRAM users a moment after they were made.
    deadline = time.monotonic() + 10
    while True:
        try:
            cluster = await first(sasl(doors, mechanism))
            break
        except Refused:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    async with cluster:
        async with Cluster(doors.plain, client_id="admin") as admin:
            await make_topic(admin, unique, 1)
        batch = encode([Out(None, bytes([i]) * 5000, (), now_ms()) for i in range(100)])
        answers = await retrying("writing", lambda: cluster.produce([(unique, 0, batch)]), deadline_s=10)
        assert answers[0].error == 0
        (fetched,) = await cluster.fetch({(unique, 0): 0})
        assert fetched.data[61:] == batch[61:]


@pytest.mark.usefixtures("scram_user")
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_refused_in_words(doors: Doors, mechanism: Mechanism) -> None:
    """The broker's refusal comes through, with what to check."""
    with pytest.raises(Refused, match="refuses the login") as caught:
        await Cluster(sasl(doors, mechanism, "wrong"), client_id="tests").connect()
    assert caught.value.hint == "check username, password and sasl_mechanism"


def bearer(doors: Doors, folder: Path, *, lifetime_s: float) -> KafkaSettings:
    """A token without a signature, which a broker takes that was given no keys."""

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    now = time.time()
    token = f"{part({'alg': 'none'})}.{part({'sub': 'edge', 'iat': now - 60, 'exp': now + lifetime_s})}."
    (folder / "token").write_text(token + "\n")
    return KafkaSettings(
        brokers=f"127.0.0.1:{doors.ports['sasl']}",
        tls=True,
        ca_file=doors.certificate,
        sasl_mechanism="OAUTHBEARER",
        token_file=folder / "token",
    )


async def test_a_token_logs_in_and_is_read_again(doors: Doors, tmp_path: Path) -> None:
    """The session ends with the token (5 s) and is renewed with what the file holds then; librdkafka logs in too."""
    settings = bearer(doors, tmp_path, lifetime_s=5)
    async with Cluster(settings, client_id="tests") as cluster:
        line = await cluster._routes.line(await cluster._routes.any_node(), "write")
        bearer(doors, tmp_path, lifetime_s=60)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            await cluster.init_producer_id()
            await asyncio.sleep(0.05)
        assert line.connection.ready
    assert await asyncio.to_thread(lambda: AdminClient(librdkafka(settings)).list_topics(timeout=10).brokers)


async def test_a_token_that_is_none_is_refused_in_words(doors: Doors, tmp_path: Path) -> None:
    """One that has ended names the file's setting; a missing file names the file."""
    settings = bearer(doors, tmp_path, lifetime_s=-30)
    with pytest.raises(Refused, match="refuses the login") as caught:
        await Cluster(settings, client_id="tests").connect()
    assert "token_file" in caught.value.hint
    (tmp_path / "token").unlink()
    with pytest.raises(BadSetting, match=r"token: the token cannot be read"):
        await Cluster(settings, client_id="tests").connect()


@pytest.mark.usefixtures("scram_user")
async def test_a_session_is_renewed_before_it_ends(doors: Doors) -> None:
    """A connection outlives the broker's connections.max.reauth.ms (2 s) under steady calls (KIP-368)."""
    async with Cluster(sasl(doors, "PLAIN"), client_id="tests") as cluster:
        line = await cluster._routes.line(await cluster._routes.any_node(), "write")
        until = time.monotonic() + 4.5
        while time.monotonic() < until:
            await asyncio.gather(*(cluster.init_producer_id() for _ in range(5)))
            await asyncio.sleep(0.01)
        assert line.connection.ready
        assert await cluster._routes.line(await cluster._routes.any_node(), "write") is line


async def test_a_certificate_of_an_unknown_authority_is_untrusted(doors: Doors) -> None:
    """TLS without the right ca_file ends with the reason and what to set."""
    settings = KafkaSettings(brokers=f"127.0.0.1:{doors.ports['tls']}", tls=True)
    with pytest.raises(Untrusted, match="not trusted: self") as caught:
        await Cluster(settings, client_id="tests").connect()
    assert "ca_file" in caught.value.hint


async def test_tls_alone_works(doors: Doors) -> None:
    """TLS without login."""
    settings = KafkaSettings(brokers=f"localhost:{doors.ports['tls']}", tls=True, ca_file=doors.certificate)
    async with Cluster(settings, client_id="tests") as cluster:
        assert (await cluster.init_producer_id()).epoch == 0


async def test_tls_on_one_side_alone_is_unreachable(doors: Doors) -> None:
    """Plain words to a TLS port, TLS to a plain port, and login at a port without it, end soon and in words."""
    for settings in (
        KafkaSettings(brokers=f"127.0.0.1:{doors.ports['tls']}", connect_timeout_s=1),
        KafkaSettings(brokers=f"127.0.0.1:{doors.ports['client']}", tls=True, connect_timeout_s=1),
        KafkaSettings(
            brokers=doors.plain.brokers,
            sasl_mechanism="PLAIN",
            username="u",
            password=SecretStr("p"),
            connect_timeout_s=1,
        ),
    ):
        with pytest.raises(HeadwaterError) as caught:
            await Cluster(settings, client_id="tests").connect()
        assert isinstance(caught.value, Unreachable | Refused)
        assert not str(caught.value).rstrip().endswith(":"), "it says why"
        if settings.tls:
            assert "it ended the TLS handshake; this port may not speak TLS" in str(caught.value)
            assert caught.value.hint == "it does not speak TLS there: look at tls and port of these settings"


async def test_nobody_listening_is_unreachable() -> None:
    """All brokers that were tried are named."""
    with pytest.raises(
        Unreachable, match=r"(?s)127\.0\.0\.1:1 .*127\.0\.0\.1:2 |127\.0\.0\.1:2 .*127\.0\.0\.1:1 "
    ) as caught:
        await Cluster(KafkaSettings(brokers="127.0.0.1:1,127.0.0.1:2"), client_id="tests").connect()
    assert "127.0.0.1:1 cannot be connected to: Connection refused" in str(caught.value)
    assert "Errno" not in str(caught.value)


async def test_a_second_bootstrap_broker_is_tried(kafka: str) -> None:
    """One dead address does not hinder."""
    for _ in range(4):
        async with Cluster(KafkaSettings(brokers=f"127.0.0.1:1,{kafka}"), client_id="tests") as cluster:
            assert (await cluster.init_producer_id()).id >= 0


Answer = Callable[[int, bytes], bytes]


@asynccontextmanager
async def fake_broker(answer: Answer) -> AsyncIterator[KafkaSettings]:
    """A server that answers each request by a function of (api key, correlation id as bytes)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                request = await reader.readexactly(size)
                writer.write(answer(int.from_bytes(request[:2], "big"), request[4:8]))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test ends
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield KafkaSettings(brokers=f"127.0.0.1:{port}", connect_timeout_s=2, request_timeout_s=2)
    finally:
        server.close()
        await server.wait_closed()


def sized(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def versions(highest: int) -> bytes:
    ranges = b"".join(struct.pack(">hhh", api.key, 0, min(api.version, highest)) for api in SPOKEN)
    return struct.pack(">hi", 0, len(SPOKEN)) + ranges


async def test_an_old_broker_is_refused_by_name_of_the_call() -> None:
    """A broker that lacks a version that we speak is refused at login, not in the middle of the work."""
    async with fake_broker(lambda key, correlation: sized(correlation + versions(3))) as settings:
        with pytest.raises(Refused, match=r"does not speak Produce version 8 \(it offers versions 0 to 3\)"):
            await Cluster(settings, client_id="tests").connect()


@pytest.mark.parametrize(
    ("garbage", "kind"),
    [
        (lambda correlation: sized(correlation + b"\0\0\0"), BadInput),  # cut short
        (lambda correlation: sized(correlation + b"\0\0\x7f\xff\xff\xff"), BadInput),  # an endless array
        (lambda correlation: sized(correlation[::-1] + b"x"), Unreachable),  # an answer to nothing
        (lambda correlation: b"HTTP/1.1 400 Bad Request\r\n\r\n", Unreachable),
        (lambda correlation: struct.pack(">i", -5), Unreachable),
        (lambda correlation: struct.pack(">i", 0), Unreachable),
    ],
)
async def test_answers_that_are_none_end_the_connection(
    garbage: Callable[[bytes], bytes], kind: type[HeadwaterError]
) -> None:
    """A peer that does not speak Kafka is found out at once."""
    async with fake_broker(lambda key, correlation: garbage(correlation)) as settings:
        with pytest.raises(kind):
            await Cluster(settings, client_id="tests").connect()


async def test_answers_in_small_pieces_and_many_at_once_are_put_together(doors: Doors, unique: str) -> None:
    """However the bytes are cut on the road, each answer reaches its own request."""
    async with (
        doors.proxy() as proxy,
        Cluster(doors.relayed, client_id="tests") as cluster,
    ):
        await make_topic(cluster, unique, 4)
        batches = [encode([Out(None, b"x" * size, (), now_ms())]) for size in (1, 70_000, 10, 200_000)]
        for partition, batch in enumerate(batches):
            await cluster.produce([(unique, partition, batch)])
        proxy.delay_s = 0.01  # answers pile up behind each other

        async def data_of(partition: int) -> bytes:
            (fetched,) = await cluster.fetch({(unique, partition): 0})
            return bytes(fetched.data[61:])

        wanted = [index % 4 for index in range(60)]
        assert await asyncio.gather(*map(data_of, wanted)) == [bytes(batches[p][61:]) for p in wanted]


async def test_a_stalled_broker_is_given_up_and_the_next_call_connects_anew(doors: Doors) -> None:
    """Without a byte for request_timeout_s every waiting call fails; the cluster goes on over a new connection."""
    settings = doors.relayed.model_copy(update={"request_timeout_s": 0.5})
    async with (
        doors.proxy() as proxy,
        Cluster(settings, client_id="tests") as cluster,
    ):
        proxy.stall()
        outcomes = await asyncio.gather(*(cluster.init_producer_id() for _ in range(5)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unreachable}
        assert (await cluster.init_producer_id()).id >= 0


async def test_a_broker_that_restarts_is_found_again(private_kafka: Broker) -> None:
    """Calls that wait when it dies fail with Unreachable, later ones succeed without ado."""
    async with Cluster(KafkaSettings(brokers=private_kafka.bootstrap), client_id="tests") as cluster:
        await make_topic(cluster, "t", 1)
        await cluster.fetch({("t", 0): 0}, max_wait_ms=0)
        waiting = asyncio.create_task(cluster.fetch({("t", 0): 0}, max_wait_ms=15_000))
        await asyncio.sleep(0)  # connected already, so it is sent in one turn of the loop
        await asyncio.to_thread(private_kafka.kill)
        with pytest.raises(Unreachable):
            await waiting
        with pytest.raises(Unreachable):
            await cluster.init_producer_id()
        await asyncio.to_thread(private_kafka.start)
        ends = await retrying("again", lambda: cluster.offsets("t", "latest"), deadline_s=20)
        assert ends == {0: 0}


async def test_a_fetch_that_waits_does_not_delay_a_write(cluster: Cluster, topic: str) -> None:
    """Long polls have a connection of their own; the fetch returns as soon as the write is there."""
    await cluster.fetch({(topic, 0): 0}, max_wait_ms=0)
    polling = asyncio.create_task(cluster.fetch({(topic, 0): 0}, max_wait_ms=10_000))
    await asyncio.sleep(0)  # connected already, so it is sent in one turn of the loop
    began = time.monotonic()
    await cluster.produce([(topic, 0, encode([Out(None, b"v", (), now_ms())]))])
    (fetched,) = await polling
    assert time.monotonic() - began < 2.0
    assert len(fetched.data) > 61


async def test_calls_after_close_fail(kafka: str) -> None:
    """A closed client does not connect again."""
    cluster = Cluster(KafkaSettings(brokers=kafka), client_id="tests")
    await cluster.connect()
    await cluster.close()
    calls: list[Callable[[], Awaitable[object]]] = [cluster.init_producer_id, lambda: cluster.partitions("t")]
    for call in calls:
        with pytest.raises(Unreachable, match="closed"):
            await call()
