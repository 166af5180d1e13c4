"""Which services a part's settings name, and the checks of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from edge_agent.settings import EdgeSettings
from headwater.app.doctor.finding import Finding
from headwater.app.doctor.kafka import check_kafka
from headwater.app.doctor.mqtt import check_mqtt
from headwater.app.doctor.objects import check_objects
from headwater.app.doctor.topics import check_topics, uses
from headwater.transport.kafka_batch import KafkaSettings
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.objects import ObjectSettings

PUBLISHERS = ("trainer", "fleet")
FENCED = ("edge",)  # parts whose writers fence off their former life by name

Wire = KafkaSettings | MqttSettings | ObjectSettings


def wires(settings: BaseModel, path: str) -> Iterator[tuple[str, Wire]]:
    """Every service that a part's settings name, with the dotted name of the setting."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Wire):
            yield f"{path}.{name}", value
        elif isinstance(value, BaseModel):
            yield from wires(value, f"{path}.{name}")


def check_wire(part: str, settings: BaseModel, name: str, wire: Wire) -> list[Finding]:
    """All checks of one service that a part uses."""
    if isinstance(wire, MqttSettings):
        return check_mqtt(name, wire, spool=_spool(settings))
    if isinstance(wire, ObjectSettings):
        return check_objects(name, wire, publishes=part in PUBLISHERS)
    found = check_kafka(name, wire, fences=part in FENCED)
    use = uses(part, settings).get(name)
    if use is None or any(finding.state == "bad" for finding in found[:2]):  # not reached
        return found
    source = getattr(settings, "source", None) if use.mirrored else None
    return found + check_topics(name, wire, use, source)


def _spool(settings: BaseModel) -> Path | None:
    """The folder where a part's bridge spools; None where it waits for Kafka instead."""
    if isinstance(settings, EdgeSettings) and settings.bridge.ack_after == "spool":
        return settings.folder
    return None
