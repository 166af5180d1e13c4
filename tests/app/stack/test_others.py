"""MQTT brokers and the S3 server of the local stack."""

from __future__ import annotations

import queue
from pathlib import Path

import boto3
import paho.mqtt.client as paho
import pytest
from botocore.exceptions import ClientError

from headwater.app.stack.mqtt import Amqtt, mqtt_service
from headwater.app.stack.runner import Runner
from headwater.app.stack.state import S3Address
from tests.services import Mqtt


def _connect(port: int, client_id: str, *, clean: bool) -> tuple[paho.Client, queue.Queue[bytes]]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
    connected: queue.Queue[object] = queue.Queue()
    got: queue.Queue[bytes] = queue.Queue()
    client.on_connect = lambda *answer: connected.put(answer)
    client.on_subscribe = lambda *answer: connected.put(answer)
    client.on_message = lambda _client, _data, message: got.put(message.payload)
    client.connect("127.0.0.1", port)
    client.loop_start()
    connected.get(timeout=10)
    if client_id.startswith("reader"):
        client.subscribe("plant/#", qos=1)
        connected.get(timeout=10)
    return client, got


def _leave(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()


def test_mosquitto_keeps_the_queue_of_an_absent_session_over_a_kill(private_mosquitto: Mqtt) -> None:
    """What was acknowledged to the publisher reaches the absent subscriber after SIGKILL and restart."""
    reader, _ = _connect(private_mosquitto.port, "reader", clean=False)
    _leave(reader)
    writer, _ = _connect(private_mosquitto.port, "writer", clean=True)
    for number in range(200):
        sent = writer.publish("plant/pump", b"%d" % number, qos=1)
    sent.wait_for_publish(20)
    _leave(writer)
    private_mosquitto.kill()
    private_mosquitto.start()
    reader, got = _connect(private_mosquitto.port, "reader", clean=False)
    assert [got.get(timeout=10) for _ in range(200)] == [b"%d" % number for number in range(200)]
    _leave(reader)


def test_without_mosquitto_amqtt_carries_messages_and_promises_no_sessions(service_runner: Runner) -> None:
    """The stand-in delivers QoS 1 to a present subscriber, and says what it does not promise."""
    service = mqtt_service("", name="amqtt")
    assert isinstance(service, Amqtt)
    assert not service.persistent_sessions
    service_runner.start(service)
    try:
        port = service_runner.ports(service)["client"]
        reader, got = _connect(port, "reader", clean=True)
        writer, _ = _connect(port, "writer", clean=True)
        for number in range(50):
            writer.publish("plant/pump", b"%d" % number, qos=1)
        assert [got.get(timeout=10) for _ in range(50)] == [b"%d" % number for number in range(50)]
        _leave(reader)
        _leave(writer)
    finally:
        service_runner.stop("amqtt")


@pytest.mark.parametrize("kind", ["s3", "moto"])
def test_s3_writes_once_only_when_asked(kind: str, request: pytest.FixtureRequest) -> None:
    """Both servers of the tests refuse the second conditional write of one key."""
    address: S3Address = request.getfixturevalue(kind)
    client = boto3.client(
        "s3",
        endpoint_url=address.endpoint,
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
        region_name="us-east-1",
    )
    client.put_object(Bucket=address.bucket, Key="key", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=address.bucket, Key="key", Body=b"second", IfNoneMatch="*")
    assert client.get_object(Bucket=address.bucket, Key="key")["Body"].read() == b"first"
    client.close()


def test_credentials_are_readable_by_their_owner_alone(service_runner: Runner, s3_server: S3Address) -> None:
    """The file with the S3 keys has mode 0600, and the key is not in a printed address."""
    path: Path = service_runner.folder / "s3" / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert s3_server.secret_key not in repr(s3_server)
