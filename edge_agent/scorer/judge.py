"""From a chunk of one partition's readings to what is written about them. Pure but for the model's arithmetic.

Each output names the reading that caused it: the last one of its window, or the one that could not be used. At most
one output a topic comes from one reading, in the order of the readings; so the last output in a topic tells how far
a former life came, and outputs up to there are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edge_agent.scorer import partition as counted
from edge_agent.scorer.models import Floats, Id, Loaded
from edge_agent.scorer.partition import Partition
from headwater.contract import topics
from headwater.contract.alarm import Transition, step
from headwater.contract.arrival import Arrival, Unusable, arrival
from headwater.contract.features import FeatureSpec, Window, vector
from headwater.contract.messages import Alarm, Score
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
    """An alarm that the window ending at `offset` opened or closed."""

    offset: int
    alarm: Alarm
    by: Loaded


class Verdicts(NamedTuple):
    """What is to be written about a chunk."""

    dead_letters: list[DeadLetter]
    alarms: list[Raised]
    scores: list[Judged]


class _Due(NamedTuple):
    arrival: Arrival
    window: Window
    by: Loaded


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
        dues: list[_Due] = []
        for record in records:
            partition.count(counted.READINGS)
            try:
                came = arrival(record.offset, record.key, record.value, record.headers)
            except Unusable as error:
                partition.count(counted.DEAD_LETTERS)
                if record.offset > partition.tails[topics.DEAD_LETTERS]:
                    dead_letters.append(DeadLetter(record, error.reason, str(error)))
                continue
            due = self._take(partition, came)
            if due is not None:
                dues.append(due)
        return Verdicts(dead_letters, *self._decide(partition, dues, now_ms))

    def _take(self, partition: Partition, came: Arrival) -> _Due | None:
        charge = partition.charges.get(came.asset_class)
        if charge is None:
            partition.count(counted.BEFORE_MODEL)
        if came.asset in partition.memories or charge is not None:
            partition.dirty.add(came.asset)
        if came.offset < partition.ahead.get(came.asset, 0):
            return None
        window = partition.windows.push(came)
        if charge is None:
            return None
        memory = partition.memory(came.asset)
        if window is None:
            return None
        memory.windows += 1
        by = self._loaded.get(Id.of(charge.asset_class, charge))
        return _Due(came, window, by) if by is not None else None

    def _decide(self, partition: Partition, dues: Sequence[_Due], now_ms: int) -> tuple[list[Raised], list[Judged]]:
        numbers, shares = _run(self._site, dues)
        alarms: list[Raised] = []
        scores: list[Judged] = []
        for due, number, contributions in zip(dues, numbers, shares, strict=True):
            offset, manifest = due.window.last_offset, due.by.manifest
            threshold = manifest.threshold_of(f"{self._site}/{due.arrival.asset}")
            memory = partition.memory(due.arrival.asset)
            memory.not_finite += not math.isfinite(number)
            before = memory.alarm_in(due.arrival.asset_class)
            name = episode_id(self._site, due.arrival.asset, offset)
            memory.alarm, transition = step(manifest.alarm, before, number, threshold, name)
            memory.alarm_class = due.arrival.asset_class
            score = Score(
                asset=due.arrival.asset,
                asset_class=due.arrival.asset_class,
                t_first=due.window.t_first,
                t_last=due.window.t_last,
                score=number if math.isfinite(number) else None,
                threshold=threshold,
                version=manifest.version,
            )
            if offset > partition.tails[topics.SCORES]:
                scores.append(Judged(due.window, score, due.by))
            if transition is not None and offset > partition.tails[topics.ALARMS]:
                channels = top_channels(manifest.features, contributions)
                alarm = _alarm(self._site, score, number, transition, channels, now_ms)
                alarms.append(Raised(offset, alarm, due.by))
        return alarms, scores


def episode_id(site: str, asset: str, offset: int) -> str:
    """Name of an episode: the same in every life, since it is made of what opened it."""
    return f"{site}-{asset}-{offset}"


def top_channels(spec: FeatureSpec, contributions: Floats) -> list[tuple[str, float]]:
    """The channels that contribute most to a score, largest first, as shares of the whole.

    A channel's contribution is that of its mean and of its spread; [2 * channels] in the order of `spec.names`.
    """
    finite = np.where(np.isfinite(contributions), contributions, 0).astype(np.float64)
    whole = np.clip(finite, 0, None).reshape(2, len(spec.channels)).sum(axis=0)
    total = float(whole.sum())
    if total <= 0:
        return []
    order = np.argsort(-whole, kind="stable")[:TOP_CHANNELS]
    return [(spec.channels[i], round(float(whole[i]) / total, 4)) for i in order if whole[i] > 0]


def _run(site: str, dues: Sequence[_Due]) -> tuple[list[float], list[Floats]]:
    """Score and contributions of each window; one call a model."""
    numbers = [math.nan] * len(dues)
    shares: list[Floats] = [np.empty(0, np.float32)] * len(dues)
    groups: dict[Id, list[int]] = {}
    for i, due in enumerate(dues):
        groups.setdefault(due.by.id, []).append(i)
    for members in groups.values():
        by = dues[members[0]].by
        spec = by.manifest.features
        vectors = np.stack(
            [vector(spec.scaling_of(f"{site}/{dues[i].arrival.asset}"), dues[i].window.values) for i in members]
        )
        scores, contributions = by.model.score(vectors)
        for i, score, contribution in zip(members, scores, contributions, strict=True):
            numbers[i], shares[i] = float(score), contribution
    return numbers, shares


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
    )
