"""A cluster's settings in the words of the stock client (CONFIGURATION.md of librdkafka)."""

from __future__ import annotations

import time
from typing import Any

from headwater.transport.kafka_batch.settings import KafkaSettings

_TOKEN_S = 60.0  # after which the file is read again


def librdkafka(settings: KafkaSettings, client_id: str = "headwater") -> dict[str, Any]:
    """Turn settings into librdkafka's configuration (CONFIGURATION.md)."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.brokers,
        "client.id": client_id,
        "security.protocol": ("SASL_" if settings.sasl_mechanism else "") + ("SSL" if settings.tls else "PLAINTEXT"),
        "socket.connection.setup.timeout.ms": int(settings.connect_timeout_s * 1000),
        "socket.timeout.ms": int(settings.request_timeout_s * 1000),
        "log_level": 0,  # what went wrong is raised, not printed on stderr
    }
    files = {"ssl.ca.location": settings.ca_file, "ssl.certificate.location": settings.cert_file}
    files["ssl.key.location"] = settings.key_file
    config |= {name: str(path) for name, path in files.items() if path is not None}
    if settings.sasl_mechanism:
        config["sasl.mechanism"] = settings.sasl_mechanism
    if settings.sasl_mechanism == "OAUTHBEARER":
        config["oauth_cb"] = lambda _: (settings.token(), time.time() + _TOKEN_S)
    elif settings.sasl_mechanism == "GSSAPI":
        config |= _kerberos(settings)
    elif settings.password:
        config["sasl.username"] = settings.username
        config["sasl.password"] = settings.password.get_secret_value()
    return config


def _kerberos(settings: KafkaSettings) -> dict[str, Any]:
    """The same login; tickets of a cache are those of KRB5CCNAME, since librdkafka has no setting for it."""
    config: dict[str, Any] = {"sasl.kerberos.service.name": settings.kerberos_service}
    if settings.username:
        config["sasl.kerberos.principal"] = settings.username
    if settings.keytab_file is None:
        return {**config, "sasl.kerberos.min.time.before.relogin": 0}
    return {**config, "sasl.kerberos.keytab": str(settings.keytab_file)}
