"""Datasets of a real cluster: the same file twice, from the log and from the store, or the offsets that are gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from bench.brokers import Extended
from cloud_trainer.datasets.building import collect_ranges
from cloud_trainer.datasets.collecting import Collected, collect, training_set
from cloud_trainer.datasets.file import describe
from cloud_trainer.datasets.frozen import freeze, open_frozen, read_frozen
from cloud_trainer.datasets.ranges import Offsets, resolve
from cloud_trainer.datasets.sources import FolderSource, KafkaSource
from cloud_trainer.job import Job
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from headwater.app.cli import main
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.app.stack.state import S3Address
from headwater.contract import topics
from headwater.contract.errors import DataMissing, Refused
from headwater.contract.messages import RetrainRequest
from headwater.contract.reading import encode as encode_reading
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out
from headwater.transport.objects import MemoryStore, ObjectSettings, open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import CLASS, Cloud, now_ms
from tests.cloud_trainer.datasets import recorded
from tests.cloud_trainer.plant import healthy

ROWS = healthy(3, 400, pumps=2)
FIRST, SECOND = ROWS["lyon/pump-1"], ROWS["lyon/pump-2"]


async def read(cloud: Cloud, offsets: Offsets) -> Collected:
    return await collect_ranges(cloud.cluster, "pump", offsets, Recipe())


async def test_the_same_file_twice_from_log_and_store(cloud: Cloud, s3: S3Address) -> None:
    """Byte for byte, also after more has come; and once retention has taken the log, still from the real store."""
    await cloud.send("pump-1", FIRST)
    await cloud.send("pump-2", SECOND)
    offsets: Offsets = {cloud.readings: {"0": (13, 400), "1": (0, 377)}}
    once = describe(await read(cloud, offsets))
    store = open_store(
        ObjectSettings(
            endpoint=s3.endpoint, bucket=s3.bucket, access_key=s3.access_key, secret_key=SecretStr(s3.secret_key)
        )
    )
    await freeze(KafkaSource(cloud.cluster, offsets), once, store)
    await cloud.send("pump-1", FIRST[:50])
    from_log = await read(cloud, offsets)
    assert describe(from_log).encode() == once.encode()
    await cloud.forget(cloud.readings, 1, 100)
    with pytest.raises(DataMissing, match=rf"{cloud.readings}\[1\]: offsets 0 to 99 are gone"):
        await read(cloud, offsets)
    from_store = await read_frozen(store, open_frozen(store, once.sha256))
    assert describe(from_store).encode() == once.encode()
    ours, theirs = training_set(from_store, Recipe()), training_set(from_log, Recipe())
    assert ours.source == theirs.source
    assert all((one.values == theirs.series[key].values).all() for key, one in ours.series.items())


async def test_a_request_may_name_a_frozen_dataset(cloud: Cloud, tmp_path: Path) -> None:
    """What retention took is learned from all the same; offsets whose records are others end as `failed`."""
    await cloud.send("pump-1", FIRST)
    await cloud.send("pump-2", SECOND)
    offsets: Offsets = {cloud.readings: {"0": (0, 400), "1": (0, 400)}}
    dataset, store = describe(await read(cloud, offsets)), MemoryStore()
    await freeze(KafkaSource(cloud.cluster, offsets), dataset, store)
    init_repository(store, tmp_path / "keys")
    models = Publisher(store, tmp_path / "keys", "models")
    job = Job(cloud.settings, Runs(cloud.settings), models, Recipe(), store)
    other = RetrainRequest(f"{cloud.site}-1", "pump", {cloud.readings: {"0": (0, 399)}}, dataset=dataset.sha256)
    run = await asyncio.to_thread(job.run, other)
    assert run.state == "failed"
    assert f"the dataset that was asked for has {dataset.sha256}" in run.detail
    await cloud.forget(cloud.readings, 0, 400)
    run = await asyncio.to_thread(job.run, RetrainRequest(f"{cloud.site}-2", "pump", dataset=dataset.sha256))
    assert (run.state, run.dataset_sha256, run.records) == ("published", dataset.sha256, 800)


async def test_a_backlog_is_found_and_read_with_the_others(cloud: Cloud) -> None:
    """Where a link shipped new records first, all there is by now includes what went beside them, in its place."""
    beside = topics.backlog(cloud.site, topics.READINGS)
    await asyncio.to_thread(ensure_topics, cloud.settings, [TopicSpec(beside, 2)])

    def outs(rows: list[int]) -> list[Out]:
        return [
            Out(b"pump-1", encode_reading(FIRST[n][0], FIRST[n][1]), CLASS, 1_763_718_300_000 + 1000 * n) for n in rows
        ]

    await cloud.put(cloud.readings, 1, outs([*range(100), *range(300, 400)]))
    await cloud.put(beside, 1, outs(list(range(100, 300))))
    offsets = await resolve(cloud.cluster, [cloud.readings, beside, cloud.alarms], 1000)
    assert offsets[beside] == {"0": (0, 0), "1": (0, 200)}
    learn = training_set(await read(cloud, offsets), Recipe())
    assert learn.series[f"{cloud.site}/pump-1"].t.tolist() == [t for t, _ in FIRST]
    with pytest.raises(Refused, match="400 readings are asked for"):
        await collect_ranges(cloud.cluster, "pump", offsets, Recipe(most_records=399))


@pytest.fixture
async def tidy(service_runner: Runner, kafka_tools: KafkaTools, unique: str) -> AsyncIterator[Cluster]:
    """A cluster that compacts at once."""
    service = Extended(KafkaService(unique, lambda: kafka_tools), "log.cleaner.backoff.ms=50\n")
    service_runner.start(service)
    try:
        async with Cluster(KafkaSettings(brokers=service_runner.address(service)), client_id="test") as cluster:
            yield cluster
    finally:
        service_runner.stop(service.name, grace_s=2.0)


async def test_what_compaction_took_is_an_error(tidy: Cluster) -> None:
    """A topic that somebody compacts has the latest reading of each machine left, which is no range."""
    configs = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    await asyncio.to_thread(ensure_topics, tidy.settings, [TopicSpec("lyon.readings", 1, configs)])
    cloud = Cloud(tidy.settings.brokers, "lyon", tidy)
    outs = [Out(b"pump-1", encode_reading(t, values), CLASS, now_ms()) for t, values in FIRST[:50]]
    await cloud.put("lyon.readings", 0, outs)
    offsets: Offsets = {"lyon.readings": {"0": (0, 50)}}
    assert describe(await read(cloud, offsets)).records == 50
    async with asyncio.timeout(60):
        while True:
            newer = outs[0]._replace(timestamp_ms=now_ms())
            await cloud.put("lyon.readings", 0, [newer])  # a record that is so much later closes the segment before it
            try:
                await read(cloud, offsets)
            except DataMissing as error:
                assert "lyon.readings[0]: " in str(error)  # noqa: PT017 - which it is, is waited for
                assert "are not in the log" in str(error)  # noqa: PT017 - as above
                break
            await asyncio.sleep(0.1)


async def test_a_stream_is_played_as_the_edge_would_send_it(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not to be learned from arrives once and in order, at its speed; together they are the recordings."""
    folder = recorded.folder(tmp_path / "rigs", 100, files=2)
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    monkeypatch.setenv("HEADWATER_TRAINER__KAFKA__BROKERS", cloud.settings.brokers)
    other = f"other-{cloud.site[-8:]}.readings"
    file = tmp_path / "rig.dataset.json"
    asked = ["--class", "rig", "--into", cloud.readings, "--into", other, "--train-rows", "60", "--speed", "100"]

    def played() -> None:
        with pytest.raises(SystemExit) as end:
            main(["train", "simulate-stream", str(folder), *asked, "--out", str(file), "--json"])
        assert not end.value.code

    began = time.monotonic()
    await asyncio.to_thread(played)
    assert time.monotonic() - began >= 39 / 100
    told = json.loads(capsys.readouterr().out)
    assert (told["played"], told["training"]["records"]) == (80, 120)
    ranges: Offsets = {t: {p: (s, e) for p, (s, e) in of.items()} for t, of in told["ranges"].items()}
    found = await collect_ranges(cloud.cluster, "rig", ranges, Recipe())
    whole = (await collect(FolderSource(folder, "rig", cloud.site), "rig")).tables()
    for key, where in ((f"{cloud.site}/rig-1", "rig-1"), (f"other-{cloud.site[-8:]}/rig-2", "rig-2")):
        one, all_rows = found.tables()[key], whole[f"{cloud.site}/{where}"]
        assert one.t.tolist() == all_rows.t[60:].tolist()
        assert one.values.tolist() == all_rows.values[60:].tolist()
    piece = await anext(KafkaSource(cloud.cluster, ranges).read(next(iter(_parts(ranges)))))
    assert piece.marks[0] == b"rig"


def _parts(ranges: Offsets) -> list[tuple[str, int, int, int]]:
    from cloud_trainer.datasets.ranges import parts  # noqa: PLC0415  # beside its only use

    return list(parts(ranges))
