"""Remaining life over kills, swaps, overhauls and restored states: the bits of the trainer, each output once."""

from __future__ import annotations

import functools
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.scorer import recovery
from edge_agent.scorer.judge import Judge
from edge_agent.scorer.models import Floats, Id, Loaded
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.recovery import adopt
from edge_agent.scorer.scoring import episode_id
from headwater.contract import headers, reading, topics
from headwater.contract.alarm import AlarmRule, AlarmState, step
from headwater.contract.arrival import Unusable
from headwater.contract.checkpoint import SWAP_PREFIX, decode
from headwater.contract.life import LifeSpec
from headwater.contract.memory import Memory, MemorySpec
from headwater.contract.messages import Score
from headwater.contract.messages import decode as decode_message
from headwater.contract.overhaul import Came, Overhaul, Overhauled, came
from headwater.contract.windows import Cadence, Charge, Expected, Recent, Windows, expected
from headwater.transport.kafka_batch import Record
from tests.contract.lives import features, memory, of_life
from tests.edge_agent.scorer import test_lives as lives
from tests.edge_agent.scorer.models import features as sliding
from tests.edge_agent.scorer.models import id_of, make

LIFE = LifeSpec(125.0, 40.0, (20.0, 80.0), (-5.0, -10.0, -20.0), (6.0, 12.0, 15.0))


class Arithmetic:
    """A score of 0 to 140 by plain arithmetic of the vector; NaN now and then."""

    def __init__(self, channels: int) -> None:
        self._channels = channels

    def score(self, vectors: Floats) -> tuple[Floats, Floats]:
        scores = (np.abs(vectors).sum(axis=1) * np.float32(9.0)) % np.float32(140.0)
        scores[np.abs(vectors[:, 0]) < 0.05] = np.nan
        return scores, np.zeros((len(vectors), self._channels), np.float32)


@functools.cache
def version(number: int) -> Loaded:
    """1 and 2 know the same sensors, 3 one more, 4 has a sliding window, 5 is of another class."""
    if number == 4:
        _, manifest = make(number, sliding(4, 2, ("a",), max_gap_s=1e9), asset_class="engine")
    else:
        spec = features(memory(number, ("a", "b", "c") if number == 3 else ("a", "b")))
        asset_class = "press" if number == 5 else "engine"
        manifest = of_life(make(number, asset_class=asset_class)[1], spec, LIFE)
        manifest = msgspec.structs.replace(manifest, alarm=AlarmRule(open_after=2, close_after=4, recovery=0.6))
    manifest.check()
    model = Arithmetic(len(manifest.features.channels))
    return Loaded(id_of(manifest), manifest, model, Cadence.of(manifest.features))  # type: ignore[arg-type]  # stands in for a Model


LOADED: dict[Id, Loaded] = {version(n).id: version(n) for n in range(1, 6)}


def usable(records: list[Record]) -> list[Came]:
    found = []
    for record in records:
        try:
            found.append(came(record.offset, record.key, record.value, record.headers))
        except Unusable:
            continue
    return found


class Logs(lives.Logs):
    """With overhauls among what is read again."""

    def between(self, start: int, end: int, most: int) -> Recent:
        recent = Recent(max(most, end - start))
        for each in usable(self.readings[start:end]):
            recent.add(each)
        return recent


class Life(lives.Life):
    """As edge_agent/scorer/swap.py rewinds: only for lives that cannot go on."""

    def chunk(self, records: list[Record]) -> None:
        self.settle(Judge(lives.SITE, LOADED).judge(self.partition, records, 0), records)

    def swap(self, number: int) -> None:
        loaded, at, windows = version(number), self.partition.position, self.partition.windows
        name, cadence = loaded.manifest.asset_class, loaded.cadence
        goes_on = windows.cadence(name) == cadence or windows.can_go_on(name, cadence)
        start = at if goes_on else max(0, at - self.rng.randint(0, 60))
        charge = Charge(name, number, loaded.id.sha256, at, start, cadence, 0, 0, "disk", loaded.id.manifest_sha256)
        rewound = self.logs.between(start, at, 0).since(start)
        self.checkpoint({name: charge})
        adopt(self.partition, windows.swap(name, cadence, rewound))
        self.partition.charges[name] = charge


