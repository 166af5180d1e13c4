"""Another table of routes without a restart: SIGHUP makes the bridge read its settings again.

Settings that are wrong are refused in words, and the life that is running goes on. Good ones end it in order, and the
next life begins in the same process: it fences, reads the tails and takes the MQTT session over, as after any restart.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge_agent.bridge.route_settings import topics_of
from edge_agent.bridge.routes import check, shadowed
from edge_agent.bridge.schemas import from_files
from headwater.contract.errors import BadInput, BadSetting, HeadwaterError, Permanent, Refused, Unreachable
from headwater.transport import settings as sources
from headwater.transport.files import replace_durably
from headwater.transport.kafka_batch.cluster import Cluster

if TYPE_CHECKING:
    from edge_agent.settings import EdgeSettings

READY = "bridge.ready"  # process id of a bridge that is subscribed, as JSON
ANSWER = "bridge.reload"  # what became of the last reload, as JSON: at_ms, done, says
_LOOK_S = 0.05

_log = structlog.get_logger(__name__)


class Reloads:
    """The requests of one process, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.cluster: Cluster | None = None  # of the life that is running, once Kafka has answered
        self._folder = folder
        self._asked = asyncio.Event()
        self._answer_is_due = False
        self._notes = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGHUP as a request."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    async def next(self, current: EdgeSettings) -> EdgeSettings:
        """Wait for settings that the process can go on with; others are refused meanwhile."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                found = read_again(current)
                await self._check_topics(found)
            except HeadwaterError as error:
                self._answer(False, f"{error}; the former settings go on" + (f" ({error.hint})" if error.hint else ""))
                continue
            self._answer_is_due = True
            self._notes = "".join(f"; {each}" for each in shadowed(found.bridge.routes, found.site))
            _log.info("settings read again", routes=[route.match for route in found.bridge.routes])
            return found

    def begun(self) -> None:
        """A life is subscribed: if it began with a reload, that is done."""
        if self._answer_is_due:
            self._answer_is_due = False
            self._answer(True, f"the bridge goes on with the new settings{self._notes}")

    async def _check_topics(self, found: EdgeSettings) -> None:
        if self.cluster is None:
            return
        for topic in topics_of(found.bridge.routes):
            try:
                await self.cluster.partitions(topic)
            except BadInput as error:
                hint = "`headwater edge setup` creates it; then reload again"
                raise BadSetting(f"the Kafka topic {topic} does not exist", hint=hint) from error

    def _answer(self, done: bool, says: str) -> None:
        say = _log.info if done else _log.error
        say("reload" if done else "reload refused", says=says)
        try:
            replace_durably(
                self._folder / ANSWER,
                json.dumps(
                    {"at_ms": time.time_ns() // 1_000_000, "pid": os.getpid(), "done": done, "says": says}
                ).encode(),
            )
        except Permanent as error:  # it only tells
            _log.warning("what became of the reload cannot be written down", why=str(error), hint=error.hint)


def read_again(current: EdgeSettings) -> EdgeSettings:
    """The settings as they are now; BadSetting when they are wrong, or differ in what a reload cannot change."""
    found = sources.load("edge", type(current))
    for name in ("site", "state_dir", "kafka", "metrics_port", "metrics_address"):
        if getattr(found, name) != getattr(current, name):
            raise _restart(name)
    for name in ("host", "port", "client_id", "share_group"):
        if getattr(found.mqtt, name) != getattr(current.mqtt, name):
            raise _restart(f"mqtt.{name}")
    if found.bridge.ack_after != current.bridge.ack_after:
        raise _restart("bridge.ack_after")
    check(found.bridge.routes, found.site, from_files(found.bridge.schemas))
    return found


def demand(folder: Path, site: str, wait_s: float) -> str:
    """Signal the bridge of a site from outside; what it says once it goes on with its settings.

    Unreachable: there is no bridge, or it does not answer. Refused: the settings are wrong; the former ones go on.
    """
    pid = _bridge_of(folder)
    if pid is None:
        raise Unreachable(f"no bridge of {site} is subscribed on this box", hint="start it with `headwater edge run`")
    asked_ms = time.time_ns() // 1_000_000
    os.kill(pid, signal.SIGHUP)
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        with suppress(OSError, ValueError):
            answer = json.loads((folder / ANSWER).read_bytes())
            if answer["pid"] == pid and answer["at_ms"] >= asked_ms:
                if answer["done"]:
                    return str(answer["says"])
                raise Refused(str(answer["says"]))
        time.sleep(_LOOK_S)
    raise Unreachable(f"the bridge of {site} (process {pid}) has not answered in {wait_s:g} s", hint="see its log")


def _bridge_of(folder: Path) -> int | None:
    """Process id of the bridge that says it is ready; None where that number is another process by now."""
    try:
        pid = int(json.loads((folder / READY).read_bytes())["pid"])
        words = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if b"bridge" in words else None


def _restart(name: str) -> BadSetting:
    return BadSetting(f"the setting edge.{name} cannot be changed by a reload", hint="restart the bridge")
