"""What MirrorMaker 2's own client, RemoteClusterUtils of connect-mirror-client, finds at the target of a link."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from headwater.app.stack.jars import class_path
from headwater.app.stack.kafka import KafkaTools
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import read_compacted
from headwater.transport.kafka_batch.groups import Committed, Groups
from replicator.mm2.formats import read_checkpoint
from tests.replicator.bed import Bed, until
from tests.services import demand

_PROGRAM = Path(__file__).with_name("Translate.java")
_CLIENT = (
    "org.apache.kafka connect-mirror-client 4.3.1 "
    "c11ebb023021dccb8f18c6b57019b9dbe7c74e0b9495196a895a5d40b9faf1a8 28287\n"
)


@pytest.fixture(scope="module")
def translate(kafka_tools: KafkaTools) -> list[str]:
    """The command that runs Translate.java, compiled on the way; its arguments follow."""
    path = demand(lambda: class_path(kafka_tools.repository, print, more=_CLIENT))
    return [str(_java()), "-Xmx96m", "-XX:TieredStopAtLevel=1", "-cp", path, str(_PROGRAM)]


def _java() -> Path:
    """A Java that can compile, which the runtime of the tests cannot: no service, so skipped where there is none."""
    compiler = shutil.which("javac")
    if compiler is None:
        pytest.skip("no javac on PATH: RemoteClusterUtils cannot be asked; install a Java 17 development kit")
    return Path(compiler).resolve().with_name("java")


async def test_mirrormakers_own_client_reads_our_checkpoints(bed: Bed, translate: list[str]) -> None:
    """RemoteClusterUtils translates a group's offsets from our checkpoints, and finds the way by our heartbeats."""
    topic, site, group = await bed.topic(partitions=3), bed.site, f"g-{bed.site}"
    await bed.fill(topic, 10)
    stands = {0: Committed(4, "by hand"), 1: Committed(10)}
    assert await Groups(bed.source).commit(group, {(topic, partition): at for partition, at in stands.items()})
    mm2 = {"publish": True, "groups": (group,), "checkpoint_interval_s": 0.1, "heartbeat_interval_s": 0.1}

    async def written() -> bool:
        try:
            kept = await read_compacted(bed.target, f"{site}.checkpoints.internal", 0)
            found = [read_checkpoint(key, record.value or b"") for key, record in kept.items()]
            at = {each.partition: each.downstream for each in found}
            return (at.get(0), at.get(1)) == (4, 10) and await bed.target.partitions(f"{site}.heartbeats") == 1
        except BadInput:  # not there yet
            return False

    async with bed.link(bed.settings(mm2=mm2, selection={"refresh_s": 0.2})):
        await until(written, "checkpoints are written, heartbeats are on their way")
    asked = [*translate, bed.target.settings.brokers, site, group]
    process = await asyncio.create_subprocess_exec(*asked, stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode().splitlines()
    assert process.returncode == 0
    assert {line for line in said if line.startswith("offset")} == {
        f"offset {site}.{topic} 0 4 by hand",
        f"offset {site}.{topic} 1 10 ",
    }
    assert {"hops 1", f"heartbeats {site}.heartbeats", f"checkpoints {site}.checkpoints.internal"} <= set(said)
    assert f"upstream {site}" in said
