"""A hostile or careless publisher: nothing raises, and memory does not grow beyond the limits."""

from __future__ import annotations

import gc
import random
import tracemalloc
from functools import partial
from typing import Any

import msgspec

from headwater.contract import reading
from headwater.contract.sparkplug import Host, Limits, Options, Refusal
from headwater.contract.sparkplug.outcome import REASONS
from tests.contract.sparkplug.payloads import metric, payload
from tests.contract.sparkplug.plant import (
    BASES,
    FAN,
    PUMP,
    Edge,
    Sent,
    T,
    events,
    give,
    host,
    readings,
    refusals,
    tokens,
)


def limited(**limits: Any) -> Host:
    return host(limits=Limits(**limits))


def test_thousands_of_mutated_messages() -> None:
    """5,000 mutated messages of every kind: each is settled or waits, with a known reason, and the node recovers."""
    seed = 11
    print("seed", seed)
    draw = random.Random(seed)
    edge = Edge()
    good = [*edge.births(), edge.data(), edge.sent("", metric(1.0, alias=1, t=T)), edge.device_died(FAN), edge.died()]
    good.append(edge.data(properties={"Quality": 0, "engUnit": "bar"}, flags=("is_historical",)))
    ours = host()
    settled = 0
    for n in range(5_000):
        topic, content, _ = draw.choice(good)
        data = bytearray(content)
        for _ in range(draw.randint(0, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if draw.random() < 0.1:
            data = data[: draw.randrange(len(data))] * draw.randint(1, 3)
        if draw.random() < 0.05:
            topic = topic.replace(draw.choice(topic), draw.choice("/+#\0\udc80é"))
        at = T + 100 * n
        for out in (ours.take(n, topic, bytes(data), at), ours.tick(at)):
            settled += len(out.settled)
            assert set(refusals(out)) <= set(REASONS)
            for each in out.settled:
                for record in each.result if not isinstance(each.result, Refusal) else ():
                    assert reading.decode(record.value).t == record.timestamp_ms
                if isinstance(each.result, Refusal):
                    each.result.detail.encode()
    assert settled + len(ours.waiting()) == 5_000

    edge.now += 1_000_000
    assert len(readings(*give(ours, *edge.births(), edge.data()))) == 4
    assert ours.restore({}) == {}
    assert Host(Options()).restore(ours.snapshot()) == {}


def test_made_up_edge_nodes_do_not_push_out_real_ones() -> None:
    """Edge nodes that never gave birth are forgotten first; then no more are taken."""
    edge, ours = Edge(), limited(nodes=3)
    give(ours, *edge.births())
    settled = []
    for n in range(200):
        settled += tokens(*give(ours, Edge(f"g/n{n}").data()))
    assert len(ours._sessions.nodes) == 3
    assert len(settled) == 198
    assert len(readings(*give(ours, edge.data()))) == 1

    give(ours, Edge("g/a").born(), Edge("g/b").born())
    assert refusals(*give(ours, Edge("g/c").born())) == ["too-many-nodes"]


def test_devices_metrics_names_and_tables_are_bounded() -> None:
    """Each limit refuses the birth that goes beyond it, and what came before it stays readable."""

    def births(edge: Edge) -> list[Sent]:
        return [edge.born(), edge.device_born(PUMP), edge.device_born(FAN)]

    for limits in ({"devices": 1}, {"metrics": 5}, {"table_bytes": 2_100}):
        edge, ours = Edge(), limited(**limits)
        assert refusals(*give(ours, *births(edge))) == ["too-many"], limits
        assert len(readings(*give(ours, edge.data(PUMP)))) == 1
        assert refusals(*give(ours, edge.data(FAN))) == ["not-born"]
    assert refusals(*give(limited(name_bytes=3), *births(Edge()))) == ["too-many", "not-born", "not-born"]
    assert refusals(*give(limited(payload_bytes=50), *births(Edge()))) == ["too-large"] * 3


def test_a_device_that_is_gone_makes_room_for_another() -> None:
    """The limit counts devices that are there."""
    edge, ours = Edge(), limited(devices=1)
    outs = give(ours, edge.born(), edge.device_born(PUMP), edge.device_died(PUMP), edge.device_born(FAN))
    assert refusals(*outs) == []
    assert len(readings(*give(ours, edge.data(FAN)))) == 1


def test_held_messages_are_bounded_by_number_and_bytes() -> None:
    """Too many that wait are released early, in order and marked, rather than refused."""
    edge, ours = Edge(), limited(held=10)
    give(ours, *edge.births())
    edge.data()
    outs = give(ours, *(edge.data(flow=float(n)) for n in range(11)))
    assert [each["values"]["flow"] for each in readings(*outs)] == list(range(11))
    assert ours.counts["released-early"] == 1

    edge, ours = Edge(), limited(held_bytes=200)
    give(ours, *edge.births())
    edge.data()
    give(ours, *(edge.data() for _ in range(50)))
    assert ours._sessions.reorder._held_bytes <= 200


def test_one_message_does_not_become_any_number_of_readings() -> None:
    """A message of more times than allowed is refused."""
    edge, ours = Edge(), limited(readings=20)
    give(ours, *edge.births())
    many = [metric(1.0, "Float", alias=BASES[PUMP], t=T + n) for n in range(21)]
    assert refusals(*give(ours, edge.sent(PUMP, *many), edge.sent(PUMP, *many[:20]))) == ["too-many"]


def test_a_birth_of_many_metrics_fits_into_records() -> None:
    """A reading or inventory that is larger than a reading may be is split; nothing is left out."""
    edge, ours = Edge(), host()
    long = [f"{'n' * 900}{n}" for n in range(1_000)]
    born = [metric(n, "Int32", name=name, alias=n, typed=True, t=T) for n, name in enumerate(long)]
    topic = edge.born().topic
    out = ours.take(0, topic, payload(*born, seq=0, t=T), T)

    found = readings(out)
    expected = {name: n for n, name in enumerate(long)}
    assert len(found) > 1
    assert {name: value for each in found for name, value in each["values"].items()} == expected
    parts = events(out, kind="birth")
    assert [each["part"] for each in parts] == list(range(1, len(parts) + 1))
    assert [each["name"] for part in parts for each in part["metrics"]] == long
    for record in (*out.settled[0].result, *(each.record for each in out.events)):
        assert len(record.value) <= reading.MAX_PAYLOAD_BYTES


def test_memory_stays_below_what_the_limits_say() -> None:
    """100,000 messages of a publisher that tries all it can leave no more behind than the limits allow."""
    limits = Limits(nodes=20, devices=20, metrics=200, table_bytes=200_000, held=20, held_bytes=100_000)
    ours = host(limits=limits)
    draw = random.Random(5)

    def flood(messages: int) -> int:
        for n in range(messages):
            edge = Edge(f"g/n{draw.randrange(10**6)}", now=T + n)
            edge.seq = draw.randrange(256)
            device = f"d{draw.randrange(10**6)}"
            sent = draw.choice([edge.born, partial(edge.device_born, device, 5), partial(edge.data, base=5)])()
            ours.take(n, sent.topic, sent.payload, T + n)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        flood(5_000)  # fills caches and tables
        before = flood(1_000)
        assert flood(5_000) < before + 2_000_000
    finally:
        tracemalloc.stop()
    assert ours._sessions.effects.table_bytes <= limits.table_bytes


def test_the_estimate_of_a_table_is_not_less_than_it_takes() -> None:
    """`table_bytes` counts at least what a table really takes."""
    names = [f"Area {n}/Motor/Speed" for n in range(5_000)]
    content = payload(*(metric(n, "Int32", name=name, alias=n, typed=True, t=T) for n, name in enumerate(names)), seq=0)
    ours = host()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        ours.take(0, Edge().born().topic, content, T)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    print("bytes a metric", taken / len(names))
    assert taken < ours._sessions.effects.table_bytes


def test_numbers_that_json_cannot_carry_are_missing() -> None:
    """NaN from a sensor is null in the reading, which stays readable."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    (out,) = give(ours, edge.data(flow=float("nan")))
    (record,) = out.settled[0].result
    assert msgspec.json.decode(record.value)["values"] == {"flow": None}
