"""What a user may not do, as the line that an administrator would type to allow it (kafka-acls.sh of Apache Kafka)."""

from __future__ import annotations

from typing import Literal

from headwater.transport.kafka_batch.settings import KafkaSettings

Resource = Literal["topic", "group", "transactional-id", "cluster"]


def principal(settings: KafkaSettings) -> str:
    """Name under which Kafka knows this user, as far as the settings tell: the subject of a certificate or a token."""
    if settings.sasl_mechanism == "GSSAPI":  # of edge/box1@REALM brokers know `edge`, unless they are told otherwise
        return f"User:{(settings.username or '<name of the ticket>').partition('@')[0].partition('/')[0]}"
    if settings.sasl_mechanism == "OAUTHBEARER":
        return "User:<subject of the token>"  # which is not read for this: it may not be there yet, or be another later
    if settings.username is not None:
        return f"User:{settings.username}"
    if settings.cert_file is not None:
        return f"User:<subject of {settings.cert_file.name}>"
    return "User:ANONYMOUS"


def allow(settings: KafkaSettings, operation: str, resource: Resource, name: str = "", *, prefix: bool = False) -> str:
    """The line that allows an operation, such as Read, on a resource, or on all whose names begin with `name`."""
    on = "--cluster" if resource == "cluster" else f"--{resource} '{name}'"
    pattern = " --resource-pattern-type prefixed" if prefix else ""
    login = " --command-config admin.properties" if settings.tls or settings.sasl_mechanism else ""
    return (
        f"kafka-acls.sh --bootstrap-server {settings.brokers}{login} --add --allow-principal '{principal(settings)}' "
        f"--operation {operation} {on}{pattern}"
    )


def denied(settings: KafkaSettings, operation: str, resource: Resource, name: str = "") -> str:
    """Hint for a refusal: who lacks what, and the line that gives it."""
    what = "the cluster" if resource == "cluster" else f"{resource} {name}"
    line = allow(settings, operation, resource, name)
    return f"{principal(settings)} needs {operation} on {what}; an administrator gives it with: {line}"
