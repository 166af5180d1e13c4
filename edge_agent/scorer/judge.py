"""From a chunk of one partition's readings to what is written about them. Pure but for the model's arithmetic.

Each output names the reading that caused it: the last one of its window, or the one that could not be used. At most
one output a topic comes from one reading, in the order of the readings; so the last output in a topic tells how far
a former life came, and outputs up to there are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from edge_agent.scorer import partition as counted
from edge_agent.scorer.models import Floats, Id, Loaded
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.scoring import Answer, Due, Event, Renewal, Scored, left_of, scored
from headwater.contract import topics
from headwater.contract.acknowledgement import Acknowledgement, acknowledgement
from headwater.contract.alarm import Transition
from headwater.contract.arrival import Arrival, Unusable, arrival, known_name
from headwater.contract.errors import BadInput
from headwater.contract.features import FeatureSpec, Window
from headwater.contract.messages import Alarm, Score
from headwater.contract.overhaul import Overhaul, overhauled
from headwater.contract.windows import Charge
from headwater.transport.kafka_batch.records import Record

TOP_CHANNELS = 3


class DeadLetter(NamedTuple):
    """A record that is not a usable reading."""

    source: Record
    reason: str
    detail: str


class Judged(NamedTuple):
    """A score, the window it is of, and who gave it."""

    window: Window
    score: Score
    by: Loaded


class Raised(NamedTuple):
    """An alarm that the window ending at `offset` opened or closed, or that a word or an overhaul there ended."""

    offset: int
    alarm: Alarm
    by: Loaded
    said: Acknowledgement | Overhaul | None = None


class Verdicts(NamedTuple):
    """What is to be written about a chunk."""

    dead_letters: list[DeadLetter]
    alarms: list[Raised]
    scores: list[Judged]


class Noted(NamedTuple):
    """A reading that a version judges, and the number of the window that it made due in the chunk, -1: none."""

    came: Arrival
    charge: Charge
    due: int


class Judge:
    """Judges chunks for one site with the versions that are `loaded`."""

    def __init__(self, site: str, loaded: Mapping[Id, Loaded]) -> None:
        self._site = site
        self._loaded = loaded

    def judge(self, partition: Partition, records: Iterable[Record], now_ms: int) -> Verdicts:
        """Take the next records of the partition and change its state by them; what is to be written.

        `now_ms` is what `Alarm.raised_at` says. The caller moves `partition.position` once that is acknowledged.
        """
        dead_letters: list[DeadLetter] = []
        dues: list[Event] = []
        noted: list[Noted] = []
        for record in records:
            partition.count(counted.READINGS)
            try:
                came = arrival(record.offset, record.key, record.value, record.headers)
            except Unusable as error:
                if self._answer(partition, record, dues) or self._renew(partition, record, dues):
                    continue
                partition.count(counted.DEAD_LETTERS)
                if record.offset > partition.tails[topics.DEAD_LETTERS]:
                    dead_letters.append(DeadLetter(record, error.reason, str(error)))
                continue
            self._take(partition, came, dues, noted)
        found = scored(self._site, partition, dues)
        _sketch(partition, noted, found)
        return Verdicts(dead_letters, *self._decide(partition, dues, found, now_ms))

    def _take(self, partition: Partition, came: Arrival, dues: list[Event], noted: list[Noted]) -> None:
        """Push a reading into its window; one that is due now is added to `dues`, what is to be sketched to `noted`."""
        charge = partition.charges.get(came.asset_class)
        if charge is None:
            partition.count(counted.BEFORE_MODEL)
        if came.asset in partition.memories or charge is not None:
            partition.dirty.add(came.asset)
        partition.count(counted.UNPLACED, _is_unplaced(came, charge))
        if came.offset < partition.ahead.get(came.asset, 0):
            return
        window = partition.windows.push(came)
        if charge is None:
            return
        due, memory = -1, partition.memory(came.asset)
        if window is not None:
            memory.windows += 1
            by = self._loaded.get(Id.of(charge.asset_class, charge))
            if by is not None:
                due = len(dues)
                dues.append(Due(came, window, by))
        if partition.sketcher is not None:
            noted.append(Noted(came, charge, due))

    def _answer(self, partition: Partition, record: Record, dues: list[Event]) -> bool:
        """Take a record that is an operator's word on an episode; whether it is one."""
        try:
            said = acknowledgement(record.value, record.headers)
        except BadInput:
            return False
        asset = known_name(bytes(record.key or b""))
        if said is None or not asset:
            return False
        if not partition.charges:  # states of assets are written under a checkpoint only, which the first swap makes
            partition.count(counted.UNHEEDED, said.is_false)
        elif record.offset >= partition.ahead.get(asset, 0):
            partition.memory(asset)
            partition.dirty.add(asset)
            t = partition.windows.newest_t(asset)
            dues.append(Answer(asset, record.offset, said, said.at if t is None else t, self._in_charge(partition)))
        return True

    def _renew(self, partition: Partition, record: Record, dues: list[Event]) -> bool:
        """Take a record that says that an asset is as new; whether it is one."""
        found = overhauled(record.offset, record.key, record.value, record.headers)
        if found is None:
            return False
        asset, offset = found.asset, found.offset
        if not partition.charges:  # its states are in the checkpoint until the first swap
            partition.windows.overhaul(asset, offset)
        elif offset >= partition.ahead.get(asset, 0):
            partition.memory(asset)
            partition.dirty.add(asset)
            lives = [name for name, each in partition.charges.items() if each.cadence.memory is not msgspec.UNSET]
            t = partition.windows.newest_t(asset)
            partition.windows.overhaul(asset, offset)
            t = record.timestamp_ms if t is None else t
            dues.append(Renewal(asset, offset, found.said, t, self._in_charge(partition), lives))
        return True

    def _in_charge(self, partition: Partition) -> dict[str, Loaded | None]:
        return {name: self._loaded.get(Id.of(name, charge)) for name, charge in partition.charges.items()}

    def _decide(
        self, partition: Partition, dues: Sequence[Event], founds: Sequence[Scored], now_ms: int
    ) -> tuple[list[Raised], list[Judged]]:
        alarms: list[Raised] = []
        scores: list[Judged] = []
        for due, found in zip(dues, founds, strict=True):
            if not isinstance(due, Due):
                by, ended = found.by, found.transition
                if by is not None and ended is not None and due.offset > partition.tails[topics.ALARMS]:
                    alarms.append(self._ended(due, by, found, ended, now_ms))
                continue
            score = _score(due, found)
            offset = due.window.last_offset
            if offset > partition.tails[topics.SCORES]:
                scores.append(Judged(due.window, score, due.by))
            if found.transition is not None and offset > partition.tails[topics.ALARMS]:
                channels = top_channels(due.by.manifest.features, found.contributions)
                alarm = _alarm(self._site, score, found.number, found.transition, channels, now_ms)
                alarms.append(Raised(offset, alarm, due.by))
        return alarms, scores

    def _ended(self, due: Answer | Renewal, by: Loaded, found: Scored, ended: Transition, now_ms: int) -> Raised:
        """The end of an episode that an operator called false, or that an overhaul made past."""
        manifest = by.manifest
        score = Score(due.asset, manifest.asset_class, due.t, due.t, found.number, found.threshold, manifest.version)
        return Raised(due.offset, _alarm(self._site, score, found.number, ended, [], now_ms), by, due.said)


