"""From records to columns by asset, with the digest of every range that was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from cloud_trainer.datasets.columns import Block, Columns, Table, table
from cloud_trainer.datasets.digest import PartitionDigest, Span, dataset_digest
from cloud_trainer.datasets.health import Alarms, Mask, healthy
from cloud_trainer.datasets.overhauls import Overhauls
from cloud_trainer.datasets.ranges import Offsets, check_size, parts
from cloud_trainer.datasets.sources import Role, Source, role_of
from cloud_trainer.datasets.spoken import Spoken
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Ints, Series, TrainingSet
from headwater.contract import messages, topics
from headwater.contract.acknowledgement import is_of, word_in
from headwater.contract.arrival import known_name
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Dataset
from headwater.contract.messages import Alarm
from headwater.contract.overhaul import overhaul_in
from headwater.contract.reading_columns import check_channels, decode_all
from headwater.transport.record_columns import RecordColumns

UNDECODABLE, OTHER_CLASS, IN_ALARM = "undecodable", "other-class", "in-alarm"
BAD_ALARM = "undecodable-alarm"
Told = Callable[[int], None]  # of so many records that were read


@dataclass
class Collected:
    """What the ranges of a dataset hold of one asset class, by `site/asset`."""

    asset_class: str
    site: str  # of recordings; empty for topics, which name their sites
    offsets: Offsets
    spans: dict[str, dict[str, Span]] = field(default_factory=dict)
    columns: dict[str, Columns] = field(default_factory=dict)
    alarms: dict[str, Alarms] = field(default_factory=dict)
    overhauls: dict[str, Overhauls] = field(default_factory=dict)
    words: dict[str, Spoken] = field(default_factory=dict)  # of operators, on alarms of the asset
    labels: dict[str, Mask] = field(default_factory=dict)  # of recordings: which rows are abnormal
    excluded: Counter[str] = field(default_factory=Counter)

    @property
    def sha256(self) -> str:
        """The digest of the dataset (digest.py)."""
        return dataset_digest(self.asset_class, self.site, self.spans)

    def called_false(self, key: str) -> set[str]:
        """Episodes of an asset of which the last word in these ranges is that nothing was wrong."""
        return {episode for episode, said in self.words.get(key, Spoken()).last().items() if said.is_false}

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel of the class, by name."""
        found = tuple(sorted(set().union(*(one.channels for one in self.columns.values()))))
        check_channels(found)
        return found

    def tables(self) -> dict[str, Table]:
        """All readings by asset, before anything is left out."""
        channels = self.channels
        return {key: table(one, channels) for key, one in sorted(self.columns.items())}


async def collect(
    source: Source, asset_class: str, told: Told | None = None, most_records: int | None = None
) -> Collected:
    """Read all ranges of a source; DataMissing when a part of them is gone, Transient when a service is away.

    Refused as soon as it gives more than `most_records` readings of the class, whatever it says of itself.
    """
    found = Collected(asset_class, source.site, source.offsets)
    taken = 0
    for part in parts(source.offsets):
        role, digest = role_of(part.topic, source.site), PartitionDigest()
        async with aclosing(source.read(part)) as pieces:
            async for records in pieces:
                digest.add(records)
                if role.kind == topics.ALARMS:
                    _take_alarms(found, role, records)
                else:
                    taken += _take_readings(found, role, _without_notes(found, role, records))
                    check_size(taken, taken if most_records is None else most_records)
                if told is not None:
                    told(len(records.offsets))
        span = Span(part.start, part.end, digest.hexdigest(), digest.records)
        found.spans.setdefault(part.topic, {})[str(part.partition)] = span
    return found


def _take_alarms(found: Collected, role: Role, records: RecordColumns) -> None:
    for at, value in zip(records.timestamps_ms.tolist(), records.values, strict=True):
        try:
            alarm = messages.decode(value, Alarm)
        except BadInput:
            found.excluded[BAD_ALARM] += 1  # the manifest says so; one bad record must not stop training for good
            continue
        of_asset = found.alarms.setdefault(f"{role.site}/{alarm.asset}", Alarms())
        (of_asset.backlog if role.beside else of_asset.fresh).append((at, alarm))


