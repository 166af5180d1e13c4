"""The whole box by its commands: `headwater edge ...`, on real Kafka and a real Mosquitto."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from headwater.contract import reading
from headwater.contract.topics import edge_topics
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.objects import FolderStore
from headwater.transport.registry.repository import init_repository
from tests.edge_agent.box import Edge, wait_for
from tests.edge_agent.scorer.models import CHANNELS, desire, make, place
from tests.services import Broker, Mqtt

MOST_MIB = 220


def headwater(edge: Edge, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "edge", *arguments],
        env=kept | edge.environment,
        cwd=edge.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def edge(kafka: str, mosquitto: Mqtt, unique: str, tmp_path: Path) -> Edge:
    """A site on the shared brokers, with its topics."""
    ensure_topics(KafkaSettings(brokers=kafka), edge_topics())
    return Edge(unique, tmp_path, kafka, mosquitto.port)


@pytest.fixture
def box(
    private_kafka: Broker, mosquitto: Mqtt, unique: str, tmp_path: Path
) -> Iterator[tuple[Edge, subprocess.Popen[bytes]]]:
    """`headwater edge run` on a cluster without topics."""
    edge = Edge(unique, tmp_path, private_kafka.bootstrap, mosquitto.port)
    edge.environment["HEADWATER_EDGE__SCORER__STATUS_INTERVAL_S"] = "0.5"
    init_repository(FolderStore(tmp_path / "store/headwater"), tmp_path / "keys")
    edge.environment["HEADWATER_EDGE__UPDATER__ROOT_FILE"] = str(tmp_path / "keys/root.json")
    edge.environment["HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT"] = f"file://{tmp_path / 'store'}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    with (tmp_path / "run.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "headwater", "edge", "run"], env=kept | edge.environment, stderr=log, cwd=tmp_path
        )
    yield edge, process
    process.kill()
    process.wait()


def status(edge: Edge) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(headwater(edge, "status", "--json"))
    return found


def test_a_box_runs_and_heals_and_stops(box: tuple[Edge, subprocess.Popen[bytes]]) -> None:
    """It makes its topics, survives the death of its bridge, stays small, says how it is, and stops with 0."""
    edge, process = box

    def said() -> str:
        return (edge.folder / "run.log").read_text()[-3000:]

    wait_for(edge.ready_file.exists, said, 40)
    wait_for(lambda: status(edge)["status"], said)
    first = status(edge)["bridge_pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: status(edge)["bridge_pid"] not in (None, first), said)

    assert "does not work" not in headwater(edge, "status", "--check")
    process.terminate()
    assert process.wait(20) == 0
    assert "is not subscribed" in headwater(edge, "status", "--check", code=5)


async def test_a_box_stays_small_after_a_swap(box: tuple[Edge, subprocess.Popen[bytes]], mosquitto: Mqtt) -> None:
    """All processes of an edge together, with readings flowing and a second model in charge."""
    edge, process = box
    state = edge.ready_file.parent
    wait_for(edge.ready_file.exists, lambda: "the bridge is not ready", 40)
    async with Publisher(MqttSettings(port=mosquitto.port), f"pub-{edge.site}") as machine:
        for version in (1, 2):
            desire(state, place(state, *make(version)), generation=version)
            for second in range(100):
                values = dict.fromkeys(CHANNELS, 0.5)
                await machine.publish(f"{edge.site}/pump/p1", reading.encode(1000 * (100 * version + second), values))
            await machine.flush()
            wait_for(lambda: in_charge(edge) == version, lambda: status_text(edge), 30)  # noqa: B023  called in this turn

    used = memory_mib(process.pid)
    assert 50 < used < MOST_MIB


def in_charge(edge: Edge) -> int | None:
    """Version that judges pumps."""
    found = (status(edge)["status"] or {}).get("active", {}).get("pump")
    return None if found is None else int(found["version"])


def status_text(edge: Edge) -> str:
    return headwater(edge, "status")


def memory_mib(pid: int) -> float:
    """Proportional memory of a process and its children."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    lines = [line for each in family for line in Path(f"/proc/{each.pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def test_help_is_there_at_once(edge: Edge) -> None:
    """An edge box never loads what only other parts need: numpy, boto3, librdkafka, rich."""
    began = time.monotonic()
    text = headwater(edge, "--help")
    assert time.monotonic() - began < 5  # 0.2 s on an idle machine
    assert "Example:" in text
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, edge_agent.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"numpy", "boto3", "confluent_kafka", "rich", "pydantic"} & set(loaded.stdout.split())


def test_the_bridge_loads_only_what_it_needs() -> None:
    """Memory on an edge box is dear."""
    loaded = loaded_by("edge_agent.settings, edge_agent.bridge.process")
    assert not {"numpy", "boto3", "confluent_kafka", "tuf", "typer"} & loaded


def loaded_by(modules: str) -> set[str]:
    """Names of everything that importing these modules loads."""
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_setup_can_be_tried_dry(edge: Edge) -> None:
    """`--dry-run` names the topics that are missing, all where Kafka is away, and touches nothing."""
    told = json.loads(headwater(edge, "setup", "--dry-run", "--json"))
    assert "readings" not in [topic["name"] for topic in told["topics"]]
    route = {"match": "{site}/x/{asset}", "asset_class": "x", "to": f"x-{edge.site}"}
    edge.environment["HEADWATER_EDGE__BRIDGE__ROUTES"] = json.dumps([{}, route])
    assert headwater(edge, "setup", "--dry-run").startswith(f"x-{edge.site}: 4 partitions")
    edge.environment["HEADWATER_EDGE__KAFKA__BROKERS"] = "127.0.0.1:1"
    assert 'readings: 4 partitions, cleanup.policy = "delete"' in headwater(edge, "setup", "--dry-run")
    told = json.loads(headwater(edge, "setup", "--dry-run", "--json"))
    assert (told["done"], told["created"], told["topics"][0]["name"]) == (False, [], "readings")


def test_topics_that_do_not_fit_are_refused(edge: Edge) -> None:
    """A topic with another number of partitions is never changed, and not waited for."""
    edge.environment["HEADWATER_EDGE__PARTITIONS"] = "3"
    said = headwater(edge, "setup", code=2)
    assert "has 4 partitions, expected 3" in said
    assert "hint:" in said
