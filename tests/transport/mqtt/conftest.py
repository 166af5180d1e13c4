"""Mosquittos with configurations of their own, and certificates for them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.app.stack.mqtt import find_mosquitto
from tests.transport.mqtt.certificates import Authority, Certificate

Started = Callable[[str], int]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int) -> None:
    """Until somebody listens there."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def start_mosquitto(folder: Path, lines: str, port: int) -> subprocess.Popen[bytes]:
    """A Mosquitto with these lines and a listener on `port`, which answers."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    user = "user root\n" if os.geteuid() == 0 else ""
    configuration = folder / f"{port}.conf"
    configuration.write_text(f"{user}max_queued_messages 0\nmax_inflight_messages 0\n{lines}\n")
    process = subprocess.Popen(
        [program, "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Started]:
    """Starts a Mosquitto with lines of its own behind its listener; its port."""
    running = []

    def start(lines: str) -> int:
        port = free_port()
        running.append(start_mosquitto(tmp_path, f"listener {port} 127.0.0.1\n{lines}", port))
        return port

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that brokers and clients of this session trust."""
    return Authority(tmp_path_factory.mktemp("certificates"), "right")


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> Certificate:
    """Of the broker."""
    return authority.issue("server")


@pytest.fixture(scope="session")
def client_certificate(authority: Authority) -> Certificate:
    """Of the client."""
    return authority.issue("client")