def _without_notes(found: Collected, role: Role, records: RecordColumns) -> RecordColumns:
    """The records without overhauls and words of operators: these have no class and are noted by asset."""
    if all(records.marks):
        return records
    others = []
    for row, (key, mark) in enumerate(zip(records.keys, records.marks, strict=True)):
        logged = int(records.timestamps_ms[row])
        if mark is None and _take_word(found, role, key, records.values[row], logged):
            continue
        said = overhaul_in(records.values[row]) if mark is None else None
        if said is None or said.asset != known_name(key):
            others.append(row)
            continue
        of_asset = found.overhauls.setdefault(f"{role.site}/{said.asset}", Overhauls())
        of_asset.add(int(records.offsets[row]), logged, said.failed, beside=role.beside)
    return records if len(others) == len(records.keys) else records.chosen(others)


def _take_word(found: Collected, role: Role, key: bytes | None, value: bytes | None, logged: int) -> bool:
    said, asset = word_in(value), known_name(key)
    if said is None or not asset or not is_of(said.episode, role.site, asset):
        return False
    found.words.setdefault(f"{role.site}/{asset}", Spoken()).add(logged, said, beside=role.beside)
    return True


def _take_readings(found: Collected, role: Role, records: RecordColumns) -> int:
    """Those of the class, by asset, and how many; what cannot be used is counted."""
    chosen = _of_class(found, records)
    values = records.values if len(chosen) == len(records.values) else [records.values[row] for row in chosen]
    read = decode_all(values)
    rows = chosen[read.rows]
    keys = [records.keys[row] for row in rows.tolist()]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    assets = np.fromiter(map(numbers.__getitem__, keys), np.int64, len(keys))
    order = np.argsort(assets, kind="stable")
    bounds = np.searchsorted(assets[order], np.arange(len(numbers) + 1))
    for key, number in numbers.items():
        mine = order[bounds[number] : bounds[number + 1]]
        places = rows[mine]
        block = Block(
            records.offsets[places], records.timestamps_ms[places], read.t[mine], read.channels, read.values[mine]
        )
        of_asset = found.columns.setdefault(f"{role.site}/{cast('bytes', key).decode()}", Columns())
        (of_asset.backlog if role.beside else of_asset.fresh).append(block)
    found.excluded[UNDECODABLE] += len(chosen) - len(rows)
    return len(rows)


def _of_class(found: Collected, records: RecordColumns) -> Ints:
    """Rows of the class whose key is the name of an asset; the others are counted."""
    wanted = found.asset_class.encode()
    every = np.arange(len(records.offsets), dtype=np.int64)
    named = {each: known_name(each) for each in {*records.keys, *records.marks}}
    if all(named.values()) and set(records.marks) == {wanted}:
        return every
    usable = np.array(
        [bool(named[key] and named[mark]) for key, mark in zip(records.keys, records.marks, strict=True)], dtype=bool
    )
    mine = np.array([mark == wanted for mark in records.marks], dtype=bool)
    found.excluded[UNDECODABLE] += int((~usable).sum())
    found.excluded[OTHER_CLASS] += int((usable & ~mine).sum())
    return np.flatnonzero(usable & mine)


def training_set(found: Collected, recipe: Recipe) -> TrainingSet:
    """What may be called healthy, as columns by asset.

    Alarms are those of the ranges named: without `<site>.alarms` among them everything is taken to be healthy. So is an
    episode that an operator called false within these ranges. Orders have no say in it: a dataset is what its ranges
    hold, and the topic `labels` goes on to change.
    """
    series: dict[str, Series] = {}
    left_out = 0
    for key, one in found.tables().items():
        alarms = found.alarms.get(key, Alarms())
        kept = healthy(one.t, alarms.spans(found.called_false(key)), recipe)
        series[key] = _series(one, kept)
        left_out += int((~kept).sum())
    excluded: Mapping[str, int] = +(found.excluded + Counter({IN_ALARM: left_out}))
    used = sum(map(len, series.values()))
    return TrainingSet(
        found.asset_class, found.channels, series, Dataset(found.offsets, found.sha256, used, dict(excluded))
    )


def _series(one: Table, kept: Mask) -> Series:
    """The readings that `kept` marks; the stretch changes wherever some were left out."""
    stretch = np.cumsum(~kept)
    return Series(one.t[kept], one.values[kept], stretch[kept].astype(np.int64))
