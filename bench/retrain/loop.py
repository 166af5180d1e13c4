"""From a message on `retrain-requests` to the first score of the new version at the edge, on real services.

One site with its Kafka, an MQTT broker, an S3 server and the cloud's Kafka; `headwater edge run`, `replicate run` and
`train serve` as processes. One asset publishes: first what the model learns from, quickly, then a reading a second
while it is trained anew, as a rig like SKAB's does. Every time is of one clock; the last is the record's own in Kafka.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cloud_trainer.runs import Runs
from headwater.app.demo.console import wait_for
from headwater.app.demo.processes import Crew, Up, command, environment, wait_for_file
from headwater.app.demo.wiring import mqtt_settings, write_cloud, write_site
from headwater.app.plant.publisher import Feed, Machine, Row
from headwater.app.stack.stack import Stack
from headwater.contract import headers, topics
from headwater.contract.desired import DESIRED_FILE, decode_desired
from headwater.contract.errors import GateFailed, Unreachable
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.kafka_batch import Cluster, KafkaSettings, read_records

SITE = "lyon"
_QUICK, _REAL = 200.0, 1.0  # readings a second: before, and while a model is made
_SCORE_S = 120.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Round:
    """Seconds since the message was sent, each step's end; and what was learned from."""

    version: int
    records: int
    taken: float
    published: float
    placed: float
    scored: float

    @property
    def parts(self) -> tuple[float, float, float, float]:
        """What each step took."""
        return self.taken, self.published - self.taken, self.placed - self.published, self.scored - self.placed


class Loop:
    """The services and processes; leaving the context stops them."""

    def __init__(self, folder: Path, rows: Iterator[Row], asset_class: str, healthy: int, say: Say) -> None:
        self._folder, self._rows, self._class, self._healthy, self._say = folder, rows, asset_class, healthy, say
        self._exit = ExitStack()

    def __enter__(self) -> Loop:
        try:
            self._start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _start(self) -> None:
        stack = self._exit.enter_context(Up(Stack(self._folder / "stack", [SITE, "cloud"])))
        state = stack.state
        keys = self._folder / "keys"
        self._cloud = write_cloud(self._folder, state, keys)
        self._runs = Runs(KafkaSettings(brokers=state.clusters["cloud"]))
        self._edge = KafkaSettings(brokers=state.clusters[SITE])
        self._arrived = KafkaSettings(brokers=state.clusters["cloud"])
        command(["fleet", "keys", "init"], self._cloud)
        self._crew = self._exit.enter_context(Crew(self._folder / "logs"))
        config = write_site(self._folder, SITE, self._class, state, keys / "root.json")
        home = self._folder / "home" / "edge" / SITE
        self._desired = home / DESIRED_FILE
        self._crew.start("trainer", ["train", "serve"], self._cloud)
        self._crew.start("edge", ["edge", "run"], config)
        wait_for_file(home / "bridge.ready", "the bridge", self._crew)
        self._crew.start("replicator", ["replicate", "run"], config)
        machine = Machine(SITE, self._class, "rig-1")
        self._feed = Feed(mqtt_settings(state), {machine: self._rows}, _QUICK)
        self._exit.callback(self._feed.abandon)
        self._feed.hold_at(self._healthy)
        self._feed.start()
        self._say(f"services and processes run; {self._healthy:,} healthy readings are played")
        wait_for("healthy readings in the cloud", self._there, deadline_s=self._healthy / _QUICK + 90, every_s=0.5)
        self._feed.play(_REAL)
        self._feed.hold_at(None)

    def _there(self) -> bool:
        self._alive()
        return asyncio.run(_count(self._arrived, topics.remote(SITE, topics.READINGS))) >= self._healthy

    def _alive(self) -> None:
        self._crew.check()
        self._feed.check()

    def round(self, number: int) -> Round:
        """Ask for a model, roll it out when it is published, and wait for its first score."""
        request = RetrainRequest(f"bench-{number}", self._class, None, "bench", "measured")
        ends = asyncio.run(_ends(self._edge))
        began = time.time()
        self._runs.request(request)
        taken: list[int] = []
        run = self._outcome(request.request_id, taken)
        assert run.version is not None
        assert run.sha256 is not None
        arguments = ["--class", self._class, "--version", str(run.version), "--waves", "1.0", "--sites", SITE]
        log = self._folder / "logs" / f"rollout-{number}.log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [sys.executable, "-m", "headwater", "fleet", "rollout", "start", *arguments, "--json"],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment(self._cloud),
            ) as rollout,
        ):
            scored = asyncio.run(self._scored(run.sha256, ends))
            if rollout.wait(60) != 0:
                raise GateFailed(f"the rollout of version {run.version} failed: {log.read_text()[-500:]}")
        placed = decode_desired(self._desired.read_bytes()).classes[self._class]
        at = [moment / 1000 - began for moment in (taken[0], run.at, placed.placed_at, scored)]
        found = Round(run.version, run.records, *at)
        self._say(f"version {found.version} from {found.records:,} readings: first score after {found.scored:.1f} s")
        return found

    def _outcome(self, request_id: str, taken: list[int]) -> TrainingRun:
        """The run of a request; the time at which it was taken up goes into `taken`."""
        found: list[TrainingRun] = []

        def done() -> bool:
            self._alive()
            run = self._runs.all().get(request_id)
            if run is not None and run.state == "started" and not taken:
                taken.append(run.at)
            if run is None or run.state == "started":
                return False
            found.append(run)
            return True

        wait_for("the outcome of the request", done, deadline_s=_SCORE_S, every_s=0.05)
        (run,) = found
        if run.state != "published":
            raise GateFailed(f"request {request_id} failed: {run.detail}")
        taken = taken or [round(run.at - run.seconds * 1000)]
        return run

    async def _scored(self, sha256: str, since: dict[int, int]) -> int:
        """Kafka's time in ms of the first score by the model of this digest."""
        end = time.monotonic() + _SCORE_S
        async with Cluster(self._edge, client_id="headwater-bench") as cluster:
            while time.monotonic() < end:
                self._alive()
                for partition, last in (await cluster.offsets(topics.SCORES, "latest")).items():
                    async for records in read_records(cluster, topics.SCORES, partition, since.get(partition, 0), last):
                        for record in records:
                            if headers.find_text(record.headers, headers.MODEL) == sha256:
                                return record.timestamp_ms
                    since[partition] = last
                await asyncio.sleep(0.05)
        raise Unreachable(f"no score by {sha256[:12]} within {_SCORE_S:.0f} s")


async def _ends(settings: KafkaSettings) -> dict[int, int]:
    async with Cluster(settings, client_id="headwater-bench") as cluster:
        return dict(await cluster.offsets(topics.SCORES, "latest"))


async def _count(settings: KafkaSettings, topic: str) -> int:
    async with Cluster(settings, client_id="headwater-bench") as cluster:
        if topic not in await asyncio.to_thread(_names, settings):
            return 0
        return sum((await cluster.offsets(topic, "latest")).values())


def _names(settings: KafkaSettings) -> set[str]:
    from headwater.transport import kafka  # noqa: PLC0415  # librdkafka, which `--help` does not need

    return set(kafka.topic_names(settings))
