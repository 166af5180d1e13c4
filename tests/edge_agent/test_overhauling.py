"""Remaining life at the edge, through the real scorer on a real Kafka cluster, from overhaul to overhaul."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from headwater.app.cli import app
from headwater.contract import headers, topics
from headwater.contract.arrival import Arrival
from headwater.contract.desired import model_folder
from headwater.contract.errors import BadInput, DataMissing
from headwater.contract.messages import Alarm, Score, decode
from headwater.contract.overhaul import overhaul, overhaul_in
from headwater.contract.partitioning import partition_of
from headwater.transport.kafka_batch.deletion import delete_records
from tests.contract.lives import cycle
from tests.edge_agent.scorer.edge import PARTITIONS, SITE, Edge, out
from tests.edge_agent.scorer.life_models import CLASS, make, retold, told
from tests.edge_agent.scorer.models import desire, place
from tests.services import Broker

ASSET = "engine-1"
HOME = partition_of(ASSET.encode(), PARTITIONS)


@pytest.fixture
async def edge(private_kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """An edge on a cluster of its own, which commands find too."""
    monkeypatch.setenv("HEADWATER_EDGE__KAFKA__BROKERS", private_kafka.bootstrap)
    monkeypatch.setenv("HEADWATER_TRAINER__KAFKA__BROKERS", private_kafka.bootstrap)
    monkeypatch.setenv("HEADWATER_EDGE__STATE_DIR", str(tmp_path))
    monkeypatch.setenv("HEADWATER_EDGE__SITE", SITE)  # --site sets it for good
    found = await Edge.open(private_kafka.bootstrap, tmp_path)
    yield found
    await found.close()


class Machine:
    """Readings of one engine, one a cycle."""

    def __init__(self, edge: Edge, asset: str = ASSET) -> None:
        self.edge, self.asset, self.number = edge, asset, 0

    async def run(self, cycles: int, *, is_awaited: bool = True) -> None:
        """So many cycles of work, judged before it returns."""
        outs = []
        for _ in range(cycles):
            self.number += 1
            made = cycle(self.number, load=0.9 if self.number % 3 else 0.1, missing="b" if self.number % 7 == 0 else "")
            outs.append(out(self.asset, made.t, dict(made.values), CLASS))
        await self.edge.put(partition_of(self.asset.encode(), PARTITIONS), outs)
        if is_awaited:
            await self.edge.all_judged()


async def command(*words: str) -> dict[str, Any]:
    result = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def scores(edge: Edge, partition: int = HOME) -> list[Score]:
    return [decode(record.value, Score) for record in await edge.all(topics.SCORES, partition)]


async def alarms(edge: Edge) -> list[Alarm]:
    return [decode(record.value, Alarm) for record in await edge.all(topics.ALARMS, HOME)]


async def in_charge(edge: Edge, version: int) -> None:
    await edge.status_when(lambda s: CLASS in s.active and s.active[CLASS].version == version)


async def stored(cycles: object) -> dict[str, Any]:
    """What `edge lives` says once the checkpoint behind so many cycles is written."""
    deadline = time.monotonic() + 15
    while True:
        found: list[dict[str, Any]] = (await command("edge", "lives"))["lives"]
        if [each["cycles"] for each in found] == [cycles]:
            return found[0]
        assert time.monotonic() < deadline, found


def lives(arrivals: list[Arrival], overhauls: list[int]) -> list[list[Arrival]]:
    """By reading of the engine the cycles of its life up to there."""
    found: list[list[Arrival]] = []
    for one in arrivals:
        began = max((at for at in overhauls if at < one.offset), default=-1)
        found.append([each for each in arrivals if began < each.offset <= one.offset])
    return found


async def test_a_life_from_overhaul_to_overhaul_over_kills_and_a_swap(edge: Edge) -> None:
    """Scores have the trainer's bits; the alarm opens below the warning and ends with the overhaul; lineage agrees."""
    made = {1: make(1, seed=1), 2: make(2, seed=9)}
    machine = Machine(edge)
    desire(edge.state, place(edge.state, *made[1]))
    edge.start()
    await in_charge(edge, 1)
    first = await command("edge", "overhauled", ASSET)
    assert (first["asset"], first["failed"], first["asset_class"]) == (ASSET, False, "")
    await machine.run(9)
    edge.kill()
    edge.start()
    await machine.run(7, is_awaited=False)
    await edge.grows(topics.SCORES, 1)
    edge.kill()
    edge.start()
    await machine.run(2)
    assert await alarms(edge) == []

    desire(edge.state, place(edge.state, *made[2]), generation=2)
    await in_charge(edge, 2)
    edge.kill()
    edge.start()
    await machine.run(6)
    (opened,) = await alarms(edge)
    assert (opened.state, opened.version, opened.channels) == ("opened", 2, [])
    raised = next(s for s in await scores(edge) if s.t_last == opened.t)
    assert isinstance(raised.remaining, float)
    assert raised.remaining < 30.0
    assert (opened.remaining, opened.low, opened.high) == (raised.remaining, raised.low, raised.high)

    newest = (await scores(edge))[-1]
    life = await stored(newest.cycles)
    assert opened.raised_at <= life["stored_at"] <= time.time() * 1000
    assert (life["asset"], life["asset_class"], life["episode"]) == (ASSET, CLASS, opened.episode)
    assert all(life[name] == getattr(newest, name) for name in ("remaining", "low", "high", "cycles", "life_since"))
    shown = (await asyncio.to_thread(CliRunner().invoke, app, ["edge", "lives"])).stdout
    assert f"{life['remaining']:.1f}" in shown
    assert "ALARM" in shown
    assert re.search(r"\d s ago +ALARM", shown)

    second = await command("edge", "overhauled", ASSET, "--failed", "--by", "mia")
    assert (second["failed"], second["asset_class"]) == (True, CLASS)
    await edge.all_judged()
    assert [each.state for each in await alarms(edge)] == ["opened", "closed"]
    await machine.run(3)
    assert edge.terminate() == 0

    readings = await edge.all(topics.READINGS, HOME)
    at = [record.offset for record in readings if overhaul(record.value, record.headers)]
    assert [overhaul_in(record.value).failed for record in readings if record.offset in at] == [False, True]  # type: ignore[union-attr]  # they are overhauls
    found, lived = await scores(edge), lives(await edge.arrivals(HOME), at)
    assert len(found) == len(lived) == 27
    for score, life in zip(found, lived, strict=True):
        data, manifest = made[score.version]
        assert told(score) == retold(data, manifest.features, life)
        assert (score.cycles, score.t_first) == (len(life), life[0].reading.t)
    assert [score.version for score in found] == [1] * 18 + [2] * 9
    assert [score.life_since for score in found] == [at[0]] * 24 + [at[1]] * 3

    folder = str(edge.state / model_folder(CLASS, 2))
    traced = await command("train", "lineage", opened.episode, "--model", folder)
    assert traced["again"]["same"] is True
    assert traced["window"]["offsets"] == [one.offset for one in lived[[s.t_last for s in found].index(opened.t)]]
    record = (await edge.all(topics.ALARMS, HOME))[1]
    ended = await command("train", "lineage", f"alarms:{HOME}:{record.offset}", "--model", folder)
    assert ended["ended"] | {"said_at": 0} == {
        "by_overhaul": True,
        "failed": True,
        "by": "mia",
        "said_at": 0,
        "source_offset": at[1],
        "at": f"readings:{HOME}:{at[1]}",
    }
    assert ended["opened"]["episode"] == opened.episode
    plain = await asyncio.to_thread(
        CliRunner().invoke, app, ["train", "lineage", f"alarms:{HOME}:{record.offset}", "--model", folder]
    )
    assert "the machine was overhauled after a failure, said by mia" in plain.stdout
    assert f"cycles remain ({raised.low:.1f} to {raised.high:.1f}), after" in plain.stdout


