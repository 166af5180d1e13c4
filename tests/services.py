"""Real services for the tests: started at the first test that asks, stopped when the session ends.

A missing program skips the test on a developer's machine and fails it where `CI` is set.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from headwater.app.stack import process
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.mqtt import Mosquitto, find_mosquitto
from headwater.app.stack.runner import Runner, Service
from headwater.app.stack.s3 import READER, SeaweedFs, credentials_of, find_weed
from headwater.app.stack.state import S3Address
from headwater.contract.errors import BadInput, HeadwaterError
from tests.brokers import node_name, nodes

_T = TypeVar("_T")
_PREFIX = "headwater-test-"
_STOPPED_S = 10.0


def demand(get: Callable[[], _T]) -> _T:
    """What `get` returns; when it says that a program is missing: skip here, fail in CI."""
    try:
        return get()
    except HeadwaterError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI demands every real service: {error}")
        pytest.skip(f"{error} ({error.hint})")


def _runs(pid: int) -> bool:
    """Whether a thread of a process was not stopped yet (proc(5): the state behind the name in brackets)."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            if (task / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return True
        except FileNotFoundError:  # it has ended meanwhile
            continue
    return False


@dataclass
class Broker:
    """A Kafka cluster of one node, or one node of several; `bootstrap` is its address. Kill and start it at will."""

    name: str
    bootstrap: str
    runner: Runner = field(repr=False)
    service: Service = field(repr=False)

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone."""
        self.runner.kill(self.name)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing until `resume`. Returns when nothing of it runs."""
        pids = self.runner.pids(self.name)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + _STOPPED_S
        while any(map(_runs, pids)):
            assert time.monotonic() < deadline, f"{self.name} does not stop"
            time.sleep(0.001)

    def resume(self) -> None:
        """SIGCONT."""
        for pid in self.runner.pids(self.name):
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it in order."""
        self.runner.stop(self.name)

    def start(self) -> None:
        """Start it on the same port with the same data; returns when it answers."""
        self.runner.start(self.service)


@pytest.fixture(scope="session")
def service_runner() -> Iterator[Runner]:
    """Starts services in a folder of this test session and stops them all at its end."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    runner = Runner(folder)
    try:
        yield runner
    finally:
        runner.stop(grace_s=5.0)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """End what a killed test session left behind: its folder names the process that owned it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            process.stop(folder, grace_s=2.0)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_tools() -> KafkaTools:
    """Java, Kafka's jars and class archive."""
    return demand(lambda: prepare_kafka(print))


@pytest.fixture(scope="session")
def kafka_broker(service_runner: Runner, kafka_tools: KafkaTools) -> Broker:
    """A real Kafka cluster shared by the session: use topics of your own (`unique`)."""
    return start_kafka(service_runner, kafka_tools, "shared")


@pytest.fixture(scope="session")
def kafka(kafka_broker: Broker) -> str:
    """Bootstrap address of the shared cluster. Automatic creation of topics is off."""
    return kafka_broker.bootstrap


@pytest.fixture(scope="session")
def kafka_pair(kafka_broker: Broker, service_runner: Runner, kafka_tools: KafkaTools) -> tuple[str, str]:
    """Bootstrap addresses of two clusters: the shared one (edge) and a second (cloud)."""
    return kafka_broker.bootstrap, start_kafka(service_runner, kafka_tools, "second").bootstrap


@pytest.fixture
def private_kafka(service_runner: Runner, kafka_tools: KafkaTools, unique: str) -> Iterator[Broker]:
    """A cluster for one test, to be killed and restarted (0.7 s to start, 3 s after a kill)."""
    broker = start_kafka(service_runner, kafka_tools, unique)
    yield broker
    service_runner.stop(broker.name, grace_s=2.0)


@dataclass
class Brokers:
    """One Kafka cluster of several nodes; `bootstrap` has all their addresses."""

    nodes: dict[int, Broker]

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.nodes.values())


@pytest.fixture
def private_kafka_three(service_runner: Runner, kafka_tools: KafkaTools, unique: str) -> Iterator[Brokers]:
    """A cluster of three nodes for one test, any one of which may be killed (3 s to start, 0.3 GB a node)."""
    placed = [KafkaService(node_name(unique, node), lambda: kafka_tools) for node in (1, 2, 3)]
    controllers = {node: service_runner.ports(each)["controller"] for node, each in enumerate(placed, start=1)}
    services = nodes(kafka_tools, unique, controllers)
    try:
        with ThreadPoolExecutor(len(services)) as pool:  # none answers before the others are there
            list(pool.map(service_runner.start, services))
        yield Brokers(
            {each.node: Broker(each.name, service_runner.address(each), service_runner, each) for each in services}
        )
    finally:
        service_runner.stop(*(each.name for each in services), grace_s=2.0)