def _sketch(partition: Partition, noted: Iterable[Noted], found: Sequence[Scored]) -> None:
    """Readings and their scores in the order of the log, so that a sketch is the same however the log was cut."""
    if partition.sketcher is None:
        return
    for came, charge, due in noted:
        partition.sketcher.take(came, charge, _level(found[due]) if due >= 0 else None)


def _level(found: Scored) -> float | None:
    """A score over its threshold; None where it is no number."""
    if not math.isfinite(found.number):
        return None
    return found.number / found.threshold if found.threshold > 0 else math.inf


def _is_unplaced(came: Arrival, charge: Charge | None) -> bool:
    """Whether a reading is no cycle of a life because it lacks a setting."""
    if charge is None or charge.cadence.memory is msgspec.UNSET:
        return False
    return any(came.reading.values.get(name) is None for name in charge.cadence.memory.settings)


def _score(due: Due, found: Scored) -> Score:
    left, is_life = left_of(due, found.number), bool(due.by.manifest.life)  # an unset one is false
    return Score(
        asset=due.arrival.asset,
        asset_class=due.arrival.asset_class,
        t_first=due.window.t_first,
        t_last=due.window.t_last,
        score=found.number if math.isfinite(found.number) else None,
        threshold=found.threshold,
        version=due.by.manifest.version,
        void_since=found.void_since if found.void_since >= 0 else msgspec.UNSET,
        baseline=found.baseline,
        remaining=left.remaining if left else msgspec.UNSET,
        low=left.low if left else msgspec.UNSET,
        high=left.high if left else msgspec.UNSET,
        cycles=due.window.cycles if is_life else msgspec.UNSET,
        life_since=due.window.life_since if is_life else msgspec.UNSET,
    )


def top_channels(spec: FeatureSpec, contributions: Floats) -> list[tuple[str, float]]:
    """The channels that contribute most to a score, largest first, as shares of the whole.

    A channel's contribution is that of all its parts; [parts * channels], the channels of a part side by side.
    """
    finite = np.where(np.isfinite(contributions), contributions, 0).astype(np.float64)
    whole = np.clip(finite, 0, None).reshape(-1, len(spec.channels)).sum(axis=0)
    total = float(whole.sum())
    if total <= 0:
        return []
    order = np.argsort(-whole, kind="stable")[:TOP_CHANNELS]
    return [(spec.channels[i], round(float(whole[i]) / total, 4)) for i in order if whole[i] > 0]


def _alarm(
    site: str, score: Score, number: float, transition: Transition, channels: list[tuple[str, float]], now_ms: int
) -> Alarm:
    return Alarm(
        site=site,
        asset=score.asset,
        asset_class=score.asset_class,
        episode=transition.episode,
        state=transition.kind,
        t=score.t_last,
        score=number,
        threshold=score.threshold,
        peak=transition.peak,
        version=score.version,
        channels=channels,
        raised_at=now_ms,
        remaining=score.remaining,
        low=score.low,
        high=score.high,
    )
