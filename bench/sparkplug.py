"""`python -m bench.sparkplug`: metrics a second from edge nodes through the real bridge into Kafka."""

from __future__ import annotations

import json
import math
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import typer

from bench.bridge import wire
from bench.bridge.bed import Bed, open_bed
from bench.bridge.log import Offsets
from bench.bridge.meter import Meter
from bench.bridge.systems import TOPICS, Ours
from bench.decoders import bytes_field, varint_fields
from bench.figures import as_json as to_json
from bench.figures import console, figures_table, median_figure
from headwater.contract.errors import HeadwaterError
from headwater.contract.figures import Figure
from headwater.contract.topics import READINGS, sparkplug_topics
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch.settings import KafkaSettings

NODES = 10  # edge nodes, each with one device
METRICS = 8  # of a message
_NUMBERS = 256  # of a sequence
_DOUBLE = 10
_AHEAD = 1000  # messages that the MQTT broker has not acknowledged
_PATIENCE_S = 20.0
_WARM = 0.1  # share of the arrivals that the rate leaves out at the beginning


@dataclass(frozen=True)
class Run:
    """What one run has shown; rates are of the bridge, CPU user and system."""

    messages: int
    lost: int
    twice: int
    wrong: int  # readings that nobody sent, or under another name
    metrics_per_s: float
    cpu_us: float  # microseconds a metric
    peak_mb: float


def run(bed: Bed, count: int, *, leave_out: int | None = None, patience_s: float = _PATIENCE_S) -> Run:
    """Queue births and `count` data messages for the absent bridge, start it, and watch the readings arrive.

    `leave_out`: a sample to lose on purpose. Without an arrival for `patience_s` nothing more is waited for.
    The rate is that between the first tenth and the last arrival in Kafka, by the broker's append times.
    """
    system, site, began = Ours(), bed.fresh_site(), bed.log.ends(READINGS)
    wire.open_session(bed.mqtt_port, system.client_id(site), f"spBv1.0/{site}/#", system.protocol)
    load = (each for at, each in enumerate(messages(site, count)) if leave_out is None or at != 2 * NODES + leave_out)
    _publish(bed.mqtt_port, load)
    folder = bed.folder / site
    folder.mkdir()
    start = system.start(bed, site, folder)
    route = {"match": f"spBv1.0/{site}/#", "asset_class": "pump", "decoder": {"kind": "sparkplug-b"}}
    environment = {**start.env, "HEADWATER_EDGE__BRIDGE__ROUTES": json.dumps([route])}
    with bed.running(start.argv, environment, folder, f"sparkplug-{site}") as pid, Meter(pid) as meter:
        bed.log.wait(READINGS, began, count + NODES, patience_s)
        time.sleep(0.2)  # for what would come twice
    wire.drop_session(bed.mqtt_port, system.client_id(site), system.protocol)
    seen, wrong, appended = _arrived(bed, began, count)
    found = Run(count, count - len(seen), seen.total() - len(seen), wrong, 0.0, 0.0, meter.peak_mb)
    first, last = (appended[int(_WARM * count)], appended[-1]) if len(appended) >= count else (0.0, 0.0)
    after = sum(1 for at in appended if at > first) * METRICS
    if last <= first:
        return found
    cpu_us = 1e6 * meter.cpu_s(first, last) / after
    return replace(found, metrics_per_s=after / (last - first), cpu_us=cpu_us)


def messages(site: str, count: int) -> Iterator[tuple[str, bytes]]:
    """MQTT topic and payload (Sparkplug 3.0, 6.4): births with names and aliases, then data by alias, in turns."""
    sequence = [0] * NODES

    def placed(node: int, kind: str, fields: bytes, t: int) -> tuple[str, bytes]:
        device = f"/pump-{node}" if kind[0] == "D" else ""
        content = varint_fields((1, t)) + fields + varint_fields((3, sequence[node]))
        sequence[node] = (sequence[node] + 1) % _NUMBERS
        return f"spBv1.0/{site}/{kind}/line-{node}{device}", content

    t = time.time_ns() // 1_000_000
    names = b"".join(
        bytes_field(2, bytes_field(1, b"channel-%d" % each) + varint_fields((2, 100 + each), (4, _DOUBLE)))
        for each in range(METRICS)
    )
    for node in range(NODES):
        yield placed(node, "NBIRTH", b"", t)
        yield placed(node, "DBIRTH", names, t)
    for number in range(count):
        yield placed(number % NODES, "DDATA", _data(number, t + number), t + number)


