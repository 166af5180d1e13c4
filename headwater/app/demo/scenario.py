"""The loop, step by step, on real services and real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from headwater.app.demo import spoil
from headwater.app.demo.console import Steps, wait_for
from headwater.app.demo.evidence import Learned, Marks
from headwater.app.demo.memory import proportional_mb
from headwater.app.demo.plan import Options, Plan
from headwater.app.demo.processes import CommandFailed, Crew, command, wait_for_file
from headwater.app.demo.watch import Watch
from headwater.app.demo.wiring import mqtt_settings, object_settings, write_cloud, write_site
from headwater.app.plant.publisher import Feed
from headwater.app.stack.stack import Stack
from headwater.app.stack.state import StackState
from headwater.contract.manifest import Manifest
from headwater.transport.objects import ObjectSettings, ObjectStore, open_store

WAVES = "0.5,1.0"
DRAIN_S = 30.0


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
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        stack = Stack(self.folder / "stack", names, mosquitto=self.options.mosquitto)
        with self.steps.waiting(f"starting Kafka for {', '.join(names)}, an MQTT broker and an S3 server"):
            self.state: StackState = self._exit.enter_context(_Up(stack)).state
        self.steps.say(f"services answer after {time.monotonic() - started:.1f} s")
        if not self.state.mqtt.persistent_sessions:
            self.steps.say(
                "mosquitto is not installed: amqtt stands in, which loses what arrives while a bridge is away"
            )

    def _parts(self) -> None:
        self.keys = self.folder / "keys"
        self.cloud = write_cloud(self.folder, self.state, self.keys)
        command(["fleet", "keys", "init"], self.cloud)
        self.steps.say("signing keys made, root of trust published; the edges get root.json alone")
        self.store: ObjectStore = open_store(_secret(object_settings(self.state)))
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
        self.watch = self._exit.enter_context(Watch(self.state.clusters))
        self.feed = Feed(mqtt_settings(self.state), self.plan.machines, self.plan.speed)
        self._exit.callback(self.feed.abandon)
        self.steps.say(f"edge agents, replicators and the trainer run at {', '.join(self.sites)}")

    def _healthy_with_kills(self) -> None:
        feed, sites = self.feed, list(self.sites)
        if self.plan.holds:
            feed.hold_at(self.plan.healthy)
        feed.start()
        machines = len(self.plan.machines)
        self.steps.say(f"{machines} machines publish, {self.plan.speed:.0f} times faster than real time")
        self._until_tick(self.plan.healthy // 3, "healthy readings")
        pid = json.loads(self._ready(sites[0]).read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        self.marks.kills += 1
        self.steps.say(
            f"killed the bridge of {sites[0]} under load (SIGKILL, pid {pid}); its supervisor starts another"
        )
        self._until_tick(self.plan.healthy // 2, "healthy readings")
        self.crew.kill_and_restart(f"{sites[-1]}-replicator")
        self.marks.kills += 1
        self.steps.say(f"killed the replicator of {sites[-1]} under load (SIGKILL); started again")
        self._until_tick(self.plan.healthy, "healthy readings")

    def _first_model(self) -> None:
        self.feed.play(self.plan.slow)
        self._settle()
        self._train("the first")
        self._roll_out(1)
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
        opened = [e.alarm for e in self.watch.episodes if e.alarm.state == "opened"]
        self.steps.say(f"{len(opened)} alarm(s) reached the cloud so far")

    def _second_model(self) -> None:
        self.feed.play(self.plan.slow)
        if self.plan.holds:
            self._settle()
        self._train("a second")
        self._roll_out(2)
        self.feed.hold_at(None)

    def _bad_models(self) -> None:
        like = self._manifest(2)
        self._refused(spoil.publish_not_finite(self.store, self.keys, like), "a model whose outputs are NaN")
        self._refused(spoil.publish_changed(self.store, self.keys, like), "a model whose bytes were changed in S3")

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
        self.watch.stop()
        self.crew.check()
        self.crew.stop()
        self.steps.say("edge agents, replicators and the trainer have stopped")

    def _settle(self) -> None:
        """Wait until nothing moves: with the feed on hold or at its end, the last record is in the cloud."""
        if not (self.plan.holds or self.feed.done):
            return
        expected = dict.fromkeys(self.sites, 0)
        for machine, (count, _) in self.feed.published().items():
            expected[machine.site] += count
        still = [self.watch.arrived()]

        def settled() -> bool:
            self.crew.check()
            arrived = self.watch.arrived()
            complete = all(arrived.get(f"{site}.readings", 0) >= expected[site] for site in self.sites)
            quiet = arrived == still[0] and self.watch.quiet_s() > 1.0
            still[0] = arrived
            return (complete or not self.state.mqtt.persistent_sessions) and quiet

        wait_for("the last reading in the cloud", settled, deadline_s=DRAIN_S, every_s=0.3)

    def _train(self, which: str) -> None:
        started = time.monotonic()
        arguments = ["train", "request", "--class", self.plan.asset_class, "--wait"]
        with self.steps.waiting(
            f"{which} retrain request; the trainer reads an exact offset range of the cloud topics"
        ):
            run: dict[str, Any] = command(arguments, self.cloud)
        manifest = self._manifest(int(run["version"]))
        took = time.monotonic() - started
        data = manifest.dataset
        self.marks.learned.append(
            Learned(manifest.version, data.offsets, data.records, data.excluded, data.sha256, took, manifest.thresholds)
        )
        left_out = sum(data.excluded.values())
        self.steps.say(
            f"version {manifest.version} published: {data.records:,} records used, {left_out:,} left out, {took:.1f} s"
        )

    def _roll_out(self, version: int) -> None:
        started = time.monotonic()
        with self.steps.waiting(f"rollout of version {version} in two waves"):
            command(self._start(version), self.cloud)
        ready = {site: self.watch.version(site, self.plan.asset_class) for site in self.sites}
        self.steps.say(f"version {version} is active at {', '.join(ready)} after {time.monotonic() - started:.1f} s")

    def _refused(self, version: int, what: str) -> None:
        try:
            command(self._start(version), self.cloud)
        except CommandFailed as error:
            self.marks.refusals[version] = (error.exit_code, error.reason)
            self.steps.say(f"{what} (version {version}): {error.reason}")
        else:
            self.marks.refusals[version] = (0, "nobody refused it")
        self.marks.bad_versions.append(version)

    def _start(self, version: int) -> list[str]:
        sites = ",".join(self.sites)
        arguments = ["--class", self.plan.asset_class, "--version", str(version), "--waves", WAVES, "--sites", sites]
        return ["fleet", "rollout", "start", *arguments]

    def _manifest(self, version: int) -> Manifest:
        return spoil.manifest_of(self.store, self.keys, self.plan.asset_class, version)

    def _fetched(self, site: str) -> int:
        status = self.watch.status.get(site)
        return int(status.updater.get("fetched_bytes", 0)) if status else 0

    def _ready(self, site: str) -> Path:
        return self.folder / "home" / "edge" / site / "bridge.ready"

    def _until_tick(self, tick: int, what: str) -> None:
        def there() -> bool:
            self.feed.check()
            self.crew.check()
            return self.feed.tick >= tick or self.feed.done

        seconds = max(0, tick - self.feed.tick) / self.plan.speed
        if there():
            return
        with self.steps.waiting(f"{what}, {seconds:.0f} s", total=tick) as show:

            def shown() -> bool:
                show(self.feed.tick)
                return there()

            wait_for(what, shown, deadline_s=seconds * 3 + 30)


class _Up:
    """A stack that is stopped even when starting it was interrupted."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __enter__(self) -> Stack:
        return self._stack.__enter__()

    def __exit__(self, *_: object) -> None:
        self._stack.down()


def _secret(values: dict[str, Any]) -> ObjectSettings:
    return ObjectSettings(**{**values, "secret_key": SecretStr(values["secret_key"])})
