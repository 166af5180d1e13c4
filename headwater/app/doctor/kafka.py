"""Does a Kafka cluster do what Headwater needs of it? Asked by doing it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

from headwater.app.doctor.certificate import certificate
from headwater.app.doctor.clock import clock
from headwater.app.doctor.finding import Finding, attempt, failed, good, warning
from headwater.contract.errors import DataMissing, HeadwaterError, Refused, Transient
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Record, read_records
from headwater.transport.kafka_batch.administration import topic_configs
from headwater.transport.kafka_batch.inspection import BrokerAnswer, ask_brokers, topic_copies

DOCTOR_TOPIC = TopicSpec("headwater-doctor", 1, {"retention.ms": "3600000", "message.timestamp.type": "LogAppendTime"})
MANY_BROKERS = 3
FENCE_TRIES = 20
FENCE_PAUSE_S = 0.25
_STAMP = "message.timestamp.type"
_ACL = (
    f"allow this user READ, WRITE, DESCRIBE and CREATE on the topic {DOCTOR_TOPIC.name} for this check, "
    "and on Headwater's own topics for the parts (kafka-acls.sh)"
)


def check_kafka(name: str, settings: KafkaSettings, *, fences: bool) -> list[Finding]:
    """Reachable, at every advertised address, of a known release; fences (for an edge), writes, reads, has our time."""
    try:
        answers = asyncio.run(ask_brokers(settings))
    except HeadwaterError as error:
        return [failed(name, error)]
    found = [_reached(name, settings, answers), _brokers(f"{name} brokers", answers), *_tls(name, settings, answers)]
    if any(finding.state == "bad" for finding in found):
        return found
    found.append(_version(f"{name} version", answers))
    if fences:
        found.append(attempt(f"{name} fencing", lambda: asyncio.run(_fence(f"{name} fencing", settings))))
    return found + _round_trip(name, settings)


def _reached(name: str, settings: KafkaSettings, answers: Sequence[BrokerAnswer]) -> Finding:
    count = len(answers)
    few = "" if count >= MANY_BROKERS else f"; below {MANY_BROKERS}, its log is as safe as one machine's disk"
    return good(name, f"a cluster of {count} broker{'s' * (count > 1)} at {settings.brokers}{few}")


def _brokers(check: str, answers: Sequence[BrokerAnswer]) -> Finding:
    """After the first contact clients go where the cluster says that its brokers are."""
    for answer in answers:
        if answer.failure is not None:
            fix = f"make {answer.where} reachable from here, or correct advertised.listeners of broker {answer.node}"
            says = f"broker {answer.node} is advertised at {answer.where}: {answer.failure}"
            return Finding(check, "bad", says, fix, answer.failure.exit_code)
    return good(check, f"each answers where the cluster says: {', '.join(answer.where for answer in answers)}")


def _version(check: str, answers: Sequence[BrokerAnswer]) -> Finding:
    told = dict.fromkeys(answer.versions.sentence() for answer in answers if answer.versions)
    if len(told) > 1:
        fix = "finish the upgrade: all brokers on one release"
        return warning(check, f"the brokers differ: {'; '.join(told)}", fix)
    return good(check, next(iter(told)))


def _tls(name: str, settings: KafkaSettings, answers: Sequence[BrokerAnswer]) -> list[Finding]:
    context = settings.tls_context()
    found = []
    for answer in answers:
        if context is not None and answer.failure is None:
            host, _, port = answer.where.rpartition(":")
            found.append(certificate(f"{name} certificate", host, int(port), context))
    return [finding for finding in found if finding.state != "good"] or found[:1]


async def _fence(check: str, settings: KafkaSettings) -> Finding:
    """A new life of a writer fences off the old one by its name: the cluster must give out epochs."""
    async with Cluster(settings, client_id="headwater-doctor") as cluster:
        for last in range(FENCE_TRIES + 1):
            try:
                await cluster.init_producer_id("headwater-doctor")
            except Transient as error:
                if last == FENCE_TRIES:
                    raise _no_coordinator(error) from error
                await asyncio.sleep(FENCE_PAUSE_S)
            else:
                break
    return good(check, "a named writer is given an epoch, so that its former life cannot write any more")


def _no_coordinator(error: Transient) -> Transient:
    hint = (
        "with fewer than 3 brokers set transaction.state.log.replication.factor=1 and transaction.state.log.min.isr=1; "
        "else start the missing brokers"
    )
    return type(error)(f"no epochs are given to named writers, bridge and scorer cannot start: {error}", hint=hint)


def _round_trip(name: str, settings: KafkaSettings) -> list[Finding]:
    """Write one record, read it back, and look at the time that the broker gave it."""
    check = f"{name} write and read"
    try:
        return _written(name, check, settings)
    except HeadwaterError as error:
        fix = _ACL if isinstance(error, Refused) else error.hint
        return [Finding(check, "bad", str(error), fix, error.exit_code)]


def _written(name: str, check: str, settings: KafkaSettings) -> list[Finding]:
    from headwater.transport import kafka  # noqa: PLC0415  # librdkafka, only where it is asked for

    asyncio.run(_may_ask(settings))
    kafka.ensure_topics(settings, [DOCTOR_TOPIC])
    token = secrets.token_bytes(8)
    before = time.time()
    partition, offset = kafka.send(settings, DOCTOR_TOPIC.name, b"doctor", token)
    record, stamped = asyncio.run(_read_one(settings, partition, offset))
    if record is None or record.value != token:
        raise DataMissing(f"{DOCTOR_TOPIC.name}[{partition}]: offset {offset} does not read back as written")
    elapsed = time.time() - before
    skew = record.timestamp_ms / 1000 - (before + elapsed / 2)
    return [
        good(check, f"a record came back whole in {elapsed:.2f} s"),
        _clock(f"{name} clock", skew, elapsed, stamped=stamped),
    ]


async def _may_ask(settings: KafkaSettings) -> None:
    """Refused at once where DESCRIBE is missing: by a listing of topics it would only look absent."""
    async with Cluster(settings, client_id="headwater-doctor") as cluster:
        await topic_copies(cluster, [DOCTOR_TOPIC.name])


def _clock(check: str, skew_s: float, elapsed_s: float, *, stamped: bool) -> Finding:
    if not stamped:  # the time of the record may be our own
        fix = f"allow DESCRIBE_CONFIGS on {DOCTOR_TOPIC.name}, or delete it: the next run makes it anew"
        return warning(check, f"not known: {DOCTOR_TOPIC.name} is not known to have {_STAMP}=LogAppendTime", fix)
    return clock(check, skew_s, elapsed_s, "retention deletes by it, and Kafka refuses records from the future")


async def _read_one(settings: KafkaSettings, partition: int, offset: int) -> tuple[Record | None, bool]:
    """The record, and whether the broker gave it its time."""
    async with Cluster(settings, client_id="headwater-doctor") as cluster:
        try:
            stamp = (await topic_configs(cluster, DOCTOR_TOPIC.name, [_STAMP])).get(_STAMP)
        except Refused:  # without DESCRIBE_CONFIGS only the clock stays unknown
            stamp = None
        async for records in read_records(cluster, DOCTOR_TOPIC.name, partition, offset, offset + 1):
            return records[0], stamp == "LogAppendTime"
    return None, False