def stream(rng: random.Random, count: int) -> list[Record]:
    """Cycles of three machines with overhauls, poison, gaps in sensors and settings; one changes its class."""
    found = []
    for offset in range(count):
        asset = rng.choice("pqr")
        asset_class = ("engine", "press", "press", "unknown")[offset // 40 % 4] if asset == "r" else "engine"
        if rng.random() < 0.06:
            said = Overhaul(asset, offset, failed=rng.random() < 0.5)
            found.append(Record(offset, 0, asset.encode(), said.encode(), ((headers.OVERHAULED, asset.encode()),)))
            continue
        values = {name: rng.gauss(0, 1) if rng.random() > 0.1 else None for name in ("a", "b", "c")}
        values["load"] = rng.choice((0.1, 0.9)) if rng.random() > 0.05 else None
        value = b"{" if rng.random() < 0.05 else reading.encode(offset * 3_600_000, values)
        found.append(Record(offset, 0, asset.encode(), value, ((headers.CLASS, asset_class.encode()),)))
    return found


def vector_of(of: MemorySpec, log: list[Came], due: Expected) -> bytes:
    """The vector of a life as the trainer steps it, from the log alone: what came since its first cycle."""
    stepped = Memory(of)
    found = np.empty(0)
    for one in log:
        if isinstance(one, Overhauled) or one.asset != due.asset or one.asset_class != due.charge.asset_class:
            continue
        row = [one.reading.values.get(name) for name in of.settings + of.sensors]
        if due.window.first_offset <= one.offset <= due.window.last_offset and None not in row[: len(of.settings)]:
            data = np.array([row], np.float64)
            found = stepped.step(data[:, : len(of.settings)], data[:, len(of.settings) :])
    assert int(stepped.cycles[0]) == due.window.cycles
    return found.tobytes()


Told = tuple[str, int, int, object, object, object]


def recount(logs: lives.Logs) -> tuple[list[Told], list[tuple[int, str, str]]]:
    """The scores and alarms that readings, overhauls and swap records demand."""
    state, log = logs.written[topics.STATE], usable(logs.readings)
    swaps = [decode(r.value or b"", Charge) for r in state if (r.key or b"").startswith(SWAP_PREFIX.encode())]
    dues = {each.window.last_offset: each for each in expected(log, swaps)}
    scores: list[Told] = []
    alarms: list[tuple[int, str, str]] = []
    states: dict[str, tuple[str, AlarmState]] = {}
    for one in log:
        if isinstance(one, Overhauled):
            of_class, before = states.get(one.asset, ("", AlarmState()))
            in_charge = [c for c in swaps if c.asset_class == of_class and c.since <= one.offset]
            if in_charge and in_charge[-1].cadence.memory is not msgspec.UNSET:
                states[one.asset] = of_class, AlarmState()
                alarms += [(one.offset, before.episode, "closed")] if before.episode else []
            continue
        due = dues.get(one.offset)
        if due is None:
            continue
        by = version(due.charge.version)
        manifest, spec = by.manifest, by.manifest.features
        known, before = states.get(one.asset, ("", AlarmState()))
        before = before if known == one.asset_class else AlarmState()
        row = spec.vector("", due.window.values)
        if spec.memory is not msgspec.UNSET:
            assert row.tobytes() == vector_of(spec.memory, log, due)
        number = float(by.model.score(np.array([row]))[0][0])
        name = episode_id(lives.SITE, one.asset, one.offset)
        after, transition = step(manifest.alarm, before, number, manifest.threshold_of(""), name)
        states[one.asset] = one.asset_class, after
        alarms += [(one.offset, transition.episode, transition.kind)] if transition else []
        left = LIFE.told(number) if manifest.life and np.isfinite(number) else None
        since = due.window.life_since if manifest.life else msgspec.UNSET
        said = left.low if left else msgspec.UNSET
        scores.append(
            (repr(None if np.isnan(number) else number), one.offset, manifest.version, said, since, due.asset)
        )
    return scores, alarms


def written(logs: lives.Logs) -> list[Told]:
    found: list[Told] = []
    for record in logs.written[topics.SCORES]:
        s = decode_message(record.value, Score)
        offset = lives.last_source([record])
        found.append((repr(s.score), offset, s.version, s.low, s.life_since, s.asset))
    return found


def live(seed: int, deadly: float) -> tuple[lives.Logs, Partition, int]:
    rng = random.Random(seed)
    logs = Logs(stream(rng, 300))
    for kills in range(1000):
        life = Life(logs, rng, deadly if kills < 200 else 0.0)
        try:
            life.run()
        except lives.Killed:
            continue
        return logs, life.partition, kills
    raise AssertionError("no life came to its end")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([0.0, 0.02, 0.1]))
def test_lives_cut_anywhere_write_what_one_life_would(seed: int, deadly: float) -> None:
    """A kill may leave any beginning of any write: every score has the bits of a life stepped in one go, once."""
    logs, partition, _ = live(seed, deadly)
    scores, alarms = recount(logs)
    assert written(logs) == scores
    assert lives.written_alarms(logs) == alarms
    totals = partition.totals()
    assert totals["windows"] == len(scores)
    assert totals.get("dead_letters", 0) == len(logs.readings) - len(usable(logs.readings))


def test_the_campaign_kills_swaps_and_overhauls() -> None:
    """The property above would be empty without kills, ended alarms, unplaced readings, known and unknown begins."""
    found = [live(seed, 0.1) for seed in range(10)]
    assert sum(kills for _, _, kills in found) > 30
    renewed = [{o.offset for o in usable(logs.readings) if isinstance(o, Overhauled)} for logs, _, _ in found]
    ended = [
        at
        for (logs, _, _), at_all in zip(found, renewed, strict=True)
        for at, _, _ in lives.written_alarms(logs)
        if at in at_all
    ]
    assert len(ended) > 5
    assert sum(partition.totals().get("unplaced", 0) for _, partition, _ in found) > 10
    told = [score for logs, _, _ in found for score in written(logs)]
    assert {score[2] for score in told} == {1, 2, 3, 4, 5}
    assert sum(score[4] == -1 for score in told) > 50
    assert sum(score[4] not in (-1, msgspec.UNSET) for score in told) > 200


GUARDS: dict[str, tuple[object, str, object]] = {
    "overhauls": (Windows, "renew", lambda *_: None),
    "lives": (Windows, "go_on", lambda *_: False),
    "refilled lives": (recovery, "adopt", lambda *_: None),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_some_life_is_another(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thing that a new life of the scorer finds out is needed: without it the recount differs for some seed."""
    with monkeypatch.context() as careless:
        careless.setattr(*GUARDS[guard])
        found = [live(seed, 0.1)[0] for seed in range(40)]
    assert any(written(logs) != recount(logs)[0] for logs in found)
