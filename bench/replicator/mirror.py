"""MirrorMaker 2 of the same Kafka, in its dedicated mode, with the Java options of its start script.

Its jars are fetched and checked like Kafka's own (mirror-jars.txt; together they are what the distribution has).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.replicator.cases import Case
from bench.replicator.clusters import Bed, Ends
from headwater.app.stack import jars
from headwater.app.stack.kafka_tools import cache_folder

# bin/kafka-run-class.sh and bin/connect-mirror-maker.sh of the distribution
_JVM = (
    "-Xms256M",
    "-Xmx2G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
    "-Dlog4j2.level=WARN",
)
_LOCAL = """\
clusters = {alias}, cloud
{alias}.bootstrap.servers = {source}
cloud.bootstrap.servers = {target}
{alias}->cloud.enabled = true
{alias}->cloud.topics = {topics}
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
"""
# Strimzi's documentation, "configuring MirrorMaker 2 producers and consumers for throughput", and one task a partition.
_TUNED = """\
tasks.max = {tasks}
cloud.producer.batch.size = 327680
cloud.producer.linger.ms = 100
"""
_TLS = """\
{name}.security.protocol = SSL
{name}.ssl.truststore.type = PEM
{name}.ssl.truststore.location = {pem}
"""


def class_path(progress: Callable[[str], None]) -> str:
    """Kafka's jars and MirrorMaker's, fetched where missing; HeadwaterError where that is not possible."""
    repository = cache_folder() / "maven"
    return jars.class_path(repository, progress, more=(Path(__file__).parent / "mirror-jars.txt").read_text())


def properties(bed: Bed, case: Case, alias: str, topics: str, *, tuned: bool) -> str:
    """Its configuration. Tuned, it also compresses as the source does, which by itself it would not."""

    def where(ends: Ends) -> str:
        return ends.tls if case.tls else ends.plain

    text = _LOCAL.format(alias=alias, source=where(bed.source), target=where(bed.target), topics=topics)
    if tuned:
        text += _TUNED.format(tasks=case.partitions)
        text += f"cloud.producer.compression.type = {case.codec}\n" if case.codec != "none" else ""
    if case.tls:
        authority = bed.folder / "authority.pem"
        pem = bed.source.pem.read_text()
        authority.write_text(pem[pem.index("-----BEGIN CERTIFICATE") :])
        text += "".join(_TLS.format(name=name, pem=authority) for name in (alias, "cloud"))
    return text


def command(bed: Bed, path: str, file: Path) -> list[str]:
    """How to run it."""
    quiet = ["--sun-misc-unsafe-memory-access=allow"] if bed.tools.java.major >= 24 else []
    main = "org.apache.kafka.connect.mirror.MirrorMaker"
    return [str(bed.tools.java.program), *_JVM, *quiet, "-cp", path, main, str(file)]