async def test_a_life_whose_begin_is_not_known_says_so_and_so_does_its_lineage(edge: Edge) -> None:
    """No overhaul is known; the log is cut; the score stands, and lineage says how many of its cycles are gone."""
    data, manifest = make(1, seed=1)
    machine = Machine(edge)
    edge.settings["rewind_readings"] = 4
    known = next(name for name in (f"other-{n}" for n in range(99)) if partition_of(name.encode(), PARTITIONS) != HOME)
    edge.start()
    await machine.run(6)
    await Machine(edge, known).run(5)
    await command("edge", "overhauled", known)
    await Machine(edge, known).run(2)
    desire(edge.state, place(edge.state, data, manifest))
    await in_charge(edge, 1)
    await machine.run(19)
    await Machine(edge, known).run(1)
    log = await edge.all(topics.READINGS, 1 - HOME)
    (renewed,) = [record.offset for record in log if overhaul_in(record.value)]
    assert [(s.cycles, s.life_since) for s in await scores(edge, 1 - HOME)] == [(3, renewed)]
    assert edge.terminate() == 0
    found = await scores(edge)
    assert [(s.cycles, s.life_since) for s in found] == [(n, -1) for n in range(5, 24)]
    seen = (await edge.arrivals(HOME))[2:]
    assert told(found[-1]) == retold(data, manifest.features, seen)

    shown = (await asyncio.to_thread(CliRunner().invoke, app, ["edge", "lives"])).stdout
    assert "no overhaul is known: it may be older than these cycles" in shown
    (opened,) = await alarms(edge)
    folder = str(edge.state / model_folder(CLASS, 1))
    assert (await command("train", "lineage", opened.episode, "--model", folder))["again"]["same"] is True
    await delete_records(edge.cluster, topics.READINGS, HOME, seen[3].offset)
    words = ["train", "lineage", opened.episode, "--model", folder]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert isinstance(result.exception, DataMissing)
    score = next(s for s in found if s.t_last == opened.t)
    assert f"of the {score.cycles} cycles of the life {int(score.cycles) - 3} are in" in str(result.exception)  # type: ignore[arg-type]  # it has cycles
    assert "the life began earlier" in result.stdout