def _data(number: int, t: int) -> bytes:
    values = [float(number), *(math.sin(number + each) for each in range(1, METRICS))]
    return b"".join(
        bytes_field(2, varint_fields((2, 100 + each), (3, t)) + b"\x69" + struct.pack("<d", value))
        for each, value in enumerate(values)
    )


def _publish(port: int, load: Iterator[tuple[str, bytes]]) -> None:
    """All of it at QoS 1, until the MQTT broker has acknowledged it."""
    with wire.connect(port, f"load-{time.time_ns()}", "3.1.1", clean=True) as connection:
        waiting = 0
        for number, (topic, content) in enumerate(load):
            packet_id = (number % 65_535 + 1).to_bytes(2, "big")
            connection.sendall(wire.packet(0x32, wire.text(topic) + packet_id + content))
            waiting += 1
            while waiting >= _AHEAD:
                waiting -= len(connection.recv(1 << 16)) // 4
        while waiting > 0:
            wire.read_packet(connection)
            waiting -= 1


def _arrived(bed: Bed, began: Offsets, count: int) -> tuple[Counter[int], int, list[float]]:
    """Numbers that came and how often, readings that are wrong, and when each came (Unix time)."""
    seen: Counter[int] = Counter()
    wrong, appended = 0, []
    for record in bed.log.records(READINGS, began, bed.log.ends(READINGS)):
        values = json.loads(record.value())["values"]
        if set(values.values()) == {None}:
            continue  # of a birth, which has names and no values
        number = int(values.get("channel-0") or 0)
        expected = [float(number), *(math.sin(number + each) for each in range(1, METRICS))]
        good = list(values.values()) == expected and record.key() == b"pump-%d" % (number % NODES)
        if not good or not 0 <= number < count:
            wrong += 1
            continue
        seen[number] += 1
        appended.append(record.timestamp()[1] / 1000)
    return seen, wrong, sorted(appended)


def figures(runs: list[Run]) -> list[Figure]:
    """Median and spread of the runs; no rate where one lost, doubled or changed readings."""
    refused = "" if all(each.lost == each.twice == each.wrong == 0 for each in runs) else "a run was not as promised"
    note = f"{METRICS} metrics a message, QoS 1, MQTT 5"
    rates, costs = [each.metrics_per_s for each in runs], [each.cpu_us for each in runs]
    return [
        median_figure("sparkplug.metrics_per_s", rates, "1/s", None, better="higher", refused=refused, note=note),
        median_figure("sparkplug.cpu_us_per_metric", costs, "µs", None, better="lower", refused=refused),
        median_figure("sparkplug.rss_mb", [each.peak_mb for each in runs], "MB", None, better="lower"),
        median_figure("sparkplug.lost", [each.lost for each in runs], "", 0, better="lower"),
        median_figure("sparkplug.duplicated", [each.twice for each in runs], "", 0, better="lower"),
    ]


def main(
    quick: bool = typer.Option(False, "--quick", help="One small run."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
    runs: int = typer.Option(None, min=1, help="Runs; 3, or 1 with --quick."),
    count: int = typer.Option(None, "--messages", min=1000, help="Data messages of a run; 100,000, or 10,000."),
) -> None:
    """Let edge nodes publish data by alias, queue them in the MQTT broker, and drain them through the bridge.

    Exits with 1 when a run lost, doubled or changed readings.

    Example:  python -m bench.sparkplug --quick
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = console(as_json=as_json)
    done = []
    try:
        with open_bed(TOPICS, out.print) as bed:
            ensure_topics(KafkaSettings(brokers=bed.brokers), sparkplug_topics())
            for _ in range(runs or (1 if quick else 3)):
                done.append(run(bed, count or (10_000 if quick else 100_000)))
                out.print(f"{done[-1].metrics_per_s:,.0f} metrics/s, {done[-1].cpu_us:.2f} µs CPU a metric")
    except HeadwaterError as error:
        out.print(f"bench.sparkplug: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    shown = figures(done)
    out.print(figures_table(shown))
    if as_json:
        typer.echo(to_json(shown, more={"runs": [asdict(each) for each in done]}))
    if any(each.lost or each.twice or each.wrong for each in done):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
