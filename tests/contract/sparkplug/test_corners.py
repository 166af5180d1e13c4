"""What is rare: late births and deaths, aliases given twice, numbers from a lap ago."""

from __future__ import annotations

from headwater.contract.sparkplug.sequence import Place, Sequence
from tests.contract.sparkplug.payloads import metric
from tests.contract.sparkplug.plant import FAN, PUMP, Edge, T, events, give, host, marks, readings, refusals, values


def test_a_late_birth_of_a_device_says_nothing_of_a_later_one() -> None:
    """A device's birth or death that was given up and comes late does not undo the birth that followed it."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    death, birth = edge.device_died(), edge.device_born(PUMP, base=500)
    later = [edge.device_born(PUMP, base=600), edge.data(base=600)]
    outs = [*give(ours, *later), ours.tick(edge.now + 3_000)]
    assert refusals(*outs) == []
    late = give(ours, death, birth, later=4_000)
    after = give(ours, edge.data(base=600, flow=9.0))

    assert refusals(*late) == ["former-session"]
    assert ours.counts["deaths-ignored"] == 1
    assert events(*late) == []
    assert values(*after) == [{"flow": 9.0}]


def test_a_late_birth_is_better_than_none() -> None:
    """The birth of a device that is not born yet counts, also when it is late."""
    edge, ours = Edge(), host()
    give(ours, edge.born(), edge.device_born(PUMP))
    birth, other = edge.device_born(FAN), edge.data(PUMP)
    outs = [
        *give(ours, other),
        ours.tick(edge.now + 3_000),
        *give(ours, birth, later=4_000),
        *give(ours, edge.data(FAN)),
    ]

    assert refusals(*outs) == []
    assert [each["asset"] for each in readings(*outs)] == [PUMP, FAN, FAN]
    assert marks(*outs) == ["gap", "birth/late", "gap"]


def test_a_late_death_of_a_device_makes_it_stale() -> None:
    """The death of a device that is not born again is not lost."""
    edge, ours = Edge(), host()
    give(ours, *edge.births(), edge.born())
    death, other = edge.device_died(FAN), edge.device_born(PUMP)
    give(ours, other)
    ours.tick(edge.now + 3_000)
    late = give(ours, death, later=4_000)

    assert [(each["asset"], each["reason"]) for each in events(*late)] == [(FAN, "ddeath")]


def test_an_alias_of_two_metrics_belongs_to_neither() -> None:
    """What a birth names twice is read by name only."""
    edge, ours = Edge(), host()
    give(ours, edge.born())
    seq = edge._next()
    named = (("a", 7), ("b", 7), ("c", 8))
    birth = edge._sent(
        "DBIRTH",
        PUMP,
        [metric(1.0, "Float", name=name, alias=alias, typed=True, t=T) for name, alias in named],
        seq,
    )
    outs = give(ours, birth, *(edge.sent(PUMP, metric(2.0, "Float", alias=alias, t=T)) for alias in (7, 8)))
    outs += give(ours, edge.sent(PUMP, metric(3.0, "Float", name="b", t=T)))

    assert refusals(*outs) == ["unknown-metric"]
    assert values(*outs) == [{"a": 1.0, "b": 1.0, "c": 1.0}, {"c": 2.0}, {"b": 3.0}]


def test_a_life_that_ends_between_strays_goes_on_counting() -> None:
    """How many old messages came in vain outlives a restart."""
    edge, former = Edge(), host()
    give(former, *edge.births())
    edge.data()
    edge.now -= 3_600_000
    found = []
    for n in range(5):
        sent = edge.data()
        former.take(n, sent.topic, sent.payload, T + 10_000 * n)
        found += refusals(former.tick(T + 10_000 * n + 2_000))
        new = host()
        assert new.restore(former.snapshot()) == {}
        former = new
    assert found == ["former-session"] * 3


def test_late_records_in_the_log_do_not_move_the_position() -> None:
    """A record that is marked late stands before others, whatever its place in the log."""
    edge, former = Edge(), host()
    give(former, *edge.births())
    state = former.snapshot()
    lost, *flowing = (edge.data(flow=float(n)) for n in range(5))
    outs = [*give(former, *flowing), former.tick(edge.now + 3_000), *give(former, lost, later=4_000)]
    assert marks(*outs) == ["gap"] * 4 + ["gap/late"]
    ours = host()
    ours.restore(state)
    for out in outs:
        for settled in out.settled:
            for record in settled.result:
                ours.resume(lost.topic, dict(record.headers)["hw-sparkplug"] or b"")

    assert values(*give(ours, edge.data(flow=9.0))) == [{"flow": 9.0}]
    assert marks(*give(ours, edge.data())) == ["gap"]
    assert ours.counts["held"] == 0


def test_what_was_given_up_is_forgotten_half_a_lap_later() -> None:
    """A number is late for 128 messages; one that was lost was not taken, whatever a lap ago."""
    order = Sequence()
    for n in range(256):
        order.take(n, crc=n + 1)
    order.jump(3)

    assert [order.place(n, 0) for n in (0, 1, 2)] == [Place.LATE] * 3
    assert not order.took(1)
    assert order.took(255)
    for n in range(3, 3 + 127):
        order.take(n, crc=0)
    assert [order.place(n, 9) for n in (0, 1, 2)] == [Place.ELSEWHERE, Place.ELSEWHERE, Place.LATE]
    assert order.place(129, 0) is Place.REPEATED
