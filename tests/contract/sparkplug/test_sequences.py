"""Whatever the order and wherever a life ends, the same records come out."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contract.errors import BadInput
from headwater.contract.sparkplug import Host, Outcome
from tests.contract.sparkplug.plant import FAN, PUMP, Edge, Sent, T, give, host, readings, refusals, values

WINDOW_MS = 1_900  # less than the reorder timeout


def story(draw: random.Random, length: int, *, deaths: bool) -> list[Sent]:
    """What an edge node sends: data above all, and births of devices, deaths, rebirths."""
    edge = Edge()
    told = edge.births()
    for _ in range(length):
        choice = draw.random()
        if choice < 0.8:
            told.append(edge.data(draw.choice([PUMP, FAN]), flow=draw.random()))
        elif choice < 0.85:
            device = draw.choice([PUMP, FAN])
            told += [edge.device_died(device), edge.device_born(device)]
        elif choice < 0.9:
            edge.data()  # lost on the way
        elif deaths and choice < 0.95:
            told.append(edge.died())
            edge.bdseq = (edge.bdseq + 1) % 256
            told += edge.births()
        elif deaths:
            told += edge.births()
    return told


def written(outs: list[Outcome]) -> list[tuple[Any, ...]]:
    """All that reaches a log, in its order."""
    found: list[tuple[Any, ...]] = []
    for out in outs:
        found += [("settled", each.result) for each in out.settled]
        found += [("event", each.kind, each.record) for each in out.events]
    return found


def told(to: Host, messages: list[tuple[int, Sent]]) -> list[tuple[int, Outcome]]:
    """Each message at its time with its token; the clock goes on in between."""
    outs = []
    for token, each in messages:
        outs.append((each.at, to.tick(each.at)))
        outs.append((each.at, to.take(token, each.topic, each.payload, each.at)))
    return outs


@given(st.integers(0, 2**32), st.integers(2, 60))
@settings(max_examples=150, deadline=None)
def test_any_order_within_the_window_gives_the_same(seed: int, length: int) -> None:
    """Shuffled within the reorder timeout, births included, a session gives the same records in the same order."""
    draw = random.Random(seed)
    edge = Edge()
    messages = [*edge.births(), *(edge.data(draw.choice([PUMP, FAN]), draw.random()) for _ in range(length))]
    straight = [value for each in readings(*give(host(), *messages)) for value in [each]]

    shuffled = messages[:]
    draw.shuffle(shuffled)
    ours = host()
    at = T
    outs = []
    for token, each in enumerate(shuffled):
        outs.append(ours.take(token, each.topic, each.payload, at))
        at += WINDOW_MS // len(shuffled)
    assert readings(*outs) == straight
    assert refusals(*outs) == [] == ours.waiting()
    assert [out.publishes for out in outs if out.publishes] == []
    assert sorted(each.token for out in outs for each in out.settled) == list(range(len(messages)))


@given(st.integers(0, 2**32), st.integers(1, 80), st.data())
@settings(max_examples=150, deadline=None)
def test_a_restart_anywhere_gives_the_same(seed: int, length: int, data: st.DataObject) -> None:
    """A new life with the snapshot goes on as if nothing had been; what was held comes again and is the same."""
    draw = random.Random(seed)
    messages = list(enumerate(story(draw, length, deaths=True)))
    for _ in range(length // 8):
        at = draw.randrange(len(messages) - 1)
        a, b = messages[at][1], messages[at + 1][1]
        messages[at : at + 2] = [(messages[at + 1][0], b._replace(at=a.at)), (messages[at][0], a._replace(at=b.at))]
    cut = data.draw(st.integers(0, len(messages)))
    end = messages[-1][1].at + 600_000

    one = host()
    straight = [out for _, out in told(one, messages)] + [one.tick(end), one.tick(2 * end)]

    former = host()
    before = [out for _, out in told(former, messages[:cut])]
    held = set(former.waiting())
    new = host()
    assert new.restore(former.snapshot()) == {}
    again = [each for each in messages[:cut] if each[0] in held]
    after = [new.take(token, each.topic, each.payload, each.at) for token, each in again]
    after += [out for _, out in told(new, messages[cut:])] + [new.tick(end), new.tick(2 * end)]

    unborn = former.snapshot() == {} and cut > 0
    if not unborn:
        assert written(before + after) == written(straight)
        assert new.snapshot() == one.snapshot()


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_every_message_is_settled_once(seed: int, length: int) -> None:
    """Dropped, repeated, shuffled far and wide: each token is settled exactly once, at the latest by time."""
    draw = random.Random(seed)
    messages = story(draw, length, deaths=True)
    messages += draw.sample(messages, len(messages) // 3)
    draw.shuffle(messages)
    ours = host()
    outs = []
    for token, each in enumerate(messages):
        outs.append(ours.take(token, each.topic, each.payload, T + 50 * token))
        if draw.random() < 0.2:
            outs.append(ours.tick(T + 50 * token))
    while (due := ours.next_tick_ms()) is not None:
        outs.append(ours.tick(due))
    assert sorted(each.token for out in outs for each in out.settled) == list(range(len(messages)))
    assert ours.waiting() == []
    assert ours._sessions.reorder._held_bytes == 0
    tables = sum(d.table.bytes for node in ours._sessions.nodes.values() for d in node.devices.values() if d.table)
    assert ours._sessions.effects.table_bytes == tables


def test_a_life_goes_on_behind_the_records_in_the_log() -> None:
    """The state of the births and the headers of the records written since are enough: no gap, no birth asked for."""
    edge, former = Edge(), host()
    births = give(former, *edge.births())
    states = {out.changed[0]: former.snapshot_of(out.changed[0]) for out in births}
    flowing = [edge.data(flow=float(n)) for n in range(400)]
    tail = [
        (flowing[n].topic, dict(record.headers)["hw-sparkplug"] or b"")
        for n, out in enumerate(give(former, *flowing))
        for record in out.settled[0].result
    ]
    ours = host()
    assert ours.restore(states) == {}
    for topic, where in tail[-100:]:
        ours.resume(topic, where)
    ours.resume(tail[0][0], b"77/3/00000000")
    again = give(ours, *flowing[-30:])
    outs = give(ours, edge.data(flow=5.0), edge.data(flow=6.0))

    assert readings(*again) == []
    assert [each["values"] for each in readings(*outs)] == [{"flow": 5.0}, {"flow": 6.0}]
    assert [out.publishes for out in outs] == [[], []]
    assert (ours.counts["gaps"], ours.counts["held"], ours.counts["repeated"]) == (0, 0, 30)


def test_a_birth_that_no_state_has_is_asked_for_rather_than_read_by_the_former_one() -> None:
    """The log shows births that a killed life could not save: no name is taken from the tables before them."""
    edge, former = Edge(), host()
    give(former, *edge.births())
    states = former.snapshot()

    device = edge.device_born(base=700)
    ours = resumed(states, device, *give(former, device))
    assert refusals(*give(ours, edge.data(base=700))) == ["not-born"]
    assert values(*give(ours, edge.data(FAN))) == [{"flow": 3.5}]

    node = edge.born()
    ours = resumed(states, node, *give(former, node))
    (out,) = give(ours, edge.data(FAN))
    assert (out.settled, ours.waiting()) == ([], [0])
    assert values(*give(ours, node, edge.device_born())) == [{"Cabinet": 21.5}, {"flow": 3.0, "step": -4}]


def resumed(states: dict[str, bytes], birth: Sent, out: Outcome) -> Host:
    """A life that finds a birth in the log, in the headers of its event, and former states."""
    ours = host()
    assert ours.restore(states) == {}
    where = dict(out.events[-1].record.headers)["hw-sparkplug"]
    ours.resume(birth.topic, where or b"", saved=False)
    ours.connected()
    return ours


def test_states_are_canonical_and_broken_ones_are_named() -> None:
    """A state restored and saved again has the same bytes; one that is cut or altered is refused, never raised."""
    edge, ours = Edge(), host()
    give(ours, *edge.births(), edge.data(), edge.device_died(FAN))
    (key, state), *_ = ours.snapshot().items()
    new = host()
    assert new.restore({key: state}) == {}
    assert new.snapshot() == {key: state} == {key: new.snapshot_of(key)}
    with pytest.raises(BadInput):
        new.snapshot_of("who/knows")

    draw = random.Random(3)
    for _ in range(500):
        data = bytearray(state)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        assert list(host().restore({key: bytes(data)})) == [key]
        assert list(host().restore({key: state[: draw.randrange(len(state))]})) == [key]
    assert list(host().restore({"other/name": state})) == ["other/name"]
    assert list(new.restore({key: state})) == [key]


@pytest.mark.parametrize("where", [b"", b"1/2", b"1/2/zz", b"1/256/00", b"1/2/123456789", b"\xff/1/2", b"a/b/c"])
def test_a_broken_position_is_refused(where: bytes) -> None:
    """A header that is no position is named as such."""
    ours = host()
    give(ours, *Edge().births())
    with pytest.raises(BadInput):
        ours.resume("spBv1.0/north/DDATA/line-1/pump-7", where)
