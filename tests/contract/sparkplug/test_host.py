"""Births, data and their order, as Sparkplug 3.0 has them."""

from __future__ import annotations

from headwater.contract import reading
from headwater.contract.sparkplug import Host, Options, Refusal
from tests.contract.sparkplug.payloads import Payload, metric, payload
from tests.contract.sparkplug.plant import (
    FAN,
    PUMP,
    Edge,
    Sent,
    T,
    events,
    give,
    host,
    marks,
    readings,
    refusals,
    tokens,
    values,
)

NCMD = "spBv1.0/north/NCMD/line-1"


def test_births_give_names_and_data_become_readings() -> None:
    """Aliases are resolved, text is passed over, commands are no values, and the record is a reading."""
    edge, ours = Edge(), host()
    outs = give(ours, *edge.births(), edge.data(PUMP, 4.5), edge.sent("", metric(22.0, alias=1, t=edge.now)))

    assert [(each["asset"], each["values"]) for each in readings(*outs)] == [
        ("line-1", {"Cabinet": 21.5}),
        (PUMP, {"flow": 3.0, "step": -4}),
        (FAN, {"flow": 3.0, "step": -4}),
        (PUMP, {"flow": 4.5}),
        ("line-1", {"Cabinet": 22.0}),
    ]
    (record,) = outs[3].settled[0].result
    assert reading.decode(record.value).values == {"flow": 4.5}
    assert dict(record.headers)["hw-class"] == b"pump"
    assert marks(*outs) == ["birth", "birth", "birth", "", ""]
    assert ours.counts["not-numbers"] == 2


def test_a_birth_is_an_inventory_with_units() -> None:
    """Each birth has a record of its metrics with their types and units."""
    edge = Edge()
    found = events(*give(host(), *edge.births()), kind="birth")

    assert [each["asset"] for each in found] == ["line-1", PUMP, FAN]
    assert found[1]["metrics"] == [
        {"name": "flow", "type": "Float", "unit": "l/min"},
        {"name": "step", "type": "Int16"},
        {"name": "mode", "type": "String"},
    ]


def test_one_reading_for_each_time_and_kind() -> None:
    """Metrics of one time are one reading; historical and transient ones stand apart, and say so."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    out = give(ours, edge.sent(
        PUMP,
        metric(1.0, "Float", alias=100, t=T), metric(5, "Int16", alias=101, t=T),
        metric(2.0, "Float", alias=100, t=T - 5, flags=("is_historical",)),
        metric(3.0, "Float", alias=100, t=T, flags=("is_transient",)),
        metric(4.0, "Float", alias=100, t=T),
    ))[0]  # fmt: skip

    found = [(each["t"], each["values"]) for each in readings(out)]
    assert sorted(found, key=str) == sorted(
        [(T, {"flow": 1.0, "step": 5}), (T - 5, {"flow": 2.0}), (T, {"flow": 3.0}), (T, {"flow": 4.0})], key=str
    )
    headers = [{name for name, _ in each.headers} - {"hw-class", "hw-sparkplug"} for each in out.settled[0].result]
    assert sorted(map(sorted, headers)) == [[], [], ["hw-historical"], ["hw-transient"]]


def test_null_and_bad_quality_are_missing_values() -> None:
    """A stale 0 is no measurement: null values and those that are not GOOD are null, the code in a header."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    out = give(ours, edge.sent(
        PUMP,
        metric(0.0, "Float", alias=100, t=T, properties={"Quality": 500}),
        metric(None, "Int16", alias=101, t=T, flags=("is_null",)),
    ))[0]  # fmt: skip

    assert values(out) == [{"flow": None, "step": None}]
    assert dict(out.settled[0].result[0].headers)["hw-quality"] == b'{"flow":500}'


def test_metrics_without_a_time_have_that_of_the_payload_or_of_receipt() -> None:
    """A metric without a timestamp takes the payload's, without one the host's time."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    first = edge.sent(PUMP, metric(1.0, "Float", alias=100))
    topic = first.topic
    second = Sent(topic, payload(metric(2.0, "Float", alias=100), seq=edge._next(), t=None), T + 99)

    assert [each["t"] for each in readings(*give(ours, first, second))] == [first.at, T + 99]


def test_sequence_numbers_wrap() -> None:
    """600 messages pass through two wraps in order, none held."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    outs = give(ours, *(edge.data(flow=float(n)) for n in range(600)))

    assert [each["flow"] for each in values(*outs)] == list(range(600))
    assert (ours.counts["held"], ours.waiting(), ours.counts["gaps"]) == (0, [], 0)


