"""Exactly once without Kafka: lives that end at every step of the scorer's work, on logs held in memory."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.scorer import outputs
from edge_agent.scorer.judge import Judge, Verdicts
from edge_agent.scorer.models import Floats, Id, Loaded
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.recovery import adopt, last_source, remember, restore
from edge_agent.scorer.scoring import episode_id
from headwater.contract import headers, reading, topics
from headwater.contract.acknowledgement import Acknowledgement, acknowledgement
from headwater.contract.alarm import AlarmState, step
from headwater.contract.arrival import Arrival, Unusable, arrival
from headwater.contract.checkpoint import SWAP_PREFIX, decode
from headwater.contract.episodes import EpisodeRule
from headwater.contract.features import vector
from headwater.contract.following import EpisodeSpec, Following, Healthy, told
from headwater.contract.messages import Alarm, Score
from headwater.contract.messages import decode as decode_message
from headwater.contract.windows import Cadence, Charge, Recent, expected
from headwater.transport.kafka_batch import Out, Record
from tests.edge_agent.scorer.models import features, id_of, make

SITE = "lyon"


class Killed(Exception):
    """The life ends here."""


class Arithmetic:
    """A model whose score is plain arithmetic of the vector; NaN now and then."""

    def __init__(self, version: int) -> None:
        self._version = version

    def score(self, vectors: Floats) -> tuple[Floats, Floats]:
        scores = np.abs(vectors).sum(axis=1) * np.float32(0.6 + 0.1 * self._version)
        scores[np.abs(vectors[:, 0]) < 0.05] = np.nan
        return scores, np.abs(vectors)


def following(number: int) -> EpisodeSpec:
    """Narrow limits, so that something happens; each version has its own."""
    rule = EpisodeRule(1.2, 1, 0.05, recovery=2, settle=3, settle_margin=1.2, longest=6, void_rows=5, void_share=0.4)
    return EpisodeSpec(rule, {"": Healthy((0.0, 0.1), (0.4 + 0.1 * number, 0.6))}, 2.0, 7.0)


@functools.cache
def version(number: int) -> Loaded:
    """1 and 2 cut windows alike, 3 and 4 otherwise; 5 is of another class. 2, 3 and 5 follow their machines."""
    spec = features(*((6, 2) if number in (1, 2) else (4, 3)))
    _, manifest = make(number, spec, asset_class="fan" if number == 5 else "pump")
    if number in (2, 3, 5):
        manifest = msgspec.structs.replace(manifest, episodes=following(number))
        manifest.check()
    model = Arithmetic(number)
    return Loaded(id_of(manifest), manifest, model, Cadence.of(spec))  # type: ignore[arg-type]  # stands in for a Model


LOADED: dict[Id, Loaded] = {version(n).id: version(n) for n in range(1, 6)}


@dataclass
class Logs:
    """The topics of one partition."""

    readings: list[Record]
    written: dict[str, list[Record]] = field(default_factory=lambda: {each.name: [] for each in topics.edge_topics()})

    def write(self, topic: str, outs: list[Out]) -> None:
        for out in outs:
            self.written[topic].append(Record(len(self.written[topic]), 0, out.key, out.value, out.headers))

    def between(self, start: int, end: int, most: int) -> Recent:
        recent = Recent(most)
        for each in arrivals(self.readings[start:end]):
            recent.add(each)
        return recent


def arrivals(records: list[Record]) -> list[Arrival]:
    found = []
    for record in records:
        try:
            found.append(arrival(record.offset, record.key, record.value, record.headers))
        except Unusable:
            continue
    return found


class Life:
    """One life over the logs: recovery, then chunks, checkpoints and swaps until `rng` ends it."""

    def __init__(self, logs: Logs, rng: random.Random, deadly: float) -> None:
        self.logs, self.rng, self.deadly = logs, rng, deadly
        remembered = remember({record.key or b"": record for record in logs.written[topics.STATE]})
        again = {c.asset_class: logs.between(c.rewound_from, c.since, 10_000).since(0) for c in remembered.refills()}
        self.partition = restore(0, remembered, again)
        for topic in (topics.SCORES, topics.ALARMS, topics.DEAD_LETTERS):
            self.partition.tails[topic] = last_source(logs.written[topic][-1:])

    def run(self) -> None:
        """To the end of the readings, or Killed."""
        while self.partition.position < len(self.logs.readings):
            start = self.partition.position
            self.chunk(self.logs.readings[start : start + self.rng.randint(1, 30)])
            if self.rng.random() < 0.2:
                self.checkpoint({})
            if self.rng.random() < 0.3 and self.partition.position > self.partition.settled():
                self.swap(self.rng.randint(1, 5))
        self.checkpoint({})

    def write(self, topic: str, outs: list[Out]) -> None:
        """Write; a kill leaves any beginning of it."""
        if self.rng.random() < self.deadly:
            self.logs.write(topic, outs[: self.rng.randint(0, len(outs))])
            raise Killed
        self.logs.write(topic, outs)

    def chunk(self, records: list[Record]) -> None:
        self.settle(Judge(SITE, LOADED).judge(self.partition, records, 0), records)

    def settle(self, verdicts: Verdicts, records: list[Record]) -> None:
        """As edge_agent/scorer/ledger.py does it."""
        self.write(topics.DEAD_LETTERS, [outputs.dead_letter(each, 0) for each in verdicts.dead_letters])
        self.write(topics.ALARMS, [outputs.alarm(each, 0) for each in verdicts.alarms])
        self.write(topics.SCORES, [outputs.score(each, b"test", 0) for each in verdicts.scores])
        self.partition.position = records[-1].offset + 1

    def checkpoint(self, swaps: dict[str, Charge]) -> None:
        """As edge_agent/scorer/ledger.py does it: the batch with the swap records is written whole or not at all."""
        assets, rest = outputs.assets(self.partition, 0), outputs.checkpoint(self.partition, swaps, 0)
        self.write(topics.STATE, assets if swaps else assets + rest)
        if swaps:
            if self.rng.random() < self.deadly:
                raise Killed
            self.logs.write(topics.STATE, rest)
        self.partition.dirty.clear()

    def swap(self, number: int) -> None:
        """As edge_agent/scorer/swap.py does it."""
        loaded, at = version(number), self.partition.position
        name = loaded.manifest.asset_class
        alike = self.partition.windows.cadence(name) == loaded.cadence
        start = at if alike else max(0, at - self.rng.randint(0, 60))
        _, _, model, manifest = loaded.id
        charge = Charge(name, number, model, at, start, loaded.cadence, 0, 0, "disk", manifest)
        rewound = self.logs.between(start, at, loaded.cadence.window - 1).since(start)
        self.checkpoint({name: charge})
        filled = self.partition.windows.swap(name, charge.cadence, rewound)
        adopt(self.partition, filled)
        self.partition.charges[name] = charge


def stream(rng: random.Random, count: int) -> list[Record]:
    """Readings of three assets with poison, gaps in values and in time, and one that changes its class."""
    found, t = [], 0
    for offset in range(count):
        t += 40_000 if rng.random() < 0.02 else 1000
        asset = rng.choice("abc")
        asset_class = ("pump", "fan", "fan", "unknown")[offset // 40 % 4] if asset == "c" else "pump"
        values = {name: rng.gauss(0, 1) if rng.random() > 0.1 else None for name in ("flow", "current")}
        if rng.random() < 0.15:  # an operator calls an episode false or true that may have begun lately, or nothing
            episode = episode_id(SITE, asset, max(0, offset - rng.randint(1, 12)))
            said = Acknowledgement(episode, is_false=rng.random() < 0.8, at=t)
            found.append(Record(offset, 0, asset.encode(), said.encode(), ((headers.ACKNOWLEDGES, episode.encode()),)))
            continue
        value = b"{" if rng.random() < 0.05 else reading.encode(t, values)
        found.append(Record(offset, 0, asset.encode(), value, ((headers.CLASS, asset_class.encode()),)))
    return found


def recount(logs: Logs) -> tuple[list[tuple[str, int, int]], list[tuple[int, str, str]], int]:
    """The scores and alarms that the readings and swap records demand, and how many false words change nothing."""
    state = logs.written[topics.STATE]
    swaps = [decode(r.value or b"", Charge) for r in state if (r.key or b"").startswith(SWAP_PREFIX.encode())]
    scores: list[tuple[str, int, int]] = []
    alarms: list[tuple[int, str, str]] = []
    states: dict[str, tuple[str, AlarmState]] = {}
    followed: dict[str, tuple[int, Following]] = {}
    spoken = [
        (r.offset, (r.key or b"").decode(), a) for r in logs.readings if (a := acknowledgement(r.value, r.headers))
    ]

    unheeded: list[int] = []

    def answer(before: float) -> None:
        while spoken and spoken[0][0] < before:
            offset, asset, word = spoken.pop(0)
            of_class, alarm = states.get(asset, ("", AlarmState()))
            in_charge = [c.version for c in swaps if c.asset_class == of_class and c.since <= offset]
            is_open = bool(alarm.episode) and alarm.episode == word.episode
            if not word.is_false:
                continue
            if is_open and asset in followed:  # by the version in charge, or by the one before it
                assert followed[asset][1].acknowledge_false()
            elif is_open and (spec := version(in_charge[-1]).manifest.episodes) is not msgspec.UNSET:
                followed[asset] = in_charge[-1], Following(version(in_charge[-1]).manifest.features, spec, asset)
                followed[asset][1].begin_false()
            else:
                unheeded.append(offset)
                continue
            states[asset] = (of_class, AlarmState())
            alarms.append((offset, word.episode, "closed"))

    for due in expected(arrivals(logs.readings), swaps):
        by, offset = version(due.charge.version), due.window.last_offset
        answer(offset)
        manifest = by.manifest
        known, before = states.get(due.asset, (due.charge.asset_class, AlarmState()))
        before = before if known == due.charge.asset_class else AlarmState()
        name = episode_id(SITE, due.asset, offset)
        if manifest.episodes is msgspec.UNSET:
            followed.pop(due.asset, None)
            one = vector(manifest.features.scaling_of(due.asset), due.window.values)
            number = float(by.model.score(np.array([one]))[0][0])
            after, transition = step(manifest.alarm, before, number, manifest.threshold_of(""), name)
        else:
            one_of = followed.get(due.asset)
            if one_of is None or one_of[0] != manifest.version:
                former, one_of = one_of, (manifest.version, Following(manifest.features, manifest.episodes, due.asset))
                followed[due.asset] = one_of
                if known == due.charge.asset_class and due.asset in states:
                    one_of[1].succeed(former[1].snapshot() if former else {})
                if before.episode:
                    one_of[1].go_on(due.window.values)
            said = by.model.score(np.array([one_of[1].input(due.window.values)]))[0][0]
            verdict = one_of[1].push(due.window.values, float(said), manifest.threshold_of(""))
            number = float(verdict.score[0])
            after, transition = told(verdict, before, name)
        scores.append((repr(None if np.isnan(number) else number), offset, manifest.version))
        states[due.asset] = (due.charge.asset_class, after)
        if transition is not None:
            alarms.append((offset, transition.episode, transition.kind))
    answer(np.inf)
    return scores, alarms, len(unheeded)


def written_scores(logs: Logs) -> list[tuple[str, int, int]]:
    found = []
    for record in logs.written[topics.SCORES]:
        score = decode_message(record.value, Score)
        found.append((repr(score.score), last_source([record]), score.version))
    return found


def written_alarms(logs: Logs) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    for record in logs.written[topics.ALARMS]:
        alarm = decode_message(record.value, Alarm)
        found.append((last_source([record]), alarm.episode, alarm.state))
    return found


def live(seed: int, deadly: float) -> tuple[Logs, Partition, int]:
    """Lives until one comes to the end; the logs, what the last one holds, and the number of kills."""
    rng = random.Random(seed)
    logs = Logs(stream(rng, 400))
    for kills in range(1000):
        life = Life(logs, rng, deadly if kills < 200 else 0.0)
        try:
            life.run()
        except Killed:
            continue
        return logs, life.partition, kills
    raise AssertionError("no life came to its end")


@settings(max_examples=80, deadline=None)
@example(1651, 0.1)  # words on assets that nobody judges yet
@given(st.integers(0, 1 << 32), st.sampled_from([0.0, 0.02, 0.1]))
def test_lives_cut_anywhere_write_what_one_life_would(seed: int, deadly: float) -> None:
    """A kill may leave any beginning of any write: scores, alarms and dead letters are still each there once."""
    logs, partition, _ = live(seed, deadly)
    scores, alarms, unheeded = recount(logs)

    assert written_scores(logs) == scores
    assert written_alarms(logs) == alarms
    words = {r.offset for r in logs.readings if acknowledgement(r.value, r.headers)}
    refused = {record.offset for record in logs.readings} - {each.offset for each in arrivals(logs.readings)} - words
    assert [last_source([r]) for r in logs.written[topics.DEAD_LETTERS]] == sorted(refused)
    totals = partition.totals()
    assert totals.get("readings", 0) == len(logs.readings)
    assert totals.get("dead_letters", 0) == len(refused)
    assert totals["windows"] == len(scores)
    assert totals["unheeded"] == unheeded
    assert totals["not_finite"] == sum(score == "None" for score, _, _ in scores)


def test_the_campaign_kills_and_scores() -> None:
    """The property above would be empty without kills, alarms, swaps and scores that are no number."""
    found = [live(seed, 0.1) for seed in range(10)]

    assert sum(kills for _, _, kills in found) > 30
    assert sum(len(written_alarms(logs)) for logs, _, _ in found) > 10
    assert sum(partition.totals()["not_finite"] for _, partition, _ in found) > 5
    words = [{r.offset for r in logs.readings if acknowledgement(r.value, r.headers)} for logs, _, _ in found]
    assert (
        sum(at in said for (logs, _, _), said in zip(found, words, strict=True) for at, _, _ in written_alarms(logs))
        > 0
    )
    assert {score[2] for logs, _, _ in found for score in written_scores(logs)} == {1, 2, 3, 4, 5}


def forget_episodes(life: Life) -> None:
    for memory in life.partition.memories.values():
        memory.saved = None


GUARDS: dict[str, Callable[[Life], object]] = {
    "tails": lambda life: life.partition.tails.update(dict.fromkeys(life.partition.tails, -1)),
    "ahead": lambda life: life.partition.ahead.clear(),
    "episodes": forget_episodes,
    "refilled windows": lambda life: [life.partition.windows.swap("pump", version(n).cadence, []) for n in (1, 3)],
}


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_something_is_written_twice_or_not_at_all(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thing that a new life finds out is needed: without it the recount differs for some seed."""
    begin = Life.__init__

    def careless(life: Life, *given: object) -> None:
        begin(life, *given)  # type: ignore[arg-type]  # passed on as they came
        GUARDS[guard](life)

    monkeypatch.setattr(Life, "__init__", careless)
    differs = []
    for seed in range(12):
        logs, _, _ = live(seed, 0.1)
        scores, alarms, _ = recount(logs)
        differs.append(written_scores(logs) != scores or written_alarms(logs) != alarms)
    assert any(differs)
