"""The systems that are compared: how each is started, and what it promises."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.bridge import wire
from bench.bridge.bed import Bed
from headwater.contract.topics import CLOCKS, DEAD_LETTERS, READINGS, SESSION_GAPS

TELEGRAF_TOPIC = "telegraf"


@dataclass(frozen=True)
class Start:
    """A command line and what it needs around it."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class System(Protocol):
    """One bridge under test."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    @property
    def topic(self) -> str:
        """The Kafka topic that it writes."""

    @property
    def protocol(self) -> wire.Protocol:
        """The version of MQTT that it speaks."""

    @property
    def exactly_once(self) -> bool:
        """Whether a duplicate is a fault."""

    def client_id(self, site: str) -> str:
        """The session that it takes up."""

    def start(self, bed: Bed, site: str, folder: Path) -> Start:
        """How to run it for the topics of `site`, its files in `folder`."""


@dataclass(frozen=True)
class Ours:
    """The process that `headwater edge run` starts, by its defaults. `profile`: file for cProfile's statistics."""

    name: str = "headwater"
    topic: str = READINGS
    protocol: wire.Protocol = "5"
    exactly_once: bool = True
    profile: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def client_id(self, site: str) -> str:
        """The session that it takes up."""
        return f"bench-{site}"

    def start(self, bed: Bed, site: str, folder: Path) -> Start:
        """How to run it."""
        profiler = ["-m", "cProfile", "-o", str(self.profile)] if self.profile else []
        env = {
            "HEADWATER_HOME": str(folder),
            "HEADWATER_EDGE__SITE": site,
            "HEADWATER_EDGE__KAFKA__BROKERS": bed.brokers,
            "HEADWATER_EDGE__MQTT__PORT": str(bed.mqtt_port),
            "HEADWATER_EDGE__MQTT__CLIENT_ID": self.client_id(site),
        }
        return Start([sys.executable, *profiler, "-m", "edge_agent", "bridge"], {**self.settings, **env})


@dataclass(frozen=True)
class Stock:
    """paho-mqtt and confluent-kafka in a careful script, see stock.py. `drop`: a reading to lose on purpose."""

    name: str = "stock"
    topic: str = "stock"
    protocol: wire.Protocol = "5"
    exactly_once: bool = False
    drop: int | None = None

    def client_id(self, site: str) -> str:
        """The session that it takes up."""
        return f"stock-{site}"

    def start(self, bed: Bed, site: str, folder: Path) -> Start:
        """How to run it."""
        del folder
        drop = [] if self.drop is None else [str(self.drop)]
        arguments = [str(bed.mqtt_port), bed.brokers, self.client_id(site), f"{site}/#", self.topic, *drop]
        return Start([sys.executable, "-m", "bench.bridge.stock", *arguments])


def given_settings() -> dict[str, str]:
    """Settings of the bridge in the caller's environment, for trying out other ones than the default."""
    return {name: value for name, value in os.environ.items() if name.startswith("HEADWATER_EDGE__")}


TOPICS = [READINGS, DEAD_LETTERS, SESSION_GAPS, CLOCKS, Stock.topic, TELEGRAF_TOPIC]
