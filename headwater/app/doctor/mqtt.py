"""Does an MQTT broker do what Headwater needs of it? MQTT has no clock, so none is checked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from typing import TypeVar

from headwater.app.doctor.certificate import certificate
from headwater.app.doctor.finding import Finding, attempt, failed, good, warning
from headwater.contract.errors import HeadwaterError, Refused, Unreachable
from headwater.transport.mqtt import inspection
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Subscriber

T = TypeVar("T")

PATIENCE_S = 10.0
KEPT_S = 3.0
SMALL_PACKET_BYTES = 16 << 10
KAFKA_S = 0.010  # what Kafka takes to have a record, for the sentence about rates


def check_mqtt(name: str, settings: MqttSettings) -> list[Finding]:
    """Reached, then sessions kept, release, window and packet size. Never with the bridge's own client id."""
    client = f"headwater-doctor-{secrets.token_hex(4)}"
    try:
        welcome = asyncio.run(_reach(settings, client))
    except HeadwaterError as error:
        return [failed(name, error), *_tls(name, settings)]
    version, window = f"{name} version", f"{name} window"
    return [
        attempt(name, lambda: asyncio.run(_session(name, settings, client))),
        *_tls(name, settings),
        attempt(version, lambda: asyncio.run(_version(version, settings, client, welcome))),
        *([_packets(f"{name} packet size", welcome.packet_bytes)] if settings.protocol == "5" else []),
        attempt(window, lambda: asyncio.run(_bounded(settings, _window(window, settings, client)))),
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
    # The session of this check goes away by itself; MQTT 3.1.1 has no expiry, there the broker's own rule decides.
    short = settings.model_copy(update={"session_expiry_s": 60})
    await _bounded(settings, _leave_one(short, client, topic))
    if await _kept(short, client, topic):
        return good(name, f"{settings.where} keeps messages at QoS 1 for an absent session")
    fix = "enable persistence and persistent sessions on the broker, or use one that has them, such as Mosquitto"
    return warning(name, f"{settings.where} loses what arrives while the bridge is away", fix)


async def _leave_one(settings: MqttSettings, client: str, topic: str) -> None:
    async with Subscriber(settings, client, [topic]) as first:
        await first.subscribed.wait()
    async with Publisher(settings, f"{client}-p") as publisher:
        await publisher.publish(topic, b"kept?")
        await publisher.flush()


async def _kept(settings: MqttSettings, client: str, topic: str) -> bool:
    async with Subscriber(settings, client, [topic]) as again:
        try:
            async with asyncio.timeout(KEPT_S):
                while True:
                    batch = await again.read()
                    if batch.messages:
                        again.acknowledge(len(batch.messages), batch.epoch)
                        return True
        except TimeoutError:
            return False


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


async def _window(check: str, settings: MqttSettings, client: str) -> Finding:
    """How many messages the broker sends ahead bounds the rate: a window each round trip."""
    found = await inspection.measure_window(settings, f"{client}-w", f"headwater-doctor/{client}-w")
    rate = found.arrived / (found.round_trip_s + KAFKA_S)
    asked = f" ({settings.receive_maximum} are asked for)" if settings.protocol == "5" else ""
    if found.arrived >= found.sent:
        return good(check, f"{found.sent} messages come unacknowledged{asked}, round trip {_ms(found.round_trip_s)}")
    says = (
        f"at most {found.arrived} messages come unacknowledged{asked}: where Kafka takes {_ms(KAFKA_S)}, "
        f"the bridge takes in {rate:.0f} messages a second at most"
    )
    return warning(check, says, _wider(settings, found.arrived))


def _wider(settings: MqttSettings, window: int) -> str:
    if settings.protocol == "5" and window >= settings.receive_maximum:
        return "raise receive_maximum in these settings"
    wider = "raise the broker's limit (Mosquitto: max_inflight_messages 1000; EMQX: mqtt.max_inflight)"
    return wider if settings.protocol == "5" else f"{wider}, or set protocol to 5, which asks for receive_maximum"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