def test_a_message_out_of_order_waits_and_keeps_its_token() -> None:
    """A held message is settled by the one that it waited for, and in order; no birth is asked for."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    first, second, third = (edge.data(flow=float(n)) for n in range(3))

    assert tokens(ours.take("c", third.topic, third.payload, T)) == []
    assert ours.waiting() == ["c"]
    assert ours.take("b", second.topic, second.payload, T + 1).settled == []
    assert ours.next_tick_ms() == T + 2_000
    out = ours.take("a", first.topic, first.payload, T + 1_999)

    assert tokens(out) == ["a", "b", "c"]
    assert [each["flow"] for each in values(out)] == [0, 1, 2]
    assert ours.waiting() == [] == ours.tick(T + 60_000).publishes
    assert marks(out) == ["", "", ""]


def test_a_gap_that_does_not_fill_asks_for_a_birth() -> None:
    """At the reorder timeout held messages are released, marked, and a rebirth is requested; the birth ends it."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    lost, *held = (edge.data(flow=float(n)) for n in range(3))
    assert tokens(*give(ours, *held)) == []
    assert ours.tick(held[0].at + 1_999).settled == []
    out = ours.tick(held[0].at + 2_000)

    assert [each["flow"] for each in values(out)] == [1, 2]
    assert marks(out) == ["gap", "gap"]
    (request,) = out.publishes
    assert (request.topic, request.qos, request.retain) == (NCMD, 0, False)
    assert Payload.FromString(request.payload).metrics[0].name == "Node Control/Rebirth"

    edge.now += 5_000
    late = give(ours, lost, later=3_000)
    assert (values(*late), marks(*late)) == ([{"flow": 0.0}], ["gap/late"])
    after = give(ours, *edge.births(), edge.data())
    assert marks(*after) == ["birth", "birth", "birth", ""]


def test_data_after_a_gap_can_be_refused() -> None:
    """With `after_gap=refuse` nothing is named by a birth that may have been replaced."""
    edge, ours = Edge(), host(after_gap="refuse")
    give(ours, *edge.births())
    edge.data()
    held = edge.data()
    give(ours, held)

    assert refusals(ours.tick(held.at + 2_000)) == ["after-gap"]


def test_unknown_aliases_and_types_ask_for_a_birth() -> None:
    """Values that the birth does not explain are dead letters, and the births are asked for again."""
    for wrong, reason in [
        (metric(1.0, "Float", alias=9_999, t=T), "unknown-metric"),
        (metric(1.0, "Float", name="who", t=T), "unknown-metric"),
        (metric(1.0, "Float", alias=200, t=T), "unknown-metric"),  # of the other device
        (metric("x", "String", alias=100, t=T), "type-mismatch"),
        (metric(1.0, "Double", alias=100, typed=True, t=T), "type-mismatch"),
    ]:
        edge, ours = Edge(), host()
        give(ours, *edge.births())
        out = give(ours, edge.sent(PUMP, metric(2.0, "Float", alias=100, t=T), wrong))[0]
        assert refusals(out) == [reason]
        assert [each.topic for each in out.publishes] == [NCMD]
        assert values(*give(ours, edge.data(flow=7.0))) == [{"flow": 7.0}]


