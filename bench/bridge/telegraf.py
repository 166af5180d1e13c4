"""Telegraf, built from its Go module with nothing in it but MQTT input and Kafka output (go/main.go)."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.bridge import wire
from bench.bridge.bed import MAX_INFLIGHT, Bed
from bench.bridge.systems import TELEGRAF_TOPIC, Start
from headwater.app.stack.kafka_tools import cache_folder
from headwater.contract.errors import BadInput

VERSION = "1.37.2"
_SOURCES = Path(__file__).parent / "go"
_USUAL = "/usr/local/go/bin"
_BUILD_TIMEOUT_S = 900.0
# Batches as small and flushes as frequent as its low latency needs; it acknowledges after delivery.
_CONFIGURATION = """\
[agent]
  interval = "10s"
  metric_batch_size = 500
  metric_buffer_limit = 100000
  flush_interval = "50ms"
  flush_jitter = "0s"
  omit_hostname = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{port}"]
  topics = ["{site}/#"]
  qos = 1
  max_undelivered_messages = {inflight}
  persistent_session = true
  client_id = "{client_id}"
  data_format = "value"
  data_type = "string"
[[outputs.kafka]]
  brokers = ["{brokers}"]
  topic = "{topic}"
  routing_tag = "topic"
  required_acks = -1
  data_format = "template"
  template = '{{{{ .Field "value" }}}}'
"""


@dataclass(frozen=True)
class Telegraf:
    """At-least-once; MQTT 3.1.1, its default."""

    program: Path
    name: str = "telegraf"
    topic: str = TELEGRAF_TOPIC
    protocol: wire.Protocol = "3.1.1"
    exactly_once: bool = False

    def client_id(self, site: str) -> str:
        """The session that it takes up."""
        return f"telegraf-{site}"

    def start(self, bed: Bed, site: str, folder: Path) -> Start:
        """Write its configuration; how to run it."""
        text = _CONFIGURATION.format(
            port=bed.mqtt_port,
            site=site,
            inflight=MAX_INFLIGHT,
            client_id=self.client_id(site),
            brokers=bed.brokers,
            topic=self.topic,
        )
        path = folder / "telegraf.conf"
        path.write_text(text)
        return Start([str(self.program), str(path)])


def build(progress: Callable[[str], None], go: str | None = None) -> Telegraf:
    """The program from the user's cache, built once (a minute). BadInput where Go or its modules cannot be had.

    `go` names the Go program, by default the one on PATH or in its usual folder; "" pretends that there is none.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_SOURCES.iterdir()))).hexdigest()[:12]
    program = cache_folder() / "telegraf" / f"{VERSION}-{digest}"
    if program.exists():
        return Telegraf(program)
    found = go if go is not None else shutil.which("go") or shutil.which("go", path=_USUAL)
    if not found:
        raise BadInput("Go is not installed, so Telegraf cannot be built")
    progress(f"building Telegraf {VERSION} from its Go module, once for this user (a minute or more)")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        for path in _SOURCES.iterdir():
            shutil.copy(path, folder)
        _run_go([found, "build", "-trimpath", "-ldflags=-s -w", "-o", "telegraf", "."], folder)
        Path(folder, "telegraf").replace(program)
    return Telegraf(program)


def _run_go(argv: list[str], folder: str) -> None:
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT_S,
            check=False,
            env={**os.environ, "GOFLAGS": "", "GOWORK": "off"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"Telegraf cannot be built: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise BadInput(f"Telegraf cannot be built: {last}")
