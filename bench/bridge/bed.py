"""What every system runs between: one Mosquitto and one Kafka on free ports, in a folder that goes at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bridge.log import Log
from headwater.app.stack import process
from headwater.app.stack.kafka import KafkaService
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.mqtt import Mosquitto, find_mosquitto
from headwater.app.stack.runner import Command, Runner
from headwater.contract.errors import BadInput, Unreachable

MAX_INFLIGHT = 1000
_PREFIX = "headwater-bench-"
_MARK = "BENCH_BRIDGE_FOLDER"
_ROOT = Path(__file__).resolve().parents[2]
_STOP_S = 20.0
# Sessions and queues stay in memory: saving them would be measured too, and at random.
_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
persistence false
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages {inflight}
log_dest stderr
user root
"""


class _Broker(Mosquitto):
    """Mosquitto that queues without a bound and saves nothing."""

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        path = folder / "mosquitto.conf"
        path.write_text(_MOSQUITTO.format(port=ports["client"], inflight=MAX_INFLIGHT))
        return Command([str(self.program), "-c", str(path)])


@dataclass
class Bed:
    """Services and folder of one benchmark."""

    folder: Path
    mqtt_port: int
    brokers: str
    log: Log
    programs: dict[str, str]
    _sites: int = 0

    def fresh_site(self) -> str:
        """A site name that no run before has used."""
        self._sites += 1
        return f"bench{self._sites:03d}"

    def publish(self, site: str, first: int, count: int, rate: float = 0.0) -> Sent:
        """Publish, see load.py, until the MQTT broker has acknowledged all."""
        return Sent(**self.ask("bench.bridge.load", site, first, count, rate))

    def ask(self, module: str, *arguments: object) -> dict[str, Any]:
        """Run one of our modules with the broker's port and `arguments` to its end; the JSON that it prints."""
        argv = [sys.executable, "-m", module, str(self.mqtt_port), *map(str, arguments)]
        program = subprocess.Popen(argv, env=self.environment({}), stdout=subprocess.PIPE, text=True)
        try:
            said, _ = program.communicate()
        finally:
            _end(program)
        if program.returncode:
            raise Unreachable(f"{module} failed; its own words are above")
        answer: dict[str, Any] = json.loads(said)
        return answer

    @contextmanager
    def running(self, argv: Sequence[str], env: Mapping[str, str], folder: Path, name: str) -> Iterator[int]:
        """Run a program and end it in order; raises Unreachable with the end of its output where it ended itself."""
        output = self.folder / f"{name}.log"
        with output.open("wb") as file:
            program = subprocess.Popen(
                argv, env=self.environment(env), cwd=folder, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            yield program.pid
            if program.poll() is not None:
                raise Unreachable(f"{name} ended by itself:\n" + output.read_text(errors="replace")[-2000:])
        finally:
            _end(program)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The caller's environment without Headwater's settings, the checkout importable, a mark for `_clear`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        return {**kept, "PYTHONPATH": str(_ROOT), _MARK: str(self.folder), **more}


@dataclass(frozen=True)
class Sent:
    """Readings that the MQTT broker has taken, and between which instants of Unix time they were sent."""

    count: int
    digest: int
    first_s: float
    last_s: float


@contextmanager
def open_bed(topics: list[str], progress: Callable[[str], None]) -> Iterator[Bed]:
    """Start both services; stop them, and whatever runs between them, at the end. BadInput without Mosquitto."""
    _sweep()
    program = find_mosquitto()
    if program is None:
        raise BadInput("mosquitto is not installed", hint="install the mosquitto package of your distribution")
    tools = prepare_kafka(progress)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    runner = Runner(folder)
    try:
        kafka, mosquitto = KafkaService("kafka", lambda: tools), _Broker(program)
        runner.start(kafka)
        runner.start(mosquitto)
        log = Log(runner.address(kafka), topics)
        try:
            programs = {"kafka": runner.address(kafka), "mqtt": mosquitto.version}
            yield Bed(folder, runner.ports(mosquitto)["client"], runner.address(kafka), log, programs)
        finally:
            log.close()
    finally:
        _clear(folder)


def _clear(folder: Path) -> None:
    mark = f"{_MARK}={folder}".encode()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
    process.stop(folder, grace_s=5.0)
    shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """End what a killed benchmark left behind: its folder names the process that owned it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            _clear(folder)


def _end(program: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    if program.poll() is None:
        program.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if program.poll() is None:
        program.kill()
    program.wait()
