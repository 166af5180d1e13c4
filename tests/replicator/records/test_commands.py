"""Rules as people meet them: settings, trial, status, plan, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.topics import remote
from headwater.transport import settings as sources
from headwater.transport.kafka_batch import Out, encode
from replicator.cli import app
from replicator.operating.planning import plan_link
from replicator.operating.report import report
from replicator.operating.status_cli import _text as status_text
from replicator.proof.comparison import Comparison
from replicator.proof.sides import Side, check_side
from replicator.settings import ReplicatorSettings
from replicator.status import link_status
from replicator.verify import verify_link
from tests.replicator.bed import Bed, now_ms
from tests.replicator.records.test_shipping import looked_at, reading, rules, there, write

SIDES: tuple[Side, ...] = ("target", "source")
FILE = """
[replicator]
site = "lyon"
source.brokers = "edge:9092"
target.brokers = "cloud:9092"
topics = ["readings-1", "staff"]

[[replicator.records]]
name = "no tests"
topics = ["readings-*"]
drop = { key = "test-.*" }

[[replicator.records]]
topics = ["readings-*"]
keep = { field = "values.flow", above = 30 }

[[replicator.records]]
topics = ["*"]
mask = ["who"]
set_headers = { plant = "lyon" }
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file, with the salt where secrets are."""
    (tmp_path / "headwater.toml").write_text(FILE)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/replicator__mask_salt").write_text("pepper-and-salt")
    monkeypatch.setenv("HEADWATER_CONFIG", str(tmp_path / "headwater.toml"))
    monkeypatch.setenv("HEADWATER_SECRETS", str(tmp_path / "secrets"))
    return tmp_path / "headwater.toml"


def tried(*arguments: str) -> Result:
    """`rules test`."""
    return CliRunner().invoke(app, ["rules", "test", *arguments])


def test_rules_are_tried_without_a_broker(configured: Path) -> None:
    """What would be shipped is shown, and which rule does what."""
    done = tried("readings-1", "--key", "a", "--value", '{"values":{"flow":31}}', "--header", "x=1", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [(each["rule"], each["does"]) for each in found["steps"]] == [
        ("no tests", "lets it pass"),
        ("rule 2", "lets it pass"),
        ("rule 3", "changes it"),
    ]
    assert (found["record"]["key"], found["record"]["value"]) == ("a", '{"values":{"flow":31}}')
    assert list(found["record"]["headers"]) == ["x", "plant", "hw-source-offset"]
    done = tried("readings-1", "--key", "test-1", "--value", "{}")
    assert (done.exit_code, "no tests  leaves it out" in done.stdout) == (1, True)
    done = tried("staff", "--value", "no\tJSON")
    assert (done.exit_code, "leaves it out (its value is not JSON)" in done.stdout) == (1, True)
    value = configured.with_name("value.json")
    value.write_text('{"who":"Ann","n":1.50}')
    done = tried("staff", "--value", f"@{value}")
    assert done.exit_code == 0
    assert "Ann" not in done.stdout
    assert '"n":1.50}' in done.stdout
    assert "is not name=value" in str(tried("staff", "--value", "{}", "--header", "x").exception)
    assert "does not ship" in str(tried("other").exception)


def test_rules_alone_can_be_tried(configured: Path) -> None:
    """No site and no broker need be set: they have no part in it."""
    lines = FILE.splitlines()
    configured.write_text("\n".join(line for line in lines if not line.startswith(("site", "source", "target"))))
    assert tried("readings-1", "--key", "test-1", "--value", "{}").exit_code == 1
    assert tried("readings-1", "--key", "pump", "--value", '{"values":{"flow":31.2},"who":"me"}').exit_code == 0


def test_a_value_that_never_ends_is_refused(configured: Path) -> None:
    """A device as a file is not read, and the standard input not beyond a mebibyte."""
    done = tried("readings-1", "--value", "@/dev/zero")
    assert "/dev/zero cannot be read: it is no regular file" in str(done.exception)
    done = CliRunner().invoke(app, ["rules", "test", "readings-1", "--value", "-"], input=bytes((1 << 20) + 1))
    assert "larger than 1,048,576 bytes" in str(done.exception)


def test_a_topic_that_no_pattern_fits_is_answered_with_the_patterns(configured: Path) -> None:
    """There may be no names to list."""
    configured.write_text(FILE.replace('topics = ["readings-1", "staff"]', 'selection.include = ["lab-.*"]'))
    refused = tried("nope").exception
    assert isinstance(refused, BadInput)
    assert refused.hint == "it ships what lab-.* fits"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("key = ", "kye = "), "replicator.records.drop.kye"),
        (("test-.*", "test-("), "replicator.records.drop.key (number 1): 'test-(' is not a regular expression"),
        (("above = 30", 'above = "x"'), "replicator.records.keep.above (number 2): it must be a number"),
        (('"readings-*"', '"raedings-*"'), "no tests: topics raedings-* are none that the link ships"),
        (('set_headers = { plant = "lyon" }', "every_s = 0"), "replicator.records.every_s (number 3)"),
    ],
)
def test_wrong_rules_are_refused_with_their_place(configured: Path, change: tuple[str, str], says: str) -> None:
    """The sentence names the rule and the setting."""
    configured.write_text(FILE.replace(*change, 1))
    with pytest.raises(BadSetting) as refused:
        sources.load("replicator", ReplicatorSettings)
    assert says in str(refused.value)


def test_a_digest_without_salt_is_refused(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest of a name alone is as good as the name."""
    monkeypatch.delenv("HEADWATER_SECRETS")
    with pytest.raises(BadSetting, match=r"rule 3: mask needs the setting replicator.mask_salt"):
        sources.load("replicator", ReplicatorSettings)


