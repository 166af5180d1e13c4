"""The MQTT broker: Mosquitto where it is installed, else amqtt, which forgets what an absent client is owed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater.app.stack.runner import Command
from headwater.contract.errors import BadInput

_HINT = "install the mosquitto package of your distribution, or: pip install 'headwater[stack]'"
_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
persistence true
persistence_location {data}/
# Its default saves every 30 minutes. Here: every second, or (before it is killed on purpose) at every change.
autosave_on_changes {every_change}
autosave_interval 1
# No bound on what an absent session is owed, nor on what is under way to one client.
max_queued_messages 0
max_inflight_messages 0
log_dest stderr
"""
# CONNECT as MQTT 3.1.1, clean session, keep-alive 5 s, client id `hw-ready` (MQTT 3.1.1, 3.1); then DISCONNECT.
_CONNECT = b"\x10\x14\x00\x04MQTT\x04\x02\x00\x05\x00\x08hw-ready"
_DISCONNECT = b"\xe0\x00"


def find_mosquitto(wanted: str | None = None) -> Path | None:
    """Full path of Mosquitto, or None. `wanted` (by default `$HEADWATER_MOSQUITTO`) names it; "" pretends it absent.

    Debian installs it in /usr/sbin, which is not on every user's PATH.
    """
    wanted = os.environ.get("HEADWATER_MOSQUITTO") if wanted is None else wanted
    if wanted == "":
        return None
    found = shutil.which(wanted or "mosquitto")
    if found is None and wanted:
        raise BadInput(f"HEADWATER_MOSQUITTO names {wanted}, which is not a program", hint="unset it, or set its path")
    found = found or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """Eclipse Mosquitto, saving every second what persistent sessions are owed.

    With `every_change` it saves its whole store before it turns to the next packets, which holds it to some hundred
    messages a second, and fewer the more an absent session is owed. It acknowledges first and saves then: SIGKILL
    between the two loses what was acknowledged last, unless it has answered somebody since (`answers`).
    """

    program: Path
    name: str = "mqtt"
    kind: str = "MQTT broker"
    port_names: tuple[str, ...] = ("client",)
    persistent_sessions: bool = True
    every_change: bool = False

    @property
    def version(self) -> str:
        """For people: `Mosquitto 2.0.11`."""
        try:
            said = subprocess.run([self.program, "-h"], capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise BadInput(f"{self.program} cannot be run: {exc}", hint=_HINT) from exc
        match = re.search(r"version (\S+)", said)
        return f"Mosquitto {match[1]}" if match else "Mosquitto"

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """Write `mosquitto.conf`."""
        data = folder / "data"
        data.mkdir(exist_ok=True)
        every_change = str(self.every_change).lower()
        text = _CONFIGURATION.format(port=ports["client"], data=data, every_change=every_change)
        if os.geteuid() == 0:
            text += "user root\n"  # else it becomes another user, who cannot write here
        (folder / "mosquitto.conf").write_text(text)
        return Command([str(self.program), "-c", str(folder / "mosquitto.conf")])

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it accepts a connection of the protocol."""
        return _accepts(ports["client"])


@dataclass(frozen=True, slots=True)
class Amqtt:
    """amqtt in a process of its own; the queue of an absent persistent session does not survive (nor fill)."""

    name: str = "mqtt"
    kind: str = "MQTT broker"
    port_names: tuple[str, ...] = ("client",)
    persistent_sessions: bool = False

    @property
    def version(self) -> str:
        """For people: `amqtt 0.12.1 (no persistent sessions)`."""
        try:
            return f"amqtt {importlib.metadata.version('amqtt')} (no persistent sessions)"
        except importlib.metadata.PackageNotFoundError as exc:
            raise BadInput("no MQTT broker is installed, neither mosquitto nor amqtt", hint=_HINT) from exc

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """Nothing to write: it keeps nothing."""
        del folder
        _ = self.version
        return Command([sys.executable, "-m", "headwater.app.stack.amqtt_server", str(ports["client"])])

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it accepts a connection of the protocol."""
        return _accepts(ports["client"])


def mqtt_service(mosquitto: str | None = None, *, name: str = "mqtt", every_change: bool = False) -> Mosquitto | Amqtt:
    """The best broker of this machine; for `mosquitto` see `find_mosquitto`, for `every_change` see `Mosquitto`."""
    program = find_mosquitto(mosquitto)
    return Mosquitto(program, name=name, every_change=every_change) if program else Amqtt(name=name)


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.settimeout(2)
        connection.sendall(_CONNECT)
        answer = connection.recv(4)
        connection.sendall(_DISCONNECT)
        return answer == b"\x20\x02\x00\x00"  # CONNACK, accepted
