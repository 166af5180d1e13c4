"""Kafka by single records, groups and administration: the only place that imports confluent_kafka.

Whole batches and the writer that loses and doubles nothing are in kafka_batch. Calls here block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public, though its stub does not export it
from confluent_kafka.cimpl import NewTopic

from headwater.contract.errors import BadInput, BadSetting, Conflict, HeadwaterError, Refused, Transient, Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.librdkafka import librdkafka
from headwater.transport.retry import pauses

_log = structlog.get_logger(__name__)

_CREATE_TIMEOUT_S = 30.0
_POLL_S = 0.5
_ANY_PARTITION = -1  # RD_KAFKA_PARTITION_UA: by key
_SESSION_MS = 10_000  # a member that was killed leaves its partitions to others then; hearts beat in a thread
_UNKNOWN_TOPIC_MS = 5000  # how long a topic made a moment ago may stay unknown to a broker

Headers = tuple[tuple[str, bytes | None], ...]


class GroupRecord(NamedTuple):
    """A record as a group reads it. `timestamp_ms`: since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def ensure_topics(settings: KafkaSettings, specs: Sequence[TopicSpec], *, replication_factor: int = 1) -> list[str]:
    """Create the topics that are missing and return their names; harmless to repeat, also by two at once.

    Conflict: a topic exists with another number of partitions (never changed here: keys would move between them).
    Unreachable, Refused: as the cluster answers. Configurations of existing topics stay as they are.
    """
    with _turned(f"creating topics at {settings.brokers}"):
        admin = AdminClient(librdkafka(settings))
        existing = _partition_counts(admin, settings)
        missing = [spec for spec in specs if spec.name not in existing]
        for spec in specs:
            _check_partitions(spec, existing.get(spec.name, spec.partitions))
        if not missing:
            return []
        wanted = [NewTopic(spec.name, spec.partitions, replication_factor, config=spec.configs) for spec in missing]
        created = []
        for name, future in admin.create_topics(wanted, operation_timeout=_CREATE_TIMEOUT_S).items():
            if _created(future, name):
                created.append(name)
        found = _await_leaders(admin, [spec.name for spec in missing], settings)
        for spec in missing:
            _check_partitions(spec, found[spec.name])
        return created


def missing_topics(settings: KafkaSettings, specs: Sequence[TopicSpec]) -> list[TopicSpec]:
    """Those that `ensure_topics` would create; errors as there."""
    with _turned(f"looking for topics at {settings.brokers}"):
        existing = _partition_counts(AdminClient(librdkafka(settings)), settings)
        for spec in specs:
            _check_partitions(spec, existing.get(spec.name, spec.partitions))
        return [spec for spec in specs if spec.name not in existing]


