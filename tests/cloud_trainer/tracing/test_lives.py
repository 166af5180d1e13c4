"""From an alarm of remaining life in the cloud back to all cycles of that life, whatever offsets they had before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headwater.app.cli import app
from headwater.contract import headers, messages, topics
from headwater.contract.arrival import Arrival
from headwater.contract.errors import DataMissing
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from headwater.contract.messages import Score
from headwater.contract.overhaul import Overhaul
from headwater.contract.reading import encode as encode_reading
from headwater.contract.windows import Cadence, Windows
from headwater.transport import kafka as wire
from headwater.transport import tflite
from headwater.transport.kafka_batch import Out
from tests.cloud_trainer.cloud import Cloud, now_ms
from tests.contract import lives
from tests.edge_agent.scorer.life_models import CLASS, make

BEFORE, CYCLES = 7, 20  # of the life before the overhaul, and of that which is traced
ASSET = "engine-1"


def log() -> list[Arrival]:
    """Cycles of two engines, one of them without a setting now and then, from offset 100 on at the edge."""
    found = []
    for number in range(BEFORE + CYCLES + 3):
        load = None if number in (BEFORE + 4, BEFORE + 9, BEFORE + 15) else 0.1
        found.append(Arrival(100 + 3 * number, ASSET, CLASS, lives.cycle(number + 1, load, missing="b")))
        found.append(Arrival(101 + 3 * number, "engine-2", CLASS, lives.cycle(number + 1)))
    return found


def scored(arrivals: list[Arrival], data: bytes, manifest: Manifest, lost: Collection[int] = ()) -> Out:
    """The last score of the engine, as the edge wrote it that never saw what was `lost`, by offset."""
    windows, model = Windows(), tflite.Model(data)
    windows.set_cadence(CLASS, Cadence.of(manifest.features))
    for one in arrivals:
        if one.offset == 100 + 3 * BEFORE:
            windows.overhaul(ASSET, one.offset - 1)
        if one.offset in lost:
            windows.lose()
            continue
        found = windows.push(one)
        if one.asset == ASSET and found is not None:
            window = found
    cycles, since = CYCLES - len(lost), -1 if lost else 99 + 3 * BEFORE
    assert (window.cycles, window.life_since) == (cycles, since)
    number = float(model.score(manifest.features.vector("", window.values)[None])[0][0])
    assert manifest.life
    left = manifest.life.told(number)
    life: dict[str, Any] = {"remaining": left.cycles, "low": left.low, "high": left.high}
    score = Score(ASSET, CLASS, window.t_first, window.t_last, number, 95.0, 1, **life, cycles=cycles, life_since=since)
    given = (
        (headers.SOURCE_OFFSET, headers.number(window.last_offset)),
        (headers.FIRST_OFFSET, headers.number(window.first_offset)),
        (headers.MODEL, headers.text(manifest.sha256)),
    )
    return Out(ASSET.encode(), messages.encode(score), given, now_ms())


def shipped(one: Arrival) -> Out:
    value = encode_reading(one.reading.t, one.reading.values)
    return Out(one.asset.encode(), value, ((headers.CLASS, CLASS.encode()),), now_ms())


@pytest.mark.parametrize("beside", [0, 25, 60])
async def test_a_life_is_found_in_the_cloud_to_the_bit(
    cloud: Cloud, tmp_path: Path, beside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a link shipped its first records, or all of them, beside the others; with one gone it says so."""
    monkeypatch.setenv("HEADWATER_TRAINER__KAFKA__BROKERS", cloud.settings.brokers)
    data, manifest = make(1, seed=4)
    (tmp_path / MODEL_FILE).write_bytes(data)
    (tmp_path / MANIFEST_FILE).write_bytes(manifest.encode())
    scores, backlog = topics.remote(cloud.site, topics.SCORES), f"{cloud.readings}.{topics.BACKLOG}"
    wire.ensure_topics(cloud.settings, [topics.TopicSpec(name, 2) for name in (scores, backlog)])
    arrivals = log()
    outs = [shipped(one) for one in arrivals]
    renewed = Overhaul(ASSET, 0, failed=True).encode()
    outs.insert(2 * BEFORE, Out(ASSET.encode(), renewed, ((headers.OVERHAULED, ASSET.encode()),), now_ms()))
    await cloud.put(backlog, 0, outs[:beside] or [shipped(arrivals[0])])
    await cloud.put(cloud.readings, 0, outs[beside:] or [shipped(arrivals[0])])
    await cloud.put(scores, 0, [scored(arrivals, data, manifest)])

    words = ["train", "lineage", f"{scores}:0:0", "--model", str(tmp_path)]
    result = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    told = json.loads(result.stdout)
    assert told["again"]["same"] is True
    assert len(told["window"]["offsets"]) == CYCLES

    await cloud.forget(backlog if beside else cloud.readings, 0, 2 * BEFORE + 2)
    gone = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert isinstance(gone.exception, DataMissing)
    assert f"of the {CYCLES} cycles of the life {CYCLES - 1} are in" in str(gone.exception)


async def test_a_life_of_which_the_edge_missed_cycles_is_told_as_such(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another cluster still has all of them: nothing is gone here, and nobody knows which the edge had."""
    monkeypatch.setenv("HEADWATER_TRAINER__KAFKA__BROKERS", cloud.settings.brokers)
    data, manifest = make(1, seed=4)
    (tmp_path / MODEL_FILE).write_bytes(data)
    (tmp_path / MANIFEST_FILE).write_bytes(manifest.encode())
    scores, arrivals = topics.remote(cloud.site, topics.SCORES), log()
    wire.ensure_topics(cloud.settings, [topics.TopicSpec(scores, 2)])
    await cloud.put(cloud.readings, 0, [shipped(one) for one in arrivals])
    lost = [100 + 3 * number for number in (BEFORE + 5, BEFORE + 6)]
    await cloud.put(scores, 0, [scored(arrivals, data, manifest, lost)])
    words = ["train", "lineage", f"{scores}:0:0", "--model", str(tmp_path)]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert isinstance(result.exception, DataMissing)
    assert f"are not the {CYCLES - 2} of the life" in str(result.exception)
    assert "the edge missed some of those that are there" in str(result.exception)
