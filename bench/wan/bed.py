"""Two real clusters; the target has more doors, each of which leads through an emulated link of its own."""

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
_RUNS = 1000  # more names than one link needs


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
    with open_wans(progress, 1) as (wan,):
        yield wan


@contextmanager
def open_wans(progress: Callable[[str], None], number: int) -> Iterator[list[Wan]]:
    """As `open_wan`, with so many links between the same two clusters."""
    tools = prepare_kafka(progress)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    runner = Runner(folder)
    names = [f"road{each}" for each in range(number)]
    far = {name: _free_port() for name in names}
    try:
        source = KafkaService("edge", lambda: tools, options=_JVM)
        target = Extended(KafkaService("cloud", lambda: tools, options=_JVM), _doors(far), tuple(names))
        runner.start(source)
        runner.start(target)
        ports, none = runner.ports(target), Path()
        direct, edge = Ends(f"127.0.0.1:{ports['client']}", "", none), Ends(runner.address(source), "", none)
        yield [
            Wan(
                Bed(folder, tools, edge, Ends(f"127.0.0.1:{far[name]}", "", none), runs=_RUNS * (n + 1)),
                direct,
                far[name],
                f"127.0.0.1:{ports[name]}",
            )
            for n, name in enumerate(names)
        ]
    finally:
        process.stop(folder, grace_s=5.0)
        shutil.rmtree(folder, ignore_errors=True)


def _doors(far: dict[str, int]) -> str:
    """Listeners of the target: what is said to those who come by a link leads them back to it."""
    local = "PLAINTEXT://127.0.0.1:{client}"
    doors = [f"{name.upper()}://127.0.0.1:{{{name}}}" for name in far]
    said = [f"{name.upper()}://127.0.0.1:{port}" for name, port in far.items()]
    plain = ["PLAINTEXT", "CONTROLLER", *(name.upper() for name in far)]
    return (
        f"listeners={','.join([local, 'CONTROLLER://127.0.0.1:{controller}', *doors])}\n"
        f"advertised.listeners={','.join([local, *said])}\n"
        f"listener.security.protocol.map={','.join(f'{name}:PLAINTEXT' for name in plain)}\n"
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
