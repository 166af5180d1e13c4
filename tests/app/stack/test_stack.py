"""The local stack as a whole: quick, on remembered ports, and gone when told to go."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.app.stack import jars, process
from headwater.app.stack.java import find_java
from headwater.app.stack.kafka import KafkaTools
from headwater.app.stack.runner import Runner, plainly
from headwater.app.stack.stack import Stack
from headwater.app.stack.state import is_free
from headwater.contract.errors import BadInput, Conflict, HeadwaterError, Permanent, Refused

SOURCE = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path, kafka_tools: KafkaTools) -> Iterator[Path]:
    """A folder for a stack; whatever a test leaves running there is ended."""
    assert kafka_tools.class_path
    yield tmp_path / "stack"
    process.stop(tmp_path / "stack", grace_s=None)


def until(condition: Callable[[], bool], *, deadline_s: float = 30.0) -> None:
    """Wait for a condition; fails the test after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.02)


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One `headwater stack` command to its end."""
    return subprocess.run(command(home, *arguments), capture_output=True, text=True, timeout=120, check=False)


def command(home: Path, *arguments: str) -> list[str]:
    """The command line of `headwater stack` with this folder."""
    return [sys.executable, "-m", "headwater.app.cli", "stack", *arguments, "--home", str(home)]


def test_a_warm_stack_starts_within_seconds_on_the_ports_of_its_first_life(home: Path) -> None:
    """Three clusters, MQTT and S3: started again in seconds at the same addresses, and `down` leaves nothing."""
    stack = Stack(home)
    first = stack.up()
    assert {service.state for service in stack.status()} == {"running"}
    assert stack.down() == ["cloud", "lyon", "mqtt", "osaka", "s3"]
    assert process.marked(home) == {}

    began = time.monotonic()
    second = stack.up()
    took_s = time.monotonic() - began
    assert second == first
    # 2.2 s on two idle cores; a busy machine may take its share more.
    assert took_s < 10 * max(1.0, os.getloadavg()[0])
    assert stack.up() == first
    stack.down()
    assert {service.state for service in stack.status()} == {"stopped"}


def test_one_service_can_be_killed_and_started_alone(home: Path) -> None:
    """`kill` ends one service, the others go on, `start` brings it back on its port; `with` ends them all."""
    with Stack(home, ["lyon"]) as stack:
        pids = {service.name: service.pid for service in stack.status()}
        stack.kill("mqtt")
        states = {service.name: service.state for service in stack.status()}
        assert states == {"lyon": "running", "mqtt": "stopped", "s3": "running"}
        stack.start("mqtt")
        after = {service.name: service.pid for service in stack.status()}
        assert after["lyon"] == pids["lyon"]
        assert after["mqtt"] != pids["mqtt"]
        with stack.held("mqtt"):
            assert "not answering" in {service.state for service in stack.status() if service.name == "mqtt"}
        until(lambda: {service.state for service in stack.status()} == {"running"})
        with pytest.raises(BadInput, match="no service 'osaka'"):
            stack.kill("osaka")
        with pytest.raises(Refused, match="still run"):
            stack.forget_ports()
    assert process.marked(home) == {}


def test_only_marked_processes_are_ended(home: Path) -> None:
    """A bystander is never signalled, whatever its process id was before; a marked orphan is found and ended."""
    bystander = subprocess.Popen(["/bin/sleep", "300"], env={process.MARK: f"{home}-other:mqtt"})
    orphan = subprocess.Popen(
        ["/bin/sh", "-c", "/bin/sleep 300 & wait"], env={process.MARK: process.mark_of(home, "mqtt")}
    )
    until(lambda: len(process.marked(home)) == 2)
    process.send(bystander.pid, "mqtt", home, signal.SIGKILL)
    assert process.stop(home, grace_s=5) == ["mqtt"]
    assert process.marked(home) == {}
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    orphan.returncode = 0  # it was reaped by stop()


def test_what_ignores_a_polite_end_is_killed(home: Path) -> None:
    """A process that ignores SIGTERM is gone after the grace."""
    home.mkdir()
    argv = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do /bin/sleep 1; done"]
    process.spawn(argv, folder=home, service="deaf", log=home / "log", env={})
    until(lambda: (home / "log").read_text() == "ready\n")
    assert process.stop(home, grace_s=0.3) == ["deaf"]
    assert process.marked(home) == {}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing_running(home: Path, signum: signal.Signals) -> None:
    """Ctrl-C (or SIGTERM) while services start ends those that had started, without a traceback."""
    with subprocess.Popen(command(home, "up"), stderr=subprocess.PIPE, text=True) as starting:
        until(lambda: len(set(process.marked(home).values())) >= 4)
        starting.send_signal(signum)
        _, said = starting.communicate(timeout=60)
    assert starting.returncode != 0
    assert "Traceback" not in said
    assert process.marked(home) == {}


def test_a_killed_start_is_tidied_up_by_down(home: Path) -> None:
    """SIGKILL in the middle of `up` leaves processes that the next `down` finds."""
    with subprocess.Popen(command(home, "up"), stderr=subprocess.DEVNULL) as starting:
        until(lambda: len(set(process.marked(home).values())) >= 3)
        starting.kill()
    assert process.marked(home) != {}
    assert Stack(home).down()
    assert process.marked(home) == {}


def test_a_taken_port_is_said_in_a_sentence(home: Path) -> None:
    """The message names the port and the service, the hint the way out; nothing else is left running."""
    ports = Runner(home).ledger.ports("mqtt", ("client",))
    with socket.create_server(("127.0.0.1", ports["client"])):
        done = run(home, "up", "--clusters", "lyon")
    assert done.returncode == Conflict.exit_code
    assert f"port {ports['client']} on 127.0.0.1, which MQTT broker mqtt uses, is taken" in done.stderr
    assert "--new-ports" in done.stderr
    assert "Traceback" not in done.stderr
    assert process.marked(home) == {}


def test_a_missing_program_is_said_in_a_sentence(home: Path, tmp_path: Path) -> None:
    """No Java, or one that is not Java: which program, and what to install."""
    with pytest.raises(BadInput, match="no Java runtime was found") as caught:
        find_java(str(tmp_path / "java"))
    assert "pip install" in caught.value.hint
    with pytest.raises(BadInput, match="is Java "):
        find_java("/bin/true")
    with pytest.raises(BadInput, match="names /nowhere, which is not a program"):
        Stack(home, ["lyon"], mosquitto="/nowhere").up()
    assert process.marked(home) == {}


def test_a_service_that_ends_at_once_shows_the_end_of_its_log(home: Path, tmp_path: Path) -> None:
    """A broker that cannot start is reported with what it said, not with a silent deadline."""
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho this broker has a cold; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(HeadwaterError, match=r"status 1 while it started(.|\n)*this broker has a cold") as caught:
        Stack(home, [], mosquitto=str(program)).up()
    assert "mqtt.log" in caught.value.hint
    assert process.marked(home) == {}


@pytest.mark.parametrize(
    ("script", "how"), [("exit 3", "ended with exit status 3"), ("kill -9 $$", "was ended by signal 9")]
)
def test_a_service_that_ends_without_a_word_is_named_with_its_exit_status(
    home: Path, tmp_path: Path, script: str, how: str
) -> None:
    """Nobody is sent to an empty log: the program and how it ended are all that can be said."""
    program = tmp_path / "mosquitto"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(HeadwaterError, match=how) as caught:
        Stack(home, [], mosquitto=str(program)).up()
    assert str(program) in str(caught.value)
    assert str(program) in caught.value.hint
    assert "log" not in caught.value.hint


def test_a_full_disk_and_a_foreign_folder_are_said_in_a_sentence(tmp_path: Path) -> None:
    """What the file system refuses becomes one sentence with what to do."""
    with pytest.raises(Permanent, match="is full"), plainly(tmp_path):
        raise OSError(28, os.strerror(28), str(tmp_path))
    with pytest.raises(BadInput, match="Not a directory") as caught:
        Runner(Path("/dev/null/stack"))
    assert "HEADWATER_HOME" in caught.value.hint


def test_a_broken_state_file_is_refused_by_name(home: Path) -> None:
    """A state file that is not one is named, and not overwritten."""
    home.mkdir()
    (home / "state.json").write_text('{"ports": 7}')
    with pytest.raises(BadInput, match=r"state\.json is not a stack's state file"):
        Stack(home)
    assert (home / "state.json").read_text() == '{"ports": 7}'


def test_commands_speak_json(home: Path) -> None:
    """`up`, `status` and `down` print one object each on standard output; the secret key is in none."""
    up = json.loads(run(home, "up", "--clusters", "lyon", "--json").stdout)
    secret = json.loads(Path(up["s3"]["credentials_file"]).read_text())["identities"][0]["credentials"][0]["secretKey"]
    status = run(home, "status", "--json").stdout
    down = json.loads(run(home, "down", "--json").stdout)
    assert list(up["clusters"]) == ["lyon"]
    assert {service["state"] for service in json.loads(status)["services"]} == {"running"}
    assert down == {"stopped": ["lyon", "mqtt", "s3"]}
    assert secret not in json.dumps(up) + status
    assert is_free(up["mqtt"]["port"])


def test_the_shipped_list_of_jars_is_the_lock() -> None:
    """What an installed package fetches is what lock/kafka-jars.txt says."""
    shipped = SOURCE / "headwater/app/stack/kafka-jars.txt"
    assert shipped.read_bytes() == (SOURCE / "lock/kafka-jars.txt").read_bytes()
    assert {jar.version for jar in jars.locked_jars() if jar.artefact.startswith("kafka")} == {jars.KAFKA_VERSION}


def test_a_damaged_jar_is_fetched_again(tmp_path: Path, kafka_tools: KafkaTools) -> None:
    """A jar whose bytes are not those of the lock never reaches the class path."""
    small = min(jars.locked_jars(), key=lambda jar: jar.size_bytes)
    for jar in jars.locked_jars():
        there = jar.path(tmp_path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(jar.path(kafka_tools.repository))
    damaged = small.path(tmp_path)
    damaged.unlink()
    damaged.write_bytes(b"not a jar")
    said: list[str] = []
    assert str(damaged) in jars.class_path(tmp_path, said.append)
    assert damaged.stat().st_size == small.size_bytes
    assert "1 jar" in said[0]