async def test_a_version_that_needs_more_fills_lives_from_the_log_as_far_as_it_reaches(edge: Edge) -> None:
    """Another sensor: the life is read again from its overhaul; once that is gone, from what is there, and says so."""
    made = {n: make(n, seed=n, sensors=tuple("abcd"[: n + 1])) for n in (1, 2, 3)}
    machine = Machine(edge)
    edge.start()
    desire(edge.state, place(edge.state, *made[1]))
    await in_charge(edge, 1)
    await command("edge", "overhauled", ASSET)
    await machine.run(5)
    desire(edge.state, place(edge.state, *made[2]), generation=2)
    await in_charge(edge, 2)
    edge.kill()
    edge.start()
    await machine.run(2)
    log = await edge.arrivals(HOME)
    await delete_records(edge.cluster, topics.READINGS, HOME, log[3].offset)
    desire(edge.state, place(edge.state, *made[3]), generation=3)
    await in_charge(edge, 3)
    edge.kill()
    edge.start()
    await machine.run(2, is_awaited=False)
    await edge.status_when(lambda status: status.counts["windows"] == 9)
    assert edge.terminate() == 0
    found, log = await scores(edge), log + (await edge.arrivals(HOME))[-2:]
    assert [(s.version, s.cycles, s.life_since < 0) for s in found] == [  # type: ignore[operator]  # they are lives
        *((1, n, False) for n in range(1, 6)),
        *((2, n, False) for n in (6, 7)),
        *((3, n, True) for n in (5, 6)),
    ]
    for number, score in enumerate(found):
        data, manifest = made[score.version]
        lived = log[3 if score.version == 3 else 0 : number + 1]
        assert told(score) == retold(data, manifest.features, lived)


async def test_readings_without_a_setting_are_counted_and_no_cycles(edge: Edge) -> None:
    """What cannot be placed is passed over and told by the status."""
    desire(edge.state, place(edge.state, *make(1, seed=1)))
    edge.start()
    await in_charge(edge, 1)
    machine = Machine(edge)
    await machine.run(2)
    await edge.put(HOME, [out(ASSET, 3_600_000 * n, {"a": 1.0, "b": 1.0, "c": 1.0}, CLASS) for n in (3, 4)])
    status = await edge.all_judged()
    assert status.counts["unplaced"] == 2
    await machine.run(1)
    assert [score.cycles for score in await scores(edge)] == [1, 2, 3]
    await stored(3)
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["edge", "overhauled", ASSET])
    assert "headwater edge lives may show the life before until the next checkpoint, in 10 s at most" in shown.stdout
    assert edge.terminate() == 0


async def test_cycles_that_were_lost_make_a_life_older_than_it_looks(edge: Edge) -> None:
    """Retention took readings before the scorer came: it counts them, and does not call the life known any more."""
    desire(edge.state, place(edge.state, *make(1, seed=1)))
    edge.start()
    await in_charge(edge, 1)
    await command("edge", "overhauled", ASSET)
    machine = Machine(edge)
    await machine.run(3)
    assert edge.terminate() == 0
    await machine.run(4, is_awaited=False)
    await delete_records(edge.cluster, topics.READINGS, HOME, (await edge.arrivals(HOME))[-1].offset)
    edge.start()
    status = await edge.status_when(lambda s: s.counts["missed"] == 3)
    assert status.counts["missed"] == 3
    await edge.status_when(lambda s: s.counts["windows"] == 4)
    assert edge.terminate() == 0
    assert [(score.cycles, score.life_since >= 0) for score in await scores(edge)] == [  # type: ignore[operator]  # it is a life
        (1, True),
        (2, True),
        (3, True),
        (4, False),
    ]


async def test_what_is_no_asset_is_refused(edge: Edge) -> None:
    """Before anything is written."""
    result = await asyncio.to_thread(CliRunner().invoke, app, ["edge", "overhauled", "engine 1"])
    assert isinstance(result.exception, BadInput)
    longest = ["edge", "overhauled", ASSET, "--by", "x" * 4096]
    result = await asyncio.to_thread(CliRunner().invoke, app, longest)
    assert isinstance(result.exception, BadInput), "nobody would heed it"
    assert "shorten who says it" in result.exception.hint
    assert await edge.end() == 0
    empty = await asyncio.to_thread(CliRunner().invoke, app, ["edge", "lives"])
    assert "no asset of this box has been scored by remaining life" in empty.stdout
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["edge", "overhauled", ASSET, "--by", "mia"])
    assert shown.exit_code == 0
    assert f"{ASSET}: overhauled, in readings[{HOME}]" in shown.stdout
    assert f"no model has judged {ASSET} yet" in shown.stderr
    (record,) = await edge.all(topics.READINGS, HOME)
    assert headers.find_text(record.headers, headers.OVERHAULED) == ASSET
    assert headers.find(record.headers, headers.CLASS) is None
    assert msgspec.json.decode(record.value or b"")["by"] == "mia"
