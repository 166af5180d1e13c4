"""Deaths, stale intervals, requests for births, and what a host says of itself."""

from __future__ import annotations

import msgspec
import pytest

from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.sparkplug import Options
from tests.contract.sparkplug.payloads import metric
from tests.contract.sparkplug.plant import (
    FAN,
    NODE,
    PUMP,
    Edge,
    T,
    events,
    give,
    host,
    marks,
    readings,
    refusals,
    tokens,
)

NCMD = "spBv1.0/north/NCMD/line-1"


def test_data_before_a_birth_wait_for_it_and_then_are_dead_letters() -> None:
    """A birth that is only late is waited for; then data are refused at once, and births are asked for."""
    edge = Edge()
    birth, *rest = [*edge.births(), edge.data()]
    ours = host()
    assert tokens(*give(ours, *rest)) == []
    assert len(readings(*give(ours, birth, later=1_000))) == 4

    ours = host()
    give(ours, *rest)
    out = ours.tick(rest[0].at + 2_000)
    assert refusals(out) == ["not-born"] * 3
    assert [each.topic for each in out.publishes] == [NCMD]
    assert refusals(*give(ours, edge.data(), later=5_000)) == ["not-born"]


def test_rebirth_requests_are_throttled() -> None:
    """At most one a second to an edge node, then ever fewer while it does not answer; none by a passive host."""
    edge, ours, passive = Edge(), host(rebirth_most_ms=60_000), host(role="passive")
    for each in (ours, passive):
        give(each, *edge.births())
    asked = []
    for second in range(300):
        wrong = edge.sent(PUMP, metric(1.0, "Float", alias=9_999, t=T))
        for each in (ours, passive):
            for out in (
                each.take(0, wrong.topic, wrong.payload, T + 600_000 + 1_000 * second),
                each.tick(T + 600_000 + 1_000 * second),
            ):
                asked += [second] if out.publishes else []
    assert asked == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert passive.counts["rebirths-withheld"] == 300


def test_births_that_do_not_help_are_not_asked_for_for_ever() -> None:
    """An edge node whose data its own births do not explain causes no storm of births."""
    edge, ours = Edge(), host()
    asked = 0
    for _ in range(600):
        edge.now += 1_000
        messages = [*edge.births(), edge.sent(PUMP, metric(1.0, "Float", alias=9_999, t=T))]
        asked += sum(len(out.publishes) for out in give(ours, *messages))
    assert 5 < asked < 15


def test_requests_to_all_edge_nodes_are_limited() -> None:
    """A host that starts without states does not make a whole plant give birth in one second."""
    ours = host(rebirths_per_s=5)
    outs = []
    for n in range(50):
        outs += give(ours, Edge(f"north/line-{n}", now=T - 10).data())
    outs.append(ours.tick(T + 2_000))
    assert sum(len(out.publishes) for out in outs) == 5


def test_a_death_makes_stale_until_data_resume() -> None:
    """NDEATH makes the node and its devices stale from the host's time on, each until its own sign of life."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    death = edge.died()
    (out,) = give(ours, death, later=500)

    assert out.changed == [NODE]
    opened = [(each["asset"], each["from"], each["to"], each["reason"]) for each in events(out)]
    assert opened == [(asset, death.at + 500, None, "ndeath") for asset in ("line-1", PUMP, FAN)]
    edge.now += 60_000
    edge.bdseq = 1
    birth, pump, fan = edge.births()
    assert [(each["asset"], each["from"], each["to"]) for each in events(*give(ours, birth, pump))] == [
        ("line-1", death.at + 500, birth.at), (PUMP, death.at + 500, pump.at),
    ]  # fmt: skip
    assert [each["asset"] for each in events(*give(ours, fan))] == [FAN]


def test_a_death_of_another_session_is_ignored() -> None:
    """An NDEATH whose bdSeq is not that of the last birth changes nothing; nor does a second one."""
    edge, ours = Edge(), host()
    edge.bdseq = 255
    give(ours, *edge.births())
    outs = give(ours, edge.died(254), edge.data())
    assert events(*outs) == []
    assert len(readings(*outs)) == 1

    assert len(events(*give(ours, edge.died(), edge.died()))) == 3
    assert ours.counts["deaths-ignored"] == 2


def test_data_after_a_death_need_a_birth() -> None:
    """After a death aliases mean nothing: data wait for a birth, and then are refused."""
    edge, ours = Edge(), host()
    give(ours, *edge.births(), edge.died())
    late = edge.data()
    assert give(ours, late)[0].settled == []
    assert refusals(ours.tick(late.at + 2_000)) == ["not-born"]


def test_a_dead_device_is_stale_and_its_siblings_live() -> None:
    """DDEATH is in sequence, ends one device only, and its next birth ends the interval."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    death = edge.device_died()
    outs = give(ours, death, edge.data(FAN), edge.data(PUMP), edge.device_born(), edge.data(PUMP))

    assert [(each["asset"], each["to"] is None, each["reason"]) for each in events(*outs)] == [
        (PUMP, True, "ddeath"), (PUMP, False, "ddeath"),
    ]  # fmt: skip
    assert refusals(*outs) == ["not-born"]
    assert len(readings(*outs)) == 3


