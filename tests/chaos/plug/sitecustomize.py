"""Kills the process that loads it at a named point: put this folder on PYTHONPATH, name a folder in CHAOS_FOLDER.

While that folder holds a file `arm` with `<n> <point>`, the n-th passing of the point since then is the last thing
this process does, after a line in the file `fired`. With a line `hold` behind it, it stops there instead (SIGSTOP).
Nothing of this is in the product.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_passed = [0]


def due(point: str) -> bool:
    """Whether the process is to die at this passing of the point."""
    try:
        with open(os.path.join(_FOLDER, "arm")) as file:  # noqa: PTH118, PTH123  # pathlib is not loaded this early
            number, _, rest = file.read().partition(" ")
    except FileNotFoundError:
        return False
    name, _, action = rest.partition("\n")
    if name != point:
        return False
    _passed[0] += 1
    if _passed[0] < int(number):
        return False
    if action != "hold":
        return True
    os.remove(os.path.join(_FOLDER, "arm"))  # noqa: PTH107, PTH118  # as above; once is enough
    _tell(point)
    os.kill(os.getpid(), signal.SIGSTOP)
    return False


def die(point: str) -> None:
    """SIGKILL, and no way back."""
    _tell(point)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell(point: str) -> None:
    with open(os.path.join(_FOLDER, "fired"), "a") as file:  # noqa: PTH118, PTH123  # as above
        file.write(f"{point}\n")


def _wrap(owner: Any, name: str, *, before: str = "", after: str = "") -> None:
    """Die at the call of a coroutine function, or when it has returned."""
    right = getattr(owner, name)

    @functools.wraps(right)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        if before and due(before):
            die(before)
        result = await right(*arguments, **named)
        if after and due(after):
            die(after)
        return result

    setattr(owner, name, wrapped)


def _process(module: Any) -> None:
    _wrap(module, "learn", before="fenced")


def _tails(module: Any) -> None:
    _wrap(module, "_tail", after="in the tails")


def _cluster(module: Any) -> None:
    _wrap(module.Cluster, "end_txn", before="in the fence")


def _mqtt_connection(module: Any) -> None:
    _wrap(module.Connection, "subscribe", before="before subscribe")


def _bridge(module: Any) -> None:
    right = module.Bridge.take

    @functools.wraps(right)
    def take(self: Any, batch: Any) -> None:
        if batch.messages and due("taken"):
            right(self, batch._replace(messages=batch.messages[: len(batch.messages) // 2]))
            die("taken")
        right(self, batch)
        if any(message[0] & module.DUP for message in batch.messages) and due("first redelivery"):
            die("first redelivery")

    module.Bridge.take = take


def _intake(module: Any) -> None:
    right = module.Intake.take

    @functools.wraps(right)
    def take(self: Any, batch: Any) -> Any:
        found = right(self, batch)
        if batch.messages and due("taken"):
            die("taken")
        if any(message[0] & module.DUP for message in batch.messages) and due("first redelivery"):
            die("first redelivery")
        return found

    module.Intake.take = take


def _spool(module: Any) -> None:
    right = module.Spool.trim

    @functools.wraps(right)
    def trim(self: Any, position: int) -> None:
        if due("drained"):
            die("drained")
        right(self, position)

    module.Spool.trim = trim
    _wrap(module.Spool, "commit", before="appended", after="synced")


def _source(module: Any) -> None:
    right = module.Subscriber.acknowledge

    @functools.wraps(right)
    def acknowledge(self: Any, count: int, epoch: int) -> None:
        if due("written"):
            die("written")
        if count > 1 and due("half acknowledged"):
            right(self, count // 2, epoch)
            die("half acknowledged")
        right(self, count, epoch)
        if due("acknowledged"):
            die("acknowledged")

    module.Subscriber.acknowledge = acknowledge


def _kafka_connection(module: Any) -> None:
    right = module.Connection.post

    @functools.wraps(right)
    def post(self: Any, call: Any, answered: Any) -> None:
        if call.api.name != "Produce":
            right(self, call, answered)
            return
        if self.ready and due("half a request"):
            whole = b"".join(map(_bytes, call.frame(self._correlation_id + 1, self._client_id)))
            self._transport.write(whole[: len(whole) // 2])
            die("half a request")
        right(self, call, answered)
        if self.ready and due("request sent"):
            die("request sent")

    module.Connection.post = post


def _bytes(data: Any) -> bytes:
    """Of a batch in two pieces, both."""
    return bytes(data.head) + bytes(data.rest) if hasattr(data, "head") else bytes(data)


def _journal(module: Any) -> None:
    right = module.Journal.open.__func__

    @functools.wraps(right)
    async def opened(*arguments: Any) -> Any:
        journal = await right(*arguments)
        if due("journal open"):
            die("journal open")
        return journal

    module.Journal.open = classmethod(opened)
    _wrap(module.Journal, "store", before="storing positions", after="positions stored")


def _anchor(module: Any) -> None:
    _wrap(module.Anchor, "locate", before="anchoring", after="anchored")


def _batch_engine(module: Any) -> None:
    _wrap(module.BatchEngine, "_next_era", before="era ends", after="era begun")
    right = module.BatchEngine._judge

    @functools.wraps(right)
    def judge(self: Any, piece: Any, answer: Any) -> Any:
        if due("answered"):
            die("answered")
        found = right(self, piece, answer)
        if due("judged"):
            die("judged")
        return found

    module.BatchEngine._judge = judge


PLACES: Mapping[str, Callable[[Any], None]] = {
    "edge_agent.bridge.process": _process,
    "edge_agent.bridge.tails": _tails,
    "edge_agent.bridge.bridge": _bridge,
    "edge_agent.bridge.spooled_intake": _intake,
    "headwater.transport.spool.log": _spool,
    "headwater.transport.kafka_batch.cluster": _cluster,
    "headwater.transport.kafka_batch.connection": _kafka_connection,
    "headwater.transport.mqtt.connection": _mqtt_connection,
    "headwater.transport.mqtt.source": _source,
    "replicator.anchor": _anchor,
    "replicator.batch_engine": _batch_engine,
    "replicator.journal": _journal,
}


class _Finder(MetaPathFinder):
    """Finds a module as always, and puts the points into it after its code has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = PLACES.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if place else None
        if place is None or spec is None or spec.loader is None:
            return None
        right = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            right(module)
            place(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # for this one module
        return spec


_FOLDER = os.environ.get("CHAOS_FOLDER", "")
if _FOLDER:
    sys.meta_path.insert(0, _Finder())
