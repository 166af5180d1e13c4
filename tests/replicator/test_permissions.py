"""A real broker with an authorizer: what a user may not do is named, with the line that allows it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pydantic import SecretStr

from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.contract.errors import BadInput, HeadwaterError, Refused
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.kafka_batch.groups import Committed, Groups
from replicator.acls import acl_lines, operator_lines
from replicator.operating.observer import Observer
from replicator.operating.pausing import Pause, paused, say
from replicator.operating.trimming import trim
from replicator.running import run_link
from replicator.settings import ReplicatorSettings
from replicator.status import link_status
from tests.brokers import Relayed, relayed
from tests.replicator.bed import PATIENCE_S, Bed, until
from tests.replicator.silence import standing

_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
_MORE = f"""\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config={_MODULE} required user_edge="secret" user_cloud="secret";
"""


@dataclass
class Guarded:
    """The broker's door for its administrator, and one that asks who comes."""

    administrator: KafkaSettings
    port: int

    def door(self, username: str, password: str = "secret") -> KafkaSettings:
        """Settings of a user."""
        return KafkaSettings(
            brokers=f"127.0.0.1:{self.port}",
            sasl_mechanism="PLAIN",
            username=username,
            password=SecretStr(password),
        )

    def run(self, line: str) -> None:
        """Do what a line of kafka-acls.sh says, without starting Java for it."""
        words = shlex.split(line)
        given = dict(pairwise(words))
        kinds = {"--topic": ResourceType.TOPIC, "--transactional-id": ResourceType.TRANSACTIONAL_ID}
        kinds["--group"] = ResourceType.GROUP
        name, kind = next(((given[option], kinds[option]) for option in kinds if option in given), ("", None))
        if "--cluster" in words:
            name, kind = "kafka-cluster", ResourceType.BROKER
        operation = "".join(f"_{c}" if c.isupper() and n else c for n, c in enumerate(given["--operation"])).upper()
        prefixed = given.get("--resource-pattern-type") == "prefixed"
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        principal, allowed = given["--allow-principal"], AclPermissionType.ALLOW
        binding = AclBinding(kind, name, pattern, principal, "*", AclOperation[operation], allowed)
        admin = AdminClient({"bootstrap.servers": self.administrator.brokers})
        for future in admin.create_acls([binding]).values():
            future.result(10)

    def deny(self, topics: list[str]) -> None:
        """Keep everybody from writing to these topics, whatever else allows it."""
        admin = AdminClient({"bootstrap.servers": self.administrator.brokers})
        for future in admin.create_acls(_locks(topics)).values():
            future.result(10)

    def allow(self, topics: list[str]) -> None:
        """Take that back."""
        admin = AdminClient({"bootstrap.servers": self.administrator.brokers})
        for future in admin.delete_acls([AclBindingFilter(*each) for each in map(_fields, _locks(topics))]).values():
            future.result(10)


def _locks(topics: list[str]) -> list[AclBinding]:
    literal, denied = ResourcePatternType.LITERAL, AclPermissionType.DENY
    return [
        AclBinding(ResourceType.TOPIC, each, literal, "User:cloud", "*", AclOperation.WRITE, denied) for each in topics
    ]


def _fields(lock: AclBinding) -> tuple[Any, ...]:
    return (
        lock.restype, lock.name, lock.resource_pattern_type, lock.principal, lock.host, lock.operation,
        lock.permission_type,
    )  # fmt: skip


@pytest.fixture(scope="module")
def guarded(service_runner: Runner, kafka_tools: KafkaTools) -> Iterator[Guarded]:
    """A broker that lets nobody do anything unless it is told to, but its administrator."""
    service = relayed(KafkaService("guarded", lambda: kafka_tools), _MORE, sasl="SASL_PLAINTEXT")
    service_runner.start(service)
    ports = service_runner.ports(service)
    yield Guarded(Relayed(ports).plain, ports["sasl"])
    service_runner.stop("guarded", grace_s=2.0)


@pytest.fixture
async def site(guarded: Guarded, unique: str, tmp_path: Path) -> AsyncIterator[Bed]:
    """A site whose two clusters are this one, under two users."""
    async with Cluster(guarded.administrator, client_id="tests") as cluster:
        yield Bed(unique[-30:].strip("-"), cluster, cluster, tmp_path / "log")


def link(site: Bed, guarded: Guarded, *topics: str) -> ReplicatorSettings:
    """From `edge` to `cloud`."""
    more = {"source": guarded.door("edge"), "target": guarded.door("cloud")}
    return site.settings(*topics).model_copy(update=more)


