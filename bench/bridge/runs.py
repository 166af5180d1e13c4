"""One run of one system: a backlog drained at full speed, or a paced stream; and whether it did its work."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.bridge import wire
from bench.bridge.bed import Bed, Sent
from bench.bridge.log import Arrived, Offsets
from bench.bridge.meter import Meter
from bench.bridge.systems import System

WARM = 0.1  # share of a run that is not counted: start-up, connections, first batches
_PATIENCE_S = 10.0
_PROBES = 100


@dataclass(frozen=True)
class Run:
    """What one run has shown. CPU is of the system's processes, user and system, without the first tenth."""

    system: str
    sent: int
    lost: int
    duplicates: int
    fault: str  # empty where it did its work
    rate: float  # readings a second into Kafka
    cpu_us: float  # microseconds a reading
    peak_mb: float
    growth_mb: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def drain(bed: Bed, system: System, count: int, *, patience_s: float = _PATIENCE_S) -> Run:
    """Queue `count` readings for the absent system, start it, and watch them arrive in Kafka.

    Rate and CPU are those between the first tenth and the last reading, by the broker's append times. Memory growth
    is from the first hundredth on.
    """
    site, began = bed.fresh_site(), bed.log.ends(system.topic)
    wire.open_session(bed.mqtt_port, system.client_id(site), f"{site}/#", system.protocol)
    sent = bed.publish(site, 0, count).done()
    with _started(bed, system, site) as pid, Meter(pid) as meter:
        ended = bed.log.wait(system.topic, began, count, patience_s)
    return _outcome(bed, system, site, sent, meter, began, ended)


def pace(bed: Bed, system: System, rate: float, seconds: float) -> Run:
    """Send `rate` readings a second, evenly, through the running system; latency is from sending to Kafka's append."""
    site, began = bed.fresh_site(), bed.log.ends(system.topic)
    wire.open_session(bed.mqtt_port, system.client_id(site), f"{site}/#", system.protocol)
    with _started(bed, system, site) as pid, Meter(pid) as meter:
        bed.publish(site, 0, _PROBES).done()
        bed.log.wait(system.topic, began, _PROBES, _PATIENCE_S)
        sent = bed.publish(site, _PROBES, int(rate * seconds), rate).done()
        ended = bed.log.wait(system.topic, began, _PROBES + sent.count, _PATIENCE_S)
    return _outcome(bed, system, site, sent, meter, began, ended, first_number=_PROBES)


def _started(bed: Bed, system: System, site: str):  # type: ignore[no-untyped-def]
    folder = bed.folder / site
    folder.mkdir()
    start = system.start(bed, site, folder)
    return bed.running(start.argv, start.env, folder, f"{system.name}-{site}")


def _outcome(
    bed: Bed,
    system: System,
    site: str,
    sent: Sent,
    meter: Meter,
    began: Offsets,
    ended: Offsets,
    *,
    first_number: int = 0,
) -> Run:
    wire.drop_session(bed.mqtt_port, system.client_id(site), system.protocol)
    arrived = bed.log.read(system.topic, began, bed.log.ends(system.topic), first_number)
    del ended
    run = Run(
        system.name,
        sent.count,
        sent.count - arrived.distinct,
        arrived.duplicates,
        _fault(system, sent, arrived),
        rate=0.0,
        cpu_us=0.0,
        peak_mb=meter.peak_mb,
    )
    if not arrived.distinct:
        return run
    begin, end = arrived.at(WARM), arrived.at(1.0)
    latency = arrived.latency_ms[arrived.numbers >= first_number + WARM * sent.count]
    return replace(
        run,
        rate=arrived.rate(WARM),
        cpu_us=1e6 * meter.cpu_s(begin, end) / max(1.0, (1 - WARM) * arrived.distinct),
        growth_mb=meter.growth_mb(arrived.at(WARM / 10), end),
        p50_ms=float(np.percentile(latency, 50)) if len(latency) else 0.0,
        p99_ms=float(np.percentile(latency, 99)) if len(latency) else 0.0,
    )


def _fault(system: System, sent: Sent, arrived: Arrived) -> str:
    if arrived.strangers:
        return f"{system.name} wrote {arrived.strangers} records that nobody sent"
    if arrived.distinct != sent.count:
        return f"{system.name} lost {sent.count - arrived.distinct} of {sent.count} readings"
    if arrived.digest != sent.digest:
        return f"{system.name} changed readings: the digest is not that of what was sent"
    if system.exactly_once and arrived.duplicates:
        return f"{system.name} wrote {arrived.duplicates} readings twice"
    return ""
