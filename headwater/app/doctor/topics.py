"""Do the topics that a part uses have settings under which its promises hold? Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headwater.app.doctor.finding import Finding, State, failed, good
from headwater.contract import topics
from headwater.contract.errors import HeadwaterError, Refused
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.kafka_batch.administration import topic_configs
from headwater.transport.kafka_batch.inspection import Copies, topic_copies

KAFKA_DEFAULT_BYTES = 1_048_588  # of max.message.bytes; the largest batches of bridge and scorer stay below it
ASKED = ("cleanup.policy", "max.message.bytes", "message.timestamp.type", "min.insync.replicas")
ANY = 0  # as a number of partitions


@dataclass(frozen=True)
class Use:
    """Topics of one cluster as a part uses them.

    `mirrored` ones, by their names and those of their sources, keep the time and the batches of their source.
    """

    specs: Sequence[TopicSpec]
    replication_factor: int = 1  # of topics that are yet to be made
    mirrored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """What a setting breaks, and what to do."""

    state: State
    says: str
    fix: str


def uses(part: str, settings: Any) -> dict[str, Use]:
    """What each Kafka cluster in a part's settings is used for, by the dotted name of the setting."""
    if part == "edge":
        return {"edge.kafka": Use(settings.topics, settings.replication_factor)}
    if part == "replicator":
        compacted = (topics.STATE, topics.STATUS)
        plain = {name: topics.COMPACT if name in compacted else {} for name in settings.topics}
        names = {settings.way(name, 0).target: name for name in settings.topics}
        there = [TopicSpec(name, ANY, plain[source]) for name, source in names.items()]
        return {
            "replicator.source": Use([TopicSpec(name, ANY, plain[name]) for name in settings.topics]),
            "replicator.target": Use([*there, topics.positions(settings.site)], settings.replication_factor, names),
        }
    return {f"{part}.kafka": Use(topics.cloud_topics())}


def check_topics(name: str, settings: KafkaSettings, use: Use, source: KafkaSettings | None = None) -> list[Finding]:
    """One finding for each topic with a problem, or one for all; batches must fit that a topic of `source` has."""
    check = f"{name} topics"
    try:
        return asyncio.run(_check(check, settings, use, source))
    except Refused as error:
        fix = "allow this user DESCRIBE and DESCRIBE_CONFIGS on Headwater's topics, or ask somebody who may"
        return [failed(check, Refused(f"the settings of the topics may not be asked for: {error}", hint=fix))]
    except HeadwaterError as error:
        return [failed(check, error)]


async def _check(check: str, settings: KafkaSettings, use: Use, source: KafkaSettings | None) -> list[Finding]:
    at_source = await _largest(source, use) if source else {}
    found: list[Finding] = []
    async with Cluster(settings, client_id="headwater-doctor") as cluster:
        brokers, copies = await topic_copies(cluster, [spec.name for spec in use.specs])
        for spec in use.specs:
            if spec.name not in copies:
                continue
            configs = await topic_configs(cluster, spec.name, ASKED)
            least = at_source.get(spec.name, KAFKA_DEFAULT_BYTES)
            problems = [
                *_of_copies(spec, copies[spec.name], configs),
                *_of_configs(spec, configs, least, mirrored=spec.name in at_source),
            ]
            found += _told(f"{check} {spec.name}", problems)
    missing = len(use.specs) - len(copies)
    if missing and use.replication_factor > brokers:
        says = f"{missing} cannot be made: {use.replication_factor} copies are asked for, brokers: {brokers}"
        found.append(Finding(check, "bad", says, f"set replication_factor to {brokers}, or start more brokers"))
    if not found:
        says = f"{len(copies)} of {len(use.specs)} exist, with settings that keep the promises"
        found.append(good(check, f"{says}; {missing} are made when first needed" if missing else says))
    return found


async def _largest(source: KafkaSettings, use: Use) -> dict[str, int]:
    """`max.message.bytes` at the source by name at the target; nothing where the source does not answer."""
    found = {}
    try:
        async with Cluster(source, client_id="headwater-doctor") as cluster:
            pairs = {source: name for name, source in use.mirrored.items()}
            _, copies = await topic_copies(cluster, list(pairs))
            for here in copies:
                asked = await topic_configs(cluster, here, ["max.message.bytes"])
                found[pairs[here]] = int(asked.get("max.message.bytes", KAFKA_DEFAULT_BYTES))
    except HeadwaterError:
        return {}  # the check of the source says it
    return found


def _told(check: str, problems: Sequence[Problem]) -> list[Finding]:
    if not problems:
        return []
    state: State = "bad" if any(problem.state == "bad" for problem in problems) else "warning"
    says, fix = ("; ".join(parts) for parts in zip(*((p.says, p.fix) for p in problems), strict=True))
    return [Finding(check, state, says, fix)]


def _of_copies(spec: TopicSpec, copies: Copies, configs: Mapping[str, str]) -> list[Problem]:
    found = []
    if spec.partitions not in (ANY, copies.partitions):
        says = f"{copies.partitions} partitions, the settings say {spec.partitions}: the part will not start"
        found.append(Problem("bad", says, f"set partitions to {copies.partitions}"))
    needed = int(configs.get("min.insync.replicas", "1"))
    if needed > copies.replicas:
        says = f"min.insync.replicas={needed} with {copies.replicas} copies: every write is refused"
        found.append(Problem("bad", says, _alter(spec, "min.insync.replicas", str(max(copies.replicas - 1, 1)))))
    elif needed == copies.replicas > 1:
        says = f"min.insync.replicas={needed} with {copies.replicas} copies: one broker down stops every write"
        found.append(Problem("warning", says, _alter(spec, "min.insync.replicas", str(needed - 1))))
    if copies.in_sync < copies.replicas:
        says = f"{copies.in_sync} of {copies.replicas} copies are in sync"
        found.append(Problem("warning", says, "start the missing brokers"))
    return found


def _of_configs(spec: TopicSpec, configs: Mapping[str, str], least: int, *, mirrored: bool) -> list[Problem]:
    found = []
    largest = int(configs.get("max.message.bytes", least))
    if largest < least:
        says = f"max.message.bytes={largest}: batches of up to {least} bytes come, larger ones are refused"
        found.append(Problem("warning", says, _alter(spec, "max.message.bytes", str(least))))
    policy = configs.get("cleanup.policy", "delete")
    if spec.compacted and "delete" in policy:
        says = f"cleanup.policy={policy}: state that is still needed is deleted by its age"
        found.append(Problem("warning", says, _alter(spec, "cleanup.policy", "compact")))
    if not spec.compacted and "compact" in policy:
        says = f"cleanup.policy={policy}: of each key only the newest record is kept"
        found.append(Problem("warning", says, _alter(spec, "cleanup.policy", "delete")))
    stamp = configs.get("message.timestamp.type", "CreateTime")
    if mirrored and stamp != "CreateTime":
        says = f"message.timestamp.type={stamp}: records would lose the time of the site, the link refuses it"
        found.append(Problem("bad", says, _alter(spec, "message.timestamp.type", "CreateTime")))
    return found


def _alter(spec: TopicSpec, name: str, value: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} --add-config {name}={value}"
