"""From an alarm in the cloud back to its records, whatever offsets they had at the edge."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from cloud_trainer.tracing.lineage import cut_last
from cloud_trainer.tracing.places import Place, place_of
from headwater.app.cli import app
from headwater.contract import headers, messages, topics
from headwater.contract.acknowledgement import Acknowledgement
from headwater.contract.arrival import Arrival
from headwater.contract.errors import HeadwaterError
from headwater.contract.features import Window
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from headwater.contract.messages import Alarm, Score
from headwater.contract.reading import Reading
from headwater.contract.reading import encode as encode_reading
from headwater.contract.windows import Cadence, Windows
from headwater.transport import kafka as wire
from headwater.transport import tflite
from headwater.transport.kafka_batch import Out
from tests.cloud_trainer.cloud import Cloud, now_ms
from tests.edge_agent.scorer.models import CHANNELS, features, make

SHIPPED_FROM = 40  # offsets of the edge that retention took before they were shipped
MARKER_EVERY = 90  # records between two markers of transactions, which have an offset at the edge alone
READINGS = 600


class Scored(NamedTuple):
    """A score as the edge wrote it: the window's offsets there, and its number."""

    asset: str
    window: Window
    score: float


def edge_log(seed: int) -> list[Arrival]:
    """Readings of two pumps in one partition of the edge; some lack a value."""
    rng, found, offset = random.Random(seed), [], 0
    for number in range(READINGS):
        offset += 2 if number % MARKER_EVERY == MARKER_EVERY - 1 else 1
        asset, t = f"pump-{2 * (number % 2)}", 1_763_718_300_000 + 1000 * (number // 2)
        values: dict[str, float | None] = {
            c: math.sin(number / 9 + i) + rng.gauss(0, 0.3) for i, c in enumerate(CHANNELS)
        }
        if rng.random() < 0.05:
            values[CHANNELS[rng.randrange(2)]] = None
        found.append(Arrival(offset, asset, "pump", Reading(t, values)))
    return found


def scored(log: list[Arrival], manifest: Manifest, data: bytes, site: str) -> list[Scored]:
    """What the scorer of the edge says of a log, by the contract."""
    windows, model, found = Windows(), tflite.Model(data), []
    windows.set_cadence("pump", Cadence.of(manifest.features))
    for one in log:
        window = windows.push(one)
        if window is not None:
            row = manifest.features.vector(f"{site}/{one.asset}", window.values)
            found.append(Scored(one.asset, window, float(model.score(np.array([row]))[0][0])))
    return found


def out_of(one: Scored, manifest: Manifest) -> Out:
    window = one.window
    score = Score(one.asset, "pump", window.t_first, window.t_last, one.score, 1.5, manifest.version)
    given = (
        (headers.SOURCE_OFFSET, headers.number(window.last_offset)),
        (headers.FIRST_OFFSET, headers.number(window.first_offset)),
        (headers.MODEL, headers.text(manifest.sha256)),
        (headers.VERSION, headers.number(manifest.version)),
        (headers.FEATURES, headers.text(manifest.features_digest)),
        (headers.RUNTIME, headers.text(tflite.runtime_class())),
    )
    return Out(one.asset.encode(), messages.encode(score), given, now_ms())


def alarm_of(one: Scored, manifest: Manifest, site: str) -> Out:
    last = one.window.last_offset
    fields = {
        "score": one.score,
        "threshold": 1.5,
        "peak": one.score,
        "version": manifest.version,
        "raised_at": now_ms(),
    }
    alarm = Alarm(
        site,
        one.asset,
        "pump",
        f"{site}-{one.asset}-{last}",
        "opened",
        one.window.t_last,
        channels=[("flow", 0.7)],
        **fields,
    )  # type: ignore[arg-type]  # of the types that the fields have
    return Out(one.asset.encode(), messages.encode(alarm), ((headers.SOURCE_OFFSET, headers.number(last)),), now_ms())


class Traced(NamedTuple):
    """A site in the cloud with scores and two alarms, and the folder of its model."""

    cloud: Cloud
    log: list[Arrival]
    scores: list[Scored]
    alarms: list[Scored]
    folder: Path
    environment: dict[str, str]


@pytest.fixture
async def traced(cloud: Cloud, tmp_path: Path) -> Traced:
    """Everything that is shipped of a site."""
    data, manifest = make(3, features(window=8, step=3))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(data)
    (folder / MANIFEST_FILE).write_bytes(manifest.encode())
    log = edge_log(1)
    scores = scored(log, manifest, data, cloud.site)
    alarms = [one for one in scores if one.window.first_offset > SHIPPED_FROM + 60][5:200:150]
    wire.ensure_topics(cloud.settings, [topics.TopicSpec(topics.remote(cloud.site, topics.SCORES), 2)])
    readings = [
        Out(a.asset.encode(), encode_reading(a.reading.t, a.reading.values), ((headers.CLASS, b"pump"),), now_ms())
        for a in log
        if a.offset >= SHIPPED_FROM
    ]
    await cloud.put(cloud.readings, 0, readings)
    await cloud.put(topics.remote(cloud.site, topics.SCORES), 0, [out_of(one, manifest) for one in scores])
    await cloud.put(cloud.alarms, 0, [alarm_of(one, manifest, cloud.site) for one in alarms])
    environment = {**os.environ, "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers}
    return Traced(cloud, log, scores, alarms, folder, environment)


def asked(traced: Traced, alarm: str, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        app, ["train", "lineage", alarm, "--model", str(traced.folder), *more], env=traced.environment
    )
    if isinstance(done.exception, HeadwaterError):
        return done.exception.exit_code, f"{done.output}{done.exception}"
    return done.exit_code, done.output


@pytest.mark.parametrize("number", [0, 1])
async def test_an_alarm_leads_to_the_same_bits(traced: Traced, number: int) -> None:
    """Episode and place lead to the readings of the window, though their offsets are others here, and to the bits."""
    one, cloud = traced.alarms[number], traced.cloud
    episode = f"{cloud.site}-{one.asset}-{one.window.last_offset}"
    code, output = await run(asked, traced, episode, "--json")
    assert code == 0, output
    told = json.loads(output)
    assert told["score"]["score"] == told["again"]["score"] == one.score
    assert told["again"]["same"] is True
    assert told["score"]["source_offsets"] == [one.window.first_offset, one.window.last_offset]
    shipped = [a for a in traced.log if a.offset >= SHIPPED_FROM]
    here = [
        i
        for i, a in enumerate(shipped)
        if a.asset == one.asset and one.window.first_offset <= a.offset <= one.window.last_offset
    ]
    assert told["window"]["offsets"] == here
    assert here[-1] != one.window.last_offset
    assert told["model"]["version"] == 3
    assert json.loads((await run(asked, traced, told["alarm"]["at"], "--json"))[1]) == told
    assert json.loads((await run(asked, traced, told["score"]["at"], "--json"))[1])["again"] == told["again"]
    text = (await run(asked, traced, episode))[1]
    assert "the same bits" in text
    assert told["model"]["dataset"]["sha256"] in text


async def test_an_altered_record_is_seen(traced: Traced) -> None:
    """Where the records in the log are not those that were scored, the command says so and ends with 6."""
    cloud, one = traced.cloud, traced.alarms[0]
    other = f"{cloud.site}-{one.asset}-{one.window.last_offset}"
    await cloud.forget(cloud.readings, 0, READINGS - SHIPPED_FROM)
    altered = [
        Out(
            a.asset.encode(),
            encode_reading(a.reading.t, dict.fromkeys(CHANNELS, 0.5)),
            ((headers.CLASS, b"pump"),),
            now_ms(),
        )
        for a in traced.log
    ]
    await cloud.put(cloud.readings, 0, altered)
    code, output = await run(asked, traced, other)
    assert code == 6, output
    assert "ANOTHER NUMBER" in output


async def test_what_is_gone_is_named(traced: Traced) -> None:
    """Readings that retention took are named with their offsets; what the alarm says of itself is shown before."""
    cloud, one = traced.cloud, traced.alarms[0]
    await cloud.forget(cloud.readings, 0, READINGS - SHIPPED_FROM - 20)
    code, output = await run(asked, traced, f"{cloud.site}-{one.asset}-{one.window.last_offset}")
    assert code == 8
    assert f"{one.window.first_offset} to {one.window.last_offset}" in output
    code, output = await run(asked, traced, f"{cloud.site}-nobody-1")
    assert code == 2


async def test_an_alarm_that_a_word_ended_leads_to_the_word(traced: Traced) -> None:
    """Whose it was and where it stands here and at the edge; then what opened the alarm. The record says it as well."""
    cloud, one, last = traced.cloud, traced.alarms[0], traced.alarms[0].window.last_offset
    episode = f"{cloud.site}-{one.asset}-{last}"
    words = [Acknowledgement(episode, is_false=True, at=at, by=by) for at, by in ((5, "berta"), (6, "anna"))]
    named = (headers.ACKNOWLEDGES, headers.text(episode))
    before = sum(a.offset >= SHIPPED_FROM for a in traced.log)
    await cloud.put(cloud.readings, 0, [Out(one.asset.encode(), w.encode(), (named,), now_ms()) for w in words])
    opened = alarm_of(one, make(3)[1], cloud.site)
    alarm = msgspec.structs.replace(messages.decode(opened.value, Alarm), state="closed", channels=[])
    given = ((headers.SOURCE_OFFSET, headers.number(700)), named, (headers.WORD, words[1].encode()))
    await cloud.put(cloud.alarms, 0, [Out(opened.key, messages.encode(alarm), given, now_ms())])

    code, output = await run(asked, traced, f"{cloud.alarms}:0:2", "--json")
    assert code == 0, output
    told = json.loads(output)
    assert told["alarm"]["state"] == "closed"
    here = f"{cloud.readings}:0:{before + 1}"
    known = {"episode": episode, "is_false": True, "by": "anna", "said_at": 6, "source_offset": 700, "at": here}
    assert told["ended"] == known
    assert told["opened"]["at"] == f"{cloud.alarms}:0:0"
    assert told["again"]["same"] is True
    text = (await run(asked, traced, f"{cloud.alarms}:0:2"))[1]
    assert "called false by anna at 1970-01-01 00:00:00.006" in text
    assert f"{here} (offset 700 at the edge)" in text

    await cloud.forget(cloud.readings, 0, before + 2)
    await cloud.forget(cloud.alarms, 0, 2)
    code, text = await run(asked, traced, f"{cloud.alarms}:0:2")
    assert code == 8
    assert "called false by anna" in text
    assert "not in the log here (any more)" in text
    assert f"opened an episode {episode!r}" in text


async def run(call, *arguments):
    """A command runs an event loop of its own."""
    return await asyncio.to_thread(call, *arguments)


def test_places_are_told_from_episodes() -> None:
    """`lyon.alarms:0:17` is a place, `lyon-pump-3-17` is not."""
    assert place_of("lyon.alarms:0:17") == Place("lyon.alarms", 0, 17)
    assert place_of("lyon-pump-3-17") is None
    assert place_of("lyon.alarms:x:17") is None


def test_a_window_is_cut_again_from_a_few_readings_before_it() -> None:
    """With values that were held at its begin too, it is the window of the edge to the bit."""
    data, manifest = make(3, features(window=8, step=3))
    log = edge_log(5)
    checked = 0
    for one in scored(log, manifest, data, "lyon"):
        own = [a for a in log if a.asset == one.asset and a.offset <= one.window.last_offset]
        window = cut_last(manifest.features, own[-(8 + 48) :])
        assert window is not None
        assert window.values.tobytes() == one.window.values.tobytes()
        assert window.first_offset == one.window.first_offset
        checked += 1
    assert checked > 150
