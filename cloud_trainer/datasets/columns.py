"""Readings of one asset as they are collected: blocks of columns, whatever channels come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cloud_trainer.series import Floats, Ints


class Block(NamedTuple):
    """Readings in log order: offsets, log and sensor times in ms, values [n, channels]; NaN is a missing value."""

    offsets: Ints
    logged: Ints
    t: Ints
    channels: tuple[str, ...]
    values: Floats


@dataclass
class Columns:
    """All readings of an asset: those of its partition, and those that a link shipped beside it, both in log order."""

    fresh: list[Block] = field(default_factory=list)
    backlog: list[Block] = field(default_factory=list)

    @property
    def channels(self) -> set[str]:
        """Every channel that a reading has had."""
        return {channel for block in (*self.fresh, *self.backlog) for channel in block.channels}

    def __len__(self) -> int:
        return sum(len(block.t) for block in (*self.fresh, *self.backlog))


class Table(NamedTuple):
    """All readings of one asset in the order of the source: offsets in their topic, sensor times, values by channel.

    `beside` marks those whose offsets are of the topic of the backlog.
    """

    offsets: Ints
    t: Ints
    values: Floats
    beside: np.ndarray[tuple[int], np.dtype[np.bool_]]


def table(columns: Columns, channels: Sequence[str]) -> Table:
    """The readings of one asset with these channels."""
    blocks = [*columns.fresh, *columns.backlog]
    fresh = sum(len(block.t) for block in columns.fresh)
    values = np.full((len(columns), len(channels)), np.nan)
    place: Mapping[str, int] = {channel: number for number, channel in enumerate(channels)}
    at = 0
    for block in blocks:
        chosen = [place[channel] for channel in block.channels]
        values[at : at + len(block.t), chosen] = block.values
        at += len(block.t)
    offsets, logged, t = (
        np.concatenate([np.zeros(0, np.int64), *(block[number] for block in blocks)]) for number in range(3)
    )
    order = merged(logged[:fresh], logged[fresh:])
    return Table(offsets[order], t[order], values[order], order >= fresh)


def merged(fresh: Ints, backlog: Ints) -> Ints:
    """Places, in the order of the source, of records whose log times (ms) are given: `fresh` ones, then `backlog`.

    Both are in the order of the source already, and a link keeps log times. Where a clock was set back, the highest
    time so far stands for a record's own, so that neither of the two is ever reordered.
    """
    if not len(backlog):
        return np.arange(len(fresh), dtype=np.int64)
    reached = np.concatenate([np.maximum.accumulate(fresh), np.maximum.accumulate(backlog)])
    return np.argsort(reached, kind="stable").astype(np.int64)