def start_kafka(runner: Runner, tools: KafkaTools, name: str) -> Broker:
    """Start a cluster in the runner's folder."""
    service = KafkaService(name, lambda: tools)
    runner.start(service)
    return Broker(name, runner.address(service), runner, service)


@dataclass
class Mqtt:
    """One Mosquitto; the private one keeps what it acknowledged to persistent sessions over `kill`."""

    host: str
    port: int
    name: str
    runner: Runner = field(repr=False)
    service: Mosquitto = field(repr=False)

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone."""
        # It saves after it acknowledged, and before it answers anybody else.
        assert self.runner.answers(self.service)
        self.runner.kill(self.name)

    def stop(self) -> None:
        """Stop it in order."""
        self.runner.stop(self.name)

    def start(self) -> None:
        """Start it on the same port with the same sessions; returns when it answers."""
        self.runner.start(self.service)


def _mosquitto_program() -> Path:
    program = find_mosquitto()
    if program is None:
        raise BadInput("mosquitto is not installed", hint="install the mosquitto package")
    return program


def start_mosquitto(runner: Runner, name: str, *, every_change: bool) -> Mqtt:
    """Start a Mosquitto in the runner's folder; `every_change` saves its store at each (slow, safe to kill)."""
    service = Mosquitto(demand(_mosquitto_program), name=name, every_change=every_change)
    runner.start(service)
    return Mqtt("127.0.0.1", runner.ports(service)["client"], name, runner, service)


@pytest.fixture(scope="session")
def mosquitto(service_runner: Runner) -> Mqtt:
    """A real Mosquitto shared by the session: use client ids and topics of your own (`unique`)."""
    return start_mosquitto(service_runner, "mosquitto", every_change=False)


@pytest.fixture
def private_mosquitto(service_runner: Runner, unique: str) -> Iterator[Mqtt]:
    """A Mosquitto for one test, to be killed and restarted; holds some hundred messages a second."""
    broker = start_mosquitto(service_runner, f"mqtt-{unique}", every_change=True)
    yield broker
    service_runner.stop(broker.name, grace_s=2.0)


@pytest.fixture(scope="session")
def s3_server(service_runner: Runner) -> S3Address:
    """A real S3 server (SeaweedFS) shared by the session, with the bucket `headwater`."""
    demand(find_weed)
    service = SeaweedFs(credentials_of(service_runner.folder / "s3"))
    service_runner.start(service)
    keys = service.credentials
    return S3Address(f"http://{service_runner.address(service)}", keys.access_key, keys.secret_key, "headwater")


@pytest.fixture
def s3_reader(service_runner: Runner, s3: S3Address) -> S3Address:
    """The same as `s3`, with the credentials of a user who may only read."""
    keys = credentials_of(service_runner.folder / "s3", READER)
    return replace(s3, access_key=keys.access_key, secret_key=keys.secret_key)


@pytest.fixture
def s3(s3_server: S3Address, unique: str) -> S3Address:
    """Endpoint and keys of the real S3 server, with a fresh bucket of this test."""
    return _with_bucket(s3_server, unique)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Address]:
    """A fake S3 over HTTP, in this process and in memory."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - half a second, for the tests that ask

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Address(f"http://{host}:{port}", "moto", "moto-secret", "headwater")
    finally:
        server.stop()


@pytest.fixture
def moto(moto_server: S3Address, unique: str) -> S3Address:
    """Endpoint and keys of the fake S3 server, with a fresh bucket of this test."""
    return _with_bucket(moto_server, unique)


def _with_bucket(server: S3Address, bucket: str) -> S3Address:
    import boto3  # noqa: PLC0415 - half a second, for the tests that ask

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return replace(server, bucket=bucket)


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name for topics, buckets and client ids, of this test alone: 1 to 40 of a-z, 0-9 and hyphen."""
    digest = hashlib.sha256(f"{request.node.nodeid}{os.getpid()}".encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:31].strip("-")
    return f"{stem}-{digest}"
