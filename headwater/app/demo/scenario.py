"""The loop, step by step, on real services and real processes."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from headwater.app.demo import spoil
from headwater.app.demo.console import Steps, wait_for
from headwater.app.demo.evidence import Learned, Marks, left_out
from headwater.app.demo.memory import proportional_mb
from headwater.app.demo.plan import Options, Plan
from headwater.app.demo.processes import CommandFailed, Crew, Up, command, wait_for_file
from headwater.app.demo.swaps import Placements
from headwater.app.demo.watch import Watch
from headwater.app.demo.wiring import mqtt_settings, store_of, write_cloud, write_site
from headwater.app.plant.publisher import Feed
from headwater.app.stack.stack import Stack
from headwater.app.stack.state import StackState
from headwater.contract import refusals
from headwater.contract.desired import DESIRED_FILE
from headwater.contract.manifest import Manifest
from headwater.transport.objects import ObjectStore

WAVES = "0.5,1.0"
DRAIN_S = 60.0
UNDER_WAY_TICKS, UNDER_WAY_S = 30, 1.0  # whichever comes first
QUIET_S, GIVE_UP_S = 1.0, 8.0  # without a new record, once all readings are there and while some are missing


class Scenario:
    """One run of the demo; `run` leaves what it saw in `marks`, `watch` and `feed`."""

    def __init__(self, options: Options, plan: Plan, steps: Steps) -> None:
        self.options, self.plan, self.steps = options, plan, steps
        self.marks = Marks()
        self.folder = options.home
        self._exit = ExitStack()

    def run(self) -> None:
        """Everything from the first service to the last reading in the cloud; services still run afterwards."""
        self._services()
        self._parts()
        self._healthy_with_kills()
        self._first_model()
        self._faults()
        self._second_model()
        self._bad_models()
        self._rollback()
        self._drain()

    def close(self) -> None:
        """Stop whatever runs, in the reverse order of its start."""
        self._exit.close()

    def _services(self) -> None:
        started = time.monotonic()
        names = [*self.options.sites, "cloud"]
        stack = Stack(self.folder / "stack", names, mosquitto=self.options.mosquitto)
        with self.steps.waiting(f"starting Kafka for {', '.join(names)}, an MQTT broker and an S3 server"):
            self.stack = self._exit.enter_context(Up(stack))
        self.state: StackState = self.stack.state
        self.steps.say(f"services answer after {time.monotonic() - started:.1f} s")
        if not self.state.mqtt.persistent_sessions:
            self.steps.say("no mosquitto here: amqtt stands in, which loses what arrives while a bridge is away")

    def _parts(self) -> None:
        self.keys = self.folder / "keys"
        self.cloud = write_cloud(self.folder, self.state, self.keys)
        command(["fleet", "keys", "init"], self.cloud)
        self.steps.say("signing keys made, root of trust published; the edges get root.json alone")
        self.store: ObjectStore = store_of(self.state)
        self.crew = self._exit.enter_context(Crew(self.folder / "logs"))
        self.sites = {
            site: write_site(self.folder, site, self.plan.asset_class, self.state, self.keys / "root.json")
            for site in self.options.sites
        }
        self.crew.start("trainer", ["train", "serve"], self.cloud)
        for site, config in self.sites.items():
            self.crew.start(f"{site}-edge", ["edge", "run"], config)
        for site in self.sites:
            wait_for_file(self._ready(site), f"the bridge of {site}", self.crew)
        for site, config in self.sites.items():
            self.crew.start(f"{site}-replicator", ["replicate", "run"], config)
        placements = Placements({site: self._edge(site) / DESIRED_FILE for site in self.sites})
        self.watch = self._exit.enter_context(Watch(self.state.clusters, placements))
        self.feed = Feed(mqtt_settings(self.state), self.plan.machines, self.plan.speed)
        self._exit.callback(self.feed.abandon)
        self.steps.say(f"edge agents, replicators and the trainer run at {', '.join(self.sites)}")

    def _healthy_with_kills(self) -> None:
        feed, sites = self.feed, list(self.sites)
        if self.plan.holds:
            feed.hold_at(self.plan.healthy)
        feed.start()
        self.watch.since = time.time()
        machines = len(self.plan.machines)
        self.steps.say(f"{machines} machines publish, {self.plan.speed:.0f} times faster than real time")
        self._until_tick(self.plan.healthy // 3, "healthy readings")
        with self.stack.held(sites[0]):
            self._messages_on_their_way()
            pid = self._bridge(sites[0])
            os.kill(pid, signal.SIGKILL)
        self.marks.killed_at.append((time.time(), f"bridge of {sites[0]}"))
        self.steps.say(
            f"killed the bridge of {sites[0]} under load (SIGKILL, pid {pid}); its supervisor starts another"
        )
        wait_for("another bridge", lambda: self._bridge(sites[0]) not in {pid, 0}, deadline_s=30)
        self.marks.kills += 1
        self._until_tick(self.plan.healthy // 2, "healthy readings")
        with self.stack.held("cloud"):
            self._messages_on_their_way()
            self.marks.killed_at.append((time.time(), f"replicator of {sites[-1]}"))
            self.marks.kills += self.crew.kill_and_restart(f"{sites[-1]}-replicator")
        self.steps.say(f"killed the replicator of {sites[-1]} under load (SIGKILL); started again")
        self._until_tick(self.plan.healthy, "healthy readings")

    def _messages_on_their_way(self) -> None:
        """Let messages pile up before a Kafka that is held: a kill that hits nothing half done shows nothing."""
        tick, end = self.feed.tick + UNDER_WAY_TICKS, time.monotonic() + UNDER_WAY_S
        while self.feed.tick < tick and time.monotonic() < end:
            time.sleep(0.02)

    def _first_model(self) -> None:
        self.feed.play(self.plan.slow)
        self._settle()
        self._train("the first")
        self._roll_out(1)
        self.marks.published_at_rollout = {m: count for m, (count, _) in self.feed.published().items()}
        self.feed.play(self.plan.speed)
        self.feed.hold_at(None)
        self._until_tick(self.feed.tick + self.plan.watch, "healthy readings with a model")

    def _faults(self) -> None:
        plan = self.plan
        if plan.plant is not None:
            for site, asset, kind in plan.faults:
                plan.plant.begin_fault(site, asset, kind, self.feed.now_ms + 5_000)
                self.steps.say(f"{kind} begins at {site}/{asset}")
        target = self.feed.tick + plan.faulty
        if plan.holds:
            self.feed.hold_at(target)
        self._until_tick(target, "readings with faults")
        opened = sum(state == "opened" for _, state in list(self.watch.seen))
        self.steps.say(f"{opened} alarm(s) reached the cloud so far")

    def _second_model(self) -> None:
        self.feed.play(self.plan.slow)
        if self.plan.holds:
            self._settle()
        self._train("a second")
        self._roll_out(2)
        self.feed.hold_at(None)

    def _bad_models(self) -> None:
        like = self._manifest(2)
        version = spoil.publish_not_finite(self.store, self.keys, like)
        self._refused(version, "a model whose outputs are NaN", refusals.NOT_FINITE)
        version = spoil.publish_changed(self.store, self.keys, like)
        self._refused(version, "a model whose bytes were changed in S3", refusals.BAD_DIGEST)

    def _rollback(self) -> None:
        site = self.options.sites[0]
        before = self._fetched(site)
        arguments = ["--class", self.plan.asset_class, "--site", site, "--to", "1"]
        command(["fleet", "rollout", "rollback", *arguments], self.cloud)
        wait_for("the rollback", lambda: self.watch.version(site, self.plan.asset_class) == 1, deadline_s=30)
        self.marks.rollback_bytes = self._fetched(site) - before
        self.steps.say(f"{site} runs version 1 again, {self.marks.rollback_bytes} bytes downloaded for it")
        self.marks.memory_mb = {s: proportional_mb(self.crew.pid(f"{s}-edge")) for s in self.sites}

    def _drain(self) -> None:
        if self.plan.end is not None:
            wait_for("the end of the recordings", lambda: self.feed.done, deadline_s=120)
        self.feed.stop()
        published = sum(count for count, _ in self.feed.published().values())
        self.steps.say(f"{published:,} readings published, every one acknowledged by the MQTT broker")
        self._settle()
        self.crew.check()
        self.crew.stop("trainer", *(f"{site}-edge" for site in self.sites))
        wait_for("the last status in the cloud", lambda: self.watch.silent_s() > QUIET_S, deadline_s=DRAIN_S)
        self.watch.check()
        self.watch.stop()
        self.crew.stop()
        self.steps.say("edge agents, replicators and the trainer have stopped; the servers run on")

    def _settle(self) -> None:
        """With the feed on hold or at its end: wait until all is in the cloud, or nothing has moved for a while.

        What is missing then is counted like everything else.
        """
        if not (self.plan.holds or self.feed.done):
            return
        expected = dict.fromkeys(self.sites, 0)
        for machine, (count, _) in self.feed.published().items():
            expected[machine.site] += count

        def settled() -> bool:
            self._alive()
            self.watch.check()
            arrived = self.watch.arrived()
            complete = all(arrived.get(f"{site}.readings", 0) >= expected[site] for site in self.sites)
            return self.watch.quiet_s() > (QUIET_S if complete else GIVE_UP_S)

        wait_for("the last reading in the cloud", settled, deadline_s=DRAIN_S, every_s=0.3)

    def _train(self, which: str) -> None:
        started = time.monotonic()
        arguments = ["train", "request", "--class", self.plan.asset_class, "--wait"]
        with self.steps.waiting(
            f"{which} retrain request; the trainer reads an exact offset range of the cloud topics"
        ):
            run: dict[str, Any] = command(arguments, self.cloud, meanwhile=self._alive)
        manifest = self._manifest(int(run["version"]))
        took = time.monotonic() - started
        data = manifest.dataset
        self.marks.learned.append(
            Learned(manifest.version, data.offsets, data.records, data.excluded, data.sha256, took, manifest.thresholds)
        )
        self.steps.say(
            f"version {manifest.version} published {took:.1f} s after its request: {data.records:,} records used, "
            f"{left_out(data.excluded)}"
        )

    def _roll_out(self, version: int) -> None:
        started = time.monotonic()
        with self.steps.waiting(f"rollout of version {version} in two waves"):
            command(self._start(version), self.cloud, meanwhile=self._alive)
        ready = {site: self.watch.version(site, self.plan.asset_class) for site in self.sites}
        self.steps.say(f"version {version} is active at {', '.join(ready)} after {time.monotonic() - started:.1f} s")

    def _refused(self, version: int, what: str, reason: str) -> None:
        """Roll out a bad version and note with which reason code the sites report that they refused it."""
        try:
            command(self._start(version), self.cloud, meanwhile=self._alive)
        except CommandFailed as error:
            self.steps.say(f"{what} (version {version}): {error.reason}")
        else:
            self.steps.say(f"{what} (version {version}) was rolled out: nobody refused it")
        self.marks.refusals[version] = (reason, self.watch.refusal(self.plan.asset_class, version))

    def _start(self, version: int) -> list[str]:
        sites = ",".join(self.sites)
        arguments = ["--class", self.plan.asset_class, "--version", str(version), "--waves", WAVES, "--sites", sites]
        return ["fleet", "rollout", "start", *arguments]

    def _manifest(self, version: int) -> Manifest:
        return spoil.manifest_of(self.store, self.keys, self.plan.asset_class, version)

    def _fetched(self, site: str) -> int:
        status = self.watch.status.get(site)
        return int(status.updater.get("fetched_bytes", 0)) if status else 0

    def _bridge(self, site: str) -> int:
        """Process id of a site's bridge, 0 while there is none."""
        try:
            return int(json.loads(self._ready(site).read_text())["pid"])
        except (OSError, ValueError):
            return 0

    def _ready(self, site: str) -> Path:
        return self._edge(site) / "bridge.ready"

    def _edge(self, site: str) -> Path:
        return self.folder / "home" / "edge" / site

    def _alive(self) -> None:
        """Raise what ended a process of ours, or the feed."""
        self.crew.check()
        self.feed.check()

    def _until_tick(self, tick: int, what: str) -> None:
        def there() -> bool:
            self._alive()
            return self.feed.tick >= tick or self.feed.done

        seconds = max(0, tick - self.feed.tick) / self.plan.speed
        if there():
            return
        with self.steps.waiting(f"{what}, {seconds:.0f} s", total=tick) as show:

            def shown() -> bool:
                show(self.feed.tick)
                return there()

            wait_for(what, shown, deadline_s=seconds * 3 + 30)
