"""Lives of assets as columns, and the features that the edge would have computed of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.contract.errors import BadInput
from headwater.contract.memory import Memory, MemorySpec

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]


class History(NamedTuple):
    """One asset since its overhaul, a row a cycle: settings [cycles, settings], sensors [cycles, sensors]."""

    settings: Floats
    sensors: Floats


class Fleet(NamedTuple):
    """Assets of one kind: names of the settings and sensors, and the history of each life.

    `owners` says by number whose life each is; empty where each is of an asset of its own.
    """

    settings: tuple[str, ...]
    sensors: tuple[str, ...]
    histories: Sequence[History]
    owners: tuple[int, ...] = ()

    def some(self, indices: Iterable[int]) -> Fleet:
        """These lives alone."""
        chosen = list(indices)
        owners = tuple(self.owners[index] for index in chosen) if self.owners else ()
        return self._replace(histories=[self.histories[index] for index in chosen], owners=owners)

    @property
    def owner_of(self) -> list[int]:
        """Whose life each history is."""
        return list(self.owners) or list(range(len(self.histories)))


def left_of(history: History) -> Floats:
    """Cycles that were left after each cycle of a life that ended with its last one."""
    return np.arange(len(history.sensors), dtype=np.float64)[::-1]


def vectors(spec: MemorySpec, fleet: Fleet) -> list[Vectors]:
    """Features float32 [cycles, features] of each history, all of them stepped side by side by the edge's own code.

    BadInput where the fleet lacks a channel.
    """
    histories = _chosen(spec, fleet)
    order = sorted(range(len(histories)), key=lambda index: -len(histories[index].sensors))
    lengths = np.array([len(histories[index].sensors) for index in order], dtype=np.int64)
    memory = Memory(spec, len(order))
    found = [np.zeros((length, len(spec.names)), dtype=np.float32) for length in lengths]
    for cycle in range(lengths.max(initial=0)):
        there = int((lengths > cycle).sum())
        settings = np.array([histories[index].settings[cycle] for index in order[:there]])
        sensors = np.array([histories[index].sensors[cycle] for index in order[:there]])
        for row, vector in zip(found, memory.step(settings, sensors), strict=False):
            row[cycle] = vector
    by_index = dict(zip(order, found, strict=True))
    return [by_index[index] for index in range(len(histories))]


def _chosen(spec: MemorySpec, fleet: Fleet) -> list[History]:
    """The histories with the channels of these features, in their order."""
    given = (*fleet.settings, *fleet.sensors)
    missing = sorted({*spec.settings, *spec.sensors} - set(given))
    if missing:
        raise BadInput(f"these lives have no channel {', '.join(missing)}, which the features need")
    if spec.settings == fleet.settings:
        columns = [fleet.sensors.index(name) for name in spec.sensors]
        return [History(each.settings, each.sensors[:, columns]) for each in fleet.histories]
    settings, sensors = ([given.index(name) for name in names] for names in (spec.settings, spec.sensors))
    every = [np.concatenate([each.settings, each.sensors], axis=1) for each in fleet.histories]
    return [History(rows[:, settings], rows[:, sensors]) for rows in every]
