"""Two real clusters; the target has one more door, which leads through an emulated link."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.brokers import Extended
from bench.replicator.clusters import Bed, Ends
from headwater.app.stack import process
from headwater.app.stack.kafka import KafkaService
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.runner import Runner

_PREFIX = "headwater-wan-"
_JVM = ("-Xmx512m", "-Xms256m", "-XX:TieredStopAtLevel=4")
_DOORS = """\
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller},ROAD://127.0.0.1:{road}
advertised.listeners=PLAINTEXT://127.0.0.1:{client},ROAD://127.0.0.1:{far}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,ROAD:PLAINTEXT
"""


@dataclass
class Wan:
    """`bed` as systems see it, with the target behind the link; `target` is that one directly.

    The link listens on `port` and leads to `door`.
    """

    bed: Bed
    target: Ends
    port: int
    door: str


@contextmanager
def open_wan(progress: Callable[[str], None]) -> Iterator[Wan]:
    """Start both clusters; stop them at the end."""
    tools = prepare_kafka(progress)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    runner = Runner(folder)
    far = _free_port()
    try:
        source = KafkaService("edge", lambda: tools, options=_JVM)
        doors = _DOORS.replace("{far}", str(far))
        target = Extended(KafkaService("cloud", lambda: tools, options=_JVM), doors, ("road",))
        runner.start(source)
        runner.start(target)
        ports, none = runner.ports(target), Path()
        direct = Ends(f"127.0.0.1:{ports['client']}", "", none)
        bed = Bed(folder, tools, Ends(runner.address(source), "", none), Ends(f"127.0.0.1:{far}", "", none))
        yield Wan(bed, direct, far, f"127.0.0.1:{ports['road']}")
    finally:
        process.stop(folder, grace_s=5.0)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