def test_names_without_aliases_are_read() -> None:
    """An edge node may name its metrics in data; one that says name and type may even be new."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    out = give(
        ours, edge.sent(PUMP, metric(2.0, "Float", name="flow", t=T), metric(-1, "Int8", name="n", typed=True, t=T))
    )

    assert values(*out) == [{"flow": 2.0, "n": -1}]


def test_each_device_may_number_its_aliases_anew() -> None:
    """Aliases that two devices share, against the specification, are read by the device of the topic."""
    edge, ours = Edge(), host()
    give(ours, edge.born(), edge.device_born(PUMP, 1), edge.device_born(FAN, 2))
    out = give(
        ours, edge.sent(FAN, metric(9.0, "Float", alias=2, t=T)), edge.sent(PUMP, metric(9, "Int16", alias=2, t=T))
    )

    assert values(*out) == [{"flow": 9.0}, {"step": 9}]


def test_a_rebirth_replaces_the_aliases() -> None:
    """After a birth in mid-session aliases mean what the new one says; what waited is read by the old."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    edge.data()
    held = edge.data(flow=1.0)
    give(ours, held)
    edge.now += 100
    outs = give(
        ours, edge.born(), edge.device_born(PUMP, base=200), edge.data(PUMP, 5.0, base=200), edge.device_born(FAN, 100)
    )

    assert values(*outs)[0] == {"flow": 1.0}
    assert readings(*outs)[3]["asset"] == PUMP
    assert readings(*outs)[3]["values"] == {"flow": 5.0}
    assert [out.publishes for out in outs] == [[], [], [], []]


def test_a_repeated_message_is_written_once() -> None:
    """What was taken before, byte for byte, is settled without records; births and deaths too."""
    edge, ours = Edge(), host()
    messages = [*edge.births(), edge.data(), edge.device_died(FAN)]
    give(ours, *messages)
    again = give(ours, *messages)

    assert readings(*again) == [] == refusals(*again)
    assert tokens(*again) == [0, 1, 2, 3, 4]
    assert values(*give(ours, edge.data(flow=8.0))) == [{"flow": 8.0}]


def test_a_held_message_that_is_redelivered_waits_under_its_new_token() -> None:
    """The former token is settled without records, so exactly one of both stands for them."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    first, second = edge.data(flow=1.0), edge.data(flow=2.0)
    ours.take("old", second.topic, second.payload, T)
    assert tokens(ours.take("new", second.topic, second.payload, T + 5)) == ["old"]
    out = ours.take("first", first.topic, first.payload, T + 9)

    assert tokens(out) == ["first", "new"]
    assert len(readings(out)) == 2


def test_two_devices_never_become_one_asset() -> None:
    """A device whose asset name is another's is refused; with the edge node's name in it both are read."""
    first, second = Edge("north/a"), Edge("north/b")
    ours = host()
    assert refusals(*give(ours, first.born(), first.device_born(), second.born(), second.device_born())) == [
        "asset-taken"
    ]

    ours = host(asset="node-device")
    outs = give(ours, first.born(), first.device_born(), second.born(), second.device_born())
    assert [each["asset"] for each in readings(*outs)] == ["a", "a--pump-7", "b", "b--pump-7"]


def test_outcomes_name_the_edge_nodes_that_changed() -> None:
    """Births and deaths change a state, data do not."""
    edge, ours = Edge(), host()
    outs = give(ours, *edge.births(), edge.data(), edge.device_died(), edge.died())

    assert [bool(out.changed) for out in outs] == [True, True, True, False, True, True]
    assert isinstance(ours.take(0, "nonsense", b"", T).settled[0].result, Refusal)
    assert isinstance(Host(Options()).snapshot(), dict)


def test_a_message_of_the_former_session_is_no_gap() -> None:
    """Data that come behind the birth that followed them are refused in time, and the session goes on undisturbed."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    for _ in range(40):
        edge.data()
    late = edge.data()
    give(ours, *edge.births(), edge.data(), late)
    outs = [ours.tick(late.at + 2_000), *give(ours, edge.data())]

    assert refusals(*outs) == ["former-session"]
    assert marks(*outs) == [""]
    assert [out.publishes for out in outs] == [[], []]


def test_a_clock_that_is_set_back_stops_nothing_for_long() -> None:
    """With a gap and an edge node's clock an hour slow, three messages are dead letters; then data flow, marked."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    edge.data()
    edge.now -= 3_600_000
    outs = []
    for n in range(6):
        sent = edge.data(flow=float(n))
        at = T + 10_000 * n
        outs += [ours.take(n, sent.topic, sent.payload, at), ours.tick(at + 2_000)]

    assert refusals(*outs) == ["former-session"] * 3
    assert [each["flow"] for each in values(*outs)] == [3, 4, 5]
    assert marks(*outs) == ["gap"] * 3
