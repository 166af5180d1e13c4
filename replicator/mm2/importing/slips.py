"""Slips of the pen: keys that neither Kafka nor MirrorMaker 2 knows, with the nearest one that they do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from headwater.contract.errors import BadInput

# What configNames() of Kafka 4.3's AdminClientConfig, ConsumerConfig, ProducerConfig, SourceConnectorConfig and the
# configurations of MirrorMaker's connectors have, and of Connect's worker what a file of MirrorMaker may set.
_NAMES = """
acks admin.listeners admin.timeout.ms allow.auto.create.topics auto.commit.interval.ms auto.offset.reset batch.size
bootstrap.controllers bootstrap.servers buffer.memory check.crcs checkpoints.topic.replication.factor
client.dns.lookup client.id client.rack clusters compression.gzip.level compression.lz4.level compression.type
compression.zstd.level config.action.reload config.properties.blacklist config.properties.exclude
config.property.filter.class config.providers config.storage.replication.factor config.storage.topic
connect.protocol connections.max.idle.ms connector.class connector.client.config.override.policy
connector.plugin.version consumer.poll.timeout.ms dedicated.mode.enable.internal.rest default.api.timeout.ms
delivery.timeout.ms emit.checkpoints.enabled emit.checkpoints.interval.seconds emit.heartbeats.enabled
emit.heartbeats.interval.seconds emit.offset-syncs.enabled enable.auto.commit enable.idempotence enable.metrics.push
enabled errors.log.enable errors.log.include.messages errors.retry.delay.max.ms errors.retry.timeout
errors.tolerance exactly.once.source.support exactly.once.support exclude.internal.topics fetch.max.bytes
fetch.max.wait.ms fetch.min.bytes forwarding.admin.class group.filter.class group.id group.instance.id
group.protocol group.remote.assignor groups groups.blacklist groups.exclude groups.whitelist header.converter
header.converter.plugin.version heartbeat.interval.ms heartbeats.replication.enabled
heartbeats.topic.replication.factor inter.worker.key.generation.algorithm inter.worker.key.size
inter.worker.key.ttl.ms inter.worker.signature.algorithm inter.worker.verification.algorithms interceptor.classes
isolation.level key.converter key.converter.plugin.version key.deserializer key.serializer linger.ms listeners
max.block.ms max.in.flight.requests.per.connection max.partition.fetch.bytes max.poll.interval.ms max.poll.records
max.request.size metadata.max.age.ms metadata.max.idle.ms metadata.recovery.rebootstrap.trigger.ms
metadata.recovery.strategy metric.names.formats metric.reporters metrics.num.samples metrics.recording.level
metrics.sample.window.ms name offset-syncs.topic.location offset-syncs.topic.replication.factor
offset.flush.interval.ms offset.flush.timeout.ms offset.lag.max offset.storage.partitions
offset.storage.replication.factor offset.storage.topic offsets.storage.topic partition.assignment.strategy
partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms partitioner.class
partitioner.ignore.keys plugin.discovery plugin.path predicates rebalance.timeout.ms receive.buffer.bytes
reconnect.backoff.max.ms reconnect.backoff.ms refresh.groups.enabled refresh.groups.interval.seconds
refresh.topics.enabled refresh.topics.interval.seconds replication.factor replication.policy.class
replication.policy.internal.topic.separator.enabled replication.policy.separator request.timeout.ms
response.http.headers.config rest.advertised.host.name rest.advertised.listener rest.advertised.port
rest.extension.classes retries retry.backoff.max.ms retry.backoff.ms sasl.client.callback.handler.class
sasl.jaas.config sasl.kerberos.kinit.cmd sasl.kerberos.min.time.before.relogin sasl.kerberos.service.name
sasl.kerberos.ticket.renew.jitter sasl.kerberos.ticket.renew.window.factor sasl.login.callback.handler.class
sasl.login.class sasl.login.connect.timeout.ms sasl.login.read.timeout.ms sasl.login.refresh.buffer.seconds
sasl.login.refresh.min.period.seconds sasl.login.refresh.window.factor sasl.login.refresh.window.jitter
sasl.login.retry.backoff.max.ms sasl.login.retry.backoff.ms sasl.mechanism sasl.oauthbearer.assertion.algorithm
sasl.oauthbearer.assertion.claim.aud sasl.oauthbearer.assertion.claim.exp.seconds
sasl.oauthbearer.assertion.claim.iss sasl.oauthbearer.assertion.claim.jti.include
sasl.oauthbearer.assertion.claim.nbf.seconds sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
sasl.oauthbearer.assertion.private.key.file sasl.oauthbearer.assertion.private.key.passphrase
sasl.oauthbearer.assertion.template.file sasl.oauthbearer.client.credentials.client.id
sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.clock.skew.seconds
sasl.oauthbearer.expected.audience sasl.oauthbearer.expected.issuer sasl.oauthbearer.header.urlencode
sasl.oauthbearer.jwks.endpoint.refresh.ms sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms
sasl.oauthbearer.jwks.endpoint.retry.backoff.ms sasl.oauthbearer.jwks.endpoint.url
sasl.oauthbearer.jwt.retriever.class sasl.oauthbearer.jwt.validator.class sasl.oauthbearer.scope
sasl.oauthbearer.scope.claim.name sasl.oauthbearer.sub.claim.name sasl.oauthbearer.token.endpoint.url
scheduled.rebalance.max.delay.ms security.protocol security.providers send.buffer.bytes session.timeout.ms
share.acknowledgement.mode share.acquire.mode socket.connection.setup.timeout.max.ms
socket.connection.setup.timeout.ms source.cluster.alias ssl.cipher.suites ssl.enabled.protocols
ssl.endpoint.identification.algorithm ssl.engine.factory.class ssl.key.password ssl.keymanager.algorithm
ssl.keystore.certificate.chain ssl.keystore.key ssl.keystore.location ssl.keystore.password ssl.keystore.type
ssl.protocol ssl.provider ssl.secure.random.implementation ssl.trustmanager.algorithm ssl.truststore.certificates
ssl.truststore.location ssl.truststore.password ssl.truststore.type status.storage.partitions
status.storage.replication.factor status.storage.topic sync.group.offsets.enabled
sync.group.offsets.interval.seconds sync.topic.acls.enabled sync.topic.acls.interval.seconds
sync.topic.configs.enabled sync.topic.configs.interval.seconds target.cluster.alias
task.shutdown.graceful.timeout.ms tasks.max tasks.max.enforce topic.creation.enable topic.creation.groups
topic.filter.class topic.tracking.allow.reset topic.tracking.enable topics topics.blacklist topics.exclude
topics.whitelist transaction.boundary transaction.boundary.interval.ms transaction.timeout.ms
transaction.two.phase.commit.enable transactional.id transforms use.defaults.from value.converter
value.converter.plugin.version value.deserializer value.serializer worker.sync.timeout.ms worker.unsync.backoff.ms
"""
KNOWN = frozenset(_NAMES.split())
_PROTOCOL = "security.protocol"
_ENCRYPTS = {"SSL", "SASL_SSL", "SASL_PLAINTEXT"}
_NEAR = 0.85
_CLIENT = re.compile(r"((source|target)\.)?(producer|consumer|admin)\.")
# What follows these is named by whoever writes the file, or by a class of theirs.
_FREE = re.compile(
    r"(transforms|predicates|config\.providers|listeners|rest|metrics?|topic\.creation|config\.storage)\..*"
)


def nearest(key: str, prefixes: tuple[str, ...]) -> str | None:
    """The setting that was meant by a key that is none; None where it is one, or nothing is near.

    `prefixes` are those of the flow and of its clusters, in front of which a key may stand.
    """
    front, bare = _parts(key, prefixes)
    if bare in KNOWN or _FREE.fullmatch(bare):
        return None
    there = re.sub(r"[_-]", ".", front + bare).lower()
    known = {(prefix + name).lower(): prefix + name for prefix in (*prefixes, "") for name in KNOWN}
    found = get_close_matches(there, known, 1, _NEAR) or get_close_matches((front + bare).lower(), known, 1, _NEAR)
    return known[found[0]] if found else None


def _parts(key: str, prefixes: tuple[str, ...]) -> tuple[str, str]:
    front = next((each for each in prefixes if key.startswith(each)), "")
    return front, _CLIENT.sub("", key.removeprefix(front), count=1)


def refuse_plain(found: Mapping[str, str], flow: str, clusters: tuple[str, ...], others: tuple[str, ...]) -> None:
    """BadInput where a line seems to ask for encryption or a login, and the connection that it means has neither.

    `flow` and `clusters` stand in front of this flow's settings, `others` in front of those of other clusters.
    """
    prefixes = (flow, *clusters)
    for key, value in found.items():
        front, bare = _parts(key, prefixes)
        if key.startswith(others) or ("->" in key and front != flow):
            continue
        if bare == _PROTOCOL:
            if key == _PROTOCOL or key in {each + _PROTOCOL for each in clusters}:
                continue
            _single_client(found, key, value, clusters if front not in clusters else (front,))
        else:
            _misspelt(key, value, bare, prefixes)


def _single_client(found: Mapping[str, str], key: str, value: str, clusters: tuple[str, ...]) -> None:
    """A protocol of the producer, the consumer or the flow alone, which a link does not know."""
    plain = [each for each in clusters if not _encrypts(found.get(each + _PROTOCOL, found.get(_PROTOCOL, "")))]
    if _encrypts(value) and plain:
        told = " or ".join(each + _PROTOCOL for each in plain)
        raise BadInput(f"{key} is not for all clients of a cluster, and a link has one login", hint=f"write {told}")


def _misspelt(key: str, value: str, bare: str, prefixes: tuple[str, ...]) -> None:
    if bare in KNOWN or _FREE.fullmatch(bare):
        return
    meant = nearest(key, prefixes)
    ends = " or ".join(each + _PROTOCOL for each in prefixes[1:])
    if meant is not None and meant.endswith(_PROTOCOL):
        named = ends if key.endswith(f".{_PROTOCOL}") or meant == prefixes[0] + _PROTOCOL else meant
        raise BadInput(f"{key} is no setting of Kafka, so that it encrypts nothing", hint=f"write {named}")
    if _encrypts(value):
        raise BadInput(
            f"{key} is no setting of Kafka, and has a protocol for its value", hint=f"write {ends}, or take it out"
        )


def _encrypts(value: str) -> bool:
    return value.strip().upper() in _ENCRYPTS