def _created(future: Future[None], name: str) -> bool:
    try:
        future.result(_CREATE_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False  # another process was faster
        raise _error(error.args[0], f"creating topic {name}") from error
    return True


def _partition_counts(admin: AdminClient, settings: KafkaSettings) -> dict[str, int]:
    listed = admin.list_topics(timeout=settings.request_timeout_s)
    return {name: len(topic.partitions) for name, topic in listed.topics.items()}


def _await_leaders(admin: AdminClient, names: Sequence[str], settings: KafkaSettings) -> dict[str, int]:
    """Partition counts of new topics, once each partition's leader answers as such (it knows a little later)."""
    until = time.monotonic() + _CREATE_TIMEOUT_S
    for pause in pauses(first_s=0.05, most_s=0.5):
        listed = admin.list_topics(timeout=settings.request_timeout_s).topics
        found = {name: len(listed[name].partitions) for name in names if name in listed}
        if len(found) == len(names) and _all_lead(admin, found):
            return found
        if time.monotonic() > until:
            break
        time.sleep(pause)
    raise Unreachable(f"no leaders for {', '.join(names)} after {_CREATE_TIMEOUT_S:g} s", hint="start all brokers")


def _all_lead(admin: AdminClient, counts: dict[str, int]) -> bool:
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # confluent_kafka's own stub
    asked = {TopicPartition(name, number): end for name, count in counts.items() for number in range(count)}
    try:
        for future in admin.list_offsets(asked, request_timeout=_POLL_S).values():
            future.result(_CREATE_TIMEOUT_S)
    except KafkaException as error:
        if not isinstance(_error(error.args[0], "looking for leaders"), Transient):
            raise
        return False
    return True


def _check_partitions(spec: TopicSpec, found: int) -> None:
    if found != spec.partitions:
        raise Conflict(
            f"topic {spec.name} has {found} partitions, expected {spec.partitions}",
            hint=f"set partitions to {found}, or remove the topic if its records may go",
        )


def send(
    settings: KafkaSettings,
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: Headers = (),
    partition: int | None = None,
) -> tuple[int, int]:
    """Write one record and wait for all in-sync replicas; returns (partition, offset).

    Unreachable: not acknowledged within `request_timeout_s`; it may or may not have been written.
    """
    outcome: list[tuple[Any, Message]] = []
    with _turned(f"writing to {topic} at {settings.brokers}"):
        config = {"enable.idempotence": True, "delivery.timeout.ms": int(settings.request_timeout_s * 1000)}
        producer = Producer(
            {**librdkafka(settings), **config, "linger.ms": 0, "topic.metadata.propagation.max.ms": _UNKNOWN_TOPIC_MS}
        )
        producer.produce(
            topic,
            value,
            key,
            partition=_ANY_PARTITION if partition is None else partition,
            headers=list(headers),
            on_delivery=lambda error, message: outcome.append((error, message)),
        )
        producer.flush(settings.request_timeout_s + 1)
    if not outcome:
        raise Unreachable(f"{settings.brokers} did not acknowledge a record for {topic}")
    error, message = outcome[0]
    if error is not None:
        raise _error(error, f"writing to {topic} at {settings.brokers}")
    return message.partition() or 0, message.offset() or 0


class GroupReader:
    """Reads topics as a member of a consumer group, each record at least once.

    Iterating ends never; a record counts as done, and is committed, when the next one is asked for. A member that dies
    in between leaves its last record to the next one. Use as a context manager: leaving it leaves the group.
    """

    def __init__(self, settings: KafkaSettings, group: str, topics: Sequence[str]) -> None:
        self._doing = f"reading {', '.join(topics)} as group {group} at {settings.brokers}"
        self._done: Message | None = None
        with _turned(self._doing):
            self._consumer = Consumer(
                {
                    **librdkafka(settings),
                    "group.id": group,
                    "session.timeout.ms": _SESSION_MS,
                    "auto.offset.reset": "earliest",
                    "enable.auto.commit": False,
                    "isolation.level": "read_committed",
                    "allow.auto.create.topics": False,
                }
            )
            self._consumer.subscribe(list(topics))

    def __iter__(self) -> Iterator[GroupRecord]:
        """Yield records for ever; errors that may pass are logged and waited for, others raised."""
        while True:
            if record := self.next(_POLL_S):
                yield record

    def next(self, timeout_s: float) -> GroupRecord | None:
        """Commit the record handed out last and wait for the next one; None after `timeout_s` without one."""
        with _turned(self._doing):
            self._commit()
            message = self._consumer.poll(timeout_s)
        if message is None:
            return None
        failure = message.error()
        if failure is not None:
            error = _error(failure, self._doing)
            if not isinstance(error, Transient):
                raise error
            _log.warning("waiting", doing=self._doing, why=str(error))
            return None
        self._done = message
        return _record(message)

    def _commit(self) -> None:
        if self._done is None:
            return
        try:
            self._consumer.commit(message=self._done, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _LOST_PARTITION:
                raise
            _log.warning("partition went to another member", doing=self._doing, offset=self._done.offset())
        self._done = None

    def close(self) -> None:
        """Leave the group; a record whose successor was not asked for is not committed."""
        with _turned(self._doing):
            self._consumer.close()

    def __enter__(self) -> GroupReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_LOST_PARTITION = frozenset({codes.ILLEGAL_GENERATION, codes.UNKNOWN_MEMBER_ID, codes.REBALANCE_IN_PROGRESS})


def _record(message: Message) -> GroupRecord:
    headers = cast("Headers", tuple(message.headers() or ()))  # its stub allows more than the wire does
    place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
    return GroupRecord(*place, message.timestamp()[1], message.key(), message.value(), headers)


def topic_names(settings: KafkaSettings) -> list[str]:
    """Every topic of a cluster, sorted; the trainer looks among them for those of its sites."""
    with _turned(f"asking {settings.brokers} for its topics"):
        return sorted(AdminClient(librdkafka(settings)).list_topics(timeout=settings.request_timeout_s).topics)


@contextmanager
def _turned(doing: str) -> Iterator[None]:
    """Turn the client's exceptions into ours."""
    try:
        yield
    except KafkaException as error:
        raise _error(error.args[0], doing) from error
    except BufferError as error:
        raise Transient(f"{doing}: {error}") from error


def _error(error: KafkaError, doing: str) -> HeadwaterError:
    code = error.code()
    if code >= 0 or code == KafkaError.UNKNOWN:
        return codes.failure(code, doing, error.str())
    if code in _REFUSED:
        return Refused(f"{doing}: {error.str()}", hint="check username, password and ca_file")
    if code in _BAD_INPUT:
        return _BAD_INPUT[code](f"{doing}: {error.str()}")
    return Unreachable(f"{doing}: {error.str()}", hint="check the address, and that the broker runs")


# The client's own codes are public but begin with an underscore.
_REFUSED = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001  # public by its documentation
_BAD_INPUT: dict[int, type[HeadwaterError]] = {
    KafkaError._INVALID_ARG: BadSetting,  # noqa: SLF001  # as above
    KafkaError._UNKNOWN_TOPIC: BadInput,  # noqa: SLF001  # as above
    KafkaError._UNKNOWN_PARTITION: BadInput,  # noqa: SLF001  # as above
    KafkaError._MSG_TIMED_OUT: Unreachable,  # noqa: SLF001  # as above
}
