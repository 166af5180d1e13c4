"""Alarms and labels, joined by asset and time. Pure.

An alarm is right when a fault that a label tells of reaches into it, or begins within `lead_ms` behind its end: a
machine is repaired after its alarm. It is wrong when labels of that time say only that there was no fault. Of the
others nothing is known, and they count in no precision. A fault is found when an alarm is right by it.

What an operator said of an alarm is a label of that alarm alone, and counts only where no order speaks: who repaired
the machine knows more. It counts in no recall, since nobody says a word of an alarm that did not come. That a machine
failed (FAILURE) is said with its overhaul, alarm or not: it counts as an order of its moment does, in recall too, but
does not say that the machine was well at any other time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from cloud_trainer.datasets.health import Mask
from cloud_trainer.judging.material import FAULT, NORMAL, UNKNOWN, Truth
from cloud_trainer.series import Series, TrainingSet
from headwater.contract.labels import FAILURE, Label
from headwater.contract.messages import Alarm

_EVER = 1 << 62


class Episode(NamedTuple):
    """An alarm of an asset, from its opening to its closing (far away while it is open), in sensor time."""

    asset_key: str
    asset_class: str
    version: int
    start: int
    end: int
    name: str = ""  # that the alarm gave it


class Restated(msgspec.Struct, frozen=True):
    """What is known of the alarms of one version, or of all (version 0), as of the labels with this digest."""

    asset_class: str
    version: int
    alarms: int
    known: int
    right: int
    faults: int
    found: int

    @property
    def precision(self) -> float | None:
        """Share of alarms that were right, among those of which it is known."""
        return self.right / self.known if self.known else None

    @property
    def recall(self) -> float | None:
        """Share of faults in which there was an alarm."""
        return self.found / self.faults if self.faults else None

    @property
    def known_share(self) -> float | None:
        """Share of alarms of which it is known whether they were right."""
        return self.known / self.alarms if self.alarms else None


def episodes(alarms: Iterable[Alarm]) -> list[Episode]:
    """Episodes from their records, in whatever order they come: a backlog is in another topic than what came first.

    Of one whose opening is gone nothing is known but that it ended: it is taken to begin there. A record that came
    twice counts once.
    """
    named: dict[tuple[str, str], dict[tuple[int, bool], Alarm]] = {}
    for alarm in alarms:
        records = named.setdefault((f"{alarm.site}/{alarm.asset}", alarm.episode), {})
        records.setdefault((alarm.t, alarm.state == "closed"), alarm)
    found = [
        one._replace(name=name)
        for (key, name), records in named.items()
        for one in _paired(key, [records[at] for at in sorted(records)])
    ]
    return sorted(found, key=lambda one: (one.asset_key, one.start))


def _paired(key: str, records: list[Alarm]) -> Iterator[Episode]:
    """Episodes of one name, of its records by time; two of a name are of an edge whose log was made anew."""
    states = [one.state for one in records]
    if states == ["closed", "opened"]:  # the sensor's clock was set back in between
        yield Episode(key, records[1].asset_class, records[1].version, records[0].t, records[1].t)
        return
    before: Alarm | None = None
    for alarm in records:
        if alarm.state == "opened":
            before = before or alarm
            continue
        first = before or alarm
        yield Episode(key, first.asset_class, first.version, first.t, alarm.t)
        before = None
    if before is not None:
        yield Episode(key, before.asset_class, before.version, before.t, _EVER)


def restate(
    asset_class: str, alarms: Sequence[Episode], labels: Sequence[Label], lead_ms: int, assets: Iterable[str] = ()
) -> list[Restated]:
    """Of all versions together first, then of each.

    Faults are those of `assets`, which the class is known to have, and of those that have had an alarm of it. They
    count for no single version: which one was in charge of an asset that raised no alarm is not in its alarms.
    """
    mine = [one for one in alarms if one.asset_class == asset_class]
    by_asset: dict[str, list[Label]] = {}
    words = {(label.asset_key, label.episode): label.is_fault for label in labels if label.episode}
    for label in _orders(labels):
        by_asset.setdefault(label.asset_key, []).append(label)
    alarms_of: dict[str, list[Episode]] = {key: [] for key in assets}
    for one in mine:
        alarms_of.setdefault(one.asset_key, []).append(one)
    faults = [label for key in sorted(alarms_of) for label in by_asset.get(key, []) if label.is_fault]
    found = sum(any(_reaches(one, label, lead_ms) for one in alarms_of[label.asset_key]) for label in faults)
    told = {one: _is_right(one, by_asset.get(one.asset_key, []), lead_ms) for one in mine}
    told |= {one: words.get((one.asset_key, one.name)) for one, is_right in told.items() if is_right is None}
    groups = [(0, mine), *((v, [one for one in mine if one.version == v]) for v in sorted({m.version for m in mine}))]
    return [
        Restated(
            asset_class,
            version,
            len(group),
            sum(told[one] is not None for one in group),
            sum(told[one] is True for one in group),
            len(faults) if version == 0 else 0,
            found if version == 0 else 0,
        )
        for version, group in groups
    ]


def _reaches(one: Episode, label: Label, lead_ms: int) -> bool:
    return one.start <= label.t_to and one.end >= label.t_from - lead_ms


def _is_right(one: Episode, labels: Sequence[Label], lead_ms: int) -> bool | None:
    if any(label.is_fault and _reaches(one, label, lead_ms) for label in labels):
        return True
    return False if any(not label.is_fault and _reaches(one, label, 0) for label in labels) else None


def _orders(labels: Iterable[Label]) -> list[Label]:
    return [label for label in labels if not label.episode]


def truth_of(learn: TrainingSet, labels: Sequence[Label], lead_ms: int) -> Mapping[str, Truth]:
    """What labels say of each reading: an asset that any label is about was looked after, and normal otherwise.

    The time before a fault, in which it may have grown, is unknown. Of other assets nothing is known but what operators
    said of their alarms. Where orders speak, these hold.
    """
    found: dict[str, Truth] = {}
    for key, series in learn.series.items():
        mine = [label for label in labels if label.asset_key == key]
        if not mine:
            continue
        orders = _orders(mine)
        is_looked_after = any(label.kind != FAILURE for label in orders)
        truth = np.full(len(series), NORMAL if is_looked_after else UNKNOWN, np.int8)
        for label in mine:
            if label.episode:
                truth[_within(series, label)] = FAULT if label.is_fault else NORMAL
        for label in orders:
            truth[_within(series, label)] = NORMAL
        faults = [label for label in orders if label.is_fault]
        for label in faults:
            truth[(series.t >= label.t_from - lead_ms) & (series.t < label.t_from)] = UNKNOWN
        for label in faults:
            truth[_within(series, label)] = FAULT
        found[key] = truth
    return found


def _within(series: Series, label: Label) -> Mask:
    return np.asarray((series.t >= label.t_from) & (series.t <= label.t_to))
