"""Overhauls of one asset as they are collected, and where among its readings they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cloud_trainer.datasets.columns import Block, Columns, merged
from cloud_trainer.series import Ints


class Noted(NamedTuple):
    """An overhaul: its offset, its log time in ms, and whether it ended a life that ran to failure."""

    offset: int
    logged: int
    failed: bool


class Life(NamedTuple):
    """Readings [start, end) of an asset's table, and how they begin and end, where an overhaul says so."""

    start: int
    end: int
    begins: bool  # with an overhaul
    failed: bool | None  # None: it goes on


@dataclass
class Overhauls:
    """Of one asset, in log order: those of its partition, and those that a link shipped beside it (columns.py)."""

    fresh: list[Noted] = field(default_factory=list)
    backlog: list[Noted] = field(default_factory=list)

    def add(self, offset: int, logged: int, failed: bool, *, beside: bool) -> None:
        """Take the next one."""
        (self.backlog if beside else self.fresh).append(Noted(offset, logged, failed))

    def lives(self, columns: Columns) -> Iterator[Life]:
        """The lives of the asset whose readings these are, by places in its table; one without readings is none."""
        parts = [_entries(of, noted) for of, noted in ((columns.fresh, self.fresh), (columns.backlog, self.backlog))]
        kinds = [kind for _, of in parts for kind in of]  # None: a reading
        start = at = 0
        begins = False
        for place in merged(parts[0][0], parts[1][0]).tolist():
            failed = kinds[place]
            if failed is None:
                at += 1
                continue
            if at > start:
                yield Life(start, at, begins, failed)
            start, begins = at, True
        if at > start:
            yield Life(start, at, begins, None)


def _entries(blocks: list[Block], noted: list[Noted]) -> tuple[Ints, list[bool | None]]:
    """Log times of readings and overhauls in the order of their offsets, and of each overhaul whether it failed."""
    empty = np.zeros(0, np.int64)
    offsets = np.concatenate([empty, *(each.offsets for each in blocks), [each.offset for each in noted]])
    logged = np.concatenate([empty, *(each.logged for each in blocks), [each.logged for each in noted]])
    readings = len(offsets) - len(noted)
    kinds: list[bool | None] = [*[None] * readings, *(each.failed for each in noted)]
    order = np.argsort(offsets, kind="stable")
    return logged[order].astype(np.int64), [kinds[place] for place in order.tolist()]
