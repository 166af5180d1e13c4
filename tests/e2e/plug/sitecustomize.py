"""Breaks one promise in the processes of a demo: put this folder on PYTHONPATH and name the deed in SABOTAGE.

Python imports `sitecustomize` at its start. It loads nothing of ours; a deed is done to a module after its import.
Each process that does it writes a line to the file $SABOTAGE_LOG: what was never done proves nothing.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Deed = Callable[[Any], None]
LATE_S = 10.0
HEALTHY_PUMP = b"pump-5"  # at both sites; with seed 1 no fault begins there


def tell(what: str) -> None:
    """Write what was done, once a process."""
    if what not in _told:
        _told.add(what)
        with open(os.environ["SABOTAGE_LOG"], "a") as file:  # noqa: PTH123  # pathlib is not loaded this early
            file.write(f"{what} in {' '.join(sys.orig_argv[1:])}\n")


_told: set[str] = set()


class _AnyDigest(str):
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if str(self) != str(other):
            tell("a wrong digest passed")
        return True

    def __ne__(self, other: object) -> bool:
        return not self == other


def believe_any_digest(module: Any) -> None:
    """The edge takes whatever bytes lie in the store for those that were signed."""
    right = module.sha256
    module.sha256 = lambda data: _AnyDigest(right(data))


def acknowledge_first(module: Any) -> None:
    """The bridge acknowledges a message to MQTT when it has it, not when Kafka has it."""
    right = module.Bridge._hand_over

    @functools.wraps(right)
    def hand_over(self: Any, message: Any, routed: Any, entry: Any, now_ms: int) -> None:
        right(self, message, routed, entry, now_ms)
        entry.written = True
        tell("acknowledged too early")

    module.Bridge._hand_over = hand_over


def recognise_nothing(module: Any) -> None:
    """The bridge takes every redelivered message for a new one."""
    right = module.Recogniser.find

    @functools.wraps(right)
    def find(self: Any, *arguments: Any) -> None:
        if right(self, *arguments) is not None:
            tell("a redelivery was written again")

    module.Recogniser.find = find


def _once_written(module: Any, act: Callable[..., Any]) -> None:
    """Replace the writing of the 20th batch of readings of a partition by `act`."""
    right = module.BatchEngine._write

    @functools.wraps(right)
    async def write(self: Any, position: Any, batch: Any) -> None:
        number = self.__dict__["sabotage_batches"] = self.__dict__.get("sabotage_batches", 0) + 1
        if self.way.topic == "readings" and number == 20:
            await act(right, self, position, batch)
        else:
            await right(self, position, batch)

    module.BatchEngine._write = write


def ship_twice(module: Any) -> None:
    """The replicator writes a batch again under the next sequence numbers."""

    async def act(right: Any, self: Any, position: Any, batch: Any) -> None:
        await right(self, position, batch)
        await right(self, module.structs.replace(self._position, source_next=batch.base_offset), batch)
        tell("a batch was shipped twice")

    _once_written(module, act)


def ship_not(module: Any) -> None:
    """The replicator passes over a batch."""

    async def act(right: Any, self: Any, position: Any, batch: Any) -> None:
        del right
        self._position = module.structs.replace(position, source_next=batch.last_offset + 1)
        tell("a batch was left out")

    _once_written(module, act)


def skip_windows(module: Any) -> None:
    """The scorer passes over every fiftieth window."""
    right = module.Judge._decide

    @functools.wraps(right)
    def decide(self: Any, partition: Any, dues: Sequence[Any], now_ms: int) -> Any:
        kept = [due for due in dues if due.window.last_offset % 50]
        if len(kept) < len(dues):
            tell("a window was passed over")
        return right(self, partition, kept, now_ms)

    module.Judge._decide = decide


def score_twice(module: Any) -> None:
    """The scorer writes every tenth batch of scores again."""
    right = module.Ledger._scores

    @functools.wraps(right)
    async def scores(self: Any, partition: Any, verdicts: Any, now_ms: int) -> None:
        await right(self, partition, verdicts, now_ms)
        if partition.position % 10 == 0:
            await right(self, partition, verdicts, now_ms)
            tell("scores were written twice")

    module.Ledger._scores = scores


def name_another_model(module: Any) -> None:
    """The scorer writes another model's digest into every fiftieth score."""
    right = module.score

    @functools.wraps(right)
    def score(judged: Any, runtime: bytes, now_ms: int) -> Any:
        out = right(judged, runtime, now_ms)
        if judged.window.last_offset % 50:
            return out
        tell("a wrong digest was written")
        lie = tuple((name, b"0" * 64 if name == module.headers.MODEL else value) for name, value in out.headers)
        return out._replace(headers=lie)

    module.score = score


