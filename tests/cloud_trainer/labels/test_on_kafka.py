"""Labels on a real cluster, by the command line."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from cloud_trainer.datasets.building import from_kafka
from cloud_trainer.judging.asked import with_labels
from cloud_trainer.judging.material import FAULT, NORMAL
from cloud_trainer.labels import store
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from headwater.app.cli import app
from headwater.contract import headers
from headwater.contract.acknowledgement import Acknowledgement
from headwater.contract.overhaul import Overhaul
from headwater.contract.reading import encode
from tests.cloud_trainer.cloud import Cloud

MINUTE = 60_000


async def test_orders_restate_what_alarms_were_worth(cloud: Cloud, tmp_path: Path) -> None:
    """Stored once however often a file is read; corrected by its order; a new model is asked for once."""
    await cloud.alarm("pump-1", "a", "opened", 10 * MINUTE)
    await cloud.alarm("pump-1", "a", "closed", 20 * MINUTE)
    await cloud.alarm("pump-2", "b", "opened", 500_000 * MINUTE)
    path = tmp_path / "orders.csv"
    environment = {
        **os.environ,
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__LABEL_LEAD_S": "60",
        "HEADWATER_TRAINER__KEYS": str(tmp_path / "none"),
    }

    async def told(*more: str) -> dict[str, Any]:
        arguments = ["train", "label", *more, "--class", "pump", "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def write(kind: str) -> None:
        rows = [f"1,{cloud.site},pump-1,1970-01-01T00:15,1970-01-01T00:30,{kind}"]
        path.write_text("\n".join(["order,site,asset,from,to,kind", *rows]))

    def mine() -> dict[str, str]:
        return {one.key: one.kind for one in store.read(cloud.settings) if one.site == cloud.site}

    write("bearing")
    dry = await told(str(path), "--dry-run")
    assert (dry["read"], dry["new"], await asyncio.to_thread(mine)) == (1, 0, {})
    first = await told(str(path), "--retrain")
    assert (first["read"], first["new"]) == (1, 1)
    assert first["restated"][0]["right"] == dry["restated"][0]["right"] >= 1
    again = await told(str(path), "--retrain")
    assert (again["new"], again["request_id"]) == (0, first["request_id"])
    requests = await asyncio.to_thread(Runs(cloud.settings).requests)
    assert "labels arrived" in requests[first["request_id"]].reason
    write("false-alarm")
    corrected = await told(str(path))
    assert corrected["new"] == 1
    assert corrected["restated"][0]["right"] == first["restated"][0]["right"] - 1
    assert corrected["restated"][0]["known"] == first["restated"][0]["known"]
    assert await asyncio.to_thread(mine) == {f"{cloud.site}/pump-1/1": "false-alarm"}
    text = CliRunner()
    done = await asyncio.to_thread(text.invoke, app, ["train", "label", "--class", "pump"], env=environment)
    assert "labels known for" in done.stdout


async def test_what_operators_say_becomes_a_label(cloud: Cloud, tmp_path: Path) -> None:
    """From the readings of the site, with the span of its alarm; `compare` and `card` on topics heed it before that."""
    episodes = [f"{cloud.site}-pump-1-{number}" for number in (1, 2)]
    for number, episode in enumerate(episodes):
        await cloud.alarm("pump-1", episode, "opened", (10 + 100 * number) * MINUTE)
        await cloud.alarm("pump-1", episode, "closed", (20 + 100 * number) * MINUTE)

    async def say(episode: str, at: int, *, is_false: bool, key: bytes = b"pump-1") -> None:
        said = Acknowledgement(episode, is_false, at, "anna")
        await cloud.raw(key, said.encode(), ((headers.ACKNOWLEDGES, episode.encode()),))

    environment = {
        **os.environ,
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__KEYS": str(tmp_path / "none"),
    }

    async def told() -> dict[str, Any]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["train", "label", "--json"], env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def mine() -> list[tuple[str, str, int, int]]:
        stored = [one for one in store.read(cloud.settings) if one.site == cloud.site]
        return sorted((one.episode, one.kind, one.t_from // MINUTE, one.t_to // MINUTE) for one in stored)

    await say(episodes[0], 5, is_false=True)
    await say(episodes[1], 6, is_false=False)
    await say(episodes[1], 7, is_false=True, key=b"pump-2")
    await cloud.raw(b"pump-1", encode(15 * MINUTE, {"flow": 1.0}))
    await cloud.raw(b"pump-1", encode(115 * MINUTE, {"flow": 2.0}))
    settings = TrainerSettings(kafka=cloud.settings)
    ranges = {cloud.readings: {"0": (0, 5)}}
    judged = await asyncio.to_thread(from_kafka, cloud.settings, "pump", ranges, settings.recipe)
    material = await asyncio.to_thread(with_labels, settings, judged, None)
    assert material.truth[f"{cloud.site}/pump-1"].tolist() == [NORMAL, FAULT]
    first = await told()
    assert first["new_words"] == 2
    assert await asyncio.to_thread(mine) == [
        (episodes[0], "false-alarm", 10, 20),
        (episodes[1], "true-alarm", 110, 120),
    ]
    await say(episodes[1], 8, is_false=True)
    assert (await told())["new_words"] == 1
    assert {kind for _, kind, _, _ in await asyncio.to_thread(mine)} == {"false-alarm"}
    assert (await told())["new_words"] == 0


async def test_a_failed_overhaul_confirms_the_alarm_before_it(cloud: Cloud, tmp_path: Path) -> None:
    """A fault at the sensor time of the last reading, however far the box's clock is from it; a plain one is none."""
    for asset, minute in (("pump-1", 10), ("pump-2", 400)):
        await cloud.alarm(asset, f"{cloud.site}-{asset}-1", "opened", minute * MINUTE)
        await cloud.alarm(asset, f"{cloud.site}-{asset}-1", "closed", (minute + 5) * MINUTE)

    async def overhaul(asset: bytes, *, failed: bool) -> None:
        said = Overhaul(asset.decode(), 1_750_000_000_000, failed, "anna")
        await cloud.raw(asset, said.encode(), ((headers.OVERHAULED, asset),))

    for asset, minute, failed in ((b"pump-1", 20, True), (b"pump-2", 410, False), (b"pump-3", 500, True)):
        await cloud.raw(asset, encode(minute * MINUTE, {"flow": 1.0}))
        await overhaul(asset, failed=failed)
    environment = {
        **os.environ,
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__KEYS": str(tmp_path / "none"),
    }

    async def label(*more: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["train", "label", *more], env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    before = json.loads(await label("--json", "--dry-run"))
    told = json.loads(await label("--json"))
    assert (before["failures"] - told["failures"], before["new_failures"], told["new_failures"]) == (0, 0, 2)
    stored = [one for one in await asyncio.to_thread(store.read, cloud.settings) if one.site == cloud.site]
    assert {(one.asset, one.kind, one.t_from // MINUTE, one.t_to // MINUTE) for one in stored} == {
        ("pump-1", "failure", 20, 20),
        ("pump-3", "failure", 500, 500),
    }
    await cloud.forget(cloud.readings, 0, 1)
    assert f"{told['failures']} failures told with an overhaul, 0 of them new" in await label()
    again = [one for one in await asyncio.to_thread(store.read, cloud.settings) if one.site == cloud.site]
    assert again == stored, "what was known while its readings were there stays"
    assert told["restated"][0]["right"] >= 1
