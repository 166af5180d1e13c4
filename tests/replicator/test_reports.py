"""`headwater replicate status` and `verify`: what they say, as a process, with their exit codes."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import structlog
from msgspec import structs

from headwater.app.stack.runner import Runner
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Out, encode
from replicator import losses
from replicator.operating.status_cli import _HEADER
from replicator.status import PartitionStatus, TopicStatus, is_running
from tests import commands
from tests.replicator.bed import EPOCH_MS, Bed, now_ms, numbered, until
from tests.replicator.silence import standing
from tests.replicator.test_corrupt import RECORDS, spoil


async def report(bed: Bed, command: str, *options: str) -> tuple[int, str]:
    """Exit code and standard output of a command about the link of this test."""
    _, env = bed.command(bed.settings())
    code, out, err = await commands.run(["replicate", command, *options], env)
    return code, out + err


async def verified(bed: Bed) -> tuple[int, list[dict[str, Any]]]:
    """What `verify --json` says."""
    code, text = await report(bed, "verify", "--json")
    return code, json.loads(text)


async def test_status_before_during_and_after(bed: Bed) -> None:
    """Nothing, a backlog and none of it are told apart; figures are of records, not of markers."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 20)
    code, text = await report(bed, "status", "--json")
    link = json.loads(text)
    assert (code, [each["state"] for each in link["topics"][0]["partitions"]]) == (0, ["not started"] * 2)
    assert (link["running"], link["stored_ms"]) == (False, None)
    said = (await report(bed, "status"))[1]
    assert f"no replicator of {bed.site} has ever run; start it with `headwater replicate run`" in said
    await bed.ship()
    producer = bed.transactional(f"txn-{bed.site}")
    producer.begin_transaction()
    producer.produce(topic, b"never", partition=0)
    producer.flush(10)
    producer.abort_transaction(10)
    link = json.loads((await report(bed, "status", "--json"))[1])
    assert [(p["state"], p["shipped"], p["lag_records"]) for p in link["topics"][0]["partitions"]] == [
        ("up to date", 20, 0)
    ] * 2
    await bed.write(topic, 1, encode([numbered(n) for n in range(5)]))
    link = json.loads((await report(bed, "status", "--json"))[1])
    behind = link["topics"][0]["partitions"][1]
    assert (behind["state"], behind["lag_records"]) == ("behind", 5)
    assert time.time() - EPOCH_MS / 1000 - 60 < behind["lag_s"] < time.time() - EPOCH_MS / 1000 + 60
    code, text = await report(bed, "status")
    assert code == 0
    assert remote(bed.site, topic) in text


def test_a_replicator_that_is_away_is_noticed_by_what_waits() -> None:
    """Without work nothing can be said; with work its silence tells, for longer than its pauses are."""
    waits = [TopicStatus("t", "s.t", "batch", [PartitionStatus(0, "behind", 5, 3, 9.0, None)], [])]
    idle = [TopicStatus("t", "s.t", "batch", [PartitionStatus(0, "up to date", 5, 0, 0.0, None)], [])]

    assert is_running(idle, 1_000, 5.0, 900_000) is None
    assert is_running(waits, 890_000, 5.0, 900_000) is True
    assert is_running(waits, 870_000, 5.0, 900_000) is False
    assert is_running(waits, None, 5.0, 900_000) is False