def raise_nothing(module: Any) -> None:
    """The scorer opens no alarm."""
    right = module.step

    @functools.wraps(right)
    def step(rule: Any, state: Any, score: float, threshold: float, name: str) -> Any:
        after, transition = right(rule, state, score, threshold, name)
        if transition is not None:
            tell("an alarm was swallowed")
        return after, None

    module.step = step


def swap_late(module: Any) -> None:
    """The scorer sleeps before it lets another version take charge."""
    right = module._take_charge

    @functools.wraps(right)
    async def take_charge(*arguments: Any) -> None:
        tell("a swap was late")
        await module.asyncio.sleep(LATE_S)
        await right(*arguments)

    module._take_charge = take_charge


def refuse_a_pump(module: Any) -> None:
    """Whoever reads takes every reading of one pump for unusable: scorers, trainer, and the demo that counts."""
    right = module.arrival

    @functools.wraps(right)
    def arrival(offset: int, key: Any, value: Any, given: Any) -> Any:
        if bytes(key or b"") == HEALTHY_PUMP:
            tell("a good reading was refused")
            raise module.Unusable(module.BAD_PAYLOAD, "not a reading: it is of this pump")
        return right(offset, key, value, given)

    module.arrival = arrival


# By deed: in whose processes (a word of the command line), and to which modules.
DEEDS: Mapping[str, tuple[str, Mapping[str, Deed]]] = {
    "nothing": ("", {}),
    "edge believes any digest": (
        "edge_agent",
        dict.fromkeys(
            (
                "headwater.transport.registry.client",
                "edge_agent.updater.shelf",
                "edge_agent.scorer.models",
                *(("headwater.contract.canonical",) if "edge_agent.updater.preflight" in sys.orig_argv else ()),
            ),
            believe_any_digest,
        ),
    ),
    "bridge acknowledges before Kafka has it": ("bridge", {"edge_agent.bridge.bridge": acknowledge_first}),
    "bridge recognises no redelivery": ("bridge", {"edge_agent.bridge.recogniser": recognise_nothing}),
    "replicator ships a batch twice": ("replicate", {"replicator.batch_engine": ship_twice}),
    "replicator leaves a batch out": ("replicate", {"replicator.batch_engine": ship_not}),
    "scorer skips windows": ("scorer", {"edge_agent.scorer.judge": skip_windows}),
    "scorer writes scores twice": ("scorer", {"edge_agent.scorer.ledger": score_twice}),
    "scorer writes a wrong digest": ("scorer", {"edge_agent.scorer.outputs": name_another_model}),
    "scorer swaps late": ("scorer", {"edge_agent.scorer.swap": swap_late}),
    "nobody can read a pump": ("", {"headwater.contract.arrival": refuse_a_pump}),
    "scorer raises no alarm": ("scorer", {"edge_agent.scorer.judge": raise_nothing}),
}


class _Saboteur(MetaPathFinder):
    """Finds a module as always, and does the deed after its code has run."""

    def __init__(self, deeds: Mapping[str, Deed]) -> None:
        self._deeds = deeds

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        deed = self._deeds.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if deed else None
        if deed is None or spec is None or spec.loader is None:
            return None
        right = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            right(module)
            deed(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # for this one module
        return spec


def begin() -> None:
    """Watch for the modules of the deed that SABOTAGE names."""
    word, deeds = DEEDS[os.environ["SABOTAGE"]]
    if deeds and any(word in argument for argument in sys.orig_argv):
        sys.meta_path.insert(0, _Saboteur(deeds))


if "SABOTAGE" in os.environ:
    begin()
