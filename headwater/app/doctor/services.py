"""Does each configured service do what Headwater needs of it? Asked by doing it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator

from pydantic import BaseModel

from headwater.app.doctor.finding import Finding, attempt, good, warning
from headwater.contract.errors import DataMissing, Refused, Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Record, read_records
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Subscriber
from headwater.transport.objects import ObjectSettings, open_store, probe_conditional_writes

DOCTOR_TOPIC = TopicSpec("headwater-doctor", 1, {"retention.ms": "3600000", "message.timestamp.type": "LogAppendTime"})
MOST_SKEW_S = 30.0
PATIENCE_S = 10.0

Wire = KafkaSettings | MqttSettings | ObjectSettings


def wires(settings: BaseModel, path: str) -> Iterator[tuple[str, Wire]]:
    """Every service that a part's settings name, with the dotted name of the setting."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Wire):
            yield f"{path}.{name}", value
        elif isinstance(value, BaseModel):
            yield from wires(value, f"{path}.{name}")


def check_wire(name: str, wire: Wire, *, publishes: bool) -> list[Finding]:
    """All checks of one service; `publishes` adds what only a publisher needs of a store."""
    if isinstance(wire, KafkaSettings):
        return _kafka(name, wire)
    if isinstance(wire, MqttSettings):
        return [attempt(name, lambda: asyncio.run(_session(name, wire)))]
    return _objects(name, wire, publishes=publishes)


def _kafka(name: str, settings: KafkaSettings) -> list[Finding]:
    def reach() -> Finding:
        from headwater.transport import kafka  # noqa: PLC0415  # librdkafka, only where it is asked for

        found = kafka.describe(settings)
        return good(name, f"cluster {found.cluster_id} with {len(found.brokers)} broker(s) at {settings.brokers}")

    reached = attempt(name, reach)
    if reached.state == "bad":
        return [reached]
    return [reached, attempt(f"{name} write and read", lambda: _round_trip(f"{name} write and read", settings))]


def _round_trip(name: str, settings: KafkaSettings) -> Finding:
    from headwater.transport import kafka  # noqa: PLC0415  # librdkafka, only where it is asked for

    kafka.ensure_topics(settings, [DOCTOR_TOPIC])
    token = secrets.token_bytes(8)
    before = time.time()
    partition, offset = kafka.send(settings, DOCTOR_TOPIC.name, b"doctor", token)
    record = asyncio.run(_read_one(settings, partition, offset))
    if record is None or record.value != token:
        raise DataMissing(f"{DOCTOR_TOPIC.name}[{partition}]: offset {offset} does not read back as written")
    elapsed = time.time() - before
    skew = record.timestamp_ms / 1000 - (before + elapsed / 2)  # the broker stamps records of this topic
    says = f"a record came back whole in {elapsed:.2f} s"
    if abs(skew) > MOST_SKEW_S + elapsed:
        fix = "set both clocks by NTP: retention and signatures work on time"
        return warning(name, f"{says}, but the broker's clock differs by {skew:+.0f} s", fix)
    return good(name, says)


async def _read_one(settings: KafkaSettings, partition: int, offset: int) -> Record | None:
    async with Cluster(settings, client_id="headwater-doctor") as cluster:
        async for records in read_records(cluster, DOCTOR_TOPIC.name, partition, offset, offset + 1):
            return records[0]
    return None


async def _session(name: str, settings: MqttSettings) -> Finding:
    """Subscribe, leave, let something be published, come back: a broker that keeps sessions still has it."""
    client = f"headwater-doctor-{secrets.token_hex(4)}"
    topic = f"headwater-doctor/{client}"
    # The session of this check goes away by itself; MQTT 3.1.1 has no expiry, there the broker's own rule decides.
    short = settings.model_copy(update={"session_expiry_s": 60})
    try:
        async with asyncio.timeout(PATIENCE_S):
            async with Subscriber(short, client, topic) as first:
                await first.subscribed.wait()
            async with Publisher(short, f"{client}-p") as publisher:
                await publisher.publish(topic, b"kept?")
                await publisher.flush()
    except TimeoutError as error:
        raise Unreachable(
            f"MQTT broker {settings.where} does not answer within {PATIENCE_S:.0f} s",
            hint="start it, or correct host and port; a broker that does not speak MQTT 5 needs protocol 3.1.1",
        ) from error
    kept = await _kept(short, client, topic)
    if kept:
        return good(name, f"{settings.where} keeps messages at QoS 1 for an absent session")
    fix = "enable persistence and persistent sessions on the broker, or use one that has them, such as Mosquitto"
    return warning(name, f"{settings.where} loses what arrives while the bridge is away", fix)


async def _kept(settings: MqttSettings, client: str, topic: str) -> bool:
    async with Subscriber(settings, client, topic) as again:
        try:
            async with asyncio.timeout(3.0):
                while True:
                    batch = await again.read()
                    if batch.messages:
                        again.acknowledge(len(batch.messages), batch.epoch)
                        return True
        except TimeoutError:
            return False


def _objects(name: str, settings: ObjectSettings, *, publishes: bool) -> list[Finding]:
    store = open_store(settings)
    where = settings.endpoint or "Amazon S3"

    def read() -> Finding:
        found = store.head("metadata/timestamp.json")
        if found is None:
            return warning(name, f"{where} answers, but nothing was published yet", "run: headwater fleet keys init")
        return good(name, f"{where} answers and holds signed metadata")

    def race() -> Finding:
        wrong = probe_conditional_writes(store)
        if wrong:
            raise Refused(
                f"{where}: {wrong}",
                hint="two publishers could overwrite each other; use a store with conditional writes",
            )
        return good(f"{name} conditional writes", "of all racing writers exactly one wins")

    reached = attempt(name, read)
    if reached.state == "bad" or not publishes:
        return [reached]
    return [reached, attempt(f"{name} conditional writes", race)]
