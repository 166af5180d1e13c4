"""Lives from what was read: those that ended with a failure are learned from, the others are named.

A recording is one life, and its last row is the failure. In topics a life lies between two overhauls of an asset
(headwater/contract/overhaul.py), and counts where the second one says that it ran to failure. Where features count from
the overhaul, a life whose beginning was not recorded is none: nobody knows how old the asset was.

For training, values that no machine reads (datasets/spikes.py) are missing, in settings as well; who judges a model
leaves them in, for the edge scores values as they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from cloud_trainer.datasets.collecting import Collected
from cloud_trainer.datasets.columns import Table
from cloud_trainer.datasets.overhauls import Life, Overhauls
from cloud_trainer.datasets.spikes import bands, without
from cloud_trainer.life.histories import Fleet, Floats, History
from cloud_trainer.series import Series
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.manifest import Dataset

LEAST_LIVES, LEAST_ASSETS, LEAST_CYCLES = 10, 3, 5
NO_SETTING = "no-setting"  # cycles that lack a setting: nobody can say how the machine was run, so they are none
GOES_ON, PREVENTED, UNKNOWN_BEGIN = "goes on", "overhauled before it failed", "its beginning was not recorded"


class Lives(NamedTuple):
    """What a model of remaining life may learn from; `names` of each life, as `site/asset` or `site/asset#2`."""

    asset_class: str
    fleet: Fleet
    names: tuple[str, ...]
    source: Dataset
    left_out: dict[str, list[str]]  # names of lives by reason
    sensors_left_out: list[str]  # too rare
    wild: Mapping[str, int] = {}  # values taken for missing, by channel; never written to

    @property
    def cycles(self) -> int:
        """Of all lives."""
        return sum(len(each.sensors) for each in self.fleet.histories)


def lives(
    found: Collected,
    settings: tuple[str, ...],
    *,
    is_lifelong: bool,
    present: float,
    accept: Collection[str] | None = None,
) -> Lives:
    """The lives among these readings; sensors are all other channels that a share `present` of the cycles carry.

    `accept`: wild values of no other channel are learned from; None: of all, as the edge scores them.
    BadInput where a setting is no channel, or no channel is left to be a sensor.
    """
    channels = found.channels
    tables, wild = (found.tables(), dict[str, int]()) if accept is None else _tamed(found, accept)
    missing = [name for name in settings if name not in channels]
    if missing:
        raise BadInput(
            f"no reading of {found.asset_class} has the setting {', '.join(missing)}",
            hint=f"its channels are {', '.join(channels) or 'none'}",
        )
    rows: list[Floats] = []
    names: list[str] = []
    owners: list[int] = []
    left_out: dict[str, list[str]] = {}
    excluded = Counter(found.excluded)
    columns = [channels.index(name) for name in settings]
    for owner, (key, one) in enumerate(tables.items()):
        for number, life in enumerate(_lives_of(found, key), start=1):
            name = key if found.site else f"{key}#{number}"
            values = one.values[life.start : life.end]
            placed = np.isfinite(values[:, columns]).all(axis=1)
            why = _why_not(life, is_lifelong=is_lifelong)
            if why or not placed.any():
                left_out.setdefault(why or "no cycle has its settings", []).append(name)
                excluded[(why or NO_SETTING).replace(" ", "-")] += len(values)
                continue
            excluded[NO_SETTING] += int((~placed).sum())
            rows.append(values[placed])
            names.append(name)
            owners.append(owner)
    sensors = _sensors(rows, channels, settings, present)
    others = [channels.index(name) for name in sensors]
    fleet = Fleet(settings, sensors, [History(each[:, columns], each[:, others]) for each in rows], tuple(owners))
    source = Dataset(found.offsets, found.sha256, sum(map(len, rows)), dict(+excluded))
    rare = sorted(set(channels) - set(settings) - set(sensors))
    return Lives(found.asset_class, fleet, tuple(names), source, left_out, rare if rows else [], wild)


def failures(found: Collected) -> dict[str, list[int]]:
    """By asset the rows of its table in which a life ended with a failure."""
    return {key: [life.end - 1 for life in _lives_of(found, key) if life.failed] for key in found.columns}


def _tamed(found: Collected, accept: Collection[str]) -> tuple[dict[str, Table], dict[str, int]]:
    """All readings without wild values, and how many those were by channel."""
    tables, total = found.tables(), Counter[str]()
    ends, of_class = failures(found), bands([one.values for one in tables.values()])
    for key, one in tables.items():
        series = Series(one.t, one.values, np.zeros(len(one.t), np.int64))
        series, counts = without(series, found.channels, accept, of_class, ends[key])
        tables[key] = one._replace(values=series.values)
        total.update(counts)
    return tables, dict(sorted(total.items()))


def check_enough(given: Lives) -> None:
    """GateFailed where too few lives of too few assets ended with a failure; one of a few cycles does not count."""
    lengths = [len(each.sensors) for each in given.fleet.histories]
    owners = [owner for owner, length in zip(given.fleet.owner_of, lengths, strict=True) if length >= LEAST_CYCLES]
    count, assets = len(owners), len(set(owners))
    if count >= LEAST_LIVES and assets >= LEAST_ASSETS:
        return
    brief = len(lengths) - count
    if brief:
        raise GateFailed(
            f"{brief} of {len(lengths)} lives of {given.asset_class} have fewer than {LEAST_CYCLES} cycles: "
            f"{LEAST_LIVES} longer ones of {LEAST_ASSETS} assets are needed, {count} of {assets} are there",
            hint="a row is a cycle: in a folder each recording is a whole life, a row for each of its cycles",
        )
    told = "; ".join(f"{why}: {len(names)}, such as {names[0]}" for why, names in sorted(given.left_out.items()))
    raise GateFailed(
        f"{count} lives of {assets} assets of {given.asset_class} ended with a failure, {LEAST_LIVES} of "
        f"{LEAST_ASSETS} are needed" + (f" (left out: {told})" if told else ""),
        hint="headwater edge overhauled ASSET, with --failed where it had failed, tells where lives begin and end; "
        "in a folder each recording is a life up to its failure",
    )


def _lives_of(found: Collected, key: str) -> list[Life]:
    if found.site:
        return [Life(0, len(found.columns[key]), begins=True, failed=True)]
    return list(found.overhauls.get(key, Overhauls()).lives(found.columns[key]))


def _why_not(life: Life, *, is_lifelong: bool) -> str:
    if life.failed is None:
        return GOES_ON
    if not life.failed:
        return PREVENTED
    return UNKNOWN_BEGIN if is_lifelong and not life.begins else ""


def _sensors(
    rows: list[Floats], channels: tuple[str, ...], settings: tuple[str, ...], present: float
) -> tuple[str, ...]:
    if not rows:
        return tuple(name for name in channels if name not in settings)
    shares = np.isfinite(np.concatenate(rows)).mean(axis=0)
    found = tuple(n for n, share in zip(channels, shares, strict=True) if share >= present and n not in settings)
    if not found:
        raise BadInput(
            f"no channel is left to be a sensor: none but settings is in {present:.0%} of the cycles",
            hint="settings say how a machine is run; name only those",
        )
    return found
