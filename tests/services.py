"""Real services for the tests: started at the first test that asks, stopped when the session ends.

A missing program skips the test on a developer's machine and fails it where `CI` is set.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from headwater.app.stack import process
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.runner import Runner
from headwater.contract.errors import HeadwaterError

_T = TypeVar("_T")
_PREFIX = "headwater-test-"


def demand(get: Callable[[], _T]) -> _T:
    """What `get` returns; when it says that a program is missing: skip here, fail in CI."""
    try:
        return get()
    except HeadwaterError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI demands every real service: {error}")
        pytest.skip(f"{error} ({error.hint})")


@dataclass
class Broker:
    """One Kafka cluster of the session; `bootstrap` is its address. Kill and start it at will, but leave it running."""

    name: str
    bootstrap: str
    runner: Runner = field(repr=False)
    service: KafkaService = field(repr=False)

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone."""
        self.runner.kill(self.name)

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


def start_kafka(runner: Runner, tools: KafkaTools, name: str) -> Broker:
    """Start a cluster in the runner's folder."""
    service = KafkaService(name, tools)
    runner.start(service)
    return Broker(name, runner.address(service), runner, service)


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name for topics, buckets and client ids, of this test alone: 1 to 40 of a-z, 0-9 and hyphen."""
    digest = hashlib.sha256(f"{request.node.nodeid}{os.getpid()}".encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:31].strip("-")
    return f"{stem}-{digest}"
