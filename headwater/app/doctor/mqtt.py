"""Does an MQTT broker do what Headwater needs of it? MQTT has no clock, so none is checked."""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from headwater.app.doctor.certificate import certificate
from headwater.app.doctor.finding import Finding, attempt, failed, good, warning
from headwater.contract.errors import HeadwaterError, Refused, Unreachable
from headwater.transport.files import file_error
from headwater.transport.mqtt import inspection
from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Subscriber

T = TypeVar("T")

PATIENCE_S = 10.0
KEPT_S = 3.0
SMALL_PACKET_BYTES = 16 << 10
QUEUED = 1200  # messages for an absent session; Mosquitto, EMQX and HiveMQ drop from 1000 on unless told otherwise
QUIET_S = 1.0
KAFKA_S = 0.010  # what Kafka takes to have a record, for the sentence about rates
SYNCS = 5
SLOW = 1000  # messages a second: with a spool less than that is worth a warning


def check_mqtt(name: str, settings: MqttSettings, *, spool: Path | None = None) -> list[Finding]:
    """Reached, then sessions kept and how much for them, release, window and packet size.

    `spool` is the folder on whose disk a message is acknowledged; without it that waits for Kafka. Never with the
    bridge's own client id.
    """
    client = f"headwater-doctor-{secrets.token_hex(4)}"
    try:
        welcome = asyncio.run(_reach(settings, client))
    except HeadwaterError as error:
        return [failed(name, error), *_tls(name, settings)]
    version, window, queue = f"{name} version", f"{name} window", f"{name} queue"
    kept = attempt(name, lambda: asyncio.run(_session(name, settings, client)))
    return [
        kept,
        *([attempt(queue, lambda: asyncio.run(_queue(queue, settings, client)))] if kept.state == "good" else []),
        *_tls(name, settings),
        attempt(version, lambda: asyncio.run(_version(version, settings, client, welcome))),
        *([_packets(f"{name} packet size", welcome.packet_bytes)] if settings.protocol == "5" else []),
        attempt(window, lambda: asyncio.run(_bounded(settings, _window(window, settings, client, spool)))),
    ]


async def _reach(settings: MqttSettings, client: str) -> inspection.Welcome:
    """Refused with the protocol to set, where the broker speaks another than the settings say."""
    try:
        return await inspection.ask_broker(settings, f"{client}-v")
    except (Unreachable, Refused) as error:
        others = await inspection.accepted_protocols(settings, f"{client}-v")
        if others and settings.protocol not in others:
            says = f"MQTT broker {settings.where} takes MQTT {' and '.join(others)}, not {settings.protocol}"
            raise Refused(says, hint=f"set protocol to {others[0]}") from error
        raise


def _tls(name: str, settings: MqttSettings) -> list[Finding]:
    context = settings.tls_context()
    return [certificate(f"{name} certificate", settings.host, settings.port, context)] if context else []


async def _bounded(settings: MqttSettings, what: Coroutine[None, None, T]) -> T:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await what
    except TimeoutError as error:
        raise Unreachable(
            f"MQTT broker {settings.where} does not answer within {PATIENCE_S:.0f} s",
            hint="look at the broker's log: it took the connection, but not what was asked on it",
        ) from error


async def _session(name: str, settings: MqttSettings, client: str) -> Finding:
    """Subscribe, leave, let something be published, come back: a broker that keeps sessions still has it."""
    topic = f"headwater-doctor/{client}"
    short = settings.model_copy(update={"session_expiry_s": 60})
    try:
        await _bounded(settings, _leave(short, client, topic, 1))
        came = await _came(short, client, topic, 1, KEPT_S)
    finally:
        await _forget(short, client)
    if came:
        return good(name, f"{settings.where} keeps messages at QoS 1 for an absent session")
    fix = "enable persistence and persistent sessions on the broker, or use one that has them, such as Mosquitto"
    return warning(name, f"{settings.where} loses what arrives while the bridge is away", fix)


