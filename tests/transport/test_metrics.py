"""Where metrics can be read, and by whom."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from edge_agent.settings import EdgeSettings
from headwater.contract.errors import Permanent
from headwater.transport import metrics
from headwater.transport.objects.folder import FolderStore
from headwater.transport.registry.repository import init_repository
from tests.edge_agent.box import free_port

ELSEWHERE = "127.0.0.2"  # an address of this machine that nobody listens on who listens on 127.0.0.1
AWAY = "127.0.0.1:1"
PROCESSES = {
    "edge": (["-m", "edge_agent", "bridge"], {"EDGE__SITE": "lyon", "EDGE__KAFKA__BROKERS": AWAY}),
    "replicator": (
        ["-m", "headwater", "replicate", "run"],
        {
            "REPLICATOR__SITE": "lyon",
            "REPLICATOR__SOURCE__BROKERS": AWAY,
            "REPLICATOR__TARGET__BROKERS": AWAY,
        },
    ),
    "trainer": (
        ["-m", "headwater", "train", "serve"],
        {"TRAINER__KAFKA__BROKERS": AWAY},
    ),  # with a signed repository in its folder
}


def answers(address: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=5) as answer:
            return "python_info" in answer.read().decode()
    except urllib.error.URLError:
        return False


def test_only_this_machine_reads_them_unless_an_address_says_more() -> None:
    """Without an address they are on 127.0.0.1; with 0.0.0.0 on every address of this machine."""
    near, far = free_port(), free_port()
    metrics.serve(near)
    metrics.serve(far, "0.0.0.0")

    assert [answers("127.0.0.1", near), answers(ELSEWHERE, near)] == [True, False]
    assert [answers("127.0.0.1", far), answers(ELSEWHERE, far)] == [True, True]


def test_an_address_of_another_machine_is_refused() -> None:
    """The sentence names the address."""
    with pytest.raises(Permanent, match=r"cannot be served on 192\.0\.2\.1:"):
        metrics.serve(free_port(), "192.0.2.1")


@pytest.mark.parametrize("part", PROCESSES)
def test_each_part_serves_them_on_the_address_that_is_set(part: str, tmp_path: Path) -> None:
    """`metrics_address` of a part's section reaches the port that the part opens."""
    arguments, variables = PROCESSES[part]
    port = free_port()
    if part == "trainer":
        init_repository(FolderStore(tmp_path / "store" / "headwater"), tmp_path / "keys")
    given = variables | {f"{part.upper()}__METRICS_PORT": str(port), f"{part.upper()}__METRICS_ADDRESS": ELSEWHERE}
    environment = os.environ | {f"HEADWATER_{name}": value for name, value in given.items()}
    environment |= {"HEADWATER_HOME": str(tmp_path), "HEADWATER_TRAINER__OBJECTS__ENDPOINT": f"file://{tmp_path}/store"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while not answers(ELSEWHERE, port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, "no metrics"
            time.sleep(0.05)
        assert not answers("127.0.0.1", port)
    finally:
        process.kill()
        process.wait()


def test_what_is_set_for_the_box_holds_for_its_parts() -> None:
    """Scorer and updater serve on the address of the edge, unless they have their own."""
    edge = EdgeSettings.model_validate({"site": "lyon", "metrics_port": 9101, "metrics_address": "10.0.0.1"})
    own = EdgeSettings.model_validate(
        {"site": "lyon", "metrics_address": "10.0.0.1", "scorer": {"metrics_address": "10.0.0.2"}}
    )

    assert [edge.for_scorer.metrics_address, edge.for_updater.metrics_address] == ["10.0.0.1", "10.0.0.1"]
    assert [own.for_scorer.metrics_address, own.for_updater.metrics_address] == ["10.0.0.2", "10.0.0.1"]