async def test_status_and_plan_say_why_and_how_many(bed: Bed) -> None:
    """The engine, the rules, what they left out, and nothing that waits though nothing of the end was shipped."""
    topic = await bed.topic(partitions=1)
    await write(bed, topic, [reading(n) for n in range(40)])
    link = bed.settings(topic, **rules({"name": "few", "drop": {"field": "n", "above": 4}}))
    planned = (await plan_link(link)).topics[0]
    assert (planned.engine, planned.by) == ("record: rules", "rules apply to it: few")
    async with bed.link(link):
        await looked_at(bed, topic, 40)
    (found,) = (await link_status(link)).topics
    assert (found.engine, found.why) == ("record: rules", "rules apply to it: few")
    (partition,) = found.partitions
    assert (partition.lag_records, partition.state) == (0, "up to date")
    assert (partition.engine, partition.filtered) == ("record: rules", {"few": 35})
    said = status_text(await report(link))
    assert "record by record, since rules apply to it: few" in said
    assert f"{topic}[0]: left out by rules: 35 few" in said
    without = bed.settings(topic)
    (found,) = (await link_status(without)).topics
    assert (found.engine, found.why) == ("record", "rules applied to it once")


async def compared(link: ReplicatorSettings) -> dict[str, Any]:
    """What `verify` finds, in short."""
    (found,) = await verify_link(link)
    counts = ("compared", "missing", "doubled", "altered", "swapped", "waiting", "skipped", "filtered")
    return {name: getattr(found, name) for name in counts if getattr(found, name)}


async def test_verify_applies_the_rules_to_the_source(bed: Bed) -> None:
    """What the rules leave out is not missed; what is missing, doubled, altered or swapped is named as ever."""
    topic = await bed.topic(partitions=1)
    await write(bed, topic, [reading(n) for n in range(40)])
    link = bed.settings(topic, **rules({"keep": {"header": "even"}}, {"mask": ["who"], "mask_with": "?"}))
    async with bed.link(link):
        await looked_at(bed, topic, 40)
    assert await compared(link) == {"compared": 20, "filtered": 20}
    assert [each.compares for each in await verify_link(link)] == ["what rules ship"]
    for side in SIDES:
        (unproven,) = await check_side(link, side)
        assert (unproven.topic, unproven.entries, unproven.proven) == (topic, 0, 0)
        assert "`headwater replicate verify` compares it" in unproven.remark
    await write(bed, topic, [reading(n) for n in range(40, 50)])
    assert await compared(link) == {"compared": 20, "filtered": 25, "waiting": 5}
    other = bed.settings(topic, **rules({"drop": {"header": "even"}}))
    (found,) = await verify_link(other)
    assert (found.compared, found.agrees) == (0, True)
    assert "as they are set now" in found.remark


async def test_verify_names_what_was_done_to_the_target(bed: Bed) -> None:
    """Each kind of damage, by the offsets of the source that the records name."""
    topic = await bed.topic(partitions=1)
    await write(bed, topic, [reading(n) for n in range(30)])
    link = bed.settings(topic, **rules({"keep": {"header": "even"}}))
    async with bed.link(link):
        await looked_at(bed, topic, 30)
    good = await there(bed, topic)
    await bed.delete(bed.target, remote(bed.site, topic))
    await bed.make(bed.target, remote(bed.site, topic), 1)
    outs = [Out(*each[2:], each.timestamp_ms) for each in good]
    outs[3] = outs[3]._replace(value=b"other")  # of source offset 6
    outs[8], outs[9] = outs[9], outs[8]
    del outs[5]
    outs.insert(12, outs[11])
    answer = (await bed.target.produce([(remote(bed.site, topic), 0, encode(outs))]))[0]
    assert answer.error == 0
    found: Comparison = (await verify_link(link))[0]
    kinds = sorted((each.kind, each.source[0]) for each in found.ranges)
    assert kinds == [("altered", 6), ("doubled", 25), ("dropped", 10), ("swapped", 16)]
    assert (found.missing, found.doubled, found.altered, found.swapped) == (1, 1, 1, 1)


async def test_verify_knows_where_rules_that_thin_out_are_known_again(bed: Bed) -> None:
    """With the beginning of the source gone, its first spans are skipped and the rest is compared."""
    topic = await bed.topic(partitions=1)
    start = (now_ms() - 3_600_000) // 1000 * 1000
    await write(bed, topic, [reading(n, start + n * 100) for n in range(200)])
    link = bed.settings(topic, **rules({"every_s": 1}))
    async with bed.link(link):
        await looked_at(bed, topic, 200)
    assert await compared(link) == {"compared": 60, "filtered": 140}
    await bed.trim(bed.source, topic, 0, 55)
    found = await compared(link)
    assert (found["compared"], found["skipped"]) == (39, 21)
    await bed.trim(bed.target, remote(bed.site, topic), 0, (await there(bed, topic))[45].offset)
    assert (await compared(link))["compared"] == 15