async def _queue(check: str, settings: MqttSettings, client: str) -> Finding:
    """Publish more than brokers queue by default: what is beyond their limit they drop, and tell nobody."""
    session, topic = f"{client}-q", f"headwater-doctor/{client}-q"
    short = settings.model_copy(update={"session_expiry_s": 60})
    try:
        await _bounded(settings, _leave(short, session, topic, QUEUED))
        came = await _bounded(settings, _came(short, session, topic, QUEUED, QUIET_S))
    finally:
        await _forget(short, session)
    if came >= QUEUED:
        return good(check, f"the {QUEUED} messages that were published meanwhile came back to a session that was away")
    says = f"of {QUEUED} messages for an absent session {came} came: what arrives beyond that is dropped silently"
    limit = "Mosquitto: max_queued_messages 0, and max_queued_bytes 0; EMQX: mqtt.max_mqueue_len = infinity"
    fix = f"lift the broker's limit ({limit}), or set it to more than comes in the longest absence of the bridge"
    return warning(check, says, fix)


async def _leave(settings: MqttSettings, client: str, topic: str, count: int) -> None:
    async with Subscriber(settings, client, [topic]) as first:
        await first.subscribed.wait()
    async with Publisher(settings, f"{client}-p") as publisher:
        for _ in range(count):
            await publisher.publish(topic, b"kept?")
        await publisher.flush()


async def _came(settings: MqttSettings, client: str, topic: str, count: int, quiet_s: float) -> int:
    """How many come, acknowledged, until there are `count` or none has come for `quiet_s`."""
    came = 0
    async with Subscriber(settings, client, [topic]) as again:
        try:
            while came < count:
                async with asyncio.timeout(quiet_s):
                    batch = await again.read()
                came += len(batch.messages)
                again.acknowledge(len(batch.messages), batch.epoch)
        except TimeoutError:
            pass
    return came


async def _forget(settings: MqttSettings, client: str) -> None:
    """End a session: MQTT 3.1.1 has no expiry, and what is queued there would stay."""
    connection = await Connection.open(settings, client, Listener(), clean=True)
    await connection.close()


async def _version(check: str, settings: MqttSettings, client: str, welcome: inspection.Welcome) -> Finding:
    spoken = await inspection.accepted_protocols(settings, f"{client}-v")
    told = welcome.version or f"tells no release ({inspection.VERSION_TOPIC} cannot be read)"
    return good(check, f"{told}; takes MQTT {' and '.join(spoken)}")


def _packets(check: str, most: int | None) -> Finding:
    if most is None:
        return good(check, "the broker announces no largest packet")
    if most < SMALL_PACKET_BYTES:
        fix = f"raise the broker's limit to {SMALL_PACKET_BYTES} or more (Mosquitto: max_packet_size)"
        return warning(check, f"packets above {most} bytes are refused: a machine that publishes one is cut off", fix)
    return good(check, f"the largest packet may have {most} bytes")


async def _window(check: str, settings: MqttSettings, client: str, spool: Path | None) -> Finding:
    """How many messages the broker sends ahead bounds the rate: a window each round trip."""
    found = await inspection.measure_window(settings, f"{client}-w", f"headwater-doctor/{client}-w")
    asked = f" ({settings.receive_maximum} are asked for)" if settings.protocol == "5" else ""
    if found.arrived >= found.sent:
        return good(
            check, f"all {found.sent} that were tried come unacknowledged, round trip {_ms(found.round_trip_s)}"
        )
    what, safe_s = ("Kafka", KAFKA_S) if spool is None else ("a sync of the disk", _sync_s(spool))
    rate = found.arrived / (found.round_trip_s + safe_s)
    says = (
        f"at most {found.arrived} messages come unacknowledged{asked}: where {what} takes {_ms(safe_s)}, "
        f"the bridge takes in {rate:.0f} messages a second at most"
    )
    if spool is not None and rate >= SLOW:
        return good(check, says)
    fix = _wider(settings, found.arrived)
    return warning(check, says, fix if spool is not None else f'{fix}, or set edge.bridge.ack_after = "spool"')


def _sync_s(folder: Path) -> float:
    """What the disk of a folder, or of the nearest above that exists, takes to have 4 KiB: the median of some."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    took = []
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            for _ in range(SYNCS):
                began = time.monotonic()
                os.write(file.fileno(), bytes(4096))
                os.fdatasync(file.fileno())
                took.append(time.monotonic() - began)
    except OSError as error:
        raise file_error(error, there) from error
    return statistics.median(took)


def _wider(settings: MqttSettings, window: int) -> str:
    if settings.protocol == "5" and window >= settings.receive_maximum:
        return "raise receive_maximum in these settings"
    wider = "raise the broker's limit (Mosquitto: max_inflight_messages 1000; EMQX: mqtt.max_inflight)"
    return wider if settings.protocol == "5" else f"{wider}, or set protocol to 5, which asks for receive_maximum"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
