"""One run of one system: a backlog drained at full speed, or a paced stream; and whether it did its work."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from bench.bridge import wire
from bench.bridge.bed import Bed, Sent
from bench.bridge.log import Arrived, Offsets
from bench.bridge.meter import Meter
from bench.bridge.strict import StrictBroker
from bench.bridge.systems import System

_WARM = 0.1  # share of a paced run that is not counted
_PATIENCE_S = 20.0  # without a single arrival
_PROBES = 100

BROKER = "broker alone"


@dataclass(frozen=True)
class Run:
    """What one run has shown. CPU is of the system's processes, user and system."""

    system: str
    sent: int
    lost: int  # had not arrived when nothing more came
    duplicates: int
    fault: str  # empty where it did its work
    rate: float  # readings a second into Kafka
    cpu_us: float  # microseconds a reading
    peak_mb: float  # 0: not measured
    growth_mb: float = 0.0
    batch_kb: float = 0.0  # mean size of a batch in Kafka, of the backlog of one system
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def drain(bed: Bed, system: System, count: int, *, patience_s: float = _PATIENCE_S) -> Run:
    """Queue `count` readings for the absent system, start it, and watch them arrive in Kafka.

    Rate, CPU and memory growth are those between the first and the last arrival, by the broker's append times: after
    the start-up. Not from a later one on, since a system may read far ahead of what it has written: Mosquitto 2.0.11
    answers each acknowledgement with as many queued messages as the receive maximum, however many are under way.
    """
    site, began = bed.fresh_site(), bed.log.begin(system.topic)
    wire.open_session(bed.mqtt_port, system.client_id(site), f"{site}/#", system.protocol)
    sent = bed.publish(site, 0, count)
    with _started(bed, system, site) as pid, Meter(pid) as meter:
        bed.log.wait(system.topic, began, count, patience_s)
    arrived = _arrived(bed, system, site, began)
    begin = arrived.first_s if arrived.distinct else 0.0
    size = bed.log.batch_bytes(system.topic, began, bed.log.ends(system.topic))
    return replace(_outcome(system, sent, arrived, meter, begin), batch_kb=size / 1024)


def held_back(bed: Bed, system: System, count: int, window: int) -> Run:
    """As `drain`, from a broker that sends only `window` readings ahead, at MQTT 3.1.1."""
    site, began = bed.fresh_site(), bed.log.begin(system.topic)
    with (
        StrictBroker(site, count, window) as broker,
        _started(replace(bed, mqtt_port=broker.port), system, site) as pid,
        Meter(pid) as meter,
    ):
        bed.log.wait(system.topic, began, count, _PATIENCE_S)
    arrived = _arrived(bed, system, site, began)
    return _outcome(system, broker.sent, arrived, meter, arrived.first_s if arrived.distinct else 0.0)


def broker_alone(bed: Bed, count: int) -> Run:
    """Queue `count` readings and take them with a sink that writes nothing, see sink.py; CPU is the sink's."""
    site = bed.fresh_site()
    wire.open_session(bed.mqtt_port, f"sink-{site}", f"{site}/#", "5")
    sent = bed.publish(site, 0, count)
    found = bed.ask("bench.bridge.sink", f"sink-{site}", site, count)
    wire.drop_session(bed.mqtt_port, f"sink-{site}", "5")
    lost = count - found["received"]
    fault = "" if found["digest"] == sent.digest else f"the sink got {found['received']} of {count} readings, or others"
    return Run(BROKER, count, lost, 0, fault, rate=found["rate"], cpu_us=found["cpu_us"], peak_mb=0.0)


def pace(bed: Bed, system: System, rate: float, seconds: float) -> Run:
    """Send `rate` readings a second, one at a time, through the running system.

    Latency is from just before sending to Kafka's append, and CPU that of the same time, both without the first tenth.
    """
    site, began = bed.fresh_site(), bed.log.begin(system.topic)
    wire.open_session(bed.mqtt_port, system.client_id(site), f"{site}/#", system.protocol)
    with _started(bed, system, site) as pid, Meter(pid) as meter:
        bed.publish(site, 0, _PROBES)
        bed.log.wait(system.topic, began, _PROBES, _PATIENCE_S)
        sent = bed.publish(site, _PROBES, int(rate * seconds), rate)
        bed.log.wait(system.topic, began, _PROBES + sent.count, _PATIENCE_S)
    arrived = _arrived(bed, system, site, began, first_number=_PROBES)
    run = _outcome(system, sent, arrived, meter, sent.first_s + _WARM * seconds)
    late = arrived.latency_ms[arrived.numbers >= _PROBES + _WARM * sent.count]
    if not len(late):
        return run
    return replace(run, p50_ms=float(np.percentile(late, 50)), p99_ms=float(np.percentile(late, 99)))


def _started(bed: Bed, system: System, site: str) -> AbstractContextManager[int]:
    folder = bed.folder / site
    folder.mkdir()
    start = system.start(bed, site, folder)
    return bed.running(start.argv, start.env, folder, f"{system.name}-{site}")


def _arrived(bed: Bed, system: System, site: str, began: Offsets, first_number: int = 0) -> Arrived:
    """All that the system wrote until it had ended."""
    wire.drop_session(bed.mqtt_port, system.client_id(site), system.protocol)
    return bed.log.read(system.topic, began, bed.log.ends(system.topic), first_number)


def _outcome(system: System, sent: Sent, arrived: Arrived, meter: Meter, begin_s: float) -> Run:
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
    counted = arrived.after(begin_s) if arrived.distinct else 0
    if not counted:
        return run
    return replace(
        run,
        rate=counted / (arrived.last_s - begin_s),
        cpu_us=1e6 * meter.cpu_s(begin_s, arrived.last_s) / counted,
        growth_mb=meter.growth_mb(begin_s, arrived.last_s),
    )


def _fault(system: System, sent: Sent, arrived: Arrived) -> str:
    if arrived.strangers:
        return f"{system.name} wrote {arrived.strangers} records that nobody sent"
    if arrived.distinct != sent.count:
        return f"{sent.count - arrived.distinct} of {sent.count} readings of {system.name} did not arrive"
    if arrived.digest != sent.digest:
        return f"{system.name} changed readings: the digest is not that of what was sent"
    if system.exactly_once and arrived.duplicates:
        return f"{system.name} wrote {arrived.duplicates} readings twice"
    return ""