def test_devices_that_are_not_born_again_become_stale() -> None:
    """A device that its edge node does not announce again is stale from the node's birth on."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    birth = edge.born()
    give(ours, birth, edge.device_born(PUMP))
    assert ours.next_tick_ms() == birth.at + 30_000
    out = ours.tick(birth.at + 30_000)

    assert [(each["asset"], each["from"], each["reason"]) for each in events(out)] == [(FAN, birth.at, "not-reborn")]
    assert ours.next_tick_ms() is None


def test_after_a_disconnect_everything_is_stale_and_no_birth_is_asked_for() -> None:
    """The host's own absence is an interval, and the gap that it makes is taken as it comes, marked."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    lost = ours.disconnected(edge.now + 5)
    assert {(each["asset"], each["reason"]) for each in events(lost)} == {
        (asset, "host-disconnected") for asset in ("line-1", PUMP, FAN)
    }
    for _ in range(77):
        edge.data()
    assert ours.connected().publishes == []
    outs = give(ours, edge.data(), edge.data())

    assert [out.publishes for out in outs] == [[], []]
    assert marks(*outs) == ["gap", "gap"]
    assert [each["asset"] for each in events(*outs)] == [PUMP]


def test_a_primary_host_says_that_it_is_there() -> None:
    """Will and birth share a time, are retained at QoS 1; a death that others bring is contradicted; then goodbye."""
    ours = host(role="primary", host_id="scada-1")
    will = ours.will(T)
    assert will is not None
    (birth,) = ours.connected().publishes
    topic = "spBv1.0/STATE/scada-1"
    assert (will.topic, will.qos, will.retain) == (birth.topic, birth.qos, birth.retain) == (topic, 1, True)
    assert msgspec.json.decode(will.payload) == {"online": False, "timestamp": T}
    assert msgspec.json.decode(birth.payload) == {"online": True, "timestamp": T}

    assert ours.take(0, topic, will.payload, T + 5).publishes == [birth]
    assert ours.take(0, topic, birth.payload, T + 5).publishes == []
    assert ours.take(0, "spBv1.0/STATE/other", will.payload, T + 5).publishes == []
    (last,) = ours.goodbye(T + 9)
    assert msgspec.json.decode(last.payload) == {"online": False, "timestamp": T + 9}
    assert ours.take(0, topic, last.payload, T + 9).publishes == []


def test_others_publish_nothing_of_the_kind() -> None:
    """Passive and active hosts have no STATE."""
    for role in ("passive", "active"):
        ours = host(role=role)
        assert ours.will(T) is None
        assert ours.connected().publishes == []
        assert ours.goodbye(T) == []


def test_commands_and_states_of_others_are_filtered() -> None:
    """NCMD, DCMD and STATE of others are settled without records."""
    ours = host()
    for topic in ("spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d", "spBv1.0/STATE/h"):
        assert ours.take(7, topic, b"whatever", T).settled == [(7, [])]


def test_options_that_make_no_sense_are_refused() -> None:
    """A primary host needs a name that can stand in a topic."""
    with pytest.raises(BadSetting):
        Options(role="primary", host_id="a/b")
    with pytest.raises(BadInput):
        Options(asset_class="No Name")
    with pytest.raises(BadSetting):
        Options(rebirth_ms=0)