async def test_status_names_what_was_deleted_unshipped(bed: Bed) -> None:
    """Records that retention took before they were shipped are named, with exit code 8, before the link even runs."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, 30)
    code, text = await report(bed, "status")
    assert code == 8
    assert "offsets 20 to 29 were deleted unshipped" in text
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 30), "what is left is shipped")
    code, text = await report(bed, "status")
    assert code == 0
    assert "retention, offsets 20 to 29" in text


async def test_status_shows_engines_what_was_replaced_and_what_stands_still(bed: Bed, service_runner: Runner) -> None:
    """A halted partition is named with its reason and decides the exit code, with or without a running link."""
    plain, other = await bed.topic(partitions=1), await bed.topic("other", partitions=1)
    compacted = await bed.topic("status", partitions=1, cleanup_policy="compact")
    await bed.make(bed.target, remote(bed.site, plain), 1, max_message_bytes="3000")
    await bed.write(plain, 0, encode([numbered(n, 4000 if n == 2 else 900) for n in range(5)]))
    await bed.fill(other, 20)
    await bed.fill(compacted, 2)
    spoil(service_runner, other, 1, RECORDS, 1)
    async with bed.link(bed.settings(on_gap="halt")):
        await until(lambda: bed.ends_at(plain, 0, 5), "what can be shipped is")
        await until(lambda: _stands_still(bed, other), "the other one halts")
    code, text = await report(bed, "status", "--json")
    assert code == 7
    found = {each["topic"]: each for each in json.loads(text)["topics"]}
    assert [found[name]["engine"] for name in (plain, other, compacted)] == ["batch", "batch", "record"]
    assert found[plain]["partitions"][0]["replaced"] == {"too-large": 1}
    assert found[plain]["partitions"][0]["reworked"] == {"replaced": 1}
    assert found[other]["partitions"][0]["state"] == "halted"
    assert (found[other]["partitions"][0]["exit_code"], found[plain]["partitions"][0]["halted"]) == (7, "")
    code, text = await report(bed, "status")
    assert code == 7
    assert f"halted: {other}[0]: offsets 10 to 19 do not match their checksum (restore the source's log" in text
    assert f"{plain}[0]: the target did not take 1 too-large; something else stands for them" in text
    assert f"{remote(bed.site, compacted)}: record by record, since the topic at the source is compacted" in text
    code, verdicts = await verified(bed)
    assert [(each["compared"], each["replaced"], each["altered"]) for each in verdicts][:1] == [(5, 1, 0)]
    assert code == 0


async def _stands_still(bed: Bed, topic: str) -> bool:
    found = await standing(bed, topic)
    return found is not None and bool(found.halted)


async def test_records_older_than_the_target_keeps_are_named_before_they_are_shipped(bed: Bed) -> None:
    """Status says it before and after, the log with the first offset, the metric in records."""
    topic = await bed.topic(partitions=1)
    await bed.make(bed.target, remote(bed.site, topic), 1, retention_ms="60000", segment_ms="86400000")
    now = now_ms()
    await bed.fill(topic, 10)  # an hour old
    await bed.write(topic, 0, encode([Out(b"k", b"%d new" % n, (), now) for n in range(10, 13)]))
    with structlog.testing.capture_logs() as logs:
        async with bed.link(bed.settings()):
            await until(lambda: bed.ends_at(topic, 0, 13), "all is shipped")
            await bed.fill(topic, 5)
            await until(lambda: bed.ends_at(topic, 0, 18), "old ones that come later are shipped, too")
    (said,) = [entry for entry in logs if entry["event"] == "older than the target keeps"]
    assert (said["from_offset"], said["retention_ms"]) == (0, 60_000)
    found = await standing(bed, topic)
    assert found is not None
    assert found.void == 15
    text = (await report(bed, "status"))[1]
    assert f"{topic}[0]: 15 records were shipped that the target deletes at once" in text


async def test_verify_proves_a_good_copy(bed: Bed) -> None:
    """Equal logs have equal digests, also where both sides have deleted different parts, and with a backlog."""
    topic = await bed.topic(partitions=2)
    compacted = await bed.topic("status", partitions=1, cleanup_policy="compact")
    await bed.fill(topic, 60)
    bed.produce(compacted, [Out(b"k%d" % (n % 3), b"%d" % n, (), n) for n in range(9)])
    await bed.ship()
    await bed.trim(bed.source, topic, 0, 15)
    await bed.trim(bed.target, remote(bed.site, topic), 0, 23)
    await bed.trim(bed.target, remote(bed.site, topic), 1, 7)
    await bed.fill(topic, 4)
    code, found = await verified(bed)
    assert code == 0
    assert [(p["compared"], p["waiting"]) for p in found] == [(37, 4), (53, 4), (3, 0)]
    assert all(p["source_sha256"] == p["target_sha256"] and not p["remark"] for p in found)


async def test_verify_names_what_is_missing(bed: Bed) -> None:
    """Acknowledged records that are not at the target any more end with exit code 8."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 30)
    await bed.ship()
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    ours = [Out(*(r.key, r.value, r.headers, r.timestamp_ms)) for r in await bed.data(bed.source, topic, 0)]
    await bed.target.produce([(target, 0, encode(ours[:25]))])
    code, (found,) = await verified(bed)
    assert (code, found["missing"], found["compared"]) == (8, 5, 25)
    assert "the last 5 acknowledged records" in found["remark"]


async def test_verify_names_what_differs(bed: Bed) -> None:
    """Dropped, doubled, swapped and altered records are counted, and the first difference is named by its offsets."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 30)
    await bed.ship()
    ours = [Out(*(r.key, r.value, r.headers, r.timestamp_ms)) for r in await bed.data(bed.source, topic, 0)]
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    spoilt = [*ours[:5], *ours[6:10], ours[9], ours[10]._replace(value=b"other"), *ours[11:]]
    await bed.target.produce([(target, 0, encode(spoilt))])
    code, (found,) = await verified(bed)
    assert (code, found["missing"], found["doubled"], found["altered"]) == (8, 1, 1, 1)
    assert "source offset 5 differs from target offset 5" in found["remark"]
    assert found["source_sha256"] != found["target_sha256"]
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    await bed.target.produce([(target, 0, encode([*ours[:29], ours[29]._replace(headers=())]))])
    code, (found,) = await verified(bed)
    assert (code, found["missing"], found["doubled"], found["altered"]) == (7, 0, 0, 1)


async def test_a_wrong_setting_is_answered_with_the_right_one(bed: Bed) -> None:
    """A setting that does not exist is refused with the nearest name, and exit code 2."""
    line, env = bed.command(bed.settings("t"))
    process = await asyncio.create_subprocess_exec(
        *line, env={**env, "HEADWATER_REPLICATOR__SIET": "x"}, stderr=asyncio.subprocess.PIPE
    )
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert b"HEADWATER_REPLICATOR__SITE" in err


def test_markers_of_transactions_are_not_told_as_records() -> None:
    """Where a topic goes record by record, the target's offsets are said to be offsets."""
    lost = PartitionStatus(0, "records missing", 0, 0, 0.0, None, lost=2001)
    assert "lost the last 2001 records that" in losses.sentences("staff", lost)[0]
    by_record = structs.replace(lost, engine="record")
    assert (
        "lost the last 2001 offsets (records, and markers of transactions)" in losses.sentences("staff", by_record)[0]
    )
    assert "target offsets" in _HEADER
    assert "shipped" not in _HEADER