async def test_following_the_hints_leads_to_a_link_that_ships(site: Bed, guarded: Guarded) -> None:
    """Each refusal is a sentence with one line; typed in one after the other, they are enough."""
    topic = await site.topic(partitions=1)
    await site.fill(topic, 5)
    typed: list[str] = []
    while len(typed) < 30:
        stop = asyncio.Event()
        task = asyncio.create_task(run_link(link(site, guarded, topic), stop))
        arrived = asyncio.create_task(until(lambda: site.ends_at(topic, 0, 5), "it ships", PATIENCE_S))
        await asyncio.wait([task, arrived], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        arrived.cancel()
        outcome, _ = await asyncio.gather(task, arrived, return_exceptions=True)
        if not isinstance(outcome, HeadwaterError):
            break
        assert isinstance(outcome, Refused), outcome
        assert "AUTHORIZATION_FAILED" in str(outcome)
        assert outcome.hint, outcome
        said, line = outcome.hint.split("; an administrator gives it with: ")
        assert said.split()[0] in {"User:edge", "User:cloud"}
        assert line not in typed, "the hint did not help"
        guarded.run(line)
        typed.append(line)
    assert await site.arrived(topic) == list(range(5))
    assert 6 < len(typed) < 30
    assert any(f"--operation Read --topic '{topic}'" in line for line in typed)
    assert any("--operation Write --transactional-id" in line for line in typed)


async def test_the_lines_of_a_link_are_enough_at_once(site: Bed, guarded: Guarded) -> None:
    """All that `headwater replicate acls` prints, and nothing else, lets it ship batches and compacted topics."""
    topic = await site.topic(partitions=1)
    compacted = await site.topic("status", partitions=1, cleanup_policy="compact")
    settings = link(site, guarded, topic, compacted)
    for line in [each for lines in acl_lines(settings).values() for each in lines]:
        guarded.run(line)
    for name in (topic, compacted):
        await site.fill(name, 5)
    async with site.link(settings) as task:
        for name in (topic, compacted):
            await until(partial(_arrived, site, name, 5), "all is shipped")
        assert not task.done()


async def test_the_lines_for_the_operator_are_enough_to_pause_and_trim(site: Bed, guarded: Guarded) -> None:
    """Beside what the link itself is given; without them both are refused, with the line that is among them."""
    topic = await site.topic(partitions=1)
    settings = link(site, guarded, topic)
    for line in [each for lines in acl_lines(settings).values() for each in lines]:
        guarded.run(line)
    await site.fill(topic, 5)
    async with site.link(settings) as task:
        await site.shipped(task)
    given = operator_lines(settings)
    async with Cluster(settings.source, client_id="tests") as source:
        with pytest.raises(Refused) as refused:
            await say(source, site.site, topic, Pause(1), 1)
        assert refused.value.hint.split("; an administrator gives it with: ")[1] in given
        with pytest.raises(Refused) as refused:
            await trim(settings, topic, 0, really=True)
        assert refused.value.hint.split("; an administrator gives it with: ")[1] in given
        for line in given:
            guarded.run(line)
        await say(source, site.site, topic, Pause(1), 1)
        assert topic in await paused(source, site.site)
        (found,) = await trim(settings, topic, 0, really=True)
        assert (found.records, found.deleted) == (5, True)


async def test_the_lines_are_enough_to_follow_groups(site: Bed, guarded: Guarded) -> None:
    """With them a link sets groups' offsets, writes what MirrorMaker writes, and ships the heartbeats."""
    topic, group = await site.topic(partitions=1), f"g-{site.site}"
    mm2 = {"publish": True, "sync_group_offsets": True, "groups": (group,), "checkpoint_interval_s": 0.1}
    plain = site.settings(topic, mm2=mm2, selection={"refresh_s": 0.2})
    settings = plain.model_copy(update={"source": guarded.door("edge"), "target": guarded.door("cloud")})
    assert "--group" in str(acl_lines(settings)["source"])
    for line in [each for lines in acl_lines(settings).values() for each in lines]:
        guarded.run(line)
    await site.fill(topic, 5)
    assert await Groups(site.source).commit(group, {(topic, 0): Committed(3)})
    async with site.link(settings) as task:
        await until(partial(_holds_data, site, f"{site.site}.checkpoints.internal"), "checkpoints are written")
        await until(partial(_holds_data, site, f"{site.site}.heartbeats"), "heartbeats are shipped")
        await until(partial(_stands, site, group, topic), "the group is set")
        assert not task.done()


async def _holds_data(site: Bed, topic: str) -> bool:
    try:
        return bool(await site.data(site.target, topic, 0))
    except BadInput:  # not there yet
        return False


async def _stands(site: Bed, group: str, topic: str) -> bool:
    return (remote(site.site, topic), 0) in await Groups(site.target).committed(group)


async def test_a_topic_that_may_not_be_read_does_not_stop_the_others(site: Bed, guarded: Guarded) -> None:
    """It is said at the target what is missing, and how to give it."""
    topic, secret = await site.topic(partitions=1), await site.topic("secret", partitions=1)
    settings = link(site, guarded, topic)
    for line in [each for lines in acl_lines(settings).values() for each in lines]:
        guarded.run(line)
    await site.fill(topic, 5)
    async with site.link(settings.model_copy(update={"topics": (secret, topic)})) as task:
        await until(lambda: site.ends_at(topic, 0, 5), "the other topic is shipped")
        await until(lambda: _is_told(site, secret), "it is said")
        assert not task.done()
    found = await standing(site, secret)
    assert found is not None
    assert (found.exit_code, "TOPIC_AUTHORIZATION_FAILED" in found.halted) == (3, True)
    assert f"User:edge needs Describe on topic {secret}; an administrator gives it with: kafka-acls.sh" in found.hint
    assert not await site.holds(remote(site.site, secret), 0)


async def test_what_is_granted_later_is_shipped_without_a_restart(site: Bed, guarded: Guarded) -> None:
    """A topic, a partition under way and a compacted one go on once they are allowed; status says when it was tried."""
    topic, secret, sealed = [await site.topic(stem, partitions=1) for stem in ("t", "secret", "sealed")]
    kept = await site.topic("kept", partitions=1, cleanup_policy="compact")
    settings = link(site, guarded, topic, secret, sealed, kept)
    for line in [each for lines in acl_lines(settings).values() for each in lines]:
        if f"--topic '{secret}'" not in line:
            guarded.run(line)
    locks = [remote(site.site, name) for name in (sealed, kept)]
    guarded.deny(locks)
    for name in (topic, secret, sealed, kept):
        await site.fill(name, 5)
    observer = Observer(settings)
    stop = asyncio.Event()
    task = asyncio.create_task(run_link(settings, stop, observer=observer))
    try:
        await until(lambda: site.ends_at(topic, 0, 5), "what may be shipped is")
        for name in (secret, sealed, kept):
            await until(partial(_is_told, site, name), f"{name} is refused")
            await until(partial(_was_tried, site, name), f"{name} is tried again")
        assert {each.topic for each in observer.snapshot().troubles} == {secret, sealed, kept}
        found = await link_status(settings)
        assert found.exit_code == 3
        tried = {each.topic: each.partitions[0].tried for each in found.topics}
        assert (tried[topic], min(tried[secret], tried[sealed], tried[kept]) > 0) == (0, True)
        guarded.allow(locks)
        for line in acl_lines(settings)["source"]:
            guarded.run(line)
        for name in (secret, sealed, kept):
            await until(partial(_arrived, site, name, 5), f"{name} is shipped")
            await until(partial(_is_well, site, name), f"{name} is said to be well")
        assert not task.done()
        assert not observer.snapshot().troubles
    finally:
        stop.set()
        assert await asyncio.wait_for(task, PATIENCE_S) is None


async def _was_tried(bed: Bed, topic: str) -> bool:
    first = await standing(bed, topic)
    return first is not None and first.tried > 0


async def _is_well(bed: Bed, topic: str) -> bool:
    found = await standing(bed, topic)
    return found is not None and not found.halted and not found.tried


async def _arrived(bed: Bed, topic: str, count: int) -> bool:
    return await bed.holds(remote(bed.site, topic), count, more=True) and len(await bed.arrived(topic)) == count


async def _is_told(bed: Bed, topic: str) -> bool:
    found = await standing(bed, topic)
    return found is not None and bool(found.halted)


async def test_wrong_credentials_are_named(site: Bed, guarded: Guarded) -> None:
    """Who was refused, by which broker, and what to look at; exit code 3."""
    topic = await site.topic(partitions=1)
    settings = link(site, guarded, topic).model_copy(update={"target": guarded.door("cloud", "guessed")})
    with pytest.raises(Refused, match=r"broker 127.0.0.1:\d+ refuses the login of cloud: Auth") as raised:
        await asyncio.wait_for(run_link(settings, asyncio.Event()), PATIENCE_S)
    assert raised.value.hint == "check username, password and sasl_mechanism"
    assert raised.value.exit_code == 3
