"""What a box pays for it: size of the network, and time for a cycle of one engine, in the runtime installed here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloud_trainer.life.histories import Fleet, Floats
from headwater.contract.memory import Memory, MemorySpec
from headwater.transport.tflite import Model, runtime_class

_ROUNDS = 5
_CYCLES = 2_000


@dataclass(frozen=True)
class Cost:
    """Medians of rounds, in microseconds; `off` is the largest difference to the trainer, in cycles."""

    bytes: int
    network_us: float
    cycle_us: float
    off: float
    runtime: str


def cost(spec: MemorySpec, model: bytes, fleet: Fleet, trainer: Sequence[Floats], most: float) -> Cost:
    """Step the engines of a fleet one cycle at a time, as an edge does; `trainer` has its predictions, up to `most`."""
    network = Model(model)
    columns = [fleet.sensors.index(name) for name in spec.sensors]
    both: list[float] = []
    alone: list[float] = []
    off = 0.0
    for _ in range(_ROUNDS):
        spent_both = spent_alone = 0.0
        done = 0
        for history, wanted in zip(fleet.histories, trainer, strict=True):
            if done >= _CYCLES:
                break
            memory, sensors = Memory(spec), history.sensors[:, columns]
            for cycle in range(len(sensors)):
                began = time.perf_counter()
                vector = memory.step(history.settings[cycle : cycle + 1], sensors[cycle : cycle + 1])
                between = time.perf_counter()
                score = network.score(vector)[0][0]
                ended = time.perf_counter()
                spent_both += ended - began
                spent_alone += ended - between
                off = max(off, abs(most - float(score) - wanted[cycle]))
            done += len(sensors)
        both.append(spent_both / done * 1e6)
        alone.append(spent_alone / done * 1e6)
    return Cost(len(model), float(np.median(alone)), float(np.median(both)), off, runtime_class())
